//! Personal values beside the chain: what stands in it of them, what a hand in either is found by,
//! and that the chain stays whole without them.

use std::collections::BTreeSet;
use std::sync::Arc;

use cardveil_core::Entropy;
use cardveil_core::audit::chain::{Chained, Finding, Flaw, Link, Verifier};
use cardveil_core::audit::personal::{Form, MEMBERS, SETTINGS, Salts, Written};
use cardveil_core::audit::refused::{Denied, RefusedCalls};
use cardveil_core::audit::settings::Settings as _;
use cardveil_core::audit::{
    Actor, Detail, Event, FieldChange, Kind, Origin, Outcome, Target, exported,
};
use cardveil_core::card::Fields;
use cardveil_core::id::{
    AttemptId, CardId, ChainId, EmbedId, SessionId, SubscriptionId, WalletTokenId,
};
use cardveil_core::mfa::Purpose;
use cardveil_core::token::TokenHash;
use cardveil_seal::{SeededEntropy, sha256};
use cardveil_testkit::sample::{self, START};
use serde_json::{Value, json};

/// What no entry of form 2 may hold.
const PERSONAL: [&str; 9] = [
    "alice (uid 1000)",
    "192.0.2.77",
    "0d9f0a3e-6b0f-4c53-9a9c-0d1f6e0f7a11",
    "attested-by-alice",
    "alice asked for it",
    "phone of alice",
    "198.51.100.0/24",
    "alice before",
    "alice after",
];

/// An event with every member that there is: a new one does not compile until it stands here, and
/// then it is personal and in [`MEMBERS`], or not.
fn full() -> Event {
    let [
        operator,
        ip,
        person,
        attested,
        reason,
        note,
        from,
        was,
        became,
    ] = PERSONAL;
    Event {
        at: START,
        kind: Kind::CardChanged,
        actor: Actor::Operator(Some(operator.to_owned())),
        origin: Origin::Network {
            ip: ip.parse().ok(),
            request: "req-1".into(),
        },
        outcome: Outcome::Failure,
        merchant: Some(sample::merchant(1).id),
        target: Target {
            card: Some(CardId::from_bytes([1; 16])),
            token: Some(TokenHash([2; 32])),
            redemption: Some(sample::redemption(3)),
            credential: Some(sample::credential(1).id),
            embed: Some(EmbedId::parse("emb_1").unwrap()),
            person: Some(person.parse().unwrap()),
            session: Some(SessionId::from_bytes([4; 16])),
            wallet_token: Some(WalletTokenId::from_bytes([5; 16])),
            subscription: Some(SubscriptionId::from_bytes([6; 16])),
            resource: Some("card".into()),
            version: Some(7),
        },
        detail: Detail {
            operation: Some(Purpose::ALL[0]),
            fields: Some(Fields::ALL),
            cause: None,
            attested: Some(attested.to_owned()),
            claimed_verification: None,
            attempt: Some(AttemptId::from_bytes([8; 16])),
            claim: true,
            visibility: None,
            from: Some("active".into()),
            to: Some("frozen".into()),
            reason: Some(reason.to_owned()),
            note: Some(note.into()),
            changes: vec![
                change("name", Some(was), Some(became)),
                change("ip_ceiling", None, Some(became)),
                change("mfa.view_card", Some("required"), Some("off")),
            ],
            refused: Some(Box::new(RefusedCalls {
                cause: Some(Denied::Address),
                calls: 2,
                first_at: START,
                last_at: START,
                from: from.parse().ok(),
                certificate: None,
            })),
            checkpoint: None,
        },
    }
}

fn change(field: &'static str, from: Option<&str>, to: Option<&str>) -> FieldChange {
    FieldChange {
        field: field.into(),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
    }
}

fn salts(seed: u64) -> Salts {
    Salts::new(Arc::new(SeededEntropy::new(seed)))
}

fn append(log: &mut Vec<Chained>, event: &Event, form: Form) {
    let start = Link::start(ChainId::from_bytes([7; 16]));
    let last = log.last().map_or(start, |entry| entry.link);
    let seed = u64::try_from(log.len()).unwrap();
    let Written { stored, personal } = event.write(form, &mut salts(seed)).unwrap();
    log.push(Chained {
        seq: i64::try_from(log.len()).unwrap() + 1,
        link: last.next(stored.as_bytes()),
        stored,
        personal,
    });
}

/// Six entries, of which the first two are of form 1.
fn log() -> Vec<Chained> {
    let mut log = Vec::new();
    for n in 0..6 {
        append(&mut log, &full(), if n < 2 { Form::One } else { Form::Two });
    }
    log
}

fn verdict(log: &[Chained]) -> Result<u64, Finding> {
    let mut verifier = Verifier::whole(Vec::new());
    log.iter().try_for_each(|entry| verifier.look(entry))?;
    Ok(verifier.count())
}

