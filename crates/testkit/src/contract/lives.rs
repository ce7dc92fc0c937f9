//! Lives that end: a token dies with its credential, its merchant and its embed.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::{START, after, log_len, log_of, with_merchant, with_token};
use crate::sample;
use cardveil_core::audit::Kind;
use cardveil_core::card::Field;
use cardveil_core::clock::Time;
use cardveil_core::id::PersonId;
use cardveil_core::merchant::{Credential, CredentialState, Embed, Merchant, MerchantState, Scope};
use cardveil_core::port::{Change, Set, Store};
use cardveil_core::token::{
    Cause, LivesOf, REFUSALS_RECORDED_MAX, RETENTION, Record, Release, State, Thumbprint, Verdict,
};
use cardveil_core::verb::{Changes, Commit, Sweep};

pub(super) async fn set_credential(store: &dyn Store, was: &Credential, to: &Credential) {
    let change = Change::SetCredential(Set::boxed(was.clone(), to.clone()));
    let made = store.commit(Changes(vec![sample::recorded(change)])).await;
    made.unwrap()[0].unwrap();
}

pub(super) async fn set_merchant(store: &dyn Store, was: &Merchant, to: &Merchant) {
    let change = Change::SetMerchant(Set::boxed(was.clone(), to.clone()));
    let made = store.commit(Changes(vec![sample::recorded(change)])).await;
    made.unwrap()[0].unwrap();
}

pub(super) async fn set_embed(store: &dyn Store, was: &Embed, to: &Embed) {
    let change = Change::SetEmbed(Set::boxed(was.clone(), to.clone()));
    let made = store.commit(Changes(vec![sample::recorded(change)])).await;
    made.unwrap()[0].unwrap();
}

/// The verdict on a claim, and what its record says.
async fn refused(store: &dyn Store, record: &Record, key: u8, at: Time) -> (Cause, String) {
    let claim = sample::claim(record, key, &[Field::Cvv], at);
    let verdict = store.commit(claim).await.unwrap();
    let Verdict::Refused(cause) = verdict else {
        panic!("{verdict:?}")
    };
    let last = log_of(store, Kind::RevealRefused).await.pop().unwrap();
    assert_eq!(last.detail.cause, Some(cause));
    (cause, last.detail.note.unwrap_or_default().into_owned())
}

async fn granted(store: &dyn Store, record: &Record, key: u8, fields: &[Field]) {
    let claim = sample::claim(record, key, fields, START);
    let verdict = store.commit(claim).await.unwrap();
    assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
}

/// A token that nobody holds and one that key 1 holds: neither gives anything while it lasts.
async fn ends_both(store: &dyn Store, tokens: &[Record; 2], cause: Cause, note: &str) {
    let [fresh, held] = tokens;
    for record in [fresh, held] {
        let said = refused(store, record, 1, START).await;
        assert_eq!(said, (cause, note.to_owned()));
    }
}

type Spoil = fn(&mut Credential, Option<PersonId>);

/// A credential that is disabled, expired, bound to another person or without a scope; a merchant
/// that is suspended, closed or may not show cards; an embed out of use.
pub(super) async fn a_token_dies_with_what_it_lives_by(store: &dyn Store) {
    let (fresh, epoch) = with_token(store).await;
    let second = sample::issue(2, START, epoch);
    let held = second.record.clone();
    store.commit(second).await.unwrap();
    granted(store, &held, 1, &[Field::Pan]).await;
    let tokens = [fresh, held];

    let was = sample::credential(1);
    let other_person = Some(PersonId::from_bytes([9; 16]));
    let spoilt: [(Spoil, &str); 4] = [
        (
            |it, _| it.state = CredentialState::Disabled,
            "its credential is disabled",
        ),
        (
            |it, _| it.expires_at = Some(START),
            "its credential has expired",
        ),
        (
            |it, person| (it.scopes, it.person) = (vec![Scope::CardsReadOwn], person),
            "its credential does not see the card",
        ),
        (
            |it, _| it.scopes.clear(),
            "its credential does not see the card",
        ),
    ];
    for (spoil, note) in spoilt {
        let mut to = was.clone();
        spoil(&mut to, other_person);
        set_credential(store, &was, &to).await;
        ends_both(store, &tokens, Cause::Revoked, note).await;
        set_credential(store, &to, &was).await;
    }
    let was = sample::merchant(1);
    for (state, pci_enabled) in [
        (MerchantState::Suspended, true),
        (MerchantState::Closed, true),
        (MerchantState::Active, false),
    ] {
        let to = Merchant {
            state,
            pci_enabled,
            ..was.clone()
        };
        set_merchant(store, &was, &to).await;
        ends_both(store, &tokens, Cause::MerchantBarred, "").await;
        set_merchant(store, &to, &was).await;
    }
    let was = sample::embed(1);
    let to = Embed {
        enabled: false,
        ..was.clone()
    };
    set_embed(store, &was, &to).await;
    ends_both(store, &tokens, Cause::Foreign, "the embed is disabled").await;
    set_embed(store, &to, &was).await;

    // Bound to the person whose card it is, it sees the card; and what is as it was gives again.
    let was = sample::credential(1);
    let to = Credential {
        scopes: vec![Scope::CardsReadOwn],
        ..was.clone()
    };
    set_credential(store, &was, &to).await;
    for record in &tokens {
        granted(store, record, 1, &[Field::Cvv]).await;
    }
}

