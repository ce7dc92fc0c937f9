//! `GET /sdk/*`: the SDK's scripts.

mod manifest;

use std::io::Read as _;

use cardveil_server::ListenerKind;
use http::Method;

use crate::actors::{Cardholder, empty, post, request};
use crate::world::{Answer, CARD_NO, World};

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[tokio::test]
async fn the_scripts_may_be_loaded_by_any_page() {
    let world = World::new().await;
    for file in ["cardveil.js", "cardveil.iife.js", "marqeta.js", "pure.js"] {
        let answer = world
            .stranger()
            .get(ListenerKind::Client, &format!("/sdk/v1/{file}"))
            .await;
        let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/");
        let built = std::fs::read(format!("{built}{file}")).unwrap();
        assert!(answer.body == built, "{file} is what was built");
        let mut head = answer;
        head.body.clear();
        head.headers
            .retain(|(name, _)| name != "content-length" && name != "etag");
        insta::allow_duplicates! {
            insta::assert_snapshot!(head.shown(), @r"
            200
            access-control-allow-origin: *
            cache-control: public, max-age=300
            content-security-policy: default-src 'none'; frame-ancestors 'none'
            content-type: text/javascript; charset=utf-8
            cross-origin-resource-policy: cross-origin
            referrer-policy: no-referrer
            strict-transport-security: max-age=31536000; includeSubDomains
            vary: accept-encoding
            x-content-type-options: nosniff
            x-request-id: [request id]
            ");
        }
    }
}

#[tokio::test]
async fn a_head_is_the_get_without_its_body() {
    let world = World::new().await;
    let stranger = world.stranger();
    let get = stranger
        .get(ListenerKind::Client, "/sdk/v1/cardveil.js")
        .await;
    let head = empty(request(Method::HEAD, "/sdk/v1/cardveil.js"));
    let head = stranger.send(ListenerKind::Client, head).await;
    assert_eq!(head.without_id().headers, get.without_id().headers);
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn there_is_no_other_file() {
    let world = World::new().await;
    for path in [
        "/sdk/v1/",
        "/sdk/v1/frame.js",
        "/sdk/v1/../v1/x",
        "/sdk/v2/cardveil.js",
        "/sdk/v1/%FF",
        "/sdk/v1/..%2fcardveil.js",
        &format!("/sdk/{VERSION}/"),
        &format!("/sdk/{VERSION}/CARDVEIL.JS"),
    ] {
        let answer = world.stranger().get(ListenerKind::Client, path).await;
        assert_eq!(answer.code(), (404, "not_found".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn the_address_of_the_exact_version_has_the_same_bytes_and_never_changes() {
    let world = World::new().await;
    for file in ["cardveil.js", "cardveil.iife.js", "marqeta.js", "pure.js"] {
        let get = async |version: &str| {
            let path = format!("/sdk/{version}/{file}");
            world.stranger().get(ListenerKind::Client, &path).await
        };
        let (moving, exact) = (get("v1").await, get(VERSION).await);
        assert_eq!((moving.status, exact.status), (200, 200));
        assert!(moving.body == exact.body, "{file}");
        assert_eq!(
            exact.header("cache-control"),
            Some("public, max-age=31536000, immutable")
        );
        let but_cache = |answer: &Answer| {
            let mut answer = answer.without_id();
            answer.headers.retain(|(name, _)| name != "cache-control");
            answer.headers
        };
        assert_eq!(but_cache(&exact), but_cache(&moving));
    }
}

#[tokio::test]
async fn another_version_is_told_which_there_is() {
    let world = World::new().await;
    for version in ["0.0.9", "v2", "latest", "01.0", "V1"] {
        let path = format!("/sdk/{version}/cardveil.js");
        let answer = world.stranger().get(ListenerKind::Client, &path).await;
        assert_eq!(answer.code(), (404, "not_found".to_owned()), "{version}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("/sdk/{VERSION}/")), "{detail}");
        assert!(!detail.contains(version), "it repeats nothing: {detail}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

/// What a phone on a slow line waits for.
#[tokio::test]
async fn scripts_are_compressed_in_the_coding_that_the_caller_takes() {
    let world = World::new().await;
    let get = async |offers: &str| {
        let call = request(Method::GET, "/sdk/v1/cardveil.js").header("accept-encoding", offers);
        let stranger = world.stranger();
        stranger.send(ListenerKind::Client, empty(call)).await
    };
    let plain = get("identity").await;
    let mut tags = Vec::new();
    let whole = plain.body.len();
    for (offers, coding, most) in [
        ("identity", None, whole),
        ("gzip, deflate", Some("gzip"), whole / 2),
        ("gzip, deflate, br, zstd", Some("br"), whole / 2),
    ] {
        let answer = get(offers).await;
        assert_eq!(answer.header("content-encoding"), coding, "{offers}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        assert!(answer.body.len() <= most, "{offers}: {}", answer.body.len());
        let mut opened = Vec::new();
        match coding {
            Some("br") => {
                let mut from = brotli::Decompressor::new(&answer.body[..], 4_096);
                from.read_to_end(&mut opened).unwrap();
            }
            Some(_) => {
                let mut from = flate2::read::GzDecoder::new(&answer.body[..]);
                from.read_to_end(&mut opened).unwrap();
            }
            None => opened.extend_from_slice(&answer.body),
        }
        assert!(opened == plain.body, "{offers}");
        tags.push(answer.header("etag").unwrap().to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each coding has a tag of its own");
}

#[tokio::test]
async fn a_script_that_a_browser_has_is_not_sent_again() {
    let world = World::new().await;
    for path in [
        "/sdk/v1/cardveil.js",
        "/sdk/v1/manifest.json",
        "/sdk/v1/manifest.jws",
    ] {
        let ask = async |known: &str| {
            let call = request(Method::GET, path)
                .header("accept-encoding", "br")
                .header("if-none-match", known);
            let stranger = world.stranger();
            stranger.send(ListenerKind::Client, empty(call)).await
        };
        let first = ask("\"another\"").await;
        assert_eq!(first.status, 200, "{path}");
        let tag = first.header("etag").unwrap().to_owned();
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"another\", {tag}"),
        ] {
            let again = ask(&known).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} {known}");
            for header in [
                "etag",
                "cache-control",
                "vary",
                "access-control-allow-origin",
            ] {
                assert_eq!(
                    again.header(header),
                    first.header(header),
                    "{path} {header}"
                );
            }
        }
        for other in ["*x", tag.trim_matches('"'), "", "\"\""] {
            assert_eq!(ask(other).await.status, 200, "{path} {other}");
        }
    }
}

/// What holds a secret tells nothing by its length (BREACH).
#[tokio::test]
async fn an_answer_that_is_made_for_a_caller_is_never_compressed() {
    let world = World::new().await;
    let token = world.merchant().token(CARD_NO).await;
    let cardholder = Cardholder::with(&world, token);
    let mut call = post("/client/v1/redeem", &cardholder.ask_for(&["pan"]));
    let offers = "gzip, br".parse().unwrap();
    call.headers_mut().insert("accept-encoding", offers);
    let redeemed = cardholder.send_as_frame(call).await;
    assert_eq!(redeemed.status, 200);
    assert_eq!(redeemed.header("content-encoding"), None);
}