/// How many entries have lost values.
fn erased(log: &[Chained]) -> u64 {
    let mut verifier = Verifier::whole(Vec::new());
    log.iter()
        .try_for_each(|entry| verifier.look(entry))
        .unwrap();
    verifier.erased()
}

fn at(seq: i64, flaw: Flaw) -> Result<u64, Finding> {
    Err(Finding { seq, flaw })
}

fn one() -> Chained {
    log().remove(3)
}

fn opened(entry: &Chained) -> Value {
    serde_json::from_str(entry.personal.as_ref().unwrap()).unwrap()
}

/// The values beside the fourth entry, changed.
fn beside(change: impl FnOnce(&mut Value)) -> Vec<Chained> {
    let mut log = log();
    let mut personal = opened(&log[3]);
    change(&mut personal);
    log[3].personal = Some(personal.to_string());
    log
}

#[test]
fn what_the_chain_holds_names_nobody() {
    let entry = one();
    assert!(entry.stored.starts_with("{\"form\":2,\"at\":"), "{entry:?}");
    let personal = entry.personal.clone().unwrap();
    for value in PERSONAL {
        assert!(!entry.stored.contains(value), "{value}: {}", entry.stored);
        assert!(personal.contains(value), "{value}: {personal}");
    }
    let stored: Value = serde_json::from_str(&entry.stored).unwrap();
    assert_eq!(stored["target"]["version"], 7, "the row's version is there");
    let loosened = json!({"field": "mfa.view_card", "from": "required", "to": "off"});
    assert_eq!(
        stored["detail"]["changes"][2], loosened,
        "nobody can erase it"
    );
    let committed = stored["commitments"].as_object().unwrap();
    assert_eq!(committed.len(), MEMBERS.len() + 3, "{committed:?}");
    let read = entry.entry().unwrap();
    assert_eq!((read.event, read.erased), (full(), vec![]));
    let record = exported(&entry);
    assert_eq!(record["origin"]["network"]["ip"], PERSONAL[1]);
    assert_eq!(record["detail"]["changes"][1]["to"], PERSONAL[8]);
    assert_eq!(record.get("erased"), None);
    assert_eq!(record.get("commitments"), None);
}

/// Each setting is decided on: a new one does not pass until it stands here, or in [`SETTINGS`].
#[test]
fn every_setting_is_personal_or_not() {
    const OTHERS: [&str; 31] = [
        "api_key",
        "api_secret",
        "authorization",
        "client_certificates",
        "copy_cvv",
        "credential",
        "enabled",
        "expires_at",
        "form",
        "host",
        "inherited",
        "mfa.add_card_to_wallet",
        "mfa.factors.accepts",
        "mfa.factors.fallback",
        "mfa.set_pin",
        "mfa.view_card",
        "mfa.view_pin",
        "origins",
        "pci_enabled",
        "permissions.export",
        "permissions.read_pins",
        "permissions.set_pins",
        "scopes",
        "secret",
        "state",
        "topics",
        "transparent",
        "url",
        "wallets",
        "wallets.bins",
        "wallets.products",
    ];
    let rows = [
        sample::merchant(1).settings(),
        sample::credential(1).settings(),
        sample::embed(1).settings(),
        sample::subscription(1).settings(),
    ];
    let names: BTreeSet<_> = rows.iter().flatten().map(|(name, _)| *name).collect();
    assert_eq!(names, OTHERS.into_iter().chain(SETTINGS).collect());
}

/// What was committed to today is verified in years, by any program.
#[test]
fn a_commitment_is_of_these_bytes() {
    let mut event = sample::event(Kind::AuditRead, START);
    event.detail.reason = Some("why".to_owned());
    let mut salt = [0; 1_024];
    SeededEntropy::new(1).fill(&mut salt);
    // The first salt is drawn for an event that is put together.
    let salt = &salt[16..32];
    let Written { stored, personal } = event.write(Form::Two, &mut salts(1)).unwrap();
    let parts = [
        b"cardveil/personal/v1".as_slice(),
        salt,
        b"reason",
        &[0],
        b"why",
    ];
    let text = |bytes: &[u8]| {
        use base64::Engine as _;
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
    };
    assert_eq!(
        stored,
        json!({
            "form": 2,
            "at": START.millis(),
            "kind": "audit.read",
            "actor": "system",
            "origin": "server",
            "outcome": "success",
            "target": {"resource": "sample"},
            "detail": {},
            "commitments": {"reason": text(&sha256(&parts))},
        })
        .to_string()
    );
    let personal: Value = serde_json::from_str(&personal.unwrap()).unwrap();
    assert_eq!(personal, json!({"reason": [text(salt), "why"]}));
}

