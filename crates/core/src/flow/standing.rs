//! Moving a card to another state for a merchant's server.

use super::{Caller, Fault, Service};
use crate::card::{Card, Changed, Reason, State, Transition};
use crate::merchant::Sight;
use crate::port::CardRef;

/// A wish of a merchant's server that a card go to another state.
#[derive(Clone, Debug)]
pub struct Move {
    /// Which card.
    pub card: CardRef,
    /// To which state.
    pub to: State,
    /// Only out of one of these, where the dialect allows less than the machine.
    pub from: Option<&'static [State]>,
    /// Why, in the caller's words.
    pub reason: Option<Reason>,
}

impl Caller {
    /// Whether it may change this card, which it then also sees.
    pub fn reaches(&self, card: &Card) -> bool {
        match self.credential.reach() {
            Sight::Any => true,
            Sight::Own(person) => card.person == person,
            Sight::Nothing => false,
        }
    }
}

impl Service {
    /// The caller's card, where it may know of it.
    pub async fn seen_card(&self, caller: &Caller, card: &CardRef) -> Result<Option<Card>, Fault> {
        let found = self.store.card(&caller.merchant.id, card).await?;
        Ok(found.filter(|card| caller.sees(card)))
    }

    /// Moves a card. One that the caller may not change does not exist.
    pub async fn move_card(&self, caller: &Caller, wish: Move) -> Result<Changed, Fault> {
        // Whose a card is never changes, so it may be looked at before the write.
        let found = self.store.card(&caller.merchant.id, &wish.card).await?;
        if found.is_none_or(|card| !caller.reaches(&card)) {
            return Ok(Changed::Unknown);
        }
        let transition = Transition {
            merchant: caller.merchant.id.clone(),
            card: wish.card,
            to: wish.to,
            from: wish.from,
            reason: wish.reason,
            at: self.now(),
            source: caller.source.clone(),
        };
        Ok(self.store.transition_card(transition).await?)
    }
}
