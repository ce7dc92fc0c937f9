//! `GET /sdk/v1/manifest.json`, `GET /sdk/v1/manifest.jws`: what is served, and who says so.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use cardveil_core::merchant::Embed;
use cardveil_server::log::AccessLog;
use cardveil_server::manifest::{self, AssetKind, FRAME_PATH, Frame, Manifest, Opened};
use cardveil_server::{FontStyle, ListenerKind};
use serde_json::Value;

use crate::world::{Answer, World, font, settings};

async fn get(world: &World, path: &str) -> Answer {
    let answer = world.stranger().get(ListenerKind::Client, path).await;
    assert_eq!(answer.status, 200, "{path}");
    answer
}

async fn manifest(world: &World) -> Manifest {
    let answer = get(world, manifest::PATH).await;
    serde_json::from_slice(&answer.body).unwrap()
}

async fn opened(world: &World) -> Opened {
    let answer = get(world, manifest::SIGNED_PATH).await;
    Opened::parse(answer.text()).unwrap()
}

fn integrity(bytes: &[u8]) -> String {
    let digest = cardveil_seal::sha384(bytes);
    format!("sha384-{}", BASE64_STANDARD.encode(digest))
}

#[tokio::test]
async fn its_form_exactly() {
    let world = World::new().await;
    let mut shown: Value = get(&world, manifest::PATH).await.json();
    // What changes with every build of the bundles is checked below.
    let mut changing = Vec::new();
    for script in shown["scripts"].as_array_mut().unwrap() {
        assert!(script["bytes"].as_u64().unwrap() > 0);
        script["bytes"] = "[bytes]".into();
        let integrity = script["integrity"].as_str().unwrap().to_owned();
        assert_eq!(integrity.len(), "sha384-".len() + 64);
        script["integrity"] = "[integrity]".into();
        changing.push((integrity, "[integrity]"));
        let path = script["path"].as_str().unwrap().to_owned();
        if let Some((_, rest)) = path.rsplit_once('-').filter(|_| path.contains("/assets/")) {
            let (tag, _) = rest.split_once('.').unwrap();
            script["path"] = path.replace(tag, "[tag]").into();
            changing.push((tag.to_owned(), "[tag]"));
        }
    }
    for frame in shown["frames"].as_array_mut().unwrap() {
        let policy = frame["policy"].as_str().unwrap().to_owned();
        let hide = |policy: String, (it, shown): &(String, &str)| policy.replace(it, shown);
        frame["policy"] = changing.iter().fold(policy, hide).into();
    }
    insta::assert_json_snapshot!(shown);
}

#[tokio::test]
async fn every_address_in_it_has_the_bytes_that_it_says() {
    let world = World::new().await;
    let all = manifest(&world).await.scripts;
    let by_address = all.iter().filter(|script| match script.kind {
        AssetKind::Module | AssetKind::Script | AssetKind::Style => true,
        AssetKind::InlineScript | AssetKind::InlineStyle => false,
    });
    let mut count = 0;
    for script in by_address {
        for path in [Some(&script.path), script.moving_path.as_ref()] {
            let Some(path) = path else { continue };
            let served = get(&world, path).await.body;
            assert_eq!(integrity(&served), script.integrity, "{}", script.name);
            assert_eq!(u64::try_from(served.len()).unwrap(), script.bytes);
            count += 1;
        }
    }
    // The SDK's five are at two addresses each; the documents link four scripts, that which asks for
    // a second factor, and a style.
    assert_eq!(count, 5 * 2 + 4 + 1 + 1);
    // The others are in the documents: a script in each whole one, two that may ask, and for all of
    // them a script and a style.
    assert_eq!(all.len(), 11 + 4 + 2 + 2);
}

/// Nothing in a frame is run or applied but what the manifest has.
#[tokio::test]
async fn the_frames_are_as_it_says() {
    let world = World::new().await;
    let app = |embed: &mut Embed| embed.origins.clear();
    world.operator().set_embed(2, app).await;
    let manifest = manifest(&world).await;
    assert_eq!(manifest.frames.len(), 8);
    for told in &manifest.frames {
        let (embed, framed_by) = if told.path.starts_with("/webview/") {
            ("emb_2", "'none'")
        } else {
            ("emb_1", "https://shop.example")
        };
        let frame = get(&world, &told.path.replace("{embed}", embed)).await;
        let inline = |path: &str, kind: AssetKind, begin: &str, end: &str| {
            let (_, rest) = frame.text().split_once(begin).unwrap();
            let (text, _) = rest.split_once(end).unwrap();
            let named = |script: &&manifest::Asset| script.kind == kind && script.path == path;
            let script = manifest.scripts.iter().find(named).unwrap();
            assert_eq!(script.integrity, integrity(text.as_bytes()));
            assert_eq!(script.bytes, u64::try_from(text.len()).unwrap());
        };
        if told.path.contains("whole") {
            inline(&told.path, AssetKind::InlineScript, "<script>", "</script>");
            inline(FRAME_PATH, AssetKind::InlineStyle, "<style>", "</style>");
        } else {
            inline(FRAME_PATH, AssetKind::InlineScript, "<script>", "</script>");
            for (kind, begin) in [
                (AssetKind::Script, "<script defer src=\""),
                (AssetKind::Style, "<link rel=\"stylesheet\" href=\""),
            ] {
                let (_, rest) = frame.text().split_once(begin).unwrap();
                let mut parts = rest.split('"');
                let (path, value) = (parts.next().unwrap(), parts.nth(1).unwrap());
                let named = |asset: &&manifest::Asset| asset.kind == kind && asset.path == path;
                let asset = manifest.scripts.iter().find(named).unwrap();
                assert_eq!(asset.integrity, value);
            }
        }
        let policy = frame.header("content-security-policy").unwrap();
        let (ancestors, rest) = policy.split_once("; ").unwrap();
        assert_eq!(ancestors, format!("frame-ancestors {framed_by}"));
        assert_eq!(rest, told.policy);
        for (name, value) in &told.headers {
            assert_eq!(frame.header(name), Some(value.as_str()), "{name}");
        }
        let besides = [
            "content-security-policy",
            "content-length",
            "etag",
            "x-request-id",
        ];
        assert_eq!(frame.headers.len(), told.headers.len() + besides.len());
    }
}

