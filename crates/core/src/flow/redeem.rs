//! Redeeming a client token: to at most one key, ever (P1), and never before its record (P2).
//!
//! Everything that can fail comes first: the lookups, the vault, the sealing. Then one durable
//! commit claims the token and writes the record. Then the answer goes out. A refusal takes the
//! same way through a commit, so that it takes the same time whatever its cause (P6).

use std::borrow::Cow;

use cardveil_seal::{HolderKey, hpke};
use serde::Serialize;

use super::challenge::GivenAnswer;
use super::keys::slot_of;
use super::{Fault, Service};
use crate::audit::{Actor, Kind as EventKind, Origin, Source};
use crate::card::{
    Card, CardRef, Field, Fields, Kind, LastFour, Network, Reason, State, Transition,
};
use crate::clock::Time;
use crate::id::{AttemptId, ClaimId, EmbedId, MerchantId, RedemptionId};
use crate::port::{self};
use crate::token::{
    Around, Attempt, Cause, Claim, ClientToken, Grant, Lives, LivesOf, Observation, Operation,
    Record, Thumbprint, Verdict,
};
use crate::verb::Commit;

/// How often a claim starts again because its own key claimed meanwhile in another place, or its
/// card changed its state.
pub(super) const ROUNDS_MAX: usize = 3;

/// What a browser or device asks.
pub struct Redeem {
    pub token: ClientToken,
    /// Where it is shown.
    pub embed: EmbedId,
    pub key: HolderKey,
    /// The fields; at least one.
    pub fields: Fields,
    pub attempt: AttemptId,
    /// What it brings of a second factor, where its token waits for one.
    pub factor: Option<GivenAnswer>,
    /// Whether it says that it comes from a page of our own origin. Whoever says another is refused
    /// before.
    pub with_origin: bool,
    /// From where it comes.
    pub origin: Origin,
}

/// What it gets.
#[derive(Debug)]
pub enum Redeemed {
    /// The fields, sealed to its key.
    Released(Box<Released>),
    /// The one refusal. The cause is for our own figures; the browser is not told.
    Refused(Cause),
    /// Nothing is wrong with the token: it is not for these fields, or its card has none of them.
    /// Nothing was spent.
    NoField,
    /// The embed is framed by pages, and this came from none. Nothing was spent.
    NoOrigin,
    /// Nothing is wrong with the token: it waits for a second factor, and none was brought. Nothing
    /// was spent.
    WantsFactor,
    /// The second factor is refused, whatever is wrong with it. The token waits as before.
    FactorRefused,
}

/// An answer that may go out: its claim and its record are durable.
#[derive(Debug)]
pub struct Released {
    pub redemption: RedemptionId,
    /// What anyone may see of the card.
    pub last_four: LastFour,
    /// The scheme.
    pub network: Network,
    /// What the card programme sells it as.
    pub product: Option<String>,
    /// The JSON that the sealing is bound to.
    pub header: Vec<u8>,
    /// The sealed fields.
    pub sealed: hpke::Sealed,
    /// Until when further fields may be asked for.
    pub window_ends_at: Time,
    pub fields_left: Fields,
    /// What was asked for and is not on the card.
    pub missing: Fields,
}

/// What a browser says of a redemption.
pub struct Report {
    pub token: ClientToken,
    pub redemption: RedemptionId,
    /// Displayed, copied, hidden or expired.
    pub kind: EventKind,
    pub field: Option<Field>,
    /// Whether it says that nothing hid the frame.
    pub seen: bool,
    /// From where it comes.
    pub origin: Origin,
}

/// What the sealing is bound to (docs/reference/protocol.md, "Redeem"), in this order.
#[derive(Serialize)]
struct Header<'a> {
    redemption: &'a RedemptionId,
    token: String,
    merchant: &'a MerchantId,
    embed: &'a EmbedId,
    operation: Operation,
    fields: Fields,
    thumbprint: Thumbprint,
    issued_at: String,
    expires_at: String,
}

/// An answer that waits for its claim.
struct Prepared {
    card: Card,
    missing: Fields,
    header: Vec<u8>,
    sealed: hpke::Sealed,
    /// Which key gave the CVV, where one did.
    cvk: Option<u32>,
}

impl Service {
    pub async fn redeem(&self, asked: &Redeem) -> Result<Redeemed, Fault> {
        self.pass_gate()?;
        for _ in 0..ROUNDS_MAX {
            if let Some(redeemed) = self.redeem_once(asked).await? {
                return Ok(redeemed);
            }
        }
        Err(Fault::Contention)
    }

