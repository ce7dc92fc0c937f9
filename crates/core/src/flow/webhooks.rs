//! Subscriptions to events, and the messages of what is delivered to them.

use cardveil_seal::{Secret, sha256};

use super::keys::slot_of_secret;
use super::{Caller, Fault, Service};
use crate::audit::settings::changes;
use crate::audit::{Event, Kind, Source, Target, Topic};
use crate::card::CardRef;
use crate::clock::Time;
use crate::hook::delivery::CODE_PATIENCE;
use crate::hook::message::{self, Facts, Keys, Message, decode_secret, encode_secret};
use crate::hook::{Answer, Endpoint, Form, Patch, Patched, SUBSCRIPTIONS_MAX, Subscription};
use crate::id::{AccountId, CredentialId, DeliveryId, MerchantId, SubscriptionId};
use crate::keys::Slot;
use crate::port::{Change, DeliveryFilter, Due, Taken};
use crate::text::{CardNumberIn, NumberedField};
use crate::vault::SecretPlace;
use crate::verb::{Commit, DropDeliveries, ReplayDeliveries};

/// A subscription to be added.
pub struct NewSubscription {
    pub merchant: MerchantId,
    /// Of this account's cards only.
    pub account: Option<AccountId>,
    /// What messages look like.
    pub form: Form,
    /// Where they go.
    pub url: Endpoint,
    /// What it is told of.
    pub topics: Vec<Topic>,
    /// Whether it is told at once.
    pub enabled: bool,
    /// As its owner writes it: Equals' `sharedSecret`, `whsec_...` (made when left out), or
    /// KeySecure's Api-Key.
    pub secret: Option<Secret>,
    /// Sent as `Authorization`.
    pub authorization: Option<Secret>,
}

/// What to change of a subscription; what is `None` stays as it is.
#[derive(Default)]
pub struct SubscriptionChange {
    /// Of this account's cards only, or of all.
    pub account: Option<Option<AccountId>>,
    /// Where messages go.
    pub url: Option<Endpoint>,
    /// What it is told of.
    pub topics: Option<Vec<Topic>>,
    /// Whether it is told.
    pub enabled: Option<bool>,
    /// What messages are signed with, as in [`NewSubscription`].
    pub secret: Option<Option<Secret>>,
    /// What is sent as `Authorization`, or that nothing is.
    pub authorization: Option<Option<Secret>>,
}

/// Why a subscription cannot be as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionRefusal {
    /// The merchant has as many as it may.
    #[error("the merchant has {SUBSCRIPTIONS_MAX} subscriptions already")]
    TooMany,
    /// There is no such merchant, or no such subscription of it.
    #[error("there is no such merchant or subscription")]
    Unknown,
    /// No topic, or one that the form has no message for.
    #[error("topics: give at least one, and only those that the form has messages for")]
    Topics,
    /// The secret does not have the form's form.
    #[error("secret: must be whsec_ and the Base64 of 24 to 64 bytes")]
    Secret,
    /// The account's id could be a card number.
    #[error("{}", CardNumberIn(NumberedField::AccountId))]
    Account,
    /// The credential may not have what the subscription carries, or would.
    #[error("topics: the credential may not have one of them")]
    Scope,
    /// KeySecure: the Api-Key is missing, or not one of the merchant's.
    #[error("the Api-Key is not one of this merchant's")]
    ApiKey,
}

/// A subscription that was added, and the secret that was made for it, to be shown this once.
pub struct Subscribed {
    pub subscription: Subscription,
    /// Its secret's text, when we made it.
    pub made: Option<Secret>,
}

/// Which deliveries to queue once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    One(DeliveryId),
    /// All to a subscription of events that happened at or after a moment.
    Since(SubscriptionId, Time),
}

/// How many deliveries are queued once more in one commit, which all other writes wait for (P8).
const REPLAYED_TOGETHER: usize = 200;

/// How many deliveries to a subscription that is removed are deleted in one commit, which all other
/// writes wait for (P8).
const DROPPED_TOGETHER: usize = 500;

type Checked<T> = Result<Result<T, SubscriptionRefusal>, Fault>;

impl Service {
    /// Adds a subscription for a merchant's server, of topics that its credential may have.
    pub async fn subscribe_as(&self, caller: &Caller, new: NewSubscription) -> Checked<Subscribed> {
        let mut topics = new.topics.iter();
        if !topics.all(|topic| caller.credential.may_tell(*topic)) {
            return Ok(Err(SubscriptionRefusal::Scope));
        }
        self.subscribe(new, &caller.source).await
    }