/// A credential that is another merchant's, or was never there, keeps no token alive.
pub(super) async fn what_a_token_lives_by_is_found_whole_or_in_part(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    let of = LivesOf::token(&record, &sample::embed(1).id);
    assert_eq!(store.lives(&of).await.unwrap(), sample::lives());
    let app = Embed {
        origins: vec![],
        ..sample::embed(4)
    };
    let mut nothing = of.clone();
    nothing.embed = app.id;
    nothing.merchant = sample::merchant(2).id;
    let found = store.lives(&nothing).await.unwrap();
    assert_eq!((found.credential, found.embed), (None, None));
    assert_eq!(found.merchant, sample::lives().merchant);
    let mut gone = sample::record(9, START, record.epoch);
    gone.credential = sample::credential(9).id;
    let mut issue = sample::issue(9, START, record.epoch);
    issue.record = gone.clone();
    store.commit(issue).await.unwrap();
    let said = refused(store, &gone, 1, START).await;
    assert_eq!(said, (Cause::Revoked, "its credential is gone".to_owned()));
}

/// Whoever was told that a credential is out of use need not wait: in the order of the log, which
/// is that of the commits, nothing is released after it.
pub(super) async fn no_release_comes_after_its_credential_has_ended(store: &dyn Store) {
    const TOKENS: u8 = 40;
    let epoch = with_merchant(store).await;
    for n in 1..=TOKENS {
        store.commit(sample::issue(n, START, epoch)).await.unwrap();
    }
    // What was looked up before, the first of them leaves behind.
    let first = sample::record(1, START, epoch);
    granted(store, &first, 1, &[Field::Pan]).await;
    let was = sample::credential(1);
    let to = Credential {
        state: CredentialState::Disabled,
        ..was.clone()
    };
    let claims = (2..=TOKENS).map(async |n| {
        for _ in 0..n {
            futures_util::future::ready(()).await;
        }
        let record = sample::record(n, START, epoch);
        store
            .commit(sample::claim(&record, n, &[Field::Pan], START))
            .await
            .unwrap()
    });
    let ((), verdicts) = join(set_credential(store, &was, &to), join_all(claims)).await;
    let of_change = |kind: &Kind| *kind == Kind::CredentialChanged;
    let log = store.entries(0, 10_000).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|entry| entry.event.kind).collect();
    let ended = kinds.iter().position(of_change).unwrap();
    let late = kinds.iter().skip(ended);
    assert_eq!(late.filter(|it| **it == Kind::RevealReleased).count(), 0);
    for verdict in verdicts {
        assert!(matches!(
            verdict,
            Verdict::Granted(_) | Verdict::Refused(Cause::Revoked)
        ));
    }
    let last = sample::claim(&first, 1, &[Field::Cvv], START);
    let refused = Verdict::Refused(Cause::Revoked);
    assert_eq!(store.commit(last).await.unwrap(), refused);
}

/// `POST /v1/client-tokens` with `embed`.
pub(super) async fn a_token_bound_to_an_embed_is_redeemed_in_no_other(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let other = Embed {
        merchant: sample::merchant(1).id,
        ..sample::embed(3)
    };
    let change = Change::AddEmbed(other.clone());
    let made = store.commit(Changes(vec![sample::recorded(change)])).await;
    made.unwrap()[0].unwrap();
    let mut issue = sample::issue(1, START, epoch);
    issue.record.embed = Some(other.id.clone());
    let record = issue.record.clone();
    store.commit(issue).await.unwrap();
    assert_eq!(
        store.token(&record.key).await.unwrap(),
        Some(record.clone())
    );
    let said = refused(store, &record, 1, START).await;
    assert_eq!(said, (Cause::Foreign, "bound to another embed".to_owned()));
    let mut right = sample::claim(&record, 1, &[Field::Pan], START);
    right.embed = other.id;
    let verdict = store.commit(right).await.unwrap();
    assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
}

