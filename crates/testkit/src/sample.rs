//! Samples: the smallest honest value of each type that a store takes.

use std::time::Duration;

use cardveil_core::audit::{Event, Kind as EventKind, Origin, Source, Target, Topic};
use cardveil_core::card::{
    Attributes, Card, CardNumber, CardRef, CardholderName, Cvv, Expiry, Field, Fields, Kind, Label,
    LastFour, Network, PanIndexes, PinRelease, PinSetting, SealedCard, SealedCvv, SealedPin, State,
    Transition,
};
use cardveil_core::clock::Time;
use cardveil_core::flow::NewCard;
use cardveil_core::hook::{Endpoint, Form, Patch, Subscription};
use cardveil_core::id::{
    AccountId, AttemptId, CardId, CardNo, ClaimId, CredentialId, DeviceId, EmbedId, MerchantId,
    PersonId, RedemptionId, SubscriptionId, WalletTokenId,
};
use cardveil_core::merchant::allowlist::Allowlist;
use cardveil_core::merchant::{
    Credential, CredentialState, Embed, Merchant, MerchantState, Permissions, Scope, SealedSecret,
};
use cardveil_core::mfa::MfaPolicy;
use cardveil_core::port::Change;
use cardveil_core::token::{
    self, Claim, CredentialLife, EmbedLife, Epoch, Issue, Lives, MerchantLife, Operation, Record,
    TTL, Thumbprint, TokenHash, TokenKey,
};
use cardveil_core::vault::ClearCard;
use cardveil_core::wallet::{self, Device, DeviceType, Wallet, WalletRules};
use cardveil_seal::Class;

/// When the samples happen: 2026-01-01T00:00:00Z.
pub const START: Time = Time::from_millis(1_767_225_600_000);

/// Ids in the samples are valid by construction.
fn id<T, E: std::fmt::Debug>(parsed: Result<T, E>) -> T {
    #[expect(
        clippy::expect_used,
        reason = "constants of the tests, checked by every run"
    )]
    parsed.expect("a sample id is valid")
}

/// Merchant number `n`.
pub fn merchant(n: u8) -> Merchant {
    Merchant {
        id: id(MerchantId::parse(&format!("mer_{n}"))),
        name: format!("Merchant {n}"),
        state: MerchantState::Active,
        pci_enabled: true,
        permissions: Permissions {
            export: true,
            read_pins: true,
            set_pins: true,
        },
        wallets: WalletRules::default(),
        mfa: MfaPolicy::default(),
        created_at: START,
    }
}

/// Credential number `n` of merchant `n`; the SHA-256 of its Api-Key is `n` 32 times.
pub fn credential(n: u8) -> Credential {
    Credential {
        id: id(CredentialId::parse(&format!("crd_{n}"))),
        merchant: merchant(n).id,
        key_hash: [n; 32],
        sealed_secret: SealedSecret {
            dek: vec![n; 8],
            sealed: vec![n; 16],
        },
        allowed_ips: Allowlist::of([id("127.0.0.0/8".parse())], START),
        ip_ceiling: None,
        client_certificates: vec![],
        scopes: vec![Scope::CardsReadAny],
        inherited: false,
        person: Some(PersonId::from_bytes([n; 16])),
        state: CredentialState::Enabled,
        expires_at: Some(Time::from_millis(START.millis() + 1_000_000)),
        created_at: START,
    }
}

/// Embed number `n` of merchant `n`.
pub fn embed(n: u8) -> Embed {
    Embed {
        id: id(EmbedId::parse(&format!("emb_{n}"))),
        merchant: merchant(n).id,
        origins: vec!["https://shop.example".to_owned()],
        copy_cvv: false,
        transparent: false,
        enabled: true,
        created_at: START,
    }
}

