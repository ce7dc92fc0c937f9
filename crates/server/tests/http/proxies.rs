//! Where a call comes from: only a configured proxy may say.

use std::num::NonZeroU32;

use cardveil_core::audit::{Kind, Origin};
use cardveil_core::merchant::Credential;
use cardveil_core::merchant::allowlist::Allowlist;
use cardveil_server::log::AccessLog;
use cardveil_server::{ListenerKind, Settings};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::actors::{empty, get, post};
use crate::serving::{closing, serve};
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
/// `$proxy_add_x_forwarded_for`; so did each of the others, and an allow-list that names the proxy
/// let it in.
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
async fn ports_and_brackets_do_not_hide_the_caller_authentik_25679_rack_1227_carbon_apimgt_8897() {
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

/// Get Token over a socket, behind these bytes; the answer's code, or nothing when the connection
/// is closed.
async fn login_behind(world: &World, before: &[u8], forwarded: &str) -> String {
    let served = serve(world, ListenerKind::Merchant).await;
    let head = format!(
        "GET /open-api/v1/merchant/token HTTP/1.1\r\napi-key: {KEY}\r\ntimestamp: {}{forwarded}",
        world.now_ms()
    );
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let _ = stream
        .write_all(&[before, &closing(&head, "")].concat())
        .await;
    let mut answer = Vec::new();
    // Whoever closes with bytes unread resets the connection.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let body = serde_json::from_str::<serde_json::Value>(body);
    body.map_or_else(|_| String::new(), |body| body["code"].to_string())
}

async fn on_loopback(set: impl FnOnce(&mut Settings)) -> World {
    let mut settings = settings();
    settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    set(&mut settings);
    World::with(settings, AccessLog::none()).await
}

/// Naming one proxy lifted the refusal for everyone.
#[tokio::test]
async fn a_listener_behind_proxies_takes_nobody_elses_connections() {
    let all = vec![ListenerKind::Merchant, ListenerKind::Client];
    let named = on_loopback(|settings| settings.behind_proxies = all.clone()).await;
    assert_eq!(
        login_behind(&named, b"", "\r\nx-forwarded-for: 203.0.113.7").await,
        "0"
    );
    let elsewhere = on_loopback(|settings| {
        settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        settings.behind_proxies = all;
    })
    .await;
    assert_eq!(login_behind(&elsewhere, b"", "").await, "");
    let refused = r#"cardveil_connections_refused_total{listener="merchant"}"#;
    assert_eq!(elsewhere.counted(refused).await, 1);
    assert_eq!(named.counted(refused).await, 0);
}

#[tokio::test]
async fn the_proxy_protocol_tells_who_calls_proxysql_2497_apicast_1194() {
    let world =
        on_loopback(|settings| settings.proxy_protocol = vec![ListenerKind::Merchant]).await;
    let version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x7f\0\0\x01\xc0\0\0\x50";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let office = "\r\nx-forwarded-for: 203.0.113.7";
    for (header, forwarded, code) in [
        (
            &b"PROXY TCP4 203.0.113.7 127.0.0.1 49152 80\r\n"[..],
            "",
            "0",
        ),
        (version_2, "", "0"),
        (
            b"PROXY TCP4 198.51.100.20 127.0.0.1 49152 80\r\n",
            "",
            "1003",
        ),
        // The caller's own word, which no proxy wrote.
        (
            b"PROXY TCP4 198.51.100.20 127.0.0.1 49152 80\r\n",
            office,
            "1003",
        ),
        (b"PROXY UNKNOWN\r\n", office, "1003"),
        (local, office, "1003"),
        // A proxy for HTTP behind the load balancer.
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 49152 80\r\n", office, "0"),
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 49152 80\r\n", "", "1003"),
        // Without a header there is no request.
        (b"", "", ""),
        (b"", office, ""),
    ] {
        assert_eq!(
            login_behind(&world, header, forwarded).await,
            code,
            "{header:?} {forwarded}"
        );
    }
    // Who is no trusted proxy has its header read as a request.
    let stranger = on_loopback(|settings| {
        settings.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        settings.proxy_protocol = vec![ListenerKind::Merchant];
    })
    .await;
    let header = b"PROXY TCP4 203.0.113.7 127.0.0.1 49152 80\r\n";
    assert_eq!(login_behind(&stranger, header, "").await, "");
    assert_eq!(login_behind(&stranger, b"", "").await, "1003");
}

/// Behind a load balancer for TCP the told address counts; the balancer itself has a limit of its
/// own.
#[tokio::test]
async fn an_address_holds_so_many_connections() {
    let world = on_loopback(|settings| {
        settings.proxy_protocol = vec![ListenerKind::Client];
        settings.limits.connections.address = NonZeroU32::new(1);
    })
    .await;
    let served = serve(&world, ListenerKind::Client).await;
    let ask = async |from: &str| {
        let mut stream = TcpStream::connect(served.at).await.unwrap();
        let head =
            format!("PROXY TCP4 {from} 127.0.0.1 1 80\r\nGET /nothing HTTP/1.1\r\nhost: x\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = [0; 12];
        let taken = stream.read_exact(&mut answer).await.is_ok();
        taken.then_some(stream)
    };
    let held = ask("203.0.113.7").await.unwrap();
    assert!(ask("203.0.113.7").await.is_none());
    assert!(ask("203.0.113.8").await.is_some());
    let refused = r#"cardveil_connections_refused_total{listener="client"}"#;
    assert_eq!(world.counted(refused).await, 1);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_says_nothing_loses_its_place() {
    let world =
        on_loopback(|settings| settings.proxy_protocol = vec![ListenerKind::Merchant]).await;
    let served = serve(&world, ListenerKind::Merchant).await;
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    stream.write_all(b"PROXY TCP4 203.0.113.7 ").await.unwrap();
    let asked = Instant::now();
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
    assert_eq!(asked.elapsed().as_secs(), 5);
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
        ip: Some(OFFICE.parse().unwrap()),
        request: answer.header("x-request-id").unwrap().to_owned().into(),
    };
    assert_eq!(granted[0].event.origin, origin);
}