#[test]
fn a_chain_goes_on_in_form_2_and_not_back() {
    let mut log = log();
    assert_eq!(verdict(&log), Ok(6));
    let first = &log[2];
    let under_the_first_label = [
        b"cardveil/audit-chain/v1".as_slice(),
        &[7; 16],
        &3_u64.to_be_bytes(),
        &log[1].link.hash.0,
        &u64::try_from(first.stored.len()).unwrap().to_be_bytes(),
        first.stored.as_bytes(),
    ];
    assert_ne!(first.link.hash.0, sha256(&under_the_first_label));
    append(&mut log, &full(), Form::One);
    assert_eq!(verdict(&log), at(7, Flaw::EarlierForm));
}

#[test]
fn an_edited_commitment_is_found() {
    let mut edited = log();
    let commitment = |entry: &Chained| {
        let stored: Value = serde_json::from_str(&entry.stored).unwrap();
        stored["commitments"]["ip"].as_str().unwrap().to_owned()
    };
    let (old, new) = (commitment(&edited[3]), commitment(&edited[4]));
    edited[3].stored = edited[3].stored.replace(&old, &new);
    assert_eq!(verdict(&edited), at(4, Flaw::Edited));
    // And all hashes made anew.
    let mut last = edited[2].link;
    for entry in &mut edited[3..] {
        entry.link = last.next(entry.stored.as_bytes());
        last = entry.link;
    }
    assert_eq!(verdict(&edited), at(4, Flaw::Personal));
}

#[test]
fn an_edited_value_is_found() {
    for member in opened(&one()).as_object().unwrap().keys() {
        let edited = beside(|personal| personal[member][1] = "203.0.113.9".into());
        assert_eq!(verdict(&edited), at(4, Flaw::Personal), "{member}");
        let other = opened(&log()[4])[member][0].clone();
        let edited = beside(|personal| personal[member][0] = other);
        assert_eq!(
            verdict(&edited),
            at(4, Flaw::Personal),
            "{member}: its salt"
        );
    }
}

#[test]
fn values_that_changed_places_are_found() {
    let other = opened(&log()[4])["ip"].clone();
    let swapped = beside(|personal| personal["ip"] = other);
    assert_eq!(verdict(&swapped), at(4, Flaw::Personal), "of two entries");
    let within = beside(|personal| {
        let note = personal["note"].take();
        personal["note"] = std::mem::replace(&mut personal["reason"], note);
    });
    assert_eq!(verdict(&within), at(4, Flaw::Personal), "of one entry");
    let renamed = beside(|personal| {
        personal["bystander"] = personal["ip"].take();
        personal.as_object_mut().unwrap().remove("ip");
    });
    assert_eq!(
        verdict(&renamed),
        at(4, Flaw::Personal),
        "under another name"
    );
    let mut moved = log();
    moved[3].personal = moved[4].personal.clone();
    assert_eq!(verdict(&moved), at(4, Flaw::Personal), "all of them");
    moved[3].personal = Some("{".to_owned());
    assert_eq!(
        verdict(&moved),
        at(4, Flaw::Personal),
        "what is no text of ours"
    );
    let mut first = log();
    first[0].personal = first[3].personal.clone();
    assert_eq!(verdict(&first), at(1, Flaw::Personal), "beside form 1");
}

/// By hand: the values are gone, and nobody can try out which they were, since the salts are too.
#[test]
fn an_erased_value_leaves_the_chain_whole() {
    let some = beside(|personal| drop(personal.as_object_mut().unwrap().remove("ip")));
    assert_eq!(verdict(&some), Ok(6));
    assert_eq!((erased(&log()), erased(&some)), (0, 1));
    let read = some[3].entry().unwrap();
    assert_eq!(read.erased, ["ip"]);
    let mut without = full();
    without.origin = Origin::Network {
        ip: None,
        request: "req-1".into(),
    };
    assert_eq!(read.event, without);
    assert_eq!(exported(&some[3])["erased"], json!(["ip"]));

    let mut all = log();
    all[3].personal = None;
    assert_eq!(verdict(&all), Ok(6));
    assert_eq!(erased(&all), 1);
    let read = all[3].entry().unwrap();
    assert_eq!(read.erased.len(), MEMBERS.len() + 3);
    assert_eq!(read.event.actor, Actor::Operator(None));
    assert_eq!(read.event.target.person, None);
    assert_eq!(read.event.detail.changes[0], change("name", None, None));
    let record = exported(&all[3]).to_string();
    assert!(PERSONAL.iter().all(|value| !record.contains(value)));
    assert!(all[3].is_same(&log()[3]), "of a copy, the same entry");
}

/// The pool is drawn from more than once.
#[test]
fn no_salt_is_given_twice() {
    let mut salts = salts(1);
    let mut drawn: Vec<_> = (0..1_000).map(|_| salts.draw().0).collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 1_000);
}