/// Card number `n` of merchant 1, with bytes that are no real ciphertexts.
pub fn card(n: u8) -> Card {
    Card {
        id: CardId::from_bytes([n; 16]),
        no: id(CardNo::parse(&format!("C{n}"))),
        merchant: merchant(1).id,
        account: id(AccountId::parse("F50091")),
        person: PersonId::from_bytes([1; 16]),
        kind: Kind::Virtual,
        state: State::Active,
        network: Network::Visa,
        last_four: id(LastFour::try_from(format!("{n:04}"))),
        label: format!("Card {n}"),
        attributes: Attributes {
            product: Some(format!("product-{n}")),
            unique_no: Some(format!("unique-{n}")),
            holder_no: Some(format!("holder-{n}")),
        },
        sealed: SealedCard {
            dek: dek(n, Class::Pan),
            pan: vec![n; 45],
            expiry: vec![n; 35],
            name: vec![n; 40],
            cvv: Some(SealedCvv {
                dek: dek(n, Class::Cvv),
                cvv: vec![n; 32],
            }),
            pin: Some(pin(n)),
            pan_index: [n; 32],
            index_key: 2,
        },
        created_at: START,
        updated_at: START.plus(Duration::from_millis(1)),
    }
}

/// What is sealed of a card, in clear.
pub fn clear_card() -> ClearCard {
    ClearCard {
        number: card_number(),
        expiry: id(Expiry::new(12, 2030)),
        name: id(CardholderName::parse("A CARDHOLDER")),
        cvv: Some(id(Cvv::parse("739", Network::Visa))),
    }
}

/// Card number `n` of merchant 1, to be added: without an attribute that it can be without.
pub fn new_card(n: u8) -> NewCard {
    let card = card(n);
    NewCard {
        id: Some(card.id),
        no: card.no,
        merchant: card.merchant,
        account: card.account,
        person: card.person,
        kind: card.kind,
        state: card.state,
        label: id(Label::parse(&card.label)),
        attributes: Attributes::default(),
        clear: clear_card(),
    }
}

/// A wrapped DEK of a class, which is no real ciphertext.
fn dek(n: u8, class: Class) -> Vec<u8> {
    let mut dek = vec![n; 60];
    dek.push(class.code());
    dek
}

/// Sealed PIN number `n`, which is no real ciphertext.
pub fn pin(n: u8) -> SealedPin {
    SealedPin {
        dek: dek(n, Class::Pin),
        pin: vec![n; 33],
    }
}

/// The wish that merchant 1's card `card` have PIN number `n`.
pub fn pin_setting(card: u8, n: u8) -> PinSetting {
    PinSetting {
        merchant: merchant(1).id,
        card: CardRef::Id(CardId::from_bytes([card; 16])),
        pin: pin(n),
        physical_only: false,
        mfa: None,
        charge: None,
        event: event(EventKind::PinSet, START),
    }
}

/// The release of merchant 1's card `card`'s PIN.
pub fn pin_release(card: u8, opened: Option<SealedPin>) -> PinRelease {
    PinRelease {
        merchant: merchant(1).id,
        card: CardRef::Id(CardId::from_bytes([card; 16])),
        opened,
        mfa: None,
        charge: None,
        event: Some(event(EventKind::PinReleased, START)),
    }
}

/// The published Visa test number.
pub fn card_number() -> CardNumber {
    id(CardNumber::parse("4111111111111111"))
}

/// An event of this kind at this moment, by the server.
pub fn event(kind: EventKind, at: Time) -> Event {
    let target = Target {
        resource: Some("sample".into()),
        ..Target::default()
    };
    Source::server().event(at, kind, None, target)
}

/// A change with its event, which names what it is of.
pub fn recorded(change: Change) -> (Change, Event) {
    let of = |kind| event(kind, START);
    let mut event = match &change {
        Change::AddMerchant(_) => of(EventKind::MerchantAdded),
        Change::SetMerchant(_) => of(EventKind::MerchantChanged),
        Change::AddCredential(_) => of(EventKind::CredentialAdded),
        Change::SetCredential(_) => of(EventKind::CredentialChanged),
        Change::AddEmbed(_) => of(EventKind::EmbedAdded),
        Change::SetEmbed(_) => of(EventKind::EmbedChanged),
        Change::AddCard(_) => of(EventKind::CardAdded),
        Change::AddSubscription(_) => of(EventKind::WebhookAdded),
        Change::RemoveSubscription(_) => of(EventKind::WebhookRemoved),
    };
    let target = &mut event.target;
    match &change {
        Change::AddMerchant(new) => event.merchant = Some(new.id.clone()),
        Change::SetMerchant(set) => event.merchant = Some(set.to.id.clone()),
        Change::AddCredential(new) => target.credential = Some(new.id.clone()),
        Change::SetCredential(set) => target.credential = Some(set.to.id.clone()),
        Change::AddEmbed(new) => target.embed = Some(new.id.clone()),
        Change::SetEmbed(set) => target.embed = Some(set.to.id.clone()),
        Change::AddCard(new) => target.card = Some(new.id),
        Change::AddSubscription(new) => target.subscription = Some(new.id),
        Change::RemoveSubscription(id) => target.subscription = Some(*id),
    }
    (change, event)
}