#[tokio::test]
async fn a_font_comes_from_our_own_origin_alone_braintree_web_75_recurly_js_472_commerce_stripe_346_adyen_web_3538()
 {
    let mut settings = settings();
    settings.fonts = vec![font("inter", None, FontStyle::Normal)];
    let world = World::with(settings, AccessLog::none()).await;
    for Frame { policy, .. } in manifest(&world).await.frames {
        assert!(policy.contains("; font-src 'self'; "), "{policy}");
    }
}

#[tokio::test]
async fn its_signed_form_is_the_same_bytes_signed_by_the_deployments_key() {
    let world = World::new().await;
    let opened = opened(&world).await;
    assert_eq!(opened.payload, get(&world, manifest::PATH).await.body);
    let key = world.app.service.vault().manifest_key().unwrap();
    assert_eq!(opened.kid, manifest::kid(&key));
    assert!(opened.is_signed_by(&[key]));
    let written = manifest::parse_key(&manifest::key_text(&key)).unwrap();
    assert!(opened.is_signed_by(&[written]));
    assert!(!opened.is_signed_by(&[]));
    let mut other = *key.as_bytes();
    other[0] ^= 1;
    let other = cardveil_seal::PublicKey::from_bytes(&other).unwrap();
    assert!(!opened.is_signed_by(&[other]));
    assert!(opened.is_signed_by(&[other, key]));
}

/// RFC 7515 5.2: nothing of it can be changed.
#[tokio::test]
async fn a_changed_signed_form_is_not_signed() {
    let world = World::new().await;
    let key = world.app.service.vault().manifest_key().unwrap();
    let jws = get(&world, manifest::SIGNED_PATH).await.text().to_owned();
    let step = jws.len() / 97;
    for at in (0..jws.len()).step_by(step) {
        let mut changed = jws.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let opened = Opened::parse(&changed);
        assert!(
            !opened.is_some_and(|opened| opened.is_signed_by(&[key])),
            "{at}"
        );
    }
    // Signed, but not as a manifest, or not by the algorithm.
    let (_, rest) = jws.split_once('.').unwrap();
    for header in [
        r#"{"alg":"none","kid":"x","typ":"cardveil-manifest"}"#,
        r#"{"alg":"HS256","kid":"x","typ":"cardveil-manifest"}"#,
        r#"{"alg":"EdDSA","kid":"x","typ":"JWT"}"#,
        r#"{"alg":"EdDSA","kid":"x"}"#,
        "",
    ] {
        let header = BASE64_URL_SAFE_NO_PAD.encode(header);
        assert!(Opened::parse(&format!("{header}.{rest}")).is_none());
    }
    for wrong in ["", "..", "a.b", &format!("{jws}="), &format!("{jws}.x")] {
        assert!(Opened::parse(wrong).is_none(), "{wrong}");
    }
}

#[tokio::test]
async fn both_may_be_read_by_any_page() {
    let world = World::new().await;
    for (path, kind) in [
        (manifest::PATH, "application/json"),
        (manifest::SIGNED_PATH, "application/jose"),
    ] {
        let answer = get(&world, path).await;
        assert_eq!(answer.header("content-type"), Some(kind));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(
            answer.header("cross-origin-resource-policy"),
            Some("cross-origin")
        );
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    }
}

#[tokio::test]
async fn its_key_is_the_deployments_own() {
    let world = World::new().await;
    let (a, b) = (opened(&world).await, opened(&world).await);
    assert_eq!(a.kid, b.kid);
    for wrong in ["", "x", &"A".repeat(42), &"A".repeat(44), &"=".repeat(43)] {
        assert!(manifest::parse_key(wrong).is_none(), "{wrong}");
    }
    assert!(manifest::parse_key(&"A".repeat(43)).is_some());
}
