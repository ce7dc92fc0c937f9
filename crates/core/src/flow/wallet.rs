//! Digital wallets. Whether a card can go into one is told to at most one key (P1) and never before
//! its record (P2), by the same claim that releases fields. The register of tokens is read and
//! changed by merchants, within the cards that their credential sees and reaches.

use std::borrow::Cow;

use cardveil_seal::HolderKey;

use super::challenge::GivenAnswer;
use super::keys::slot_of;
use super::redeem::{ROUNDS_MAX, early, is_wrong};
use super::{Caller, Fault, Service};
use crate::audit::Origin;
use crate::card::{Card, CardRef, Fields, LastFour, Network, PanIndexes};
use crate::id::{
    AccountId, AttemptId, CardId, ClaimId, EmbedId, MerchantId, PersonId, RedemptionId,
    WalletTokenId,
};
use crate::merchant::Sight;
use crate::port::{ListedToken, WalletFilter, WalletPage};
use crate::token::{Cause, Claim, ClientToken, LivesOf, Operation, Record, Thumbprint, Verdict};
use crate::verb::Commit;
use crate::wallet::{Asked, Change, Decision, Device, Facts, Reason, Refused, Step, WalletToken};

/// What a device asks.
pub struct CheckWallet {
    /// Its token, for `ADD_CARD_TO_WALLET`.
    pub token: ClientToken,
    /// The app: an embed of the token's merchant.
    pub app: EmbedId,
    pub key: HolderKey,
    /// Where the card is to go.
    pub device: Device,
    /// As of a [redemption](super::Redeem::factor).
    pub factor: Option<GivenAnswer>,
    /// As of a [redemption](super::Redeem::with_origin).
    pub with_origin: bool,
    /// From where it comes.
    pub origin: Origin,
}

/// What it learns.
#[derive(Debug)]
pub enum WalletChecked {
    /// Whether the card can go in. The claim and its record are durable.
    Told(WalletAnswer),
    /// The one refusal. The cause is for our own figures; the device is not told.
    Refused(Cause),
    /// The app is an embed that pages frame, and this came from none. Nothing was spent.
    NoOrigin,
    /// As of a [redemption](super::Redeemed::WantsFactor).
    WantsFactor,
    /// As of a [redemption](super::Redeemed::FactorRefused).
    FactorRefused,
}

/// Whether a card can go into a wallet, and what anyone may see of it.
#[derive(Debug)]
pub struct WalletAnswer {
    /// What speaks against it, in a fixed order. With none, it can go in.
    pub reasons: Vec<Reason>,
    /// The last four digits.
    pub last_four: LastFour,
    /// The scheme.
    pub network: Network,
    /// What the wallet may call it.
    pub display_name: String,
}

/// Which card a call about wallets is about, as far as its dialect says.
#[derive(Clone, Debug, Default)]
pub struct WalletScope {
    pub card: Option<CardId>,
    /// A card of this account.
    pub account: Option<AccountId>,
    /// A card of this person.
    pub person: Option<PersonId>,
}

impl WalletScope {
    fn admits(&self, card: &Card) -> bool {
        self.card.is_none_or(|id| id == card.id)
            && self
                .account
                .as_ref()
                .is_none_or(|account| *account == card.account)
            && self.person.is_none_or(|person| person == card.person)
    }
}

/// What the caller asks for of the tokens that it sees, if it sees any.
fn seen(caller: &Caller, filter: &WalletFilter) -> Option<WalletFilter> {
    let person = match (caller.credential.sight(), filter.person) {
        (Sight::Any, asked) => asked,
        (Sight::Own(own), None) => Some(own),
        (Sight::Own(own), Some(asked)) if own == asked => Some(own),
        (Sight::Own(_), Some(_)) | (Sight::Nothing, _) => return None,
    };
    Some(WalletFilter {
        merchant: Some(caller.merchant.id.clone()),
        person,
        ..filter.clone()
    })
}

impl Service {
    /// The tokens of the cards that the caller sees.
    pub async fn wallet_tokens(
        &self,
        caller: &Caller,
        filter: &WalletFilter,
        page: WalletPage,
    ) -> Result<Vec<ListedToken>, Fault> {
        match seen(caller, filter) {
            Some(filter) => Ok(self.store.wallet_tokens(&filter, page).await?),
            None => Ok(vec![]),
        }
    }

