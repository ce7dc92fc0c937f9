//! `GET /webview/{embed}`: the page of an app's WebView.

use cardveil_server::ListenerKind;

use crate::actors::{empty, get};
use crate::world::{Answer, World};

/// Embed 2 becomes an app's.
async fn world() -> World {
    let world = World::new().await;
    world
        .operator()
        .set_embed(2, |embed| embed.origins.clear())
        .await;
    world
}

async fn page(world: &World, embed: &str, destination: Option<&str>) -> Answer {
    let mut call = get(&format!("/webview/{embed}"));
    if let Some(destination) = destination {
        call = call.header("sec-fetch-dest", destination);
    }
    world
        .stranger()
        .send(ListenerKind::Client, empty(call))
        .await
}

#[tokio::test]
async fn an_app_gets_its_page_which_nobody_may_frame() {
    let world = world().await;
    for destination in [None, Some("document")] {
        let answer = page(&world, "emb_2?whole=true&lang=de", destination).await;
        assert_eq!(answer.status, 200);
        let built = format!("{}/../../web/dist/app.js", env!("CARGO_MANIFEST_DIR"));
        let script = std::fs::read_to_string(built).unwrap();
        assert!(answer.text().contains(&script));
        assert!(answer.text().contains("<html lang=\"de\">"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("frame-ancestors 'none'; default-src 'none'; script-src 'sha384-")
        );
        assert_eq!(
            answer.header("cross-origin-opener-policy"),
            Some("same-origin")
        );
        assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
        let linked = page(&world, "emb_2?lang=de", destination).await;
        assert!(
            linked
                .text()
                .contains("<script defer src=\"/embed/assets/app-")
        );
        assert!(linked.text().contains("<html lang=\"de\">"));
    }
}

#[tokio::test]
async fn it_opens_as_a_page_of_its_own_only() {
    let world = world().await;
    for destination in [
        "iframe", "frame", "embed", "object", "empty", "script", "DOCUMENT",
    ] {
        let answer = page(&world, "emb_2", Some(destination)).await;
        assert_eq!(answer.status, 403, "{destination}");
        assert!(!answer.text().contains("<script"));
    }
}

#[tokio::test]
async fn an_embed_of_pages_has_none() {
    let world = world().await;
    let answer = page(&world, "emb_1", Some("document")).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("registered without origins"));
    assert!(!answer.text().contains("<script"));
}

#[tokio::test]
async fn an_embed_that_is_not_there_is_the_same_as_one_that_is_disabled() {
    let world = world().await;
    let unknown = page(&world, "emb_404", None).await;
    assert_eq!(unknown.status, 404);
    world
        .operator()
        .set_embed(2, |embed| {
            embed.origins.clear();
            embed.enabled = false;
        })
        .await;
    for embed in ["emb_2", "mer_1", "%FF"] {
        let answer = page(&world, embed, None).await;
        assert_eq!(answer.without_id(), unknown.without_id(), "{embed}");
    }
}
