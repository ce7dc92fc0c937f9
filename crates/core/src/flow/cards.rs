//! A merchant's cards, as its servers see, name and move them. The same for every dialect: a card
//! that the caller may not know of does not exist.

use super::{Caller, Fault, Service};
use crate::card::{Card, CardRef, Changed, Label, Reason, Relabel, State, Transition};
use crate::id::{AccountId, PersonId};
use crate::merchant::Sight;
use crate::port::{CardFilter, CardPage, Paging};
use crate::verb::Commit;

/// Which card a caller means.
#[derive(Clone, Debug)]
pub struct Sought {
    pub card: CardRef,
    /// It must be of this account, where the dialect names one.
    pub account: Option<AccountId>,
    /// It must be of this person, where the dialect names one.
    pub person: Option<PersonId>,
    /// The number of its holder must be this, where the dialect names one.
    pub holder_no: Option<String>,
}

impl Sought {
    /// A card of whichever account and person.
    pub const fn of(card: CardRef) -> Self {
        Self {
            card,
            account: None,
            person: None,
            holder_no: None,
        }
    }
}

/// Out of which states a merchant may move a card. One that is being made is the card programme's:
/// it says when that has been done, or has failed.
pub const MERCHANT_MOVES: &[State] = &[
    State::Unactivated,
    State::Active,
    State::Suspended,
    State::Replaced,
];

/// A step that a caller asks of a card.
#[derive(Clone, Debug)]
pub struct Step {
    pub to: State,
    /// Only out of one of these, when the dialect allows less than the machine does.
    pub from: Option<&'static [State]>,
    /// Why.
    pub reason: Option<Reason>,
}

/// Why a card is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardRefusal {
    /// There is no such card that this caller may know of.
    UnknownCard,
    /// The caller sees it and may not change it.
    OutOfReach,
    /// Its state, which is this one, does not lead there.
    State(State),
}

impl Service {
    /// The card, if there is one that the caller may know of.
    pub async fn find_card(&self, caller: &Caller, sought: &Sought) -> Result<Option<Card>, Fault> {
        let found = self.store.card(&caller.merchant.id, &sought.card).await?;
        Ok(found.filter(|card| {
            let account = sought.account.as_ref();
            caller.sees(card)
                && account.is_none_or(|account| *account == card.account)
                && sought.person.is_none_or(|person| person == card.person)
                && (sought.holder_no.is_none() || sought.holder_no == card.attributes.holder_no)
        }))
    }

    /// The cards that the caller asks for, of those that it sees.
    pub async fn list_cards(
        &self,
        caller: &Caller,
        filter: CardFilter,
        paging: Paging,
    ) -> Result<CardPage, Fault> {
        let sight = match caller.credential.sight() {
            Sight::Nothing => return Ok(CardPage::default()),
            Sight::Any => None,
            Sight::Own(person) => Some(person),
        };
        let filter = CardFilter {
            merchant: Some(caller.merchant.id.clone()),
            sight,
            ..filter
        };
        Ok(self.store.list_cards(&filter, paging).await?)
    }

    /// Moves a card. One that is in that state already is answered as it is.
    pub async fn move_card(
        &self,
        caller: &Caller,
        sought: &Sought,
        step: Step,
    ) -> Result<Result<Card, CardRefusal>, Fault> {
        let card = match self.card_to_change(caller, sought).await? {
            Ok(card) => card,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let transition = Transition {
            merchant: card.merchant,
            card: CardRef::Id(card.id),
            to: step.to,
            from: step.from,
            reason: step.reason,
            at: self.now(),
            source: caller.source.clone(),
        };
        Ok(told(self.store.commit(transition).await?))
    }

    /// Calls a card otherwise.
    pub async fn relabel_card(
        &self,
        caller: &Caller,
        sought: &Sought,
        label: Label,
    ) -> Result<Result<Card, CardRefusal>, Fault> {
        let card = match self.card_to_change(caller, sought).await? {
            Ok(card) => card,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let relabel = Relabel {
            merchant: card.merchant,
            card: CardRef::Id(card.id),
            label,
            at: self.now(),
            source: caller.source.clone(),
        };
        Ok(told(self.store.commit(relabel).await?))
    }

    /// Whose a card is never changes, so this may be asked before the commit.
    async fn card_to_change(
        &self,
        caller: &Caller,
        sought: &Sought,
    ) -> Result<Result<Card, CardRefusal>, Fault> {
        let Some(card) = self.find_card(caller, sought).await? else {
            return Ok(Err(CardRefusal::UnknownCard));
        };
        Ok(if caller.reaches(&card) {
            Ok(card)
        } else {
            Err(CardRefusal::OutOfReach)
        })
    }
}

fn told(changed: Changed) -> Result<Card, CardRefusal> {
    match changed {
        Changed::Done(card) | Changed::Already(card) => Ok(*card),
        Changed::Refused(from) => Err(CardRefusal::State(from)),
        Changed::Unknown => Err(CardRefusal::UnknownCard),
    }
}