    /// Changes a subscription for a merchant's server, whose credential may have what it carries
    /// and what it is to carry: whoever changes the address has the messages.
    pub async fn set_subscription_as(
        &self,
        caller: &Caller,
        id: SubscriptionId,
        asked: SubscriptionChange,
    ) -> Checked<Subscription> {
        let merchant = &caller.merchant.id;
        let Some(known) = self.subscription(merchant, id).await? else {
            return Ok(Err(SubscriptionRefusal::Unknown));
        };
        let mut topics = known.topics.iter().chain(asked.topics.iter().flatten());
        if !topics.all(|topic| caller.credential.may_tell(*topic)) {
            return Ok(Err(SubscriptionRefusal::Scope));
        }
        self.set_subscription(merchant, id, asked, &caller.source)
            .await
    }

    /// Adds a subscription.
    pub async fn subscribe(&self, new: NewSubscription, source: &Source) -> Checked<Subscribed> {
        if let Err(refusal) = self.check_account(new.account.as_ref()) {
            return Ok(Err(refusal));
        }
        let now = self.now();
        let mut subscription = Subscription {
            id: SubscriptionId::generate(&*self.entropy),
            merchant: new.merchant,
            account: new.account,
            form: new.form,
            url: new.url,
            topics: topics(new.topics),
            enabled: new.enabled,
            secret: None,
            authorization: None,
            credential: None,
            created_at: now,
            updated_at: now,
        };
        let made = match (new.form, &new.secret) {
            (Form::Standard, None) => {
                Some(encode_secret(&Secret::new(self.random::<32>().to_vec())))
            }
            (Form::Standard | Form::Equals | Form::KeySecure, _) => None,
        };
        let secret = new.secret.as_ref().or(made.as_ref());
        if let Err(refusal) = self.set_secret(&mut subscription, secret).await? {
            return Ok(Err(refusal));
        }
        self.set_authorization(&mut subscription, new.authorization.as_ref())?;
        if !told(&subscription) {
            return Ok(Err(SubscriptionRefusal::Topics));
        }
        let event = event_of(&subscription, Kind::WebhookAdded, source, now);
        let change = Change::AddSubscription(Box::new(subscription.clone()));
        Ok(match self.change(change, event).await? {
            Ok(()) => Ok(Subscribed { subscription, made }),
            Err(Taken::Full) => Err(SubscriptionRefusal::TooMany),
            Err(Taken::Exists | Taken::NoMerchant | Taken::Stale) => {
                Err(SubscriptionRefusal::Unknown)
            }
        })
    }

    fn check_account(&self, account: Option<&AccountId>) -> Result<(), SubscriptionRefusal> {
        let text = account.map(AccountId::as_str).unwrap_or_default();
        let checked = self.numbering.check(NumberedField::AccountId, text);
        checked.map_err(|_| SubscriptionRefusal::Account)
    }

    /// The merchant's subscription. Another merchant's is not found.
    pub async fn subscription(
        &self,
        merchant: &MerchantId,
        id: SubscriptionId,
    ) -> Result<Option<Subscription>, Fault> {
        let found = self.store.subscription(id).await?;
        Ok(found.filter(|subscription| subscription.merchant == *merchant))
    }

    /// Changes a merchant's subscription. Whose it is and its form never change, so what is new can
    /// be judged and sealed before the commit, which decides over the rest.
    pub async fn set_subscription(
        &self,
        merchant: &MerchantId,
        id: SubscriptionId,
        asked: SubscriptionChange,
        source: &Source,
    ) -> Checked<Subscription> {
        if let Err(refusal) = self.check_account(asked.account.as_ref().and_then(Option::as_ref)) {
            return Ok(Err(refusal));
        }
        let Some(mut next) = self.subscription(merchant, id).await? else {
            return Ok(Err(SubscriptionRefusal::Unknown));
        };
        let mut topics_asked = None;
        if let Some(asked) = asked.topics {
            next.topics = topics(asked);
            topics_asked = Some(next.topics.clone());
        }
        let mut secret = None;
        if let Some(asked) = &asked.secret {
            if let Err(refusal) = self.set_secret(&mut next, asked.as_ref()).await? {
                return Ok(Err(refusal));
            }
            secret = Some((next.secret.clone(), next.credential.clone()));
        }
        let mut authorization = None;
        if let Some(asked) = &asked.authorization {
            self.set_authorization(&mut next, asked.as_ref())?;
            authorization = Some(next.authorization.clone());
        }
        if !told(&next) {
            return Ok(Err(SubscriptionRefusal::Topics));
        }
        let at = self.now();
        let patch = Patch {
            event: event_of(&next, Kind::WebhookChanged, source, at),
            merchant: next.merchant,
            id,
            account: asked.account,
            url: asked.url,
            topics: topics_asked,
            enabled: asked.enabled,
            secret,
            authorization,
            at,
        };
        Ok(match self.store.commit(patch).await? {
            Patched::Done(next) => Ok(*next),
            Patched::Unknown => Err(SubscriptionRefusal::Unknown),
        })
    }

