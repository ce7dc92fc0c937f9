//! Who may call, and what there is.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{START, after, log_len, log_of, with_merchant};
use crate::sample;
use cardveil_core::audit::Kind;
use cardveil_core::card::CardRef;
use cardveil_core::clock::Time;
use cardveil_core::hook::{Endpoint, Patched};
use cardveil_core::id::{CardNo, CredentialId};
use cardveil_core::merchant::allowlist::{AllowlistChange, AllowlistChanged, Wish, parse_net};
use cardveil_core::merchant::{
    Credential, CredentialState, Embed, Merchant, MerchantState, Permissions, Pin, PublicKeyHash,
    Scope,
};
use cardveil_core::mfa::{Policy, Purpose};
use cardveil_core::port::{CardFilter, Change, Paging, Set, Store, Taken, Writes};
use cardveil_core::verb::{Changes, Commit, NoteUses, RecordEvent};

/// Once all is answered nothing waits, and nothing is lent.
pub(super) async fn a_store_that_rests_is_not_busy(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    assert_eq!(store.epoch().await.unwrap(), epoch);
    let load = store.load();
    assert_eq!((load.writes_waiting, load.lookups_busy), (0, 0));
}

/// One lookup admits or refuses a call.
pub(super) async fn an_admission_has_all_it_needs(store: &dyn Store) {
    let epoch = with_merchant(store).await;
    let admission = store.admission(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(admission.credential, sample::credential(1));
    assert_eq!(admission.merchant, Some(sample::merchant(1)));
    assert_eq!(admission.epoch, epoch);
    assert_eq!(store.admission(&[2; 32]).await.unwrap(), None);
    assert_eq!(
        store.embed(&sample::embed(1).id).await.unwrap(),
        Some(sample::embed(1))
    );
    assert_eq!(store.embed(&sample::embed(2).id).await.unwrap(), None);
    let merchant = sample::merchant(1);
    assert_eq!(store.merchant(&merchant.id).await.unwrap(), Some(merchant));
    assert_eq!(store.merchant(&sample::merchant(9).id).await.unwrap(), None);
}

/// Existence is not told.
pub(super) async fn cards_are_found_within_their_merchant_only(store: &dyn Store) {
    with_merchant(store).await;
    let card = sample::card(1);
    let (own, other) = (sample::merchant(1).id, sample::merchant(2).id);
    for name in [CardRef::No(card.no.clone()), CardRef::Id(card.id)] {
        assert_eq!(store.card(&own, &name).await.unwrap(), Some(card.clone()));
        assert_eq!(store.card(&other, &name).await.unwrap(), None);
    }
    let unknown = CardRef::No(CardNo::parse("C999").unwrap());
    assert_eq!(store.card(&own, &unknown).await.unwrap(), None);
}

/// Nor its event; and it does not stop the others.
pub(super) async fn a_refused_change_writes_nothing(store: &dyn Store) {
    with_merchant(store).await;
    let before = log_len(store).await;
    let event = || sample::event(Kind::CardAdded, START);
    let mut same_no = sample::card(2);
    same_no.no = sample::card(1).no;
    let mut same_id = sample::card(3);
    same_id.id = sample::card(1).id;
    let mut orphan = sample::card(4);
    orphan.merchant = sample::merchant(9).id;
    let mut same_key = sample::credential(2);
    same_key.key_hash = sample::credential(1).key_hash;
    let mut same_no_elsewhere = sample::card(5);
    same_no_elsewhere.no = sample::card(1).no;
    same_no_elsewhere.merchant = sample::merchant(2).id;
    let mut same_no_as_new = sample::card(6);
    same_no_as_new.no = sample::card(2).no;
    let results = store
        .commit(Changes(vec![
            (Change::AddCard(Box::new(same_no)), event()),
            (Change::AddCard(Box::new(same_id)), event()),
            (Change::AddCard(Box::new(orphan)), event()),
            (Change::AddCredential(same_key), event()),
            (Change::AddMerchant(sample::merchant(1)), event()),
            (Change::AddEmbed(sample::embed(1)), event()),
            (Change::AddEmbed(sample::embed(9)), event()),
            (
                set_merchant(sample::merchant(9), sample::merchant(9)),
                event(),
            ),
            (
                set_credential(sample::credential(9), sample::credential(9)),
                event(),
            ),
            (Change::AddCard(Box::new(sample::card(2))), event()),
            (Change::AddCard(Box::new(same_no_as_new)), event()),
            (Change::AddCard(Box::new(same_no_elsewhere)), event()),
        ]))
        .await
        .unwrap();
    let (exists, missing) = (Err(Taken::Exists), Err(Taken::NoMerchant));
    assert_eq!(
        results,
        [
            exists,
            exists,
            missing,
            exists,
            exists,
            exists,
            missing,
            missing,
            missing,
            Ok(()),
            exists,
            Ok(())
        ]
    );
    assert_eq!(log_len(store).await, before + 2);
    let counted = Paging {
        count: true,
        ..Paging::default()
    };
    let listed = store.list_cards(&CardFilter::default(), counted).await;
    assert_eq!(listed.unwrap().count, Some(3));
}

/// No stale answer.
pub(super) async fn changes_are_seen_at_once(store: &dyn Store) {
    with_merchant(store).await;
    let mut credential = sample::credential(1);
    credential.state = CredentialState::Disabled;
    let mut merchant = sample::merchant(1);
    merchant.state = MerchantState::Suspended;
    let mut embed = sample::embed(1);
    embed.enabled = false;
    let event = |kind| sample::event(kind, START);
    let results = store
        .commit(Changes(vec![
            (
                set_credential(sample::credential(1), credential.clone()),
                event(Kind::CredentialChanged),
            ),
            (
                set_merchant(sample::merchant(1), merchant.clone()),
                event(Kind::MerchantChanged),
            ),
            (
                set_embed(sample::embed(1), embed.clone()),
                event(Kind::EmbedChanged),
            ),
        ]))
        .await
        .unwrap();
    assert!(results.iter().all(Result::is_ok));
    let admission = store.admission(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(admission.credential, credential);
    assert_eq!(admission.merchant, Some(merchant));
    assert_eq!(store.embed(&embed.id).await.unwrap(), Some(embed));
}

/// What an operator changes or adds, whichever row: in the same commit, whoever made the event.
pub(super) async fn a_change_is_on_record_from_what_to_what(store: &dyn Store) {
    with_merchant(store).await;
    let (merchant, credential, embed) =
        (sample::merchant(1), sample::credential(1), sample::embed(1));
    let mut required = merchant.clone();
    required.mfa.set(Purpose::ViewCard, Policy::Required);
    let mut scoped = credential.clone();
    scoped.scopes = vec![Scope::WebhooksManage];
    let mut moved = embed.clone();
    moved.origins = vec!["https://new.example".to_owned()];
    let event = |kind| sample::event(kind, START);
    let set = vec![
        (
            set_merchant(merchant, required),
            event(Kind::MerchantChanged),
        ),
        (
            set_credential(credential, scoped),
            event(Kind::CredentialChanged),
        ),
        (set_embed(embed.clone(), moved), event(Kind::EmbedChanged)),
        (
            Change::AddEmbed(Embed {
                id: sample::embed(3).id,
                ..embed.clone()
            }),
            event(Kind::EmbedAdded),
        ),
    ];
    assert_eq!(store.commit(Changes(set)).await.unwrap(), [Ok(()); 4]);
    let was = embed.origins.join(" ");
    for (kind, field, from, to) in [
        (
            Kind::MerchantChanged,
            "mfa.view_card",
            Some("off"),
            Some("required"),
        ),
        (
            Kind::CredentialChanged,
            "scopes",
            Some("cards:read:any"),
            Some("webhooks:manage"),
        ),
        (
            Kind::EmbedChanged,
            "origins",
            Some(&*was),
            Some("https://new.example"),
        ),
        (Kind::EmbedAdded, "origins", None, Some(&*was)),
    ] {
        let log = log_of(store, kind).await;
        let changes = &log.last().unwrap().detail.changes;
        let found = changes.iter().find(|change| change.field == field).unwrap();
        assert_eq!((found.from.as_deref(), found.to.as_deref()), (from, to));
        if from.is_some() {
            assert_eq!(changes.len(), 1, "{changes:?}");
        }
    }
}

/// What a credential changes itself.
pub(super) async fn a_change_by_a_contracts_call_is_on_record_from_what_to_what(store: &dyn Store) {
    with_merchant(store).await;
    let was = sample::credential(1).allowed_ips.nets()[0].to_string();
    let change = AllowlistChange {
        credential: sample::credential(1).id,
        wish: Wish::Add {
            net: parse_net("203.0.113.0/24").unwrap(),
            description: String::new(),
        },
        from: None,
        at: START,
        source: sample::operator(),
    };
    let listed = store.commit(change).await.unwrap();
    assert!(matches!(listed, AllowlistChanged::Done(_)), "{listed:?}");
    let both = format!("{was} 203.0.113.0/24");
    let subscription = sample::subscription(1);
    let event = sample::event(Kind::WebhookAdded, START);
    let add = (
        Change::AddSubscription(Box::new(subscription.clone())),
        event,
    );
    assert_eq!(store.commit(Changes(vec![add])).await.unwrap(), [Ok(())]);
    let mut patch = sample::patch(1, START);
    patch.event.kind = Kind::WebhookChanged;
    patch.url = Some(Endpoint::parse("https://elsewhere.example/hook").unwrap());
    let patched = store.commit(patch).await.unwrap();
    assert!(matches!(patched, Patched::Done(_)), "{patched:?}");
    let url = subscription.url.url();
    let host = format!("{}://{}", url.scheme(), url.host_str().unwrap());
    for (kind, field, from, to) in [
        (
            Kind::CredentialChanged,
            "allowed_ips",
            Some(&*was),
            Some(&*both),
        ),
        (Kind::WebhookAdded, "host", None, Some(&*host)),
        (
            Kind::WebhookChanged,
            "host",
            Some(&*host),
            Some("https://elsewhere.example"),
        ),
    ] {
        let log = log_of(store, kind).await;
        let changes = &log.last().unwrap().detail.changes;
        let found = changes.iter().find(|change| change.field == field).unwrap();
        assert_eq!((found.from.as_deref(), found.to.as_deref()), (from, to));
    }
}

/// By the time that a writer is answered.
pub(super) async fn what_was_written_leaves_writes_fine(store: &dyn Store) {
    assert_eq!(store.writes(), Writes::Fine);
    for _ in 0..9 {
        store
            .commit(RecordEvent(sample::event(Kind::AuditRead, START)))
            .await
            .unwrap();
        assert_eq!(store.writes(), Writes::Fine);
    }
}

fn set_merchant(was: Merchant, to: Merchant) -> Change {
    Change::SetMerchant(Set::boxed(was, to))
}

fn set_credential(was: Credential, to: Credential) -> Change {
    Change::SetCredential(Set::boxed(was, to))
}

fn set_embed(was: Embed, to: Embed) -> Change {
    Change::SetEmbed(Set::boxed(was, to))
}

/// Whoever read a row before another changed it would write back what the other took away: an end
/// that was set beside `--enabled false` would put a leaked key into use again.
pub(super) async fn a_change_of_what_was_changed_meanwhile_is_refused(store: &dyn Store) {
    with_merchant(store).await;
    let (merchant, embed) = (sample::merchant(1), sample::embed(1));
    let credential = sample::credential(1);
    let mut disabled = credential.clone();
    disabled.state = CredentialState::Disabled;
    let mut ending = credential.clone();
    ending.expires_at = Some(after(60));
    let mut suspended = merchant.clone();
    suspended.state = MerchantState::Suspended;
    let mut renamed = merchant.clone();
    renamed.name.push_str(", renamed");
    let mut off = embed.clone();
    off.enabled = false;
    let mut copying = embed.clone();
    copying.copy_cvv = true;
    copying.transparent = true;
    let pairs = [
        (
            set_credential(credential.clone(), disabled.clone()),
            set_credential(credential, ending),
        ),
        (
            set_merchant(merchant.clone(), suspended.clone()),
            set_merchant(merchant, renamed),
        ),
        (
            set_embed(embed.clone(), off.clone()),
            set_embed(embed, copying),
        ),
    ];
    let before = log_len(store).await;
    let event = || sample::event(Kind::CredentialChanged, START);
    for (first, late) in pairs {
        // In one commit, and in two.
        let made = store.commit(Changes(vec![(first, event()), (late.clone(), event())]));
        assert_eq!(made.await.unwrap(), [Ok(()), Err(Taken::Stale)]);
        let made = store.commit(Changes(vec![(late, event())])).await.unwrap();
        assert_eq!(made, [Err(Taken::Stale)]);
    }
    assert_eq!(log_len(store).await, before + 3);
    let admission = store.admission(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(admission.credential, disabled);
    assert_eq!(admission.merchant, Some(suspended));
    assert_eq!(store.embed(&off.id).await.unwrap(), Some(off));
    // Who reads again may.
    let mut both = disabled.clone();
    both.expires_at = Some(after(60));
    let again = (set_credential(disabled, both.clone()), event());
    assert_eq!(store.commit(Changes(vec![again])).await.unwrap(), [Ok(())]);
    assert_eq!(store.credentials().await.unwrap(), [both]);
    let unknown = set_embed(sample::embed(9), sample::embed(9));
    let made = store
        .commit(Changes(vec![(unknown, event())]))
        .await
        .unwrap();
    assert_eq!(made, [Err(Taken::NoMerchant)]);
}

/// At the same time, having read the same.
pub(super) async fn of_many_who_change_one_credential_one_does(store: &dyn Store) {
    with_merchant(store).await;
    let was = sample::credential(1);
    let change = |secs| {
        let mut to = was.clone();
        to.expires_at = Some(after(secs));
        let event = sample::event(Kind::CredentialChanged, START);
        store.commit(Changes(vec![(set_credential(was.clone(), to), event)]))
    };
    let made = join_all((1..=8).map(change)).await;
    let made: Vec<_> = made.into_iter().flat_map(Result::unwrap).collect();
    let done = made.iter().filter(|made| made.is_ok()).count();
    let refused = made.iter().filter(|made| **made == Err(Taken::Stale));
    assert_eq!((done, refused.count()), (1, 7), "{made:?}");
}

/// Each permission, each scope and a ceiling, alone: one that is kept in another's place would be a
/// right that nobody gave.
pub(super) async fn what_a_pair_may_do_is_kept(store: &dyn Store) {
    with_merchant(store).await;
    let key = sample::credential(1).key_hash;
    let gives: [fn(&mut Permissions); 4] = [
        |_| {},
        |given| given.export = true,
        |given| given.read_pins = true,
        |given| given.set_pins = true,
    ];
    for give in gives {
        let was = store.merchant(&sample::merchant(1).id).await.unwrap();
        let was = was.unwrap();
        let mut to = was.clone();
        to.permissions = Permissions::default();
        give(&mut to.permissions);
        let change = set_merchant(was, to.clone());
        let event = sample::event(Kind::MerchantChanged, START);
        assert_eq!(
            store.commit(Changes(vec![(change, event)])).await.unwrap(),
            [Ok(())]
        );
        let admission = store.admission(&key).await.unwrap().unwrap();
        assert_eq!(admission.merchant, Some(to));
    }
    let key_pin = Pin::Key(PublicKeyHash([7; 32]));
    let name_pin = Pin::Dns("partner.example".to_owned());
    let ceiling = || Some(vec!["198.51.100.0/24".parse().unwrap()]);
    let none: fn() -> Option<Vec<ipnet::IpNet>> = || None;
    for (scopes, ip_ceiling) in Scope::ALL
        .map(|scope| (vec![scope], none()))
        .into_iter()
        .chain([(vec![], Some(vec![])), (Scope::ALL.to_vec(), ceiling())])
    {
        let was = store.admission(&key).await.unwrap().unwrap().credential;
        let to = Credential {
            scopes,
            ip_ceiling,
            client_certificates: match &*was.client_certificates {
                [] => vec![key_pin.clone(), name_pin.clone()],
                [_, ..] => vec![],
            },
            inherited: !was.inherited,
            ..was.clone()
        };
        let change = set_credential(was, to.clone());
        let event = sample::event(Kind::CredentialChanged, START);
        assert_eq!(
            store.commit(Changes(vec![(change, event)])).await.unwrap(),
            [Ok(())]
        );
        let admission = store.admission(&key).await.unwrap().unwrap();
        assert_eq!(admission.credential, to);
        assert_eq!(store.credentials().await.unwrap(), [to]);
    }
}

/// The last that was written counts, and nothing of it is in the log.
pub(super) async fn the_last_use_of_a_credential_is_kept(store: &dyn Store) {
    with_merchant(store).await;
    assert!(store.last_uses().await.unwrap().is_empty());
    let before = log_len(store).await;
    let [first, second] = [1, 2].map(|n| sample::credential(n).id);
    let uses = |uses: &[(&CredentialId, Time)]| {
        let uses = uses.iter().map(|(id, at)| ((*id).clone(), *at));
        uses.collect::<BTreeMap<_, _>>()
    };
    let noted = uses(&[(&first, after(1)), (&second, after(2))]);
    store.commit(NoteUses(noted.clone())).await.unwrap();
    assert_eq!(store.last_uses().await.unwrap(), noted);
    store
        .commit(NoteUses(uses(&[(&first, after(3))])))
        .await
        .unwrap();
    store.commit(NoteUses(BTreeMap::new())).await.unwrap();
    let now = uses(&[(&first, after(3)), (&second, after(2))]);
    assert_eq!(store.last_uses().await.unwrap(), now);
    assert_eq!(log_len(store).await, before);
}

/// By id.
pub(super) async fn the_registry_is_listed(store: &dyn Store) {
    with_merchant(store).await;
    assert_eq!(store.merchants().await.unwrap().len(), 2);
    assert_eq!(store.credentials().await.unwrap(), [sample::credential(1)]);
    assert_eq!(store.embeds().await.unwrap(), [sample::embed(1)]);
}
