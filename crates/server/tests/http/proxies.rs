//! Where a call comes from: only a configured proxy may say.

use cardveil_core::audit::{Kind, Origin};
use cardveil_server::ListenerKind;
use cardveil_server::log::AccessLog;

use crate::actors::empty;
use crate::world::{HOME, OFFICE, World, settings};

async fn behind_proxies() -> World {
    let mut settings = settings();
    settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    World::with(settings, AccessLog::none()).await
}

async fn code(world: &World, peer: &str, forwarded: &[&str]) -> String {
    let mut call = world.merchant().keysecure("/open-api/v1/merchant/token");
    for value in forwarded {
        call = call.header("X-Forwarded-For", *value);
    }
    world
        .ask(ListenerKind::Merchant, peer, empty(call))
        .await
        .code()
        .1
}

#[tokio::test]
async fn a_caller_cannot_set_its_own_address() {
    for world in [World::new().await, behind_proxies().await] {
        assert_eq!(code(&world, HOME, &[OFFICE]).await, "1003");
        assert_eq!(code(&world, OFFICE, &[HOME]).await, "0");
    }
}

#[tokio::test]
async fn without_configured_proxies_none_is_believed() {
    let world = World::new().await;
    assert_eq!(code(&world, "10.0.0.1", &[OFFICE]).await, "1003");
}

#[tokio::test]
async fn a_proxy_is_believed_for_the_last_hop_that_is_none() {
    let world = behind_proxies().await;
    assert_eq!(code(&world, "10.0.0.1", &[OFFICE]).await, "0");
    assert_eq!(
        code(&world, "10.0.0.1", &["203.0.113.7, 10.0.0.2"]).await,
        "0"
    );
    assert_eq!(code(&world, "10.0.0.1", &[OFFICE, "10.0.0.2"]).await, "0");
    // What stands before the caller's own hop was written by the caller.
    assert_eq!(
        code(&world, "10.0.0.1", &["203.0.113.7, 198.51.100.20"]).await,
        "1003"
    );
    assert_eq!(code(&world, "10.0.0.1", &[OFFICE, HOME]).await, "1003");
    assert_eq!(
        code(&world, "10.0.0.1", &["203.0.113.7, unknown"]).await,
        "1003"
    );
    assert_eq!(code(&world, "10.0.0.1", &[]).await, "1003");
}

#[tokio::test]
async fn the_audit_record_has_the_callers_address_and_the_request() {
    let world = behind_proxies().await;
    let call = world
        .merchant()
        .keysecure("/open-api/v1/merchant/token")
        .header("X-Forwarded-For", "203.0.113.7");
    let answer = world
        .ask(ListenerKind::Merchant, "10.0.0.1", empty(call))
        .await;
    let granted = world.operator().logged(Kind::AccessGranted).await;
    let origin = Origin::Network {
        ip: OFFICE.parse().unwrap(),
        request: answer.header("x-request-id").unwrap().to_owned().into(),
    };
    assert_eq!(granted[0].event.origin, origin);
}
