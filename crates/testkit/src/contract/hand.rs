//! A hand in the database (P11): somebody who can write to it and has no key. How it writes is the
//! adapter's own, so these are halves of its test and no cases of the suite.

use std::time::Duration;

use async_trait::async_trait;

use super::super::sample::{self, START};
use super::altered::with_three_of_each;
use super::lives::{set_credential, set_embed, set_merchant};
use super::{after, cards, keys, mfa, outbox, with_merchant};
use crate::ManualClock;
use cardveil_core::audit::{Kind, Topic};
use cardveil_core::card::{CardRef, Changed, Field, State};
use cardveil_core::hook::Subscription;
use cardveil_core::id::{AccountId, SessionId};
use cardveil_core::merchant::{Credential, CredentialState, Embed, Merchant, MerchantState};
use cardveil_core::port::{Change, Class, RowPlace, Set, Store};
use cardveil_core::token::{Cause, LivesOf, Record, Verdict};
use cardveil_core::verb::{Changes, Commit, RaiseEpoch, RecordEvent};

/// How an adapter's test writes to its database.
#[async_trait]
pub trait Hand: Send + Sync {
    /// Runs statements, as whoever may do everything. No constraint between tables is looked at.
    async fn run(&self, sql: &str);

    /// The names of a table's columns, each with an expression for another value of it.
    async fn columns(&self, table: &str) -> Vec<(String, String)>;
}

/// A table whose rows decide: one row of it, another, and the columns that its MAC leaves out,
/// which are sealed to their place or are the store's own.
struct Deciding {
    table: &'static str,
    row: &'static str,
    other: Option<&'static str>,
    left_out: &'static [&'static str],
}

const TABLES: [Deciding; 9] = [
    Deciding {
        table: "merchant",
        row: "id = 'mer_2'",
        other: Some("id = 'mer_3'"),
        left_out: &[],
    },
    Deciding {
        table: "credential",
        row: "id = 'crd_2'",
        other: Some("id = 'crd_3'"),
        left_out: &["dek", "sealed"],
    },
    Deciding {
        table: "embed",
        row: "id = 'emb_2'",
        other: Some("id = 'emb_3'"),
        left_out: &[],
    },
    Deciding {
        table: "card",
        row: "no = 'C2'",
        other: Some("no = 'C3'"),
        left_out: &[
            "seq", "dek", "pan", "expiry", "name", "cvv_dek", "cvv", "pin_dek", "pin",
        ],
    },
    Deciding {
        table: "subscription",
        row: "seq = (SELECT seq FROM kept_subscription ORDER BY seq LIMIT 1 OFFSET 1)",
        other: Some("seq = (SELECT max(seq) FROM kept_subscription)"),
        left_out: &[
            "seq",
            "secret_dek",
            "secret",
            "authorization_dek",
            "authorization",
        ],
    },
    Deciding {
        table: "token",
        row: "1 = 1",
        other: None,
        left_out: &["written_by"],
    },
    Deciding {
        table: "mfa_session",
        row: "1 = 1",
        other: None,
        left_out: &[],
    },
    Deciding {
        table: "mfa_person",
        row: "1 = 1",
        other: None,
        left_out: &["totp_key"],
    },
    Deciding {
        table: "wrapped_key",
        row: "class = 1",
        other: Some("class = 2"),
        left_out: &[],
    },
];

/// One of each, and what they are.
async fn all_kinds(store: &dyn Store) -> Record {
    with_three_of_each(store).await;
    keys::with_keys(store).await;
    mfa::open(store, 1, START).await;
    mfa::with_app(store, 1).await;
    let epoch = store.epoch().await.unwrap();
    let issue = sample::issue(1, START, epoch);
    let record = issue.record.clone();
    store.commit(issue).await.unwrap();
    record
}

/// How many rows are not what was written last.
pub(super) async fn altered(store: &dyn Store) -> usize {
    let (mut altered, mut next) = (0, Some(RowPlace::default()));
    while let Some(place) = next {
        let page = store.check_rows(&place, 2).await.unwrap();
        altered += page.altered.len();
        next = page.next;
    }
    altered
}