pub fn operator() -> Source {
    Source::operator("tester".to_owned())
}

/// Token number `n` of merchant 1's card 1, issued at `at` in `epoch`.
pub fn record(n: u8, at: Time, epoch: Epoch) -> Record {
    Record {
        key: TokenKey {
            issued_secs: at.secs_u32(),
            hash: TokenHash([n; 32]),
        },
        epoch,
        merchant: merchant(1).id,
        credential: credential(1).id,
        card: card(1).id,
        operation: Operation::ViewCard,
        allowed: Fields::ALL,
        bound_to: None,
        embed: None,
        issued_at: at,
        expires_at: at.plus(TTL),
        conflict: false,
        refusals: 0,
        state: token::State::Issued,
    }
}

/// The issue of [`record`].
pub fn issue(n: u8, at: Time, epoch: Epoch) -> Issue {
    Issue {
        record: record(n, at, epoch),
        event: event(EventKind::TokenIssued, at),
        idempotency: None,
        mfa: None,
        charge: None,
    }
}

/// A network origin.
pub fn origin() -> Origin {
    Origin::Network {
        ip: Some(std::net::IpAddr::from([192, 0, 2, 7])),
        request: "req-1".into(),
    }
}

/// A claim of token `n` by key number `key`, under redemption number `key`, at `at`.
pub fn claim(record: &Record, key: u8, fields: &[Field], at: Time) -> Claim {
    Claim {
        token: record.key,
        embed: embed(1).id,
        with_origin: true,
        by: Thumbprint([key; 32]),
        operation: record.operation,
        fields: fields.iter().copied().collect(),
        note: None,
        id: ClaimId::from_bytes([key; 16]),
        attempt: AttemptId::from_bytes([key; 16]),
        redemption: redemption(key),
        person: Some(card(1).person),
        barred: None,
        seen: Some(State::Active),
        answered: None,
        step: None,
        at,
        origin: origin(),
    }
}

/// What the tokens of merchant 1 live by.
pub fn lives() -> Lives {
    let (credential, merchant, embed) = (credential(1), merchant(1), embed(1));
    Lives {
        credential: Some(CredentialLife {
            state: credential.state,
            expires_at: credential.expires_at,
            scopes: credential.scopes,
            person: credential.person,
        }),
        merchant: Some(MerchantLife {
            state: merchant.state,
            pci_enabled: merchant.pci_enabled,
        }),
        embed: Some(EmbedLife {
            merchant: embed.merchant,
            enabled: embed.enabled,
            is_web: !embed.origins.is_empty(),
        }),
    }
}

/// Redemption number `n`.
pub fn redemption(n: u8) -> RedemptionId {
    id(RedemptionId::parse(&format!("rdm_{n}")))
}

/// Subscription number `n` of merchant 1, to cards' states, in the form of Standard Webhooks.
pub fn subscription(n: u8) -> Subscription {
    Subscription {
        id: SubscriptionId::from_bytes([n; 16]),
        merchant: merchant(1).id,
        account: None,
        form: Form::Standard,
        url: id(Endpoint::parse("https://hooks.example/cards")),
        topics: vec![Topic::CardState],
        enabled: true,
        secret: Some(SealedSecret {
            dek: vec![n; 61],
            sealed: vec![n; 61],
        }),
        authorization: None,
        credential: None,
        created_at: START,
        updated_at: START,
    }
}

