//! `GET /embed/designs/{picture}`: the pictures of the designs that the operator registered.

use cardveil_server::ListenerKind;
use cardveil_server::log::AccessLog;
use serde_json::json;

use super::{config, frame};
use crate::world::{World, design, settings};

async fn with_designs() -> World {
    let mut settings = settings();
    settings.designs = vec![design("dune", &[]), design("reef", &["a"])];
    World::with(settings, AccessLog::none()).await
}

#[tokio::test]
async fn the_frame_is_told_of_them_and_may_load_them() {
    let world = with_designs().await;
    let answer = frame(&world, "emb_1", Some("iframe")).await;
    let designs = config(&answer)["designs"].clone();
    assert_eq!(
        designs[0],
        json!({
            "name": "dune",
            "network": "visa",
            "light": {
                "ink": "#1d2b3a",
                "veil": "#ffffff5c",
                "art": "/embed/designs/880485a05a519b27.svg",
                "logo": "/embed/designs/6e568e1f67fba258.jpg",
                "mark": "/embed/designs/6a393934c657445f.svg",
            },
            "dark": {"ink": "#f4efe6", "veil": "#0000005c", "art": "/embed/designs/4c4b6a3be1314ab8.png"},
        })
    );
    assert_eq!(designs[1]["name"], "reef");
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("; img-src 'self'; "), "{policy}");
}

/// A part has no face, and a card that is held shows nothing.
#[tokio::test]
async fn documents_without_a_face_need_none() {
    let world = with_designs().await;
    for part in ["emb_1?as=part", "emb_1?as=holder"] {
        let answer = frame(&world, part, Some("iframe")).await;
        assert_eq!(config(&answer)["designs"], json!([]), "{part}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(!policy.contains("img-src"), "{policy}");
    }
}

#[tokio::test]
async fn without_any_a_frame_may_load_no_picture() {
    let world = World::new().await;
    let answer = frame(&world, "emb_1", Some("iframe")).await;
    assert_eq!(config(&answer)["designs"], json!([]));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(!policy.contains("img-src"), "{policy}");
    assert!(policy.contains("default-src 'none'"), "{policy}");
}

#[tokio::test]
async fn each_is_served_as_it_was_registered_and_an_svg_may_do_nothing() {
    let world = with_designs().await;
    let config = config(&frame(&world, "emb_1", None).await);
    let told = &config["designs"][0];
    let get = async |url: &serde_json::Value| {
        let url = url.as_str().unwrap();
        world.stranger().get(ListenerKind::Client, url).await
    };
    let svg = get(&told["light"]["art"]).await;
    insta::assert_snapshot!(svg.shown(), @r"
    200
    cache-control: public, max-age=31536000, immutable
    content-length: 5
    content-security-policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox
    content-type: image/svg+xml
    cross-origin-resource-policy: same-origin
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000; includeSubDomains
    x-content-type-options: nosniff
    x-request-id: [request id]

    <svg>
    ");
    let png = get(&told["dark"]["art"]).await;
    let head = |name| png.header(name).unwrap();
    assert_eq!(head("content-type"), "image/png");
    assert_eq!(
        head("content-security-policy"),
        "default-src 'none'; frame-ancestors 'none'"
    );
    assert_eq!(png.body, b"\x89PNG\r\n\x1a\n");
    let mark = get(&told["light"]["mark"]).await;
    assert_eq!(mark.body, b"<svg id=\"mark\">");
}

#[tokio::test]
async fn there_is_no_other() {
    let world = with_designs().await;
    for path in [
        "/embed/designs/",
        "/embed/designs/dune",
        "/embed/designs/%FF",
        "/embed/designs/..%2f..%2fetc%2fpasswd",
        "/embed/designs/880485a05a519b27.png",
        "/embed/designs/880485a05a519b27.svgx",
    ] {
        let answer = world.stranger().get(ListenerKind::Client, path).await;
        assert_eq!(answer.code(), (404, "not_found".to_owned()), "{path}");
    }
}