/// Whether whoever looks the row up finds none.
async fn is_refused(store: &dyn Store, table: &str, token: &Record) -> bool {
    let merchant = sample::merchant(1);
    match table {
        "merchant" => none(&store.merchant(&sample::merchant(2).id).await),
        "credential" => none(&store.admission(&sample::credential(2).key_hash).await),
        "embed" => none(&store.embed(&sample::embed(2).id).await),
        "card" => {
            let by_id = CardRef::Id(sample::card(2).id);
            let by_no = CardRef::No(sample::card(2).no);
            none(&store.card(&merchant.id, &by_id).await)
                && none(&store.card(&merchant.id, &by_no).await)
        }
        "subscription" => none(&store.subscription(sample::subscription(2).id).await),
        "token" => none(&store.token(&token.key).await),
        "mfa_session" => {
            let id = SessionId::from_bytes([1; 16]);
            none(&store.mfa_session(&id).await)
        }
        "mfa_person" => none(
            &store
                .mfa_person(&merchant.id, &sample::card(1).person)
                .await,
        ),
        _ => {
            let keys = store.class_keys().await.unwrap();
            !keys.iter().any(|key| key.key.class == Class::Pan)
        }
    }
}

fn none<T, E>(found: &Result<Option<T>, E>) -> bool {
    !matches!(found, Ok(Some(_)))
}

async fn keep(hand: &dyn Hand, table: &str) {
    hand.run(&format!(
        "DROP TABLE IF EXISTS kept_{table}; CREATE TABLE kept_{table} AS SELECT * FROM {table}"
    ))
    .await;
}

async fn put_back(hand: &dyn Hand, table: &str) {
    hand.run(&format!(
        "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}"
    ))
    .await;
}

/// Column by column: edited, given another row's MAC, stripped of the MAC. Each is refused at once,
/// and found by whoever goes through all rows; so is a row that is gone.
pub async fn no_altered_row_is_taken_for_what_was_written(store: &dyn Store, hand: &dyn Hand) {
    let token = all_kinds(store).await;
    assert_eq!(altered(store).await, 0);
    for kind in &TABLES {
        let (table, row) = (kind.table, kind.row);
        // Whoever goes through all rows leaves out those that live for minutes.
        let is_brief = ["token", "mfa_session"].contains(&table);
        keep(hand, table).await;
        assert!(!is_refused(store, table, &token).await, "{table}");
        let mut edits = Vec::new();
        for (column, other) in hand.columns(table).await {
            if !kind.left_out.contains(&column.as_str()) {
                edits.push(format!("\"{column}\" = {other}"));
            }
        }
        assert!(edits.len() > 5, "{table}: {edits:?}");
        edits.push("mac = NULL, row_version = NULL".into());
        if let Some(other) = kind.other {
            let of = |column| format!("(SELECT {column} FROM kept_{table} WHERE {other})");
            let (mac, version) = (of("mac"), of("row_version"));
            edits.push(format!("mac = {mac}, row_version = {version}"));
        }
        for edit in edits {
            hand.run(&format!("UPDATE {table} SET {edit} WHERE {row}"))
                .await;
            assert!(is_refused(store, table, &token).await, "{table}: {edit}");
            assert!(is_brief || altered(store).await > 0, "{table}: {edit}");
            put_back(hand, table).await;
            assert!(!is_refused(store, table, &token).await, "{table}: {edit}");
            assert_eq!(altered(store).await, 0, "{table}: {edit}");
        }
        // Tokens and sessions live for minutes, and nothing is to be had for one that is gone.
        if !is_brief {
            hand.run(&format!("DELETE FROM {table} WHERE {row}")).await;
            assert_ne!(altered(store).await, 0, "{table}: deleted");
            put_back(hand, table).await;
        }
    }
    assert_eq!(altered(store).await, 0);
    let told = store.left_out();
    for kind in &TABLES {
        assert!(
            told.iter().any(|row| row.starts_with(kind.table)),
            "{told:?}"
        );
    }
}

