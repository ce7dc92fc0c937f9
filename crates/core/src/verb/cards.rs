//! The verbs of cards: their changes, and what a merchant's server gets of their secret values or
//! proves to know of them.

use super::Verb;
use super::factors::{charged, met, needs_of};
use super::keys::refuse_retired;
use crate::card::{
    Activated, Activation, Card, Changed, Decided, Export, Exported, Guesses, HandoverDecided,
    PinRelease, PinReleased, PinSet, PinSetting, Relabel, Removal, Removed, State, Transition,
};
use crate::id::MerchantId;
use crate::mfa::{Assertion, Use};
use crate::port::rows::{Loaded, Rows};
use crate::port::{Class, Needs};

/// Applies [`Transition::decide`].
impl Verb for Transition {
    type Answer = Changed;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Changed> {
        make_transition(rows, self)
    }
}

pub(super) fn make_transition(rows: &dyn Rows, transition: &Transition) -> Loaded<Changed> {
    let card = rows.card(&transition.merchant, &transition.card)?;
    save(rows, transition.decide(card.as_ref()))
}

/// Applies [`Relabel::decide`].
impl Verb for Relabel {
    type Answer = Changed;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Changed> {
        let card = rows.card(&self.merchant, &self.card)?;
        save(rows, self.decide(card.as_ref()))
    }
}

/// The end of a card ends its digital wallet tokens in the same commit.
fn save(rows: &dyn Rows, decided: Decided) -> Loaded<Changed> {
    if let Some((card, event)) = &decided.write {
        rows.save_card(card)?;
        rows.log(event)?;
        if card.state == State::Terminated && event.detail.to.is_some() {
            for token in rows.wallet_tokens_of(card.id)? {
                if let Some((next, event)) = token.with_its_card(event) {
                    rows.save_wallet_token(&next)?;
                    rows.log(&event)?;
                }
            }
        }
    }
    Ok(decided.verdict)
}

/// Applies [`Removal::decide`], and deletes the card, its keys, its digital wallet tokens and what
/// is known of wrong proofs for it.
impl Verb for Removal {
    type Answer = Removed;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Removed> {
        let card = rows.card(&self.merchant, &self.card)?;
        let (removed, event) = self.decide(card.as_ref());
        if let (Some(card), Some(event)) = (card, event) {
            rows.delete_card(card.id)?;
            rows.log(&event)?;
        }
        Ok(removed)
    }
}

/// Applies [`Export::decide`], and charges what it grants. Only after `Recorded` may the data leave
/// (P2).
impl Verb for Export {
    type Answer = Exported;

    fn needs(&self) -> Needs {
        needs_of(self.charge.as_ref(), None)
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Exported> {
        let card = rows.card(&self.merchant, &self.card)?;
        let decided = self.decide(card.as_ref());
        if decided.verdict == Exported::Recorded
            && let Err(overdrawn) = charged(rows, self.charge.as_ref())?
        {
            return Ok(Exported::Overdrawn(overdrawn));
        }
        hand_over(rows, card.as_ref(), decided)
    }
}

/// Applies [`Activation::decide`] over the card and the wrong proofs that were brought for it,
/// which are kept as long as they count.
impl Verb for Activation {
    type Answer = Activated;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Activated> {
        let card = rows.card(&self.merchant, &self.card)?;
        let guesses = match &card {
            Some(card) => rows.guesses(card.id)?,
            None => Guesses::default(),
        };
        let decided = self.decide(card.as_ref(), &guesses);
        hand_over(rows, card.as_ref(), decided)
    }
}

/// Applies [`PinSetting::decide`], and what it requires where it grants: the budget first, then the
/// second factor, both or neither.
impl Verb for PinSetting {
    type Answer = PinSet;

    fn needs(&self) -> Needs {
        needs_of(self.charge.as_ref(), factor_of(self.mfa.as_ref()))
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<PinSet> {
        refuse_retired(rows, [(Class::Pin, &*self.pin.dek)])?;
        let card = rows.card(&self.merchant, &self.card)?;
        let decided = self.decide(card.as_ref());
        if decided.verdict == PinSet::Done
            && let Err(unmet) = met(rows, self.required())?
        {
            return Ok(unmet.into());
        }
        hand_over(rows, card.as_ref(), decided)
    }
}

/// Applies [`PinRelease::decide`], and what it requires where it grants. Only after `Recorded` may
/// the PIN leave (P2).
impl Verb for PinRelease {
    type Answer = PinReleased;

    fn needs(&self) -> Needs {
        needs_of(self.charge.as_ref(), factor_of(self.mfa.as_ref()))
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<PinReleased> {
        let card = rows.card(&self.merchant, &self.card)?;
        let decided = self.decide(card.as_ref());
        if decided.verdict == PinReleased::Recorded
            && let Err(unmet) = met(rows, self.required())?
        {
            return Ok(unmet.into());
        }
        hand_over(rows, card.as_ref(), decided)
    }
}

fn factor_of(mfa: Option<&(Assertion, Use)>) -> Option<(&MerchantId, &Assertion)> {
    mfa.map(|(assertion, wanted)| (&wanted.merchant, assertion))
}

/// None of these ends a card: that goes by [`save`].
fn hand_over<V>(rows: &dyn Rows, card: Option<&Card>, decided: HandoverDecided<V>) -> Loaded<V> {
    if let Some(next) = &decided.card {
        rows.save_card(next)?;
    }
    if let (Some(card), Some(guesses)) = (card, &decided.guesses) {
        rows.save_guesses(card.id, guesses)?;
    }
    for event in &decided.events {
        rows.log(event)?;
    }
    Ok(decided.verdict)
}