/// An app is no page. Its record says that it came without.
pub(super) async fn a_web_embeds_claim_carries_an_origin_and_an_apps_need_not(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let app = Embed {
        merchant: sample::merchant(1).id,
        origins: vec![],
        ..sample::embed(4)
    };
    let change = Change::AddEmbed(app.clone());
    let made = store.commit(Changes(vec![sample::recorded(change)])).await;
    made.unwrap()[0].unwrap();
    let issue = sample::issue(1, START, epoch);
    let record = issue.record.clone();
    store.commit(issue).await.unwrap();
    let mut claim = sample::claim(&record, 1, &[Field::Pan], START);
    claim.with_origin = false;
    let refused = Verdict::Refused(Cause::Foreign);
    assert_eq!(store.commit(claim.clone()).await.unwrap(), refused);
    claim.embed = app.id;
    claim.note = Some("cvv derived by cvk 1".into());
    let verdict = store.commit(claim.clone()).await.unwrap();
    assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
    claim.with_origin = true;
    store.commit(claim).await.unwrap();
    let note = |event: &cardveil_core::audit::Event| event.detail.note.clone().unwrap_or_default();
    let released = log_of(store, Kind::RevealReleased).await;
    assert_eq!(
        note(&released[0]),
        "cvv derived by cvk 1; without an Origin"
    );
    let repeated = log_of(store, Kind::RevealRepeated).await;
    assert_eq!(note(&repeated[0]), "cvv derived by cvk 1");
}

/// P8: whoever has a token of ours fills no log with it, and the count of what is not there is
/// exact.
pub(super) async fn of_one_token_16_refusals_are_records_and_all_are_counted(store: &dyn Store) {
    const TRIES: u32 = 100;
    let (record, _) = with_token(store).await;
    granted(store, &record, 1, &[Field::Pan]).await;
    let before = log_len(store).await;
    let foreign = || {
        let mut claim = sample::claim(&record, 2, &[Field::Pan], START);
        claim.embed = sample::embed(9).id;
        store.commit(claim)
    };
    let refused = join_all((0..TRIES).map(|_| foreign())).await;
    for verdict in refused {
        assert_eq!(verdict.unwrap(), Verdict::Refused(Cause::Foreign));
    }
    let recorded = usize::try_from(REFUSALS_RECORDED_MAX).unwrap();
    assert_eq!(log_len(store).await, before + recorded);
    // The first try of another key is told whatever came before.
    let thief = sample::claim(&record, 2, &[Field::Pan], START);
    let verdict = store.commit(thief.clone()).await.unwrap();
    assert_eq!(verdict, Verdict::Refused(Cause::OtherKey));
    store.commit(thief).await.unwrap();
    assert_eq!(log_of(store, Kind::RevealConflict).await.len(), 1);
    assert_eq!(log_len(store).await, before + recorded + 1);
    let kept = store.token(&record.key).await.unwrap().unwrap();
    assert_eq!((kept.refusals, kept.conflict), (TRIES + 2, true));
    let State::Held(held) = kept.state else {
        panic!("{kept:?}")
    };
    assert_eq!(held.by, Thumbprint([1; 32]));
    let fields: Vec<_> = held.releases.iter().map(|it: &Release| it.field).collect();
    assert_eq!(fields, [Field::Pan], "nothing else has changed");

    // When the row goes, what it has counted is on record.
    let end = START.plus(RETENTION).plus(Duration::from_secs(1));
    store
        .commit(Sweep {
            now: end,
            limit: 100,
        })
        .await
        .unwrap();
    let swept = store
        .commit(Sweep {
            now: end,
            limit: 100,
        })
        .await
        .unwrap();
    assert_eq!(store.token(&record.key).await.unwrap(), None, "{swept:?}");
    let told = log_of(store, Kind::RevealRefused).await.pop().unwrap();
    assert_eq!(told.detail.note.as_deref(), Some("102 refusals in all"));
    assert_eq!(told.target.token, Some(record.key.hash));
    assert_eq!(told.at, end);
}

/// One that was not refused so often leaves no such record.
pub(super) async fn a_token_with_few_refusals_goes_without_a_record(store: &dyn Store) {
    let (record, _) = with_token(store).await;
    for _ in 0..REFUSALS_RECORDED_MAX {
        let late = sample::claim(&record, 1, &[Field::Pan], after(300));
        store.commit(late).await.unwrap();
    }
    let before = log_len(store).await;
    let end = START.plus(RETENTION).plus(Duration::from_secs(1));
    assert_eq!(
        store
            .commit(Sweep {
                now: end,
                limit: 100
            })
            .await
            .unwrap()
            .deleted,
        1
    );
    assert_eq!(log_len(store).await, before);
}