/// A row as it was before its last change has a right MAC: a token's is refused all the same, and
/// the others are found by whoever goes through all rows. Nobody changes one again.
///
/// `other` is a server of the same database that has nothing to remember.
pub async fn no_row_that_was_put_back_goes_on(
    store: &dyn Store,
    other: &dyn Store,
    hand: &dyn Hand,
) {
    let token = all_kinds(store).await;
    for table in [
        "merchant",
        "credential",
        "embed",
        "card",
        "wrapped_key",
        "token",
    ] {
        keep(hand, table).await;
    }
    let (merchant, credential, embed) =
        (sample::merchant(2), sample::credential(2), sample::embed(2));
    let credential = Credential {
        merchant: sample::merchant(1).id,
        ..credential
    };
    let embed = Embed {
        merchant: sample::merchant(1).id,
        ..embed
    };
    let changes = [
        Change::SetMerchant(Set::boxed(merchant.clone(), {
            let mut to = merchant.clone();
            to.pci_enabled = !to.pci_enabled;
            to
        })),
        Change::SetCredential(Set::boxed(credential.clone(), {
            let mut to = credential.clone();
            to.expires_at = Some(after(99));
            to
        })),
        Change::SetEmbed(Set::boxed(embed.clone(), {
            let mut to = embed.clone();
            to.enabled = false;
            to
        })),
    ];
    let changes = changes.map(sample::recorded).to_vec();
    let made = store.commit(Changes(changes)).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    let suspend = || cards::transition(&sample::card(2), State::Suspended, 5);
    store.commit(suspend()).await.unwrap();
    assert!(keys::rotate(store, Class::Pan, 2, START).await);
    let claim = |key: u8| sample::claim(&token, key, &[Field::Pan], START);
    let granted = store.commit(claim(1)).await.unwrap();
    assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
    assert_eq!(altered(store).await, 0);

    put_back(hand, "token").await;
    let thief = store.commit(claim(2)).await.unwrap();
    assert!(
        matches!(thief, Verdict::Refused(Cause::Unknown)),
        "{thief:?}"
    );
    let thief = other.commit(claim(2)).await;
    assert!(!matches!(thief, Ok(Verdict::Granted(_))), "{thief:?}");
    for (table, rows) in [
        ("merchant", 1),
        ("credential", 1),
        ("embed", 1),
        ("card", 1),
        // Version 1, which is active again, and version 2, which is gone.
        ("wrapped_key", 2),
    ] {
        hand.run(&format!(
            "DROP TABLE IF EXISTS now_{table}; CREATE TABLE now_{table} AS SELECT * FROM {table}"
        ))
        .await;
        put_back(hand, table).await;
        if table == "card" {
            let before_it_is_found = store.commit(suspend()).await;
            assert!(!matches!(before_it_is_found, Ok(Changed::Done(_))));
        }
        assert_eq!(altered(store).await, rows, "{table}");
        if table == "card" {
            let (of, card) = (sample::merchant(1).id, CardRef::Id(sample::card(2).id));
            let found = store.card(&of, &card).await.unwrap();
            assert_eq!(found, None, "it is refused from then on");
            let suspended = store.commit(suspend()).await;
            assert!(!matches!(suspended, Ok(Changed::Done(_))), "{suspended:?}");
        }
        hand.run(&format!(
            "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM now_{table}"
        ))
        .await;
        assert_eq!(altered(store).await, 0, "{table}");
    }
}

