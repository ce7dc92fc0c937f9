//! `GET /sdk/*`: the SDK's scripts.

mod manifest;

use cardveil_server::ListenerKind;
use http::Method;

use crate::actors::{empty, request};
use crate::world::{Answer, World};

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
        head.headers.retain(|(name, _)| name != "content-length");
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
