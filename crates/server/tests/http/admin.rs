//! The admin listener.

use std::time::Duration;

use cardveil_core::port::Writes;
use cardveil_core::testing::sample::START;
use cardveil_server::ListenerKind;
use serde_json::{Value, json};

use crate::actors::Thief;
use crate::world::{PAN, World};

#[tokio::test]
async fn it_tells_that_it_runs_and_can_serve() {
    let world = World::new().await;
    for path in ["/healthz", "/readyz"] {
        let answer = world.stranger().get(ListenerKind::Admin, path).await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"status": "ok"}))
        );
    }
}

#[tokio::test]
async fn once_told_to_stop_it_is_not_ready_and_serves_on() {
    let world = World::new().await;
    let before = world.stranger().get(ListenerKind::Admin, "/healthz").await;
    assert_eq!(before.header("connection"), None);
    world.app.drain();
    let ready = world.stranger().get(ListenerKind::Admin, "/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["code"]),
        (503, &json!("stopping"))
    );
    let runs = world.stranger().get(ListenerKind::Admin, "/healthz").await;
    assert_eq!(runs.status, 200);
    let cardholder = world.cardholder().await;
    let shown = cardholder.redeem(&["pan"]).await;
    assert_eq!(shown.status, 200);
    // Whoever keeps connections open goes elsewhere.
    assert_eq!(shown.header("connection"), Some("close"));
    // Nobody is to be woken by it.
    assert_eq!(world.counted("cardveil_faults_total").await, 0);
}

async fn readiness(world: &World) -> (u16, Value) {
    let answer = world.stranger().get(ListenerKind::Admin, "/readyz").await;
    let told = answer.json();
    let what = told.get("code").or_else(|| told.get("warnings"));
    (answer.status, what.cloned().unwrap_or_default())
}

#[tokio::test]
async fn it_is_not_ready_once_writes_have_failed_for_a_while() {
    let world = World::new().await;
    let pending = |failed| {
        Some(Writes::Pending {
            since: START,
            failed,
        })
    };
    let warned = (200, json!(["store_writes_fail"]));
    let unready = (503, json!("unavailable"));
    world.store.say_of_writes(pending(false));
    assert_eq!(readiness(&world).await, (200, Value::Null));
    world.store.say_of_writes(pending(true));
    assert_eq!(readiness(&world).await, warned);
    world.clock.advance(Duration::from_millis(9_999));
    assert_eq!(readiness(&world).await, warned);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(readiness(&world).await, unready);
    // A commit that hangs has not failed yet, and helps nobody.
    world.store.say_of_writes(pending(false));
    assert_eq!(readiness(&world).await, unready);
    world.store.say_of_writes(None);
    assert_eq!(readiness(&world).await, (200, Value::Null));
}

#[tokio::test]
async fn it_is_not_ready_once_no_write_will_be_taken() {
    let world = World::new().await;
    world.store.say_of_writes(Some(Writes::Ended));
    assert_eq!(readiness(&world).await, (503, json!("unavailable")));
    // Whoever watches over it restarts it.
    let runs = world.stranger().get(ListenerKind::Admin, "/healthz").await;
    assert_eq!(runs.status, 503);
}