/// A copy of a database that went on by itself has rows with right MACs that were never written
/// here. Where a hand puts one here with its version on record, no entry of the log tells of it.
pub async fn no_version_counts_that_the_log_does_not_tell(store: &dyn Store, hand: &dyn Hand) {
    all_kinds(store).await;
    assert!(keys::rotate(store, Class::Pan, 2, START).await);
    keep(hand, "row_change").await;
    assert_eq!(altered(store).await, 0);
    for (table, rows) in [
        ("merchant", 3),
        ("credential", 3),
        ("embed", 3),
        ("card", 3),
        ("subscription", 3),
        ("mfa_person", 1),
        ("wrapped_key", Class::ALL.len() + 1),
    ] {
        let of_another = format!("SELECT min(seq) FROM row_change WHERE kind <> '{table}'");
        // Those of factors and keys name no row.
        let names_one = !["mfa_person", "wrapped_key"].contains(&table);
        let of_one = format!("SELECT max(seq) FROM row_change WHERE kind = '{table}'");
        let of_one = names_one.then_some((&*of_one, rows - 1));
        for (entry, found) in [("1000000", rows), (&of_another, rows)]
            .into_iter()
            .chain(of_one)
        {
            hand.run(&format!(
                "UPDATE row_change SET seq = ({entry}) WHERE kind = '{table}'"
            ))
            .await;
            assert_eq!(altered(store).await, found, "{table}: {entry}");
            put_back(hand, "row_change").await;
            assert_eq!(altered(store).await, 0, "{table}");
        }
    }
    // Nor does a row go of which the log says that it is there.
    hand.run("UPDATE row_change SET gone = (1 = 1) WHERE kind = 'card'; DELETE FROM card")
        .await;
    assert_eq!(altered(store).await, 3);
}

/// What a server keeps of callers, and of what tokens live by, goes with a change by anyone. Who
/// stops the database from counting changes has it kept for ten seconds and no longer.
pub async fn what_is_kept_goes_with_a_change(
    (store, clock): (&dyn Store, &ManualClock),
    other: &dyn Store,
    (hand, stop_counting): (&dyn Hand, &str),
) {
    with_merchant(store).await;
    let (merchant, credential, embed) =
        (sample::merchant(1), sample::credential(1), sample::embed(1));
    let of = LivesOf {
        credential: credential.id.clone(),
        merchant: merchant.id.clone(),
        embed: embed.id.clone(),
    };
    let seen = async || {
        let lives = store.lives(&of).await.unwrap();
        let admission = store
            .admission(&credential.key_hash)
            .await
            .unwrap()
            .unwrap();
        let embed = store.embed(&embed.id).await.unwrap().unwrap();
        let merchant = admission.merchant.unwrap();
        let seen = (admission.credential.state, merchant.state, embed.enabled);
        let of_token = (
            lives.credential.unwrap().state,
            lives.merchant.unwrap().state,
            lives.embed.unwrap().enabled,
        );
        assert_eq!(seen, of_token);
        seen
    };
    let disabled = Credential {
        state: CredentialState::Disabled,
        ..credential.clone()
    };
    let suspended = Merchant {
        state: MerchantState::Suspended,
        ..merchant.clone()
    };
    let out_of_use = Embed {
        enabled: false,
        ..embed.clone()
    };
    let as_it_was = (CredentialState::Enabled, MerchantState::Active, true);
    assert_eq!(seen().await, as_it_was);
    set_credential(other, &credential, &disabled).await;
    assert_eq!(seen().await.0, CredentialState::Disabled);
    set_credential(other, &disabled, &credential).await;
    assert_eq!(seen().await, as_it_was);
    set_merchant(other, &merchant, &suspended).await;
    assert_eq!(seen().await.1, MerchantState::Suspended);
    set_merchant(other, &suspended, &merchant).await;
    assert_eq!(seen().await, as_it_was);
    set_embed(other, &embed, &out_of_use).await;
    assert!(!seen().await.2);
    set_embed(other, &out_of_use, &embed).await;
    assert_eq!(seen().await, as_it_was);

    hand.run(stop_counting).await;
    set_credential(other, &credential, &disabled).await;
    clock.advance(Duration::from_secs(10));
    assert_eq!(seen().await.0, CredentialState::Disabled);
}