    /// How many they are in all: that takes longer the more there are.
    pub async fn wallet_tokens_count(
        &self,
        caller: &Caller,
        filter: &WalletFilter,
    ) -> Result<usize, Fault> {
        match seen(caller, filter) {
            Some(filter) => Ok(self.store.wallet_tokens_count(&filter).await?),
            None => Ok(0),
        }
    }

    /// A token of a card that the caller sees.
    pub async fn wallet_token(
        &self,
        caller: &Caller,
        id: WalletTokenId,
    ) -> Result<Option<ListedToken>, Fault> {
        let sight = caller.credential.sight();
        let scope = WalletScope::default();
        let within = self.token_within(&caller.merchant.id, sight, &scope, id);
        Ok(within.await?.map(|(listed, _)| listed))
    }

    /// A card that the caller sees and that is within the scope.
    pub async fn wallet_card(
        &self,
        caller: &Caller,
        scope: &WalletScope,
        card: CardId,
    ) -> Result<Option<Card>, Fault> {
        let sight = caller.credential.sight();
        self.card_within(&caller.merchant.id, sight, scope, card)
            .await
    }

    /// Moves a token of a card that the caller may change.
    pub async fn move_wallet_token(
        &self,
        caller: &Caller,
        scope: &WalletScope,
        id: WalletTokenId,
        step: Step,
    ) -> Result<Result<WalletToken, Refused>, Fault> {
        let reach = caller.credential.reach();
        let merchant = &caller.merchant.id;
        let Some((_, card)) = self.token_within(merchant, reach, scope, id).await? else {
            return Ok(Err(Refused::Unknown));
        };
        let change = Change {
            merchant: merchant.clone(),
            id,
            indexes: self.pan_indexes(&card).await?,
            step,
            reason: None,
            at: self.now(),
            source: caller.source.clone(),
        };
        Ok(self.store.commit(change).await?)
    }

    /// Plays the network: a device asks for a token, and the network decides.
    pub async fn simulate_wallet_token(
        &self,
        caller: &Caller,
        card: CardId,
        device: Device,
        decision: Decision,
    ) -> Result<Result<WalletToken, Refused>, Fault> {
        let reach = caller.credential.reach();
        let merchant = &caller.merchant.id;
        let scope = WalletScope::default();
        let Some(found) = self.card_within(merchant, reach, &scope, card).await? else {
            return Ok(Err(Refused::Unknown));
        };
        let asked = Asked {
            id: WalletTokenId::generate(&*self.entropy),
            merchant: merchant.clone(),
            card,
            indexes: self.pan_indexes(&found).await?,
            device,
            decision,
            at: self.now(),
            source: caller.source.clone(),
        };
        Ok(self.store.commit(asked).await?)
    }

    /// The token, and the card that it stands for.
    async fn token_within(
        &self,
        merchant: &MerchantId,
        sight: Sight,
        scope: &WalletScope,
        id: WalletTokenId,
    ) -> Result<Option<(ListedToken, Card)>, Fault> {
        let Some(listed) = self.store.wallet_token(merchant, &id).await? else {
            return Ok(None);
        };
        let card = listed.token.card;
        let within = self.card_within(merchant, sight, scope, card).await?;
        Ok(within.map(|card| (listed, card)))
    }

    /// What the tokens of the card's number are counted by.
    pub async fn pan_indexes(&self, card: &Card) -> Result<PanIndexes, Fault> {
        self.open(|| slot_of(card), |vault| vault.pan_indexes(card))
            .await
    }

    async fn card_within(
        &self,
        merchant: &MerchantId,
        sight: Sight,
        scope: &WalletScope,
        card: CardId,
    ) -> Result<Option<Card>, Fault> {
        let found = self.store.card(merchant, &CardRef::Id(card)).await?;
        let seen = |card: &Card| match sight {
            Sight::Any => true,
            Sight::Own(person) => card.person == person,
            Sight::Nothing => false,
        };
        Ok(found.filter(|card| seen(card) && scope.admits(card)))
    }

    /// Tells whether a card can go into a wallet.
    pub async fn check_wallet(&self, asked: &CheckWallet) -> Result<WalletChecked, Fault> {
        self.pass_gate()?;
        for _ in 0..ROUNDS_MAX {
            if let Some(checked) = self.check_once(asked).await? {
                return Ok(checked);
            }
        }
        Err(Fault::Contention)
    }

