//! `GET /embed/fonts/{font}`: the fonts that the operator registered.

use cardveil_server::log::AccessLog;
use cardveil_server::{Font, FontStyle, ListenerKind};
use serde_json::json;

use super::{config, frame};
use crate::world::{World, font, settings};

/// The same bytes for each weight: an address tells bytes apart, not faces.
async fn with_fonts() -> World {
    let mut settings = settings();
    settings.fonts = vec![
        font("inter", Some("100 900"), FontStyle::Normal),
        font("inter", Some("400"), FontStyle::Italic),
        font("Noto-Sans", None, FontStyle::Normal),
    ];
    World::with(settings, AccessLog::none()).await
}

#[tokio::test]
async fn the_frame_is_told_of_them_and_may_load_them() {
    let world = with_fonts().await;
    let answer = frame(&world, "emb_1", Some("iframe")).await;
    assert_eq!(
        config(&answer)["fonts"],
        json!([
            {"name": "inter", "url": "/embed/fonts/inter-5c1fe60bf735d8a2.woff2", "weight": "100 900", "style": "normal"},
            {"name": "inter", "url": "/embed/fonts/inter-5c1fe60bf735d8a2.woff2", "weight": "400", "style": "italic"},
            {"name": "Noto-Sans", "url": "/embed/fonts/Noto-Sans-5c1fe60bf735d8a2.woff2", "weight": "400", "style": "normal"},
        ])
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("; font-src 'self'; "), "{policy}");
}

#[tokio::test]
async fn without_any_a_frame_may_load_none() {
    let world = World::new().await;
    let answer = frame(&world, "emb_1", Some("iframe")).await;
    assert_eq!(config(&answer)["fonts"], json!([]));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(!policy.contains("font-src"), "{policy}");
    assert!(policy.contains("default-src 'none'"), "{policy}");
}

#[tokio::test]
async fn each_is_served_as_it_was_registered() {
    let world = with_fonts().await;
    let config = config(&frame(&world, "emb_1", None).await);
    for told in config["fonts"].as_array().unwrap() {
        let url = told["url"].as_str().unwrap();
        let answer = world.stranger().get(ListenerKind::Client, url).await;
        assert_eq!(answer.body, crate::world::WOFF2);
        let mut head = answer;
        head.body.clear();
        insta::allow_duplicates! {
            insta::assert_snapshot!(head.shown(), @r"
            200
            cache-control: public, max-age=31536000, immutable
            content-length: 12
            content-security-policy: default-src 'none'; frame-ancestors 'none'
            content-type: font/woff2
            cross-origin-resource-policy: same-origin
            referrer-policy: no-referrer
            strict-transport-security: max-age=31536000; includeSubDomains
            x-content-type-options: nosniff
            x-request-id: [request id]
            ");
        }
    }
}

#[tokio::test]
async fn there_is_no_other() {
    let world = with_fonts().await;
    let config = config(&frame(&world, "emb_1", None).await);
    let url = config["fonts"][0]["url"].as_str().unwrap().to_owned();
    for path in [
        "/embed/fonts/",
        "/embed/fonts/inter.woff2",
        "/embed/fonts/%FF",
        "/embed/fonts/..%2f..%2fetc%2fpasswd",
        &url.to_uppercase(),
        &url.replace("inter", "Inter"),
        &format!("{url}x"),
    ] {
        let answer = world.stranger().get(ListenerKind::Client, path).await;
        assert_eq!(answer.code(), (404, "not_found".to_owned()), "{path}");
    }
    let none = World::new().await;
    let answer = none.stranger().get(ListenerKind::Client, &url).await;
    assert_eq!(answer.code(), (404, "not_found".to_owned()));
}

#[test]
fn faces_that_a_frame_could_not_tell_apart_are_seen() {
    let of = |name, weight, style| font(name, weight, style);
    let inter = of("inter", Some("400"), FontStyle::Normal);
    let same = |other: &Font| inter.is_same_face(other);
    assert!(same(&of("Inter", None, FontStyle::Normal)));
    assert!(!same(&of("inter", Some("700"), FontStyle::Normal)));
    assert!(!same(&of("inter", None, FontStyle::Italic)));
    assert!(!same(&of("inter2", None, FontStyle::Normal)));
}
