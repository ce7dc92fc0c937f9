//! Where a call comes from: only a configured proxy may say.

use cardveil_core::allowlist::Allowlist;
use cardveil_core::audit::{Kind, Origin};
use cardveil_core::merchant::Credential;
use cardveil_server::ListenerKind;
use cardveil_server::log::AccessLog;
use serde_json::json;

use crate::actors::{empty, get, post};
use crate::world::{CARD_NO, HOME, KEY, OFFICE, World, settings};

async fn behind_proxies() -> World {
    let mut settings = settings();
    settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    World::with(settings, AccessLog::none()).await
}

async fn code(world: &World, peer: &str, forwarded: &[&str]) -> String {
    let fields = forwarded.iter().map(|field| field.as_bytes());
    code_of_bytes(world, peer, &fields.collect::<Vec<_>>()).await
}

async fn code_of_bytes(world: &World, peer: &str, forwarded: &[&[u8]]) -> String {
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

/// An allow-list that names the proxy, as whoever tried it out from there leaves behind.
async fn allow_the_proxy(world: &World) {
    let nets = ["10.0.0.1/32", "203.0.113.7/32"].map(|net| net.parse().unwrap());
    let at = world.clock_now();
    let list = |credential: &mut Credential| credential.allowed_ips = Allowlist::of(nets, at);
    world.operator().set_credential(KEY, list).await;
}

/// One byte 0xFF in the caller's own field made the trusted proxy the caller, behind nginx's
/// `$proxy_add_x_forwarded_for`; so did each of the others, and an allow-list that names the proxy let it in.
#[tokio::test]
async fn a_trusted_proxy_is_never_the_caller() {
    let world = behind_proxies().await;
    allow_the_proxy(&world).await;
    for written in [
        &b"\xff"[..],
        b"\xff, 198.51.100.20",
        b"unknown",
        b"",
        b"10.0.0.1",
        b"10.0.0.1:443",
        b"[::ffff:10.0.0.1]:443",
        b"198.51.100.20:49152",
        b"[2001:db8::1]:49152",
    ] {
        assert_eq!(
            code_of_bytes(&world, "10.0.0.1", &[written]).await,
            "1003",
            "{written:?}"
        );
    }
    assert_eq!(code(&world, "10.0.0.1", &[]).await, "1003");
    let mut native = post("/v1/client-tokens", &json!({"card_no": CARD_NO}));
    let key = format!("Bearer {KEY}").parse().unwrap();
    native.headers_mut().insert("authorization", key);
    let answer = world.ask(ListenerKind::Merchant, "10.0.0.1", native).await;
    assert_eq!(answer.code(), (403, "credential_refused".to_owned()));
}

/// What Azure's gateway writes, and what stands in front of a proxy's own hop.
#[tokio::test]
async fn ports_and_brackets_and_bytes_in_front_do_not_hide_the_caller() {
    let world = behind_proxies().await;
    for written in [
        &b"203.0.113.7:49152"[..],
        b"[::ffff:203.0.113.7]:49152",
        b"\xff, 203.0.113.7",
        b"unknown, 203.0.113.7:1, 10.0.0.2:8080",
        b", 203.0.113.7",
    ] {
        assert_eq!(
            code_of_bytes(&world, "10.0.0.1", &[written]).await,
            "0",
            "{written:?}"
        );
    }
}

/// A proxy that tells no address: what judges one refuses, frames, scripts and probes answer.
#[tokio::test]
async fn who_calls_is_not_known() {
    let world = behind_proxies().await;
    let cardholder = world.cardholder().await;
    for (path, body) in [
        ("/client/v1/redeem", cardholder.ask_for(&["pan"])),
        ("/client/v1/events", json!({})),
        ("/client/v1/wallet/eligibility", json!({})),
    ] {
        let answer = world
            .ask(ListenerKind::Client, "10.0.0.1", post(path, &body))
            .await;
        assert_eq!(answer.code(), (403, "caller_unknown".to_owned()), "{path}");
    }
    for (kind, path) in [
        (ListenerKind::Client, "/embed/emb_1"),
        (ListenerKind::Client, "/sdk/v1/cardveil.js"),
        (ListenerKind::Admin, "/healthz"),
        (ListenerKind::Admin, "/readyz"),
        (ListenerKind::Admin, "/metrics"),
    ] {
        let answer = world.ask(kind, "10.0.0.1", empty(get(path))).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    // Nothing was spent.
    assert_eq!(cardholder.redeem(&["pan"]).await.status, 200);
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