    /// `None` when the same key's other request came between, or a change of the card.
    async fn redeem_once(&self, asked: &Redeem) -> Result<Option<Redeemed>, Fault> {
        let by = Thumbprint(asked.key.thumbprint());
        let key = asked.token.key();
        let Some(record) = self.store.token(&key).await? else {
            return Ok(Some(Redeemed::Refused(Cause::Unknown)));
        };
        let lives = LivesOf::token(&record, &asked.embed);
        let lives = self.store.lives(&lives).await?;
        if lives.wants_origin() && !asked.with_origin {
            return Ok(Some(Redeemed::NoOrigin));
        }
        let redemption = match record.redemption_of(by) {
            Some(redemption) => redemption.clone(),
            None => RedemptionId::generate(&*self.entropy),
        };
        let mut claim = Claim {
            token: key,
            embed: asked.embed.clone(),
            with_origin: asked.with_origin,
            by,
            operation: Operation::ViewCard,
            // What the card lacks, the token is not for either; the card itself is looked at below.
            fields: asked.fields.and(record.allowed),
            note: None,
            id: ClaimId::generate(&*self.entropy),
            attempt: asked.attempt,
            redemption,
            person: None,
            barred: None,
            seen: None,
            answered: None,
            step: None,
            at: self.now(),
            origin: asked.origin.clone(),
        };
        let seen = match &asked.factor {
            Some(given) => {
                let fits = |card: &Card| {
                    let fields = asked.fields.and(card.fields());
                    !fields.is_empty() && fields.within(record.allowed)
                };
                self.bring(given, &record, &mut claim, fits).await?
            }
            None => None,
        };
        let mut prepared = None;
        match early(&claim, &record, &lives) {
            // What cannot pass opens no card; the commit counts it.
            Verdict::Granted(_) if is_wrong(&claim) => claim.seen = seen,
            // Told in the commit, which knows the epoch and counts a refusal.
            Verdict::WantsFactor => {
                let viewable = self.viewable(&record).await?;
                claim.barred = viewable.is_none().then_some(Cause::CardState);
            }
            Verdict::Granted(_) | Verdict::Refused(Cause::FieldNotAllowed) => {
                match self.prepare(asked, &record, &mut claim).await? {
                    Ok(answer) => {
                        claim.note = answer.cvk.map(derived);
                        claim.step = shown(&answer.card, &claim);
                        claim.seen = Some(answer.card.state);
                        prepared = Some(answer);
                    }
                    Err(cause) => claim.barred = Some(cause),
                }
            }
            Verdict::Refused(cause) | Verdict::FactorRefused(cause) => claim.barred = Some(cause),
            Verdict::Superseded => return Ok(None),
        }
        if claim.barred.is_some() {
            claim.fields = asked.fields;
        }
        Ok(match (self.claim(claim).await?, prepared) {
            (Verdict::Granted(grant), Some(answer)) => {
                Some(Redeemed::Released(Box::new(answer.released(grant))))
            }
            // Cannot be: what was not prepared was barred, and what is barred is not granted.
            (Verdict::Granted(_), None) => return Err(Fault::Contention),
            (Verdict::Refused(Cause::FieldNotAllowed), _) => Some(Redeemed::NoField),
            (Verdict::Refused(cause), _) => Some(Redeemed::Refused(cause)),
            (Verdict::WantsFactor, _) => Some(Redeemed::WantsFactor),
            (Verdict::FactorRefused(_), _) => Some(Redeemed::FactorRefused),
            (Verdict::Superseded, _) => None,
        })
    }

    /// Puts what was brought of a second factor into a claim of a token that waits for one; the
    /// state of its card comes back. Nobody learns what a code is worth where it would open nothing:
    /// of a card that is not shown now, or by a request that does not `fit` token and card.
    pub(super) async fn bring(
        &self,
        given: &GivenAnswer,
        record: &Record,
        claim: &mut Claim,
        fits: impl Fn(&Card) -> bool,
    ) -> Result<Option<State>, Fault> {
        if !record.waits_for_factor() {
            return Ok(None);
        }
        let card = CardRef::Id(record.card);
        let card = self.store.card(&record.merchant, &card).await?;
        let views = record.operation == Operation::ViewCard;
        let Some(card) = card.filter(|card| !views || card.viewable()) else {
            claim.barred = Some(Cause::CardState);
            return Ok(None);
        };
        if !fits(&card) {
            claim.fields = Fields::NONE;
            return Ok(None);
        }
        claim.person = Some(card.person);
        claim.answered = Some(self.answered(record, claim.by, &card, given).await?);
        Ok(Some(card.state))
    }

    /// The token's card, if its details may be shown now.
    async fn viewable(&self, record: &Record) -> Result<Option<Card>, Fault> {
        let card = CardRef::Id(record.card);
        let card = self.store.card(&record.merchant, &card).await?;
        Ok(card.filter(Card::viewable))
    }

