//! Heads and bodies that HTTP refuses, or that two servers read in two ways: at every listener,
//! plain and by TLS, each with one answer, one line in the access log and one count.

use axum::body::Body;
use cardveil_server::ListenerKind;
use cardveil_server::log::AccessLog;
use http::Method;
use http::request::Builder;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::access_log::{Buffer, lines};
use crate::actors::request;
use crate::serving::{closing, exchange, serve};
use crate::tls::{Authority, Folder, connect, listeners, partner};
use crate::world::{CLIENT_ORIGIN, OFFICE, World, settings};

/// What comes, up to the head's end or with a body, and the status of its answer.
const HEADS: [(&str, u16); 36] = [
    // Not HTTP/1: hyper's own answers.
    ("S3CRET\r\n\r\n", 400),
    ("G@T /S3CRET HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    ("GET /S3CRET\r\nhost: x\r\n\r\n", 400),
    ("GET /S3CRET HTTP/2.0\r\nhost: x\r\n\r\n", 400),
    ("GET /S3CRET HTTP/1.1\r\nhost : x\r\n\r\n", 400),
    ("GET /S3CRET HTTP/1.1\r\nhost: x\r\nS3 CRET: x\r\n\r\n", 400),
    (
        "GET /S3CRET HTTP/1.1\r\nhost: x\r\nx: S3\0CRET\r\n\r\n",
        400,
    ),
    // RFC 9112 5.2: a line that is folded.
    ("GET / HTTP/1.1\r\nhost: x\r\nx: a\r\n S3CRET\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nhost: x\r\n S3CRET: y\r\n\r\n", 400),
    // RFC 9112 3.2: one host, and one that can be.
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nhost: x\r\nHOST: y\r\n\r\n", 400),
    ("GET / HTTP/1.0\r\nhost: x\r\nhost: y\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nhost:\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nhost: :80\r\n\r\n", 400),
    ("GET / HTTP/1.0\r\nhost:\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nhost: x/S3CRET\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nhost: x, y\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nhost: S3CRET@x\r\n\r\n", 400),
    ("GET / HTTP/1.0\r\n\r\n", 404),
    ("GET / HTTP/1.0\r\nhost: x\r\n\r\n", 404),
    // RFC 9112 3.2.2: an address that tells its host.
    ("GET http://y/S3CRET HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    ("GET http://x:81/S3CRET HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    ("GET http://y/S3CRET HTTP/1.1\r\n\r\n", 400),
    (
        "GET http://X/S3CRET HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        404,
    ),
    ("CONNECT y:443 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    // RFC 9112 6: where the body ends.
    (
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +5\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, x\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    // By the Transfer-Encoding alone, and then the end, in either order.
    (
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 44\r\n\r\n0\r\n\r\n",
        404,
    ),
    (
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 44\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        404,
    ),
];

/// What follows on the connection gets no answer of its own.
async fn status(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> u16 {
    let smuggled = format!("{head}GET /sdk/v1/cardveil.js HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(smuggled.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // After an answer of its own, hyper ends TLS without a notice.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{head}: {answer}");
    assert!(!answer.contains("S3"), "{head}: {answer}");
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_two_servers_read_in_two_ways_is_refused_at_every_listener() {
    let authority = Authority::new();
    let folder = Folder::with(&authority.server());
    for is_tls in [false, true] {
        let buffer = Buffer::default();
        let (writer, log) = AccessLog::start(Box::new(buffer.clone())).unwrap();
        let mut settings = settings();
        if is_tls {
            settings.tls = listeners(&folder);
        }
        let world = World::with(settings, log).await;
        for kind in ListenerKind::ALL {
            let served = serve(&world, kind).await;
            for (head, expected) in HEADS {
                let got = if is_tls {
                    let config = partner(&authority, None);
                    let stream = connect(served.at, config).await.unwrap();
                    status(stream, head).await
                } else {
                    status(TcpStream::connect(served.at).await.unwrap(), head).await
                };
                assert_eq!(got, expected, "{kind:?}, TLS {is_tls}: {head}");
            }
            served.stop.send(true).unwrap();
            served.task.await.unwrap();
        }
        let refused = HEADS.iter().filter(|(_, status)| *status == 400).count();
        for kind in ListenerKind::ALL {
            let name = kind.as_str();
            let count = format!("cardveil_requests_malformed_total{{listener=\"{name}\"}}");
            let refused = u64::try_from(refused).unwrap();
            assert_eq!(world.counted(&count).await, refused);
        }
        drop((world, writer));
        let text = buffer.text();
        assert!(!text.contains("S3"), "{text}");
        let logged = lines(&text);
        let logged = logged
            .iter()
            .filter(|line| line["http.route"] != json!("/metrics"));
        let logged: Vec<_> = logged
            .map(|line| (&line["listener"], &line["http.status"]))
            .collect();
        let expected: Vec<(Value, Value)> = ListenerKind::ALL
            .iter()
            .flat_map(|kind| HEADS.map(|(_, status)| (json!(kind.as_str()), json!(status))))
            .collect();
        assert_eq!(
            logged,
            expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let world = World::new().await;
    let many = format!("GET / HTTP/1.1{}", "\r\nx: y".repeat(80));
    for kind in ListenerKind::ALL {
        let served = serve(&world, kind).await;
        let answer = exchange(served.at, &closing(&many, "")).await;
        assert!(answer.starts_with("http/1.1 431 "), "{answer}");
    }
}

/// The handler meets it, so its line has a route.
#[tokio::test]
async fn a_chunk_that_is_none_is_the_callers_fault() {
    let world = World::new().await;
    let served = serve(&world, ListenerKind::Client).await;
    for chunk in ["S3CRET", "-1\r\nS", "1;\nS", "ffffffffffffffffff\r\n"] {
        let head = "POST /client/v1/redeem HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                    transfer-encoding: chunked\r\n\r\n";
        let answer = exchange(served.at, format!("{head}{chunk}\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("http/1.1 400 "), "{chunk}: {answer}");
        assert_eq!(answer.matches("http/1.").count(), 1, "{answer}");
    }
    assert_eq!(world.counted("cardveil_faults_total").await, 0);
}

/// A gzip body was told as "not valid JSON".
#[tokio::test]
async fn a_compressed_body_is_415_and_told_so_client_habits() {
    let world = World::new().await;
    let merchant = world.merchant();
    let encoded = |call: Builder, coding: &str| {
        let call = call.header("Content-Encoding", coding);
        let body = Body::from("\x1f\x08 is no JSON");
        call.header("Content-Type", "application/json")
            .body(body)
            .unwrap()
    };
    let keysecure = merchant.keysecure("/open-api/v1/card/list");
    let access = merchant.login().await;
    let bearer = format!("Bearer {}", merchant.key);
    let equals = format!("ApiKey {}", merchant.key);
    for (kind, call, code) in [
        (
            ListenerKind::Merchant,
            keysecure
                .method(Method::POST)
                .header("Access-Token", access),
            "1004",
        ),
        (
            ListenerKind::Merchant,
            request(Method::POST, "/v1/client-tokens").header("Authorization", bearer),
            "unsupported_media_type",
        ),
        (
            ListenerKind::Merchant,
            request(Method::POST, "/v2/mfa/sessions").header("Authorization", equals),
            "unsupported_media_type",
        ),
        (
            ListenerKind::Client,
            request(Method::POST, "/client/v1/redeem").header("Origin", CLIENT_ORIGIN),
            "unsupported_media_type",
        ),
    ] {
        let answer = world.ask(kind, OFFICE, encoded(call, "gzip")).await;
        assert_eq!(answer.code(), (415, code.to_owned()));
        assert_eq!(answer.header("accept-encoding"), Some("identity"));
        assert!(
            answer.text().contains("Content-Encoding"),
            "{}",
            answer.shown()
        );
    }
    // The body is read as it is, and found to be none.
    for (coding, status) in [
        ("identity", 400),
        ("", 400),
        ("IDENTITY, br", 415),
        ("x", 415),
    ] {
        let call = request(Method::POST, "/client/v1/redeem").header("Origin", CLIENT_ORIGIN);
        let answer = world
            .ask(ListenerKind::Client, OFFICE, encoded(call, coding))
            .await;
        assert_eq!(answer.status, status, "{coding}");
    }
}