    /// Removes a merchant's subscription and what waits for it. It is disabled first, with a record
    /// that says what for: then nothing new is queued, and it is emptied a bounded piece at a time.
    /// Should it end half-way, the subscription is still there, and can be removed again.
    pub async fn unsubscribe(
        &self,
        merchant: &MerchantId,
        id: SubscriptionId,
        source: &Source,
    ) -> Checked<()> {
        let Some(known) = self.subscription(merchant, id).await? else {
            return Ok(Err(SubscriptionRefusal::Unknown));
        };
        let at = self.now();
        let mut event = event_of(&known, Kind::WebhookChanged, source, at);
        event.detail.note = Some("disabled to be removed, with all that is queued for it".into());
        let disable = Patch {
            merchant: known.merchant.clone(),
            id,
            account: None,
            url: None,
            topics: None,
            enabled: Some(false),
            secret: None,
            authorization: None,
            at,
            event,
        };
        match self.store.commit(disable).await? {
            Patched::Done(_) => {}
            Patched::Unknown => return Ok(Err(SubscriptionRefusal::Unknown)),
        }
        while self
            .store
            .commit(DropDeliveries {
                subscription: id,
                limit: DROPPED_TOGETHER,
            })
            .await?
            == DROPPED_TOGETHER
        {}
        let mut event = event_of(&known, Kind::WebhookRemoved, source, at);
        event.detail.changes = changes(Some(&known), None);
        let change = Change::RemoveSubscription(id);
        let removed = self.change(change, event).await?;
        Ok(removed.map_err(|_| SubscriptionRefusal::Unknown))
    }

    /// Queues deliveries once more; tells how many. Each commit records who did that, and to how
    /// many. Should it end half-way, it can be done again.
    pub async fn replay(&self, replay: Replay, source: &Source) -> Result<usize, Fault> {
        let at = self.now();
        let (subscription, since) = match replay {
            Replay::One(id) => {
                return Ok(self
                    .store
                    .commit(ReplayDeliveries {
                        deliveries: vec![id],
                        at,
                        source: source.clone(),
                    })
                    .await?);
            }
            Replay::Since(subscription, since) => (Some(subscription), Some(since)),
        };
        let filter = DeliveryFilter {
            subscription,
            since,
            ..DeliveryFilter::default()
        };
        let (mut after, mut replayed) = (None, 0);
        loop {
            let page = self
                .store
                .deliveries(&filter, after, REPLAYED_TOGETHER)
                .await?;
            after = page.last().map(|last| (last.seq, last.id));
            let more = page.len() == REPLAYED_TOGETHER;
            let ids: Vec<_> = page.iter().map(|delivery| delivery.id).collect();
            if !ids.is_empty() {
                replayed += self
                    .store
                    .commit(ReplayDeliveries {
                        deliveries: ids,
                        at,
                        source: source.clone(),
                    })
                    .await?;
            }
            if !more {
                return Ok(replayed);
            }
        }
    }

    /// The message of a delivery, made now; or how the attempt ends without one.
    pub async fn message(&self, due: &Due) -> Result<Result<Message, Answer>, Fault> {
        let subscription = &due.subscription;
        let merchant = &subscription.merchant;
        let card = match due.event.target.card {
            Some(id) => self.store.card(merchant, &CardRef::Id(id)).await?,
            None => None,
        };
        let code = match due.delivery.topic {
            Topic::MfaCode => self.one_time_code(&due.event)?,
            Topic::CardState | Topic::WalletToken | Topic::RevealConflict => None,
        };
        let keys = self.keys_of(subscription).await?;
        if subscription.form == Form::KeySecure && keys.api_secret.is_none() {
            // Its credential is gone. It may be told to another, so this is tried again.
            return Ok(Err(Answer::Unprepared));
        }
        let facts = Facts {
            delivery: &due.delivery,
            event: &due.event,
            card: card.as_ref(),
            code: code.as_ref(),
            now: self.now(),
        };
        Ok(message::message(subscription.form, &facts, keys).ok_or(Answer::Gone))
    }

    /// The code that a person asked for, while its session lasts.
    fn one_time_code(&self, event: &Event) -> Result<Option<Secret>, Fault> {
        let lasts = self.now() < event.at.plus(CODE_PATIENCE);
        let session = event.target.session.filter(|_| lasts);
        session.map(|session| self.otp_code(&session)).transpose()
    }

