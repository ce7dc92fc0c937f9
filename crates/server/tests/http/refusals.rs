//! Calls that are refused at the door are on record (PCI DSS 10.2.1.4), gathered, and nobody floods
//! it.

use cardveil_core::audit::refused::{Denied, RefusedCalls};
use cardveil_core::audit::{Actor, Event, Kind, Origin, Outcome};
use cardveil_core::merchant::{CredentialState, MerchantState, Scope};
use cardveil_server::ListenerKind;
use cardveil_testkit::sample;
use http::Method;

use crate::actors::{empty, get};
use crate::world::{CARD_NO, HOME, KEY, OFFICE, World};

const CARDS: &str = "/v1/cards";

/// What is on record of refused calls once a minute is over.
async fn on_record(world: &World) -> Vec<Event> {
    world.app.record_refused().await;
    let log = cardveil_core::port::Audit::entries(&*world.store, 0, 10_000).await;
    let log = log.unwrap().into_iter().map(|entry| entry.event);
    log.filter(|event| event.kind == Kind::AccessRefused)
        .collect()
}

fn refused(event: &Event) -> &RefusedCalls {
    event.detail.refused.as_ref().unwrap()
}

/// Every way in which a credential or its absence is refused, in all APIs.
#[tokio::test]
async fn every_refused_call_is_on_record_with_its_cause() {
    let world = World::new().await;
    let call = |key: &str| get(CARDS).header("Authorization", format!("Bearer {key}"));
    let ask = async |from: &str, request| {
        let answer = world
            .ask(ListenerKind::Merchant, from, empty(request))
            .await;
        assert_ne!(answer.code().1, "0", "{answer:?}");
    };
    ask(OFFICE, get(CARDS)).await;
    ask(OFFICE, call("cvk_test_nobodys")).await;
    ask(HOME, call(KEY)).await;
    world
        .add_credential(1, "cvk_test_hooks", Scope::WebhooksManage, None)
        .await;
    ask(OFFICE, call("cvk_test_hooks")).await;
    let equals = get("/v2/cards?accountId=F50091").header("Authorization", "ApiKey cvk_test_no");
    ask(OFFICE, equals).await;
    let merchant = world.merchant();
    let path = format!("/open-api/v1/merchant/client/{CARD_NO}/token");
    ask(OFFICE, merchant.keysecure(&path)).await;
    let forged = merchant.keysecure(&path).header("Access-Token", "cva_no");
    ask(OFFICE, forged).await;
    let late = get(&path).header("Api-Key", KEY).header("Timestamp", "1");
    ask(OFFICE, late).await;
    let operator = world.operator();
    operator
        .set_merchant(1, |merchant| merchant.state = MerchantState::Suspended)
        .await;
    ask(OFFICE, call(KEY)).await;
    operator
        .set_credential(KEY, |credential| {
            credential.state = CredentialState::Disabled;
        })
        .await;
    ask(OFFICE, call(KEY)).await;
    let log = on_record(&world).await;
    let told: Vec<_> = log
        .iter()
        .map(|event| {
            (
                refused(event).cause.unwrap(),
                event.target.resource.as_deref().unwrap(),
                matches!(event.actor, Actor::Credential(_)),
            )
        })
        .collect();
    let expected = [
        (Denied::Address, "native", true),
        (Denied::Scope, "native", true),
        (Denied::AccessTokenMissing, "keysecure", true),
        (Denied::AccessTokenInvalid, "keysecure", true),
        (Denied::Timestamp, "keysecure", true),
        (Denied::MerchantSuspended, "native", true),
        (Denied::KeyDisabled, "native", true),
        (Denied::KeyMissing, "native", false),
        (Denied::KeyUnknown, "native", false),
        (Denied::KeyUnknown, "equals", false),
    ];
    assert_eq!(told, expected);
    let from_home = &log[0];
    assert_eq!(from_home.outcome, Outcome::Failure);
    assert_eq!(from_home.merchant, Some(sample::merchant(1).id));
    assert!(from_home.target.credential.is_some());
    assert_eq!(refused(from_home).from.unwrap().addr().to_string(), HOME);
    assert!(matches!(from_home.origin, Origin::Network { .. }));
    let text = format!("{log:?}");
    assert!(!text.contains(KEY) && !text.contains("cvk_"), "{text}");
    for (cause, count) in [("address", 1), ("key_unknown", 2), ("certificate", 0)] {
        let name = format!("cardveil_access_refused_total{{cause=\"{cause}\"}}");
        assert_eq!(world.counted(&name).await, count, "{name}");
    }
}

#[tokio::test]
async fn what_is_admitted_leaves_no_record_of_a_refusal() {
    let world = World::new().await;
    let answer = world
        .merchant()
        .call("Bearer", Method::GET, CARDS, None)
        .await;
    assert_eq!(answer.status, 200);
    assert!(on_record(&world).await.is_empty());
}

/// From 2,000 addresses, past every limit: a hundred records, all calls counted.
#[tokio::test]
async fn a_flood_of_refused_calls_is_a_hundred_records() {
    let world = World::new().await;
    for n in 0..2_000_u32 {
        let from = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
        let call = get(CARDS).header("Authorization", format!("Bearer cvk_test_{n}"));
        let answer = world.ask(ListenerKind::Merchant, &from, empty(call)).await;
        assert!([403, 429].contains(&answer.status), "{answer:?}");
    }
    let call = get(CARDS).header("Authorization", format!("Bearer {KEY}"));
    world.ask(ListenerKind::Merchant, HOME, empty(call)).await;
    let log = on_record(&world).await;
    assert_eq!(log.len(), 100);
    assert_eq!(
        refused(&log[0]).cause,
        Some(Denied::Address),
        "the known one first"
    );
    let calls = log.iter().map(|event| refused(event).calls);
    assert_eq!(calls.sum::<u64>(), 2_001);
    assert_eq!(on_record(&world).await.len(), 100, "each once");
}

/// What could not be written is written when it can be.
#[tokio::test]
async fn refused_calls_outlive_a_store_that_does_not_write() {
    let world = World::new().await;
    let call = || get(CARDS).header("Authorization", "Bearer cvk_test_nobodys");
    world.ask(ListenerKind::Merchant, HOME, empty(call())).await;
    world.store.fail_next(cardveil_testkit::Fault::NotPersisted);
    world.app.record_refused().await;
    world.ask(ListenerKind::Merchant, HOME, empty(call())).await;
    let log = on_record(&world).await;
    assert_eq!(log.len(), 1);
    assert_eq!(refused(&log[0]).calls, 2);
}