/// A hand that gives a card to another account has that one told nothing of it.
pub async fn no_account_hears_of_a_card_that_a_hand_gave_it(store: &dyn Store, hand: &dyn Hand) {
    with_merchant(store).await;
    let of = |n, account: &str| Subscription {
        account: Some(AccountId::parse(account).unwrap()),
        topics: vec![Topic::RevealConflict],
        ..sample::subscription(n)
    };
    outbox::subscribe(store, of(1, "F50091")).await;
    outbox::subscribe(store, of(2, "F50092")).await;
    let mut conflict = sample::moved(1, State::Active, START);
    conflict.kind = Kind::RevealConflict;
    conflict.detail.to = None;
    let told = async || {
        store.commit(RecordEvent(conflict.clone())).await.unwrap();
        let taken = outbox::take(store, START).await.into_iter();
        taken.map(|due| due.subscription.id).collect::<Vec<_>>()
    };
    assert_eq!(told().await, [sample::subscription(1).id]);
    hand.run("UPDATE card SET account = 'F50092'").await;
    assert_eq!(told().await, []);
}

/// What a hand writes beside the rows keeps nobody from going through them.
pub async fn no_change_on_record_stops_the_comparison(store: &dyn Store, hand: &dyn Hand) {
    all_kinds(store).await;
    assert_eq!(altered(store).await, 0);
    hand.run(
        "INSERT INTO row_change (kind, key, version, seq, gone)
         SELECT kind, substr(key, 1, 3), version, seq, gone FROM row_change
         WHERE kind = 'card' LIMIT 1",
    )
    .await;
    assert_eq!(altered(store).await, 1);
    hand.run("UPDATE card SET label = 'another'").await;
    assert_eq!(altered(store).await, 4);
}

/// An epoch that is set back is raised again: no token of before is good.
pub async fn no_epoch_is_set_back(store: &dyn Store, hand: &dyn Hand) {
    let token = all_kinds(store).await;
    let before = store.epoch().await.unwrap();
    let raised = RaiseEpoch(sample::event(Kind::EpochRaised, START));
    store.commit(raised).await.unwrap();
    let since = store.epoch().await.unwrap();
    hand.run(&format!("UPDATE meta SET epoch = {}", before.0))
        .await;
    let claim = sample::claim(&token, 1, &[Field::Pan], START);
    let claimed = store.commit(claim).await.unwrap();
    assert!(
        matches!(claimed, Verdict::Refused(Cause::OldEpoch)),
        "{claimed:?}"
    );
    assert!(store.epoch().await.unwrap() > since);
}

/// What a hand queues of one merchant's events for another is sent to nobody, and told of.
pub async fn no_event_is_delivered_to_another_merchant(store: &dyn Store, hand: &dyn Hand) {
    with_merchant(store).await;
    let of_others = Subscription {
        merchant: sample::merchant(2).id,
        ..sample::subscription(2)
    };
    outbox::subscribe(store, sample::subscription(1)).await;
    outbox::subscribe(store, of_others).await;
    let moved = sample::moved(1, State::Active, START);
    store.commit(RecordEvent(moved)).await.unwrap();
    hand.run(
        "INSERT INTO delivery (id, subscription, merchant, line, seq, topic, queued_at, since,
             attempts, due_at, state, head)
         SELECT (SELECT id FROM card LIMIT 1),
             (SELECT id FROM subscription WHERE merchant = 'mer_2'), 'mer_2', line, seq, topic,
             queued_at, since, attempts, due_at, state, head FROM delivery LIMIT 1",
    )
    .await;
    let taken = outbox::take(store, START).await.into_iter();
    let told: Vec<_> = taken.map(|due| due.subscription.id).collect();
    assert_eq!(told, [sample::subscription(1).id]);
    let log = store.entries(0, 100).await.unwrap();
    let alarms = log.iter().filter(|it| it.event.kind == Kind::VaultTampered);
    assert_eq!(alarms.count(), 1);
}