    async fn keys_of(&self, subscription: &Subscription) -> Result<Keys, Fault> {
        let (id, merchant) = (&subscription.id, &subscription.merchant);
        let slot = || Slot::WebhookSecret(*id, merchant.clone());
        let place = SecretPlace::webhook_secret(id, merchant);
        let secret = match &subscription.secret {
            Some(sealed) => Some(
                self.open(slot, |vault| vault.open_at(&place, sealed))
                    .await?,
            ),
            None => None,
        };
        let slot = || Slot::WebhookAuthorization(*id, merchant.clone());
        let place = SecretPlace::webhook_authorization(id, merchant);
        let authorization = match &subscription.authorization {
            Some(sealed) => Some(
                self.open(slot, |vault| vault.open_at(&place, sealed))
                    .await?,
            ),
            None => None,
        };
        let api_secret = match (subscription.form, &secret) {
            (Form::KeySecure, Some(api_key)) => self.api_secret_of(api_key).await?,
            (Form::KeySecure | Form::Equals | Form::Standard, _) => None,
        };
        Ok(Keys {
            secret,
            api_secret,
            authorization,
        })
    }

    async fn api_secret_of(&self, api_key: &Secret) -> Result<Option<Secret>, Fault> {
        let hash = sha256(&[api_key.expose()]);
        let Some(admission) = self.store.admission(&hash).await? else {
            return Ok(None);
        };
        let credential = admission.credential;
        let sealed = &credential.sealed_secret;
        let (id, merchant) = (&credential.id, &credential.merchant);
        let opened = self
            .open(
                || slot_of_secret(&credential),
                |vault| vault.open_secret(id, merchant, sealed),
            )
            .await?;
        Ok(Some(opened))
    }

    async fn set_secret(
        &self,
        subscription: &mut Subscription,
        secret: Option<&Secret>,
    ) -> Checked<()> {
        let key = match (subscription.form, secret) {
            (Form::Equals, None) => {
                subscription.secret = None;
                return Ok(Ok(()));
            }
            (Form::Equals, Some(secret)) => Secret::new(secret.expose().to_vec()),
            (Form::Standard, None) => return Ok(Err(SubscriptionRefusal::Secret)),
            (Form::Standard, Some(secret)) => {
                let text = std::str::from_utf8(secret.expose()).unwrap_or_default();
                match decode_secret(text) {
                    Ok(key) => key,
                    Err(_) => return Ok(Err(SubscriptionRefusal::Secret)),
                }
            }
            (Form::KeySecure, None) => return Ok(Err(SubscriptionRefusal::ApiKey)),
            (Form::KeySecure, Some(api_key)) => {
                let merchant = &subscription.merchant;
                let Some(credential) = self.credential_of(merchant, api_key).await? else {
                    return Ok(Err(SubscriptionRefusal::ApiKey));
                };
                subscription.credential = Some(credential);
                Secret::new(api_key.expose().to_vec())
            }
        };
        let place = SecretPlace::webhook_secret(&subscription.id, &subscription.merchant);
        subscription.secret = Some(self.vault.seal_at(&place, key.expose())?);
        Ok(Ok(()))
    }

    async fn credential_of(
        &self,
        merchant: &MerchantId,
        api_key: &Secret,
    ) -> Result<Option<CredentialId>, Fault> {
        let admission = self.store.admission(&sha256(&[api_key.expose()])).await?;
        let credential = admission.map(|admission| admission.credential);
        Ok(credential
            .filter(|credential| credential.merchant == *merchant)
            .map(|credential| credential.id))
    }

    fn set_authorization(
        &self,
        subscription: &mut Subscription,
        authorization: Option<&Secret>,
    ) -> Result<(), Fault> {
        let place = SecretPlace::webhook_authorization(&subscription.id, &subscription.merchant);
        let sealed = authorization.map(|text| self.vault.seal_at(&place, text.expose()));
        subscription.authorization = sealed.transpose()?;
        Ok(())
    }
}

/// Each once, in one order.
fn topics(mut asked: Vec<Topic>) -> Vec<Topic> {
    asked.sort_unstable();
    asked.dedup();
    asked
}

fn told(subscription: &Subscription) -> bool {
    let mut topics = subscription.topics.iter();
    !subscription.topics.is_empty() && topics.all(|topic| subscription.form.tells(*topic))
}

fn event_of(subscription: &Subscription, kind: Kind, source: &Source, at: Time) -> Event {
    let target = Target {
        subscription: Some(subscription.id),
        ..Target::default()
    };
    source.event(at, kind, Some(subscription.merchant.clone()), target)
}
