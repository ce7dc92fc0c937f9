//! `GET /embed/{embed}`: the frame.

mod designs;
mod fonts;

use cardveil_core::merchant::{Embed, Merchant};
use cardveil_core::mfa::Policy;
use cardveil_server::ListenerKind;
use serde_json::{Value, json};

use crate::actors::{empty, get};
use crate::world::{Answer, World};

/// The document in one piece.
async fn frame(world: &World, embed: &str, destination: Option<&str>) -> Answer {
    let (embed, query) = embed.split_once('?').unwrap_or((embed, ""));
    let whole = format!("{embed}?whole=true&{query}");
    linked(world, &whole, destination).await
}

/// As a page asks for it first.
async fn linked(world: &World, embed: &str, destination: Option<&str>) -> Answer {
    let mut call = get(&format!("/embed/{embed}"));
    if let Some(destination) = destination {
        call = call.header("sec-fetch-dest", destination);
    }
    world
        .stranger()
        .send(ListenerKind::Client, empty(call))
        .await
}

/// The status and the headers, with the integrity values checked and hidden.
fn head(answer: &Answer) -> String {
    let mut head = answer.clone();
    head.body.clear();
    head.headers
        .retain(|(name, _)| name != "content-length" && name != "etag");
    let mut shown = head.shown();
    for (name, file) in [
        ("script", "frame.js"),
        ("what asks", "code.js"),
        ("style", "frame.css"),
    ] {
        let built = format!("{}/../../web/dist/{file}", env!("CARGO_MANIFEST_DIR"));
        let digest = cardveil_seal::sha384(&std::fs::read(built).unwrap());
        let digest = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest);
        shown = shown.replace(
            &format!("'sha384-{digest}'"),
            &format!("[integrity of {name}]"),
        );
    }
    shown
}

fn config(answer: &Answer) -> Value {
    let (_, rest) = answer.text().split_once("id=\"cardveil-config\">").unwrap();
    let (config, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(config).unwrap()
}

#[tokio::test]
async fn the_headers_exactly() {
    let world = World::new().await;
    let answer = frame(&world, "emb_1", Some("iframe")).await;
    insta::assert_snapshot!(head(&answer));
}

/// Every address that a document links.
fn links(document: &str) -> Vec<&str> {
    let parts = document.split([' ', '\n']);
    let values = parts.filter_map(|part| {
        part.strip_prefix("href=\"")
            .or_else(|| part.strip_prefix("src=\""))
    });
    values
        .map(|value| value.split('"').next().unwrap())
        .collect()
}

/// A second frame of a page costs its document alone.
#[tokio::test]
async fn a_document_names_its_parts_by_addresses_that_are_their_bytes_own() {
    let world = World::new().await;
    let mut all = std::collections::BTreeSet::new();
    for (query, script, lang) in [
        ("", "frame.js", "en"),
        ("?as=card&lang=de", "frame.js", "de"),
        ("?as=holder", "holder.js", "en"),
        ("?as=part&lang=ar", "part.js", "ar"),
        ("?as=admin&lang=tlh", "frame.js", "en"),
    ] {
        let answer = linked(&world, &format!("emb_1{query}"), Some("iframe")).await;
        assert!(answer.body.len() < 1_400, "{}", answer.body.len());
        let policy = answer.header("content-security-policy").unwrap();
        let document = answer.text();
        let links = links(document);
        assert_eq!(links.len(), 3, "{document}");
        for (link, file) in links
            .iter()
            .zip(["frame.css", &format!("words/{lang}.json"), script])
        {
            let call = get(link).header("accept-encoding", "br");
            let got = world
                .stranger()
                .send(ListenerKind::Client, empty(call))
                .await;
            assert_eq!(
                (got.status, got.header("content-encoding")),
                (200, Some("br")),
                "{link}"
            );
            assert_eq!(
                got.header("cache-control"),
                Some("public, max-age=31536000, immutable")
            );
            assert_eq!(
                got.header("cross-origin-resource-policy"),
                Some("same-origin")
            );
            let built = format!("{}/../../web/dist/{file}", env!("CARGO_MANIFEST_DIR"));
            let built = std::fs::read(built).unwrap();
            let plain = world.stranger().get(ListenerKind::Client, link).await;
            assert!(plain.body == built, "{link} is {file}");
            if file != "frame.css" && file != script {
                assert_eq!(config(&answer)["words"], **link);
                continue;
            }
            let source = format!(" https://cards.example{link}");
            assert!(policy.contains(&source), "{policy}");
            let digest = cardveil_seal::sha384(&built);
            let digest = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest);
            assert!(document.contains(&format!("{link}\" integrity=\"sha384-{digest}\"")));
        }
        all.extend(links.into_iter().map(str::to_owned));
    }
    assert_eq!(
        all.len(),
        7,
        "the style, three scripts and three languages: {all:?}"
    );
}