#[tokio::test]
async fn the_figures_count_what_happened_and_name_nobody() {
    let world = World::new().await;
    let cardholder = world.cardholder().await;
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
    let thief = Thief::with(&world, &cardholder.token);
    assert_eq!(thief.redeem(&["pan"]).await.status, 403);
    let answer = world.stranger().get(ListenerKind::Admin, "/metrics").await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for secret in [PAN, &cardholder.token, "crd_", "mer_", "198.51.100.20"] {
        assert!(!answer.text().contains(secret), "{secret}");
    }
    insta::assert_snapshot!(answer.text(), @r#"
    # TYPE cardveil_requests_total counter
    cardveil_requests_total{listener="merchant"} 2
    cardveil_requests_total{listener="client"} 2
    cardveil_requests_total{listener="admin"} 0
    # TYPE cardveil_requests_malformed_total counter
    cardveil_requests_malformed_total{listener="merchant"} 0
    cardveil_requests_malformed_total{listener="client"} 0
    cardveil_requests_malformed_total{listener="admin"} 0
    # TYPE cardveil_connections_refused_total counter
    cardveil_connections_refused_total{listener="merchant"} 0
    cardveil_connections_refused_total{listener="client"} 0
    cardveil_connections_refused_total{listener="admin"} 0
    # TYPE cardveil_tokens_issued_total counter
    cardveil_tokens_issued_total 1
    # TYPE cardveil_redemptions_released_total counter
    cardveil_redemptions_released_total 1
    # TYPE cardveil_redemptions_refused_total counter
    cardveil_redemptions_refused_total 1
    # TYPE cardveil_redemptions_conflict_total counter
    cardveil_redemptions_conflict_total 1
    # TYPE cardveil_tokens_malformed_total counter
    cardveil_tokens_malformed_total 0
    # TYPE cardveil_tokens_forged_total counter
    cardveil_tokens_forged_total 0
    # TYPE cardveil_tokens_past_life_total counter
    cardveil_tokens_past_life_total 0
    # TYPE cardveil_cards_exported_total counter
    cardveil_cards_exported_total 0
    # TYPE cardveil_pins_released_total counter
    cardveil_pins_released_total 0
    # TYPE cardveil_releases_unconfirmed_total counter
    cardveil_releases_unconfirmed_total 0
    # TYPE cardveil_faults_total counter
    cardveil_faults_total 0
    # TYPE cardveil_panics_total counter
    cardveil_panics_total 0
    # TYPE cardveil_rate_limited_total counter
    cardveil_rate_limited_total 0
    # TYPE cardveil_limit_exchanges_failed_total counter
    cardveil_limit_exchanges_failed_total 0
    # TYPE cardveil_webhooks_delivered_total counter
    cardveil_webhooks_delivered_total 0
    # TYPE cardveil_webhook_attempts_failed_total counter
    cardveil_webhook_attempts_failed_total 0
    # TYPE cardveil_webhooks_given_up_total counter
    cardveil_webhooks_given_up_total 0
    # TYPE cardveil_access_refused_total counter
    cardveil_access_refused_total{cause="key_missing"} 0
    cardveil_access_refused_total{cause="key_unknown"} 0
    cardveil_access_refused_total{cause="key_disabled"} 0
    cardveil_access_refused_total{cause="key_expired"} 0
    cardveil_access_refused_total{cause="address"} 0
    cardveil_access_refused_total{cause="timestamp"} 0
    cardveil_access_refused_total{cause="access_token_missing"} 0
    cardveil_access_refused_total{cause="access_token_invalid"} 0
    cardveil_access_refused_total{cause="certificate"} 0
    cardveil_access_refused_total{cause="merchant_suspended"} 0
    cardveil_access_refused_total{cause="merchant_closed"} 0
    cardveil_access_refused_total{cause="scope"} 0
    # TYPE cardveil_vault_tampered_total counter
    cardveil_vault_tampered_total 0
    # TYPE cardveil_webhooks_waiting gauge
    cardveil_webhooks_waiting 0
    # TYPE cardveil_webhooks_failed gauge
    cardveil_webhooks_failed 0
    # TYPE cardveil_rows_unreadable gauge
    cardveil_rows_unreadable 0
    # TYPE cardveil_access_log_dropped_total counter
    cardveil_access_log_dropped_total 0
    "#);
}

#[tokio::test]
async fn the_document_is_the_one_that_the_program_prints() {
    let world = World::new().await;
    let answer = world
        .stranger()
        .get(ListenerKind::Admin, "/openapi.json")
        .await;
    let printed = serde_json::to_value(cardveil_server::document()).unwrap();
    assert_eq!(answer.json(), printed);
}

#[tokio::test]
async fn the_reference_page_gets_all_it_needs_from_this_listener() {
    let world = World::new().await;
    let page = world
        .stranger()
        .get(ListenerKind::Admin, "/reference")
        .await;
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("script-src 'self';"), "{policy}");
    assert!(!page.text().contains("http://") && !page.text().contains("https://"));
    let sources: Vec<_> = page
        .text()
        .match_indices("src=\"")
        .map(|(at, _)| at + 5)
        .collect();
    assert_eq!(sources.len(), 2);
    for at in sources {
        let path = page.text()[at..].split('"').next().unwrap().to_owned();
        let script = world.stranger().get(ListenerKind::Admin, &path).await;
        assert_eq!(
            (script.status, script.text().is_empty()),
            (200, false),
            "{path}"
        );
    }
}