/// A change of subscription `n` of merchant 1 that changes nothing yet.
pub fn patch(n: u8, at: Time) -> Patch {
    Patch {
        merchant: merchant(1).id,
        id: SubscriptionId::from_bytes([n; 16]),
        account: None,
        url: None,
        topics: None,
        enabled: None,
        secret: None,
        authorization: None,
        at,
        event: event(EventKind::WebhookChanged, at),
    }
}

/// The event of a change of the state of merchant 1's card `n`, which merchants are told of.
pub fn moved(n: u8, to: State, at: Time) -> Event {
    let target = Target {
        card: Some(card(n).id),
        ..Target::default()
    };
    let merchant = Some(merchant(1).id);
    let mut event = Source::server().event(at, EventKind::CardChanged, merchant, target);
    event.detail.from = Some(State::Active.as_str().into());
    event.detail.to = Some(to.as_str().into());
    event
}

/// The server's wish that card `n` go to `to`; from active, [`moved`] is its event.
pub fn transition(n: u8, to: State, at: Time) -> Transition {
    Transition {
        merchant: merchant(1).id,
        card: CardRef::Id(card(n).id),
        to,
        from: None,
        reason: None,
        at,
        source: Source::server(),
    }
}

/// Device number `n`, a phone with Apple Pay.
pub fn device(n: u8) -> Device {
    Device {
        wallet: Wallet::ApplePay,
        device_type: DeviceType::MobilePhone,
        device_id: id(DeviceId::parse(&format!("device-{n}"))),
    }
}

/// A request for wallet token number `n` of merchant 1's card 1 on device `n`, granted.
pub fn wallet_asked(n: u8, at: Time) -> wallet::Asked {
    wallet::Asked {
        id: WalletTokenId::from_bytes([n; 16]),
        merchant: merchant(1).id,
        card: card(1).id,
        indexes: pan_indexes(1),
        device: device(n),
        decision: wallet::Decision::Green,
        at,
        source: operator(),
    }
}

/// The index of card `n`'s number, under the one version of the key.
pub fn pan_indexes(n: u8) -> PanIndexes {
    PanIndexes([card(n).sealed.pan_index; 2])
}

/// A step of wallet token number `n` of merchant 1.
pub fn wallet_change(n: u8, step: wallet::Step, at: Time) -> wallet::Change {
    wallet::Change {
        merchant: merchant(1).id,
        id: WalletTokenId::from_bytes([n; 16]),
        indexes: pan_indexes(1),
        step,
        reason: None,
        at,
        source: operator(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that forgets a column, or takes one for another, gives another card back. A new
    /// field does not compile here until it is named.
    #[test]
    fn the_sample_card_leaves_no_field_out() {
        let Card {
            id,
            no,
            merchant,
            account,
            person,
            kind: _,
            state: _,
            network: _,
            last_four,
            label,
            attributes,
            sealed:
                SealedCard {
                    dek,
                    pan,
                    expiry,
                    name,
                    cvv,
                    pin,
                    pan_index,
                    index_key,
                },
            created_at,
            updated_at,
        } = card(7);
        let SealedCvv { dek: cvv_dek, cvv } = cvv.unwrap();
        let SealedPin { dek: pin_dek, pin } = pin.unwrap();
        let texts = [
            no.as_str().to_owned(),
            merchant.as_str().to_owned(),
            account.as_str().to_owned(),
            last_four.as_str().to_owned(),
            label,
        ];
        let attributes = attributes.all().map(|(_, text)| text.unwrap().to_owned());
        let texts: Vec<_> = texts.into_iter().chain(attributes).collect();
        for (place, text) in texts.iter().enumerate() {
            assert!(!text.is_empty() && !texts[..place].contains(text), "{text}");
        }
        let sealed = [dek, pan, expiry, name, cvv_dek, cvv, pin_dek, pin];
        for (place, bytes) in sealed.iter().enumerate() {
            assert!(
                !bytes.is_empty() && !sealed[..place].contains(bytes),
                "{place}"
            );
        }
        assert_ne!(pan_index, [0; 32]);
        assert_ne!(index_key, 1, "the one that stores do not write");
        assert_ne!(id.as_bytes(), person.as_bytes());
        assert_ne!(created_at, updated_at);
    }
}
