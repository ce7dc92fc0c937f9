//! The admin listener.

use std::collections::BTreeMap;
use std::time::Duration;

use cardveil_core::clock::Time;
use cardveil_core::port::Writes;
use cardveil_server::ListenerKind;
use cardveil_testkit::sample::START;
use serde_json::{Value, json};

use crate::actors::Thief;
use crate::world::{CARD_NO, PAN, World};

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

/// A node whose clock was 400 s ahead refused its peers' tokens, and was content with itself
/// (operators).
#[tokio::test]
async fn a_node_whose_clock_is_not_the_stores_says_so_and_beyond_a_minute_releases_nothing() {
    let world = World::new().await;
    let merchant = world.merchant();
    let issue = async || merchant.native(&json!({"card_no": CARD_NO})).await;
    let compare = async |ahead: i64| {
        let store = START.millis() - ahead;
        world.store.say_the_time(Some(Time::from_millis(store)));
        world.app.service.compare_clocks().await.unwrap();
    };
    let figure = async || {
        let figures = world.stranger().get(ListenerKind::Admin, "/metrics").await;
        let figures = figures.text();
        let line = figures
            .lines()
            .find(|line| line.starts_with("cardveil_clock_ahead_seconds "));
        line.map(str::to_owned)
    };
    assert_eq!(figure().await, None, "the store has no clock");
    let cardholder = world.cardholder().await;
    for (ahead, warning, shown) in [
        (5_000, None, "5"),
        (-5_000, None, "-5"),
        (5_001, Some("5 s ahead"), "5.001"),
        (-60_000, Some("60 s behind"), "-60"),
        (60_000, Some("60 s ahead"), "60"),
    ] {
        compare(ahead).await;
        let told = warning.map(|words| json!([format!("clock_apart: {words} of the database's")]));
        assert_eq!(readiness(&world).await, (200, told.unwrap_or_default()));
        assert_eq!(issue().await.status, 201, "{ahead}");
        let line = format!("cardveil_clock_ahead_seconds {shown}");
        assert_eq!(figure().await, Some(line));
    }
    let log = world.operator().log().await.len();
    for ahead in [60_001, -60_001, 400_000] {
        compare(ahead).await;
        let refused = (503, "clock_apart".to_owned());
        assert_eq!(readiness(&world).await, (503, json!("clock_apart")));
        assert_eq!(issue().await.code(), refused);
        assert_eq!(cardholder.redeem(&["pan"]).await.code(), refused);
    }
    assert_eq!(world.operator().log().await.len(), log, "nothing was spent");
    compare(0).await;
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200, "still good");
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
async fn another_program_that_holds_the_file_is_told_at_once_sonarr_1886_uptime_kuma_3786() {
    let world = World::new().await;
    let since = world.clock_now();
    world.store.say_of_writes(Some(Writes::LockedOut { since }));
    assert_eq!(readiness(&world).await, (503, json!("store_locked")));
    // A restart would help nobody.
    let runs = world.stranger().get(ListenerKind::Admin, "/healthz").await;
    assert_eq!(runs.status, 200);
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
    // What the test's machine decides is left out.
    let counted = answer.text().lines().filter(|line| {
        let varies = ["#", "process_", "cardveil_build_info"];
        !varies.iter().any(|begin| line.starts_with(begin))
            && !line.contains("_seconds_bucket{")
            && !line.contains("_seconds_sum{")
    });
    let counted: Vec<_> = counted.collect();
    insta::assert_snapshot!(counted.join("\n"), @r#"
    cardveil_requests_total{listener="merchant"} 2
    cardveil_requests_total{listener="client"} 2
    cardveil_requests_total{listener="admin"} 0
    cardveil_requests_malformed_total{listener="merchant"} 0
    cardveil_requests_malformed_total{listener="client"} 0
    cardveil_requests_malformed_total{listener="admin"} 0
    cardveil_connections_refused_total{listener="merchant"} 0
    cardveil_connections_refused_total{listener="client"} 0
    cardveil_connections_refused_total{listener="admin"} 0
    cardveil_request_duration_seconds_count{listener="merchant",route="/open-api/v1/merchant/client/{card_no}/token",outcome="done"} 1
    cardveil_request_duration_seconds_count{listener="merchant",route="/open-api/v1/merchant/token",outcome="done"} 1
    cardveil_request_duration_seconds_count{listener="client",route="/client/v1/redeem",outcome="done"} 1
    cardveil_request_duration_seconds_count{listener="client",route="/client/v1/redeem",outcome="refused"} 1
    cardveil_tokens_issued_total 1
    cardveil_redemptions_released_total 1
    cardveil_redemptions_refused_total 1
    cardveil_redemptions_conflict_total 1
    cardveil_tokens_malformed_total 0
    cardveil_tokens_forged_total 0
    cardveil_tokens_past_life_total 0
    cardveil_cards_exported_total 0
    cardveil_pins_released_total 0
    cardveil_releases_unconfirmed_total 0
    cardveil_rows_compared_total 0
    cardveil_faults_total 0
    cardveil_panics_total 0
    cardveil_rate_limited_total 0
    cardveil_limit_exchanges_failed_total 0
    cardveil_webhooks_delivered_total 0
    cardveil_webhook_attempts_failed_total 0
    cardveil_webhooks_given_up_total 0
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
    cardveil_vault_tampered_total 0
    cardveil_rows_unreadable 0
    cardveil_access_log_dropped_total 0
    cardveil_store_writes_waiting 0
    cardveil_store_writes_waiting_max 0
    cardveil_store_connections_busy 0
    cardveil_store_connections_max 0
    cardveil_webhooks_waiting 0
    cardveil_webhooks_failed 0
    cardveil_epoch 0
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
    // The one address of others is text, for the samples.
    let client = "data-client=\"https://cards.example\"";
    assert!(page.text().contains(client));
    let rest = page.text().replace(client, "");
    assert!(!rest.contains("http://") && !rest.contains("https://"));
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

/// What promtool, which is run on the demo's, would say of a family. It had 18 complaints.
fn complaints(text: &str) -> Vec<String> {
    let mut said = Vec::new();
    let mut known = BTreeMap::new();
    let mut last = "";
    let mut helped = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            (helped, _) = rest.split_once(' ').unwrap();
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            if helped != name {
                said.push(format!("{name} has no HELP"));
            }
            if (kind == "counter") != name.ends_with("_total") {
                said.push(format!("{name} is a {kind}"));
            }
            if known.insert(name, kind).is_some() {
                said.push(format!("{name} is there twice"));
            }
            last = name;
            continue;
        }
        let name = line.split(['{', ' ']).next().unwrap();
        let suffixes: &[_] = match known.get(last) {
            Some(&"histogram") => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        if !suffixes
            .iter()
            .any(|end| name.strip_suffix(end) == Some(last))
        {
            said.push(format!("{name} is not of {last}"));
        }
    }
    said
}

#[tokio::test]
async fn every_family_says_what_it_is_redis_exporter_84() {
    let world = World::new().await;
    world.cardholder().await.redeem(&["pan"]).await;
    let answer = world.stranger().get(ListenerKind::Admin, "/metrics").await;
    assert_eq!(complaints(answer.text()), [""; 0]);
    for wrong in [
        "# TYPE a_total counter\na_total 1",
        "# HELP a b\n# TYPE a counter\nb 1",
    ] {
        assert_ne!(complaints(wrong), [""; 0], "{wrong}");
    }
    for there in [
        "cardveil_build_info{version=",
        "process_cpu_seconds_total ",
        "process_open_fds ",
    ] {
        assert!(
            answer.text().lines().any(|line| line.starts_with(there)),
            "{there}"
        );
    }
}

/// Whatever strangers ask for, there are as many series as there are routes.
#[tokio::test]
async fn latencies_have_bounded_labels_and_add_up() {
    let world = World::new().await;
    for n in 0..50 {
        let path = format!("/nothing/{n}");
        world.stranger().get(ListenerKind::Client, &path).await;
        let frame = format!("/embed/emb_{n}");
        world.stranger().get(ListenerKind::Client, &frame).await;
    }
    let text = world.stranger().get(ListenerKind::Admin, "/metrics").await;
    let series = text.text().lines().filter(|line| line.contains("_count{"));
    let series: Vec<_> = series.collect();
    let name = "cardveil_request_duration_seconds";
    let labels = |route: &str, outcome: &str| {
        format!("listener=\"client\",route=\"{route}\",outcome=\"{outcome}\"")
    };
    let of = |labels: &str, count: u64| format!("{name}_count{{{labels}}} {count}");
    // Two of the ids are there.
    let shown = labels("/embed/{embed}", "done");
    let unknown = labels("/embed/{embed}", "refused");
    let nothing = labels("none", "refused");
    let expected = [of(&shown, 2), of(&unknown, 48), of(&nothing, 50)];
    assert_eq!(series, expected);
    let ends = text
        .text()
        .lines()
        .filter(|line| line.contains("le=\"+Inf\""));
    let ends: Vec<_> = ends.collect();
    let of = |labels: &str, count: u64| format!("{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
    assert_eq!(ends, [of(&shown, 2), of(&unknown, 48), of(&nothing, 50)]);
}
