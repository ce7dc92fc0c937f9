//! The second factor of a frame: asked for by a challenge, answered with a redemption.
//!
//! A challenge claims nothing. What refuses a redemption refuses it, through a commit as that does
//! (P6); what a code is worth, the commit of the claim judges.

use cardveil_seal::{HolderKey, Secret};

use super::mfa::{SessionRefused, not_opened};
use super::{Fault, Service};
use crate::audit::{Actor, Origin, Source};
use crate::card::{Card, CardRef};
use crate::clock::Time;
use crate::id::{AttemptId, ClaimId, EmbedId, PersonId, RedemptionId};
use crate::mfa::{Factor, Opening};
use crate::token::{
    Answered, Cause, Challenge, Challenged, Claim, ClientToken, LivesOf, Operation, Record,
    Thumbprint, session_of,
};
use crate::verb::Commit;

/// What a frame brings of a second factor with its wish.
pub struct GivenAnswer {
    /// The challenge, by the frame's own name for it.
    pub challenge: AttemptId,
    pub code: Secret,
}

/// What a frame asks, to have a second factor asked for.
pub struct AskChallenge {
    pub token: ClientToken,
    /// Where the token is redeemed.
    pub embed: EmbedId,
    pub key: HolderKey,
    /// Its own name for the challenge.
    pub challenge: AttemptId,
    /// By what; by the strongest that the person has when it is left out.
    pub factor: Option<Factor>,
    /// Whether it says that it comes from a page of our own origin.
    pub with_origin: bool,
    /// From where it comes.
    pub origin: Origin,
}

/// What becomes of it.
#[derive(Debug)]
pub enum ChallengeAnswer {
    /// The code of this factor is waited for.
    Asked {
        factor: Factor,
        /// The first moment at which no code passes any more.
        expires_at: Time,
    },
    /// The token waits for none.
    NotWanted,
    /// Nobody is asked now.
    Unavailable(SessionRefused),
    /// The one refusal.
    Refused(Cause),
    /// The embed is framed by pages, and this came from none.
    NoOrigin,
}

impl Service {
    /// What a frame answers to a challenge of its token.
    pub(super) async fn answered(
        &self,
        record: &Record,
        by: Thumbprint,
        card: &Card,
        given: &GivenAnswer,
    ) -> Result<Answered, Fault> {
        let merchant = &record.merchant;
        let session = session_of(&record.key.hash, by, given.challenge);
        let proof = self
            .prove(merchant, Some(session), card.person, &given.code)
            .await?;
        Ok(Answered {
            challenge: given.challenge,
            merchant: merchant.clone(),
            person: card.person,
            proof,
        })
    }

    /// Has the second factor asked for that a token waits for, and tells which. It claims nothing
    /// and refuses what a redemption would refuse, through a commit as that does (P6).
    pub async fn challenge(&self, asked: &AskChallenge) -> Result<ChallengeAnswer, Fault> {
        self.pass_gate()?;
        let by = Thumbprint(asked.key.thumbprint());
        let key = asked.token.key();
        let Some(record) = self.store.token(&key).await? else {
            return Ok(ChallengeAnswer::Refused(Cause::Unknown));
        };
        let lives = LivesOf::token(&record, &asked.embed);
        let lives = self.store.lives(&lives).await?;
        if lives.wants_origin() && !asked.with_origin {
            return Ok(ChallengeAnswer::NoOrigin);
        }
        let now = self.now();
        let card = CardRef::Id(record.card);
        let card = self.store.card(&record.merchant, &card).await?;
        let viewable = record.operation != Operation::ViewCard;
        let card = card.filter(|card| viewable || card.viewable());
        let merchant = self.store.merchant(&record.merchant).await?;
        let claim = Claim {
            token: key,
            embed: asked.embed.clone(),
            with_origin: asked.with_origin,
            by,
            operation: record.operation,
            fields: record.allowed,
            note: None,
            id: ClaimId::generate(&*self.entropy),
            attempt: asked.challenge,
            redemption: RedemptionId::generate(&*self.entropy),
            person: card.as_ref().map(|card| card.person),
            barred: card.is_none().then_some(Cause::CardState),
            seen: None,
            answered: None,
            step: None,
            at: now,
            origin: asked.origin.clone(),
        };
        let opening = Opening {
            id: session_of(&key.hash, by, asked.challenge),
            merchant: record.merchant.clone(),
            // Of a card that is gone nobody is asked: the claim is barred.
            person: card.map_or(PersonId::from_bytes([0; 16]), |card| card.person),
            card: record.card,
            purpose: record.operation.into(),
            factor: asked.factor,
            factors: merchant.map(|it| it.mfa.factors).unwrap_or_default(),
            at: now,
            source: Source {
                actor: Actor::Holder(by),
                origin: asked.origin.clone(),
            },
        };
        let challenged = self.store.commit(Challenge { claim, opening }).await?;
        Ok(match challenged {
            Challenged::Asked(session) => ChallengeAnswer::Asked {
                factor: session.factor,
                expires_at: session.expires_at.min(record.expires_at),
            },
            Challenged::NotWanted => ChallengeAnswer::NotWanted,
            Challenged::Unavailable(refused) => {
                ChallengeAnswer::Unavailable(not_opened(now, refused))
            }
            Challenged::Refused(cause) => ChallengeAnswer::Refused(cause),
        })
    }
}