#[tokio::test]
async fn there_is_no_part_under_another_address() {
    let world = World::new().await;
    let document = linked(&world, "emb_1", Some("iframe")).await;
    let known = links(document.text())[2].to_owned();
    let other = known.replace(".js", "0.js");
    for path in [
        &other,
        "/embed/assets/frame.js",
        "/embed/assets/",
        "/embed/assets/%FF",
    ] {
        let answer = world.stranger().get(ListenerKind::Client, path).await;
        assert_eq!(answer.code(), (404, "not_found".to_owned()), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let again = get(&known).header("if-none-match", "\"x\"");
    assert_eq!(
        world
            .stranger()
            .send(ListenerKind::Client, empty(again))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_second_frame_cost_the_whole_document_again() {
    let world = World::new().await;
    let ask = async |query: &str, known: &str| {
        let call = get(&format!("/embed/emb_1{query}")).header("sec-fetch-dest", "iframe");
        let call = empty(call.header("if-none-match", known));
        world.stranger().send(ListenerKind::Client, call).await
    };
    let first = ask("?as=part", "\"x\"").await;
    assert_eq!(first.status, 200);
    let tag = first.header("etag").unwrap();
    let again = ask("?as=part", tag).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    // The browser goes on with the headers that it has (RFC 9111 3.2), so none may be another.
    for (name, value) in &again.headers {
        let same = first.header(name) == Some(value.as_str());
        assert!(same || name == "x-request-id", "{name}: {value}");
    }
    assert_eq!(again.header("content-security-policy"), None);
    for query in ["?as=card", "?as=part&lang=de", "?as=part&scheme=dark"] {
        assert_eq!(ask(query, tag).await.status, 200, "{query}");
    }
    let elsewhere = |embed: &mut Embed| embed.origins = vec!["https://other.example".to_owned()];
    world.operator().set_embed(1, elsewhere).await;
    let other = ask("?as=part", tag).await;
    assert_eq!(other.status, 200);
    let policy = other.header("content-security-policy").unwrap();
    assert!(policy.starts_with("frame-ancestors https://other.example;"));
    world
        .operator()
        .set_embed(1, |embed| embed.enabled = false)
        .await;
    assert_eq!(ask("?as=part", tag).await.status, 404);
}

/// A document that the browser has is still one for frames only.
#[tokio::test]
async fn a_frame_that_is_kept_opens_by_itself_no_more_than_another() {
    let world = World::new().await;
    let kept = linked(&world, "emb_1", Some("iframe")).await;
    let call = get("/embed/emb_1").header("sec-fetch-dest", "document");
    let call = call.header("if-none-match", kept.header("etag").unwrap());
    let alone = world
        .stranger()
        .send(ListenerKind::Client, empty(call))
        .await;
    assert_eq!(alone.status, 403);
}

/// A page allows one host, and the frame needs no other.
#[tokio::test]
async fn no_host_is_named_but_those_that_may_frame_it_vellum_assistant_40266() {
    let world = World::new().await;
    let (linked, whole) = tokio::join!(
        linked(&world, "emb_1", Some("iframe")),
        frame(&world, "emb_1", Some("iframe"))
    );
    for answer in [linked, whole] {
        let policy = answer.header("content-security-policy").unwrap();
        let (ancestors, rest) = policy.split_once("; ").unwrap();
        assert_eq!(ancestors, "frame-ancestors https://shop.example");
        for source in rest.split("; ").flat_map(|rule| rule.split(' ').skip(1)) {
            let quoted = source.starts_with('\'') && source.ends_with('\'');
            let ours = source.starts_with("https://cards.example/embed/assets/");
            assert!(quoted || ours, "{source} is another host");
        }
        assert!(!policy.contains('*'));
    }
}

#[tokio::test]
async fn the_whole_document_holds_its_script_its_style_and_its_config() {
    let world = World::new().await;
    let answer = frame(&world, "emb_1", None).await;
    let mut config = config(&answer);
    let words = config["words"].take();
    assert_eq!(
        config,
        json!({"embed": "emb_1", "origins": ["https://shop.example"], "copy_cvv": false, "transparent": false, "fonts": [], "designs": [], "words": null})
    );
    assert_eq!(
        (&words["lang"], &words["labels"]["hide"]),
        (&json!("en"), &json!("Hide"))
    );
    for file in ["frame.js", "frame.css"] {
        let built = format!("{}/../../web/dist/{file}", env!("CARGO_MANIFEST_DIR"));
        assert!(
            answer
                .text()
                .contains(&std::fs::read_to_string(built).unwrap()),
            "{file}"
        );
    }
    // It loads nothing.
    for loading in [" src=", " href=", "@import", "url("] {
        let document = answer.text().split("<script>").next().unwrap();
        assert!(!document.contains(loading), "{loading}");
    }
}

#[tokio::test]
async fn it_speaks_the_language_that_the_page_asks_for_or_english() {
    let world = World::new().await;
    for (query, lang, hide) in [
        ("?lang=de", "lang=\"de\"", "Verbergen"),
        ("?lang=ar&as=part", "lang=\"ar\" dir=\"rtl\"", "إخفاء"),
        ("?lang=tlh", "lang=\"en\"", "Hide"),
        ("?lang=de&lang=fr", "lang=\"en\"", "Hide"),
        ("?lang=%3C%2Fscript%3E", "lang=\"en\"", "Hide"),
    ] {
        let answer = frame(&world, &format!("emb_1{query}"), None).await;
        assert_eq!(config(&answer)["words"]["labels"]["hide"], hide, "{query}");
        assert!(answer.text().contains(&format!("<html {lang}>")));
    }
}

#[tokio::test]
async fn a_frame_begins_in_the_scheme_that_its_page_names_and_in_no_other() {
    let world = World::new().await;
    for (query, html) in [
        ("?scheme=dark", "<html lang=\"en\" data-theme=\"dark\">"),
        ("?scheme=light", "<html lang=\"en\" data-theme=\"light\">"),
        ("?scheme=auto", "<html lang=\"en\">"),
        ("?scheme=dark&scheme=light", "<html lang=\"en\">"),
        ("?scheme=%22%3E%3Cscript%3E", "<html lang=\"en\">"),
    ] {
        let answer = frame(&world, &format!("emb_1{query}"), None).await;
        assert!(answer.text().contains(html), "{query}");
    }
}

#[tokio::test]
async fn each_whole_document_has_its_own_script_and_a_policy_that_allows_no_other() {
    let world = World::new().await;
    for (query, file) in [
        ("", "frame.js"),
        ("?as=card", "frame.js"),
        ("?as=holder", "holder.js"),
        ("?as=part", "part.js"),
        ("?as=admin", "frame.js"),
    ] {
        let answer = frame(&world, &format!("emb_1{query}"), Some("iframe")).await;
        let (script, source) = built(file);
        assert!(answer.text().contains(&script), "{query}");
        let policy = answer.header("content-security-policy").unwrap();
        let sources = if file == "frame.js" {
            format!("{source} {}", built("code.js").1)
        } else {
            source
        };
        let sources = format!("script-src {sources};");
        assert!(policy.contains(&sources), "{query}");
    }
}

/// A script and what a policy calls it.
fn built(file: &str) -> (String, String) {
    let built = format!("{}/../../web/dist/{file}", env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(built).unwrap();
    let digest = cardveil_seal::sha384(script.as_bytes());
    let digest = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest);
    (script, format!("'sha384-{digest}'"))
}

/// The others' cardholders load nothing that they have no use for.
#[tokio::test]
async fn the_frames_of_a_programme_that_asks_bring_what_asks_and_no_others_do() {
    let world = World::new().await;
    let (asks, _) = built("code.js");
    for policy in [Policy::Off, Policy::Required, Policy::InFrame] {
        let set = |merchant: &mut Merchant| merchant.mfa.view_card = policy;
        world.operator().set_merchant(1, set).await;
        for query in ["", "?as=holder", "?as=part"] {
            let is_there = policy == Policy::InFrame && query.is_empty();
            let embed = format!("emb_1{query}");
            let whole = frame(&world, &embed, Some("iframe")).await;
            let has = whole.text().contains(&asks);
            assert_eq!(has, is_there, "{policy:?} {query}");
            let linked = linked(&world, &embed, Some("iframe")).await;
            let links = links(linked.text());
            let place = links.iter().position(|link| link.contains("/code-"));
            // Before the script that looks for it.
            let before = is_there.then(|| links.len() - 2);
            assert_eq!(place, before, "{policy:?} {query}");
        }
    }
}

#[tokio::test]
async fn a_page_can_learn_why_a_frame_does_not_come() {
    let world = World::new().await;
    let ask = |embed: &'static str, origin: &'static str| {
        let call = get(&format!("/client/v1/embeds/{embed}")).header("origin", origin);
        let (world, call) = (&world, empty(call));
        async move { world.stranger().send(ListenerKind::Client, call).await }
    };
    for (origin, registered) in [
        ("https://shop.example", true),
        ("https://evil.example", false),
        ("https://shop.example.evil.example", false),
        ("null", false),
    ] {
        let answer = ask("emb_1", origin).await;
        assert_eq!(
            answer.json(),
            json!({"embed": "emb_1", "origin_registered": registered})
        );
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    for embed in ["emb_unknown", "x"] {
        let answer = ask(embed, "https://shop.example").await;
        assert_eq!(answer.code(), (404, "not_found".to_owned()));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    world
        .operator()
        .set_embed(1, |embed| embed.enabled = false)
        .await;
    assert_eq!(ask("emb_1", "https://shop.example").await.code().0, 404);
}

#[tokio::test]
async fn a_frame_can_have_the_words_of_another_language() {
    let world = World::new().await;
    for (language, spoken) in [
        ("de", "de"),
        ("ja", "ja"),
        ("tlh", "en"),
        ("..", "en"),
        ("%ff", "en"),
    ] {
        let call = empty(get(&format!("/client/v1/words/{language}")));
        let answer = world.stranger().send(ListenerKind::Client, call).await;
        assert_eq!(answer.json()["lang"], spoken, "{language}");
        assert!(answer.json()["labels"]["hide"].is_string());
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        // For frames alone, which are of the same origin.
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn only_the_embeds_origins_may_frame_it() {
    let world = World::new().await;
    for (origins, expected) in [
        (
            vec!["https://a.example", "https://b.example:8443"],
            "frame-ancestors https://a.example https://b.example:8443;",
        ),
        (vec![], "frame-ancestors 'none';"),
    ] {
        let origins: Vec<_> = origins.into_iter().map(str::to_owned).collect();
        world
            .operator()
            .set_embed(1, |embed| embed.origins.clone_from(&origins))
            .await;
        let answer = frame(&world, "emb_1", Some("iframe")).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains(expected), "{policy}");
        assert_eq!(config(&answer)["origins"], json!(origins));
    }
}

#[tokio::test]
async fn an_origin_that_could_be_more_than_one_source_is_put_into_no_policy() {
    let world = World::new().await;
    for origin in [
        "https://a.example; script-src *",
        "https://a.example https://b.example",
        "https://a.example,",
        "*",
        "'self'",
        "",
        "https://\u{e9}.example",
        "https://a.example\r\nx: y",
        "https://*.example",
    ] {
        let origins = vec!["https://shop.example".to_owned(), origin.to_owned()];
        world
            .operator()
            .set_embed(1, |embed| embed.origins = origins)
            .await;
        let answer = frame(&world, "emb_1", Some("iframe")).await;
        assert_eq!(answer.code(), (503, "unavailable".to_owned()), "{origin}");
        assert_eq!(
            answer.header("content-security-policy"),
            Some("default-src 'none'; frame-ancestors 'none'")
        );
    }
}

#[tokio::test]
async fn it_opens_as_a_frame_only() {
    let world = World::new().await;
    for destination in [None, Some("iframe")] {
        assert_eq!(frame(&world, "emb_1", destination).await.status, 200);
    }
    for destination in [
        "document",
        "frame",
        "embed",
        "object",
        "empty",
        "script",
        "IFRAME",
        "x, iframe",
    ] {
        let answer = frame(&world, "emb_1", Some(destination)).await;
        assert_eq!(answer.status, 403, "{destination}");
        assert!(!answer.text().contains("<script"));
    }
}

#[tokio::test]
async fn opened_by_itself_it_was_bare_text_and_wears_the_style_that_its_policy_names() {
    let world = World::new().await;
    let answer = frame(&world, "emb_1", Some("document")).await;
    let (_, rest) = answer.text().split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    let digest = cardveil_seal::sha384(style.as_bytes());
    let digest = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest);
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains(&format!("style-src 'sha384-{digest}';")));
}

#[tokio::test]
async fn opened_by_itself_it_was_english_and_speaks_the_language_that_was_asked_for() {
    let world = World::new().await;
    let mut told = std::collections::BTreeSet::new();
    for (query, html) in [
        ("", "lang=\"en\""),
        ("?lang=tlh", "lang=\"en\""),
        ("?lang=ar", "lang=\"ar\" dir=\"rtl\""),
        ("?lang=de&as=part", "lang=\"de\""),
        ("?lang=es", "lang=\"es\""),
        ("?lang=fr", "lang=\"fr\""),
        ("?lang=ja", "lang=\"ja\""),
        ("?lang=pt", "lang=\"pt\""),
        ("?lang=zh", "lang=\"zh\""),
    ] {
        let answer = frame(&world, &format!("emb_1{query}"), Some("document")).await;
        assert!(answer.text().contains(&format!("<html {html}>")), "{query}");
        let (_, title) = answer.text().split_once("<h1>").unwrap();
        told.insert(title.to_owned());
    }
    assert_eq!(told.len(), 8);
}

#[tokio::test]
async fn its_notices_are_framed_by_nobody() {
    let world = World::new().await;
    let mut shown = head(&frame(&world, "emb_1", Some("document")).await);
    shown.push_str(&head(&frame(&world, "emb_404", Some("iframe")).await));
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn an_embed_that_is_not_there_is_the_same_as_one_that_is_disabled() {
    let world = World::new().await;
    world
        .operator()
        .set_embed(2, |embed| embed.enabled = false)
        .await;
    let unknown = frame(&world, "emb_404", Some("iframe")).await;
    assert_eq!(unknown.status, 404);
    for embed in [
        "emb_2",
        "mer_1",
        "x",
        "%FF",
        "emb_%3Cscript%3E",
        "emb_%0d%0ax:y",
    ] {
        let answer = frame(&world, embed, Some("iframe")).await;
        assert_eq!(answer.without_id(), unknown.without_id(), "{embed}");
    }
}

#[tokio::test]
async fn the_cvv_may_be_copied_where_the_embed_says_so() {
    let world = World::new().await;
    world
        .operator()
        .set_embed(1, |embed| embed.copy_cvv = true)
        .await;
    let answer = frame(&world, "emb_1", Some("iframe")).await;
    assert_eq!(config(&answer)["copy_cvv"], json!(true));
    assert_eq!(config(&answer)["transparent"], json!(false));
}

#[tokio::test]
async fn parts_may_be_transparent_where_the_embed_says_so() {
    let world = World::new().await;
    world
        .operator()
        .set_embed(1, |embed| embed.transparent = true)
        .await;
    let answer = frame(&world, "emb_1", Some("iframe")).await;
    assert_eq!(config(&answer)["transparent"], json!(true));
    assert_eq!(config(&answer)["copy_cvv"], json!(false));
}