    /// Opens the card and seals the answer, before anything is claimed. The claim is then for those
    /// of the asked fields that the card has.
    async fn prepare(
        &self,
        asked: &Redeem,
        record: &Record,
        claim: &mut Claim,
    ) -> Result<Result<Prepared, Cause>, Fault> {
        let Some(card) = self.viewable(record).await? else {
            return Ok(Err(Cause::CardState));
        };
        claim.person = Some(card.person);
        let fields = asked.fields.and(card.fields());
        if fields.is_empty() || !fields.within(record.allowed) {
            return Ok(Err(Cause::FieldNotAllowed));
        }
        claim.fields = fields;
        let header = Header {
            redemption: &claim.redemption,
            token: record.key.hash.to_string(),
            merchant: &record.merchant,
            embed: &asked.embed,
            operation: record.operation,
            fields,
            thumbprint: claim.by,
            issued_at: record.issued_at.to_string(),
            expires_at: record.expires_at.to_string(),
        };
        let header = serde_json::to_vec(&header)
            .map_err(|e| port::Error::Corrupt(format!("a header could not be written: {e}")))?;
        let (sealed, cvk) = self
            .open(
                || slot_of(&card),
                |vault| {
                    let sealed = vault.release(&card, fields, &asked.key, &header)?;
                    let has_cvv = fields.contains(Field::Cvv);
                    let cvk = if has_cvv { vault.cvk_of(&card)? } else { None };
                    Ok((sealed, cvk))
                },
            )
            .await?;
        Ok(Ok(Prepared {
            missing: asked.fields.without(fields),
            card,
            header,
            sealed,
            cvk,
        }))
    }

    /// Claims, and looks the attempt up when the commit does not answer.
    pub(super) async fn claim(&self, claim: Claim) -> Result<Verdict, Fault> {
        let attempt = Attempt {
            token: claim.token,
            by: claim.by,
            claim: claim.id,
            at: claim.at,
            origin: claim.origin.clone(),
        };
        let redemption = claim.redemption.clone();
        match self.store.commit(claim).await {
            Ok(verdict) => Ok(verdict),
            Err(unknown @ port::Error::Unknown(_)) => match self.store.commit(attempt).await? {
                Some(grant) if grant.redemption == redemption => Ok(Verdict::Granted(grant)),
                Some(_) | None => Err(unknown.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Records what a browser says of a redemption.
    pub async fn report(&self, report: &Report) -> Result<Result<(), Cause>, Fault> {
        let observation = Observation {
            token: report.token.key(),
            redemption: report.redemption.clone(),
            kind: report.kind,
            field: report.field,
            seen: report.seen,
            at: self.now(),
            origin: report.origin.clone(),
        };
        Ok(self.store.commit(observation).await?)
    }
}

/// What the rules say before anything is opened: all but what the claim looks at itself, which are
/// the epoch and the card in the store's commit.
pub(super) fn early(claim: &Claim, record: &Record, lives: &Lives) -> Verdict {
    let around = Around {
        card: None,
        lives,
        epoch: record.epoch,
    };
    claim.decide(Some(record), &around).verdict
}

/// Whether it brings a second factor that cannot pass.
pub(super) fn is_wrong(claim: &Claim) -> bool {
    let answered = claim.answered.as_ref();
    answered.is_some_and(|answered| !answered.proof.may_pass())
}

/// What is on record of a CVV that no row holds.
pub(super) fn derived(cvk: u32) -> Cow<'static, str> {
    format!("cvv derived by cvk {cvk}").into()
}

/// A virtual card becomes active once its details have been viewed (Equals, "About card states"):
/// in the commit of the claim that releases its number.
fn shown(card: &Card, claim: &Claim) -> Option<Transition> {
    const UNACTIVATED: &[State] = &[State::Unactivated];
    let new = card.kind == Kind::Virtual && card.state == State::Unactivated;
    (new && claim.fields.contains(Field::Pan)).then(|| Transition {
        merchant: card.merchant.clone(),
        card: CardRef::Id(card.id),
        to: State::Active,
        from: Some(UNACTIVATED),
        reason: Some(Reason::details_shown()),
        at: claim.at,
        source: Source {
            actor: Actor::Holder(claim.by),
            origin: claim.origin.clone(),
        },
    })
}

impl Prepared {
    fn released(self, grant: Grant) -> Released {
        Released {
            redemption: grant.redemption,
            last_four: self.card.last_four,
            network: self.card.network,
            product: self.card.attributes.product,
            header: self.header,
            sealed: self.sealed,
            window_ends_at: grant.window_ends_at,
            fields_left: grant.fields_left,
            missing: self.missing,
        }
    }
}