    /// `None` when the same key's other request came between, or a change of the card.
    async fn check_once(&self, asked: &CheckWallet) -> Result<Option<WalletChecked>, Fault> {
        let by = Thumbprint(asked.key.thumbprint());
        let key = asked.token.key();
        let Some(record) = self.store.token(&key).await? else {
            return Ok(Some(WalletChecked::Refused(Cause::Unknown)));
        };
        let lives = LivesOf::token(&record, &asked.app);
        let lives = self.store.lives(&lives).await?;
        if lives.wants_origin() && !asked.with_origin {
            return Ok(Some(WalletChecked::NoOrigin));
        }
        let redemption = match record.redemption_of(by) {
            Some(redemption) => redemption.clone(),
            None => RedemptionId::generate(&*self.entropy),
        };
        let mut claim = Claim {
            token: key,
            embed: asked.app.clone(),
            with_origin: asked.with_origin,
            by,
            operation: Operation::AddCardToWallet,
            fields: Fields::NONE,
            note: None,
            id: ClaimId::generate(&*self.entropy),
            attempt: AttemptId::generate(&*self.entropy),
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
            Some(given) => self.bring(given, &record, &mut claim, |_| true).await?,
            None => None,
        };
        let mut prepared = None;
        match early(&claim, &record, &lives) {
            // What cannot pass opens no card; the commit counts it.
            Verdict::Granted(_) if is_wrong(&claim) => claim.seen = seen,
            // Told in the commit, which knows the epoch and counts a refusal.
            Verdict::WantsFactor => {
                let card = CardRef::Id(record.card);
                let card = self.store.card(&record.merchant, &card).await?;
                claim.barred = card.is_none().then_some(Cause::CardState);
            }
            Verdict::Granted(_) => match self.look(asked, &record).await? {
                Ok((answer, card)) => {
                    claim.note = Some(note(&asked.device, &answer));
                    claim.seen = Some(card.state);
                    claim.person = Some(card.person);
                    prepared = Some(answer);
                }
                Err(cause) => claim.barred = Some(cause),
            },
            Verdict::Refused(cause) | Verdict::FactorRefused(cause) => claim.barred = Some(cause),
            Verdict::Superseded => return Ok(None),
        }
        Ok(match (self.claim(claim).await?, prepared) {
            (Verdict::Granted(_), Some(answer)) => Some(WalletChecked::Told(answer)),
            // Cannot be: what was not prepared was barred, and what is barred is not granted.
            (Verdict::Granted(_), None) => return Err(Fault::Contention),
            (Verdict::Refused(cause), _) => Some(WalletChecked::Refused(cause)),
            (Verdict::WantsFactor, _) => Some(WalletChecked::WantsFactor),
            (Verdict::FactorRefused(_), _) => Some(WalletChecked::FactorRefused),
            (Verdict::Superseded, _) => None,
        })
    }

    /// Everything that the answer rests on, before anything is claimed, and the card as it is then.
    async fn look(
        &self,
        asked: &CheckWallet,
        record: &Record,
    ) -> Result<Result<(WalletAnswer, Card), Cause>, Fault> {
        let Some(merchant) = self.store.merchant(&record.merchant).await? else {
            return Ok(Err(Cause::MerchantBarred));
        };
        let card = CardRef::Id(record.card);
        let Some(card) = self.store.card(&record.merchant, &card).await? else {
            return Ok(Err(Cause::CardState));
        };
        let indexes = self.pan_indexes(&card).await?;
        let census = self.store.wallet_census(&indexes, &asked.device).await?;
        let bin_enabled = match &merchant.wallets.bins {
            None => true,
            Some(bins) => {
                self.open(|| slot_of(&card), |vault| vault.begins_with(&card, bins))
                    .await?
            }
        };
        let facts = Facts {
            card: &card,
            rules: &merchant.wallets,
            wallet: asked.device.wallet,
            bin_enabled,
            census,
        };
        let answer = WalletAnswer {
            reasons: facts.reasons(),
            last_four: card.last_four,
            network: card.network,
            display_name: card.display_name(),
        };
        Ok(Ok((answer, card)))
    }
}

/// What was asked and told, for the audit record.
fn note(device: &Device, answer: &WalletAnswer) -> Cow<'static, str> {
    let told = match answer.reasons.as_slice() {
        [] => "eligible".to_owned(),
        reasons => {
            let names: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
            names.join(", ")
        }
    };
    let (wallet, kind) = (device.wallet.as_str(), device.device_type.as_str());
    format!("{wallet} on {kind}: {told}").into()
}
