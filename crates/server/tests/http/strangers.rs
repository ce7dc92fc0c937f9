//! P5: a stranger walks every route that is described and is let into the public ones alone.

use std::collections::BTreeSet;

use axum::body::Body;
use cardveil_core::audit::Kind;
use cardveil_server::log::AccessLog;
use cardveil_server::manifest;
use cardveil_server::{FontStyle, ListenerKind, document, mount};
use cardveil_testkit::Fault;
use http::Method;
use serde_json::{Value, json};

use crate::actors::{empty, get, request, session_for};
use crate::world::{CARD_ID, CARD_NO, PERSON, World, design, font, settings};

/// All that anyone may call. Who adds one says so here.
const PUBLIC: [&str; 17] = [
    "GET /client/v1/embeds/{embed}",
    "GET /client/v1/words/{language}",
    "GET /embed/assets/{asset}",
    "GET /embed/designs/{picture}",
    "GET /embed/fonts/{font}",
    "GET /embed/{embed}",
    "GET /healthz",
    "GET /reference",
    "GET /reference/redoc.js",
    "GET /reference/start.js",
    "GET /metrics",
    "GET /openapi.json",
    "GET /readyz",
    "GET /sdk/v1/manifest.json",
    "GET /sdk/v1/manifest.jws",
    "GET /sdk/{version}/{file}",
    "GET /webview/{embed}",
];

/// An id that could be a subscription's.
const SUBSCRIPTION: &str = "c92e2960-b745-4b38-8e77-898b2f9ad9bb";

/// The address of the font that is registered.
const FONT: &str = "inter-5c1fe60bf735d8a2.woff2";

/// The address of a picture of the design that is registered.
const PICTURE: &str = "880485a05a519b27.svg";

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

/// Each operation of a listener's description: method, path, and what its security says.
fn operations(api: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if METHODS.contains(&method.as_str()) {
                let security = operation.get("security");
                let security = security.unwrap_or_else(|| panic!("{method} {path} has none"));
                all.push((method.to_uppercase(), path.clone(), security.clone()));
            }
        }
    }
    all
}

pub(crate) fn of(kind: ListenerKind) -> Vec<(String, String, Value)> {
    operations(&serde_json::to_value(mount::surface(kind).api()).unwrap())
}

/// The name of one that the frames link.
fn asset() -> String {
    let all = manifest::own("").scripts;
    let mut names = all
        .iter()
        .filter_map(|asset| asset.path.strip_prefix("/embed/assets/"));
    names.next().unwrap().to_owned()
}

/// The path with good values in the place of its parameters.
pub(crate) fn filled(path: &str) -> String {
    let filled = path
        .replace("/webview/{embed}", "/webview/emb_2")
        .replace("{card_no}", CARD_NO)
        .replace("{cardId}", CARD_ID)
        .replace("{card_id}", CARD_ID)
        .replace("{embed}", "emb_1")
        .replace("{asset}", &asset())
        .replace("{font}", FONT)
        .replace("{picture}", PICTURE)
        .replace("{language}", "de")
        .replace("{version}", "v1")
        .replace("{file}", "cardveil.js")
        .replace("{person_id}", PERSON)
        .replace("{id}", SUBSCRIPTION);
    assert!(
        !filled.contains('{'),
        "{path} has a parameter that this test does not know"
    );
    if path.starts_with("/v2/") {
        format!("{filled}?accountId=F50091")
    } else {
        filled
    }
}

/// A good body for a path, but for the credential or the token.
fn plausible(world: &World, path: &str) -> Body {
    let body = match path {
        "/v1/client-tokens" => json!({"card_no": CARD_NO}),
        "/v2/mfa/sessions" => session_for("OTP"),
        "/v1/mfa/sessions" => json!({"card_no": CARD_NO, "factor": "OTP"}),
        "/v1/people/{person_id}/totp/confirm" => json!({"code": "123456"}),
        "/v2/ipaddresses" => json!({"ip": "198.51.100.9"}),
        "/client/v1/redeem" => {
            let stranger = crate::actors::Cardholder::with(world, "cvt_test_guessed".to_owned());
            stranger.ask_for(&["pan"])
        }
        "/client/v1/wallet/eligibility" => {
            let stranger = crate::actors::Cardholder::with(world, "cvt_test_guessed".to_owned());
            json!({
                "token": stranger.token, "app": "emb_1", "key": stranger.jwk(),
                "wallet": "APPLE_PAY", "device_type": "WATCH", "device_id": "guessed",
            })
        }
        "/client/v1/challenge" => {
            let stranger = crate::actors::Cardholder::with(world, "cvt_test_guessed".to_owned());
            json!({
                "token": stranger.token, "embed": "emb_1", "key": stranger.jwk(),
                "challenge": world.attempt(),
            })
        }
        "/client/v1/events" => json!({
            "redemption": "rdm_guessed", "token": "cvt_test_guessed", "event": "displayed",
        }),
        _ => return Body::empty(),
    };
    Body::from(body.to_string())
}

#[tokio::test]
async fn a_stranger_is_let_into_the_public_routes_alone() {
    let mut settings = settings();
    settings.fonts = vec![font("inter", None, FontStyle::Normal)];
    settings.designs = vec![design("dune", &[])];
    let world = World::with(settings, AccessLog::none()).await;
    world
        .operator()
        .set_embed(2, |embed| embed.origins.clear())
        .await;
    let mut let_in = BTreeSet::new();
    for kind in ListenerKind::ALL {
        for (method, path, security) in of(kind) {
            let call = request(method.parse().unwrap(), &filled(&path))
                .header("content-type", "application/json")
                .body(plausible(&world, &path));
            // Whoever got as far as a write would be told 503.
            world.store.fail_next(Fault::NotPersisted);
            let answer = world.stranger().send(kind, call.unwrap()).await;
            let route = format!("{method} {path}");
            let code = match answer.status {
                200 if answer.json_code().is_none_or(|code| code == "0") => {
                    assert_eq!(security, json!([]), "{route}");
                    let_in.insert(route);
                    continue;
                }
                _ => answer.json_code().unwrap(),
            };
            assert_ne!(security, json!([]), "{route}");
            let refusals = ["1002", "credential_required", "token_refused"];
            assert!(refusals.contains(&code.as_str()), "{route}: {code}");
        }
    }
    assert_eq!(let_in, PUBLIC.map(str::to_owned).into());
    let log = world.operator().log().await;
    let made = [
        Kind::AccessGranted,
        Kind::TokenIssued,
        Kind::RevealReleased,
        Kind::CardExported,
        Kind::MfaCode,
        Kind::MfaEnrolled,
    ];
    assert!(!log.iter().any(|entry| made.contains(&entry.event.kind)));
}

#[test]
fn every_operation_says_what_it_needs_and_the_public_ones_nothing() {
    let document = serde_json::to_value(document()).unwrap();
    let public: BTreeSet<_> = operations(&document)
        .into_iter()
        .filter(|(.., security)| *security == json!([]))
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    assert_eq!(public, PUBLIC.map(str::to_owned).into());
    assert!(operations(&document).len() > PUBLIC.len());
}

/// A listener answers for its own routes only, so that a firewall can tell them apart.
#[tokio::test]
async fn a_route_is_on_its_own_listener_alone() {
    let world = World::new().await;
    for kind in ListenerKind::ALL {
        for other in ListenerKind::ALL.into_iter().filter(|other| *other != kind) {
            for (method, path, _) in of(kind) {
                let call = empty(request(method.parse().unwrap(), &filled(&path)));
                let answer = world.stranger().send(other, call).await;
                assert_eq!(
                    answer.code(),
                    (404, "not_found".to_owned()),
                    "{method} {path}"
                );
            }
        }
    }
}

fn methods(kind: ListenerKind, path: &str) -> Vec<String> {
    let all = of(kind).into_iter();
    all.filter(|(_, known, _)| known == path)
        .map(|(method, ..)| method)
        .collect()
}

#[tokio::test]
async fn another_method_is_405_and_tells_which_there_are() {
    let world = World::new().await;
    for kind in ListenerKind::ALL {
        let all = of(kind);
        for (method, path, security) in &all {
            for other in METHODS
                .iter()
                .map(|name| name.to_uppercase())
                .chain(["BREW".to_owned()])
            {
                let head = other == "HEAD" && method == "GET" && *security == json!([]);
                let there = all.iter().any(|(m, p, _)| *m == other && p == path);
                if there || head {
                    continue;
                }
                let call = empty(request(other.parse().unwrap(), &filled(path)));
                let answer = world.stranger().send(kind, call).await;
                let allow = answer.header("allow").unwrap_or_default();
                assert_eq!(answer.status, 405, "{other} {path}");
                // A HEAD is answered for as the GET that it would be.
                let get = other == "HEAD" && methods(kind, path).contains(&"GET".to_owned());
                let named = if get { "GET" } else { method.as_str() };
                assert!(
                    allow.split(',').any(|name| name == named),
                    "{other} {path}: {allow}"
                );
                // And no HEAD where it would be refused.
                let public =
                    |m: &str, p: &str, s: &Value| m == "GET" && p == path && *s == json!([]);
                let answered = all.iter().any(|(m, p, s)| public(m, p, s));
                let named = allow.split(',').any(|name| name == "HEAD");
                assert_eq!(named, answered, "{other} {path}: {allow}");
                if other != "HEAD" {
                    let keysecure = path.starts_with("/open-api/");
                    let code = if keysecure {
                        "1004"
                    } else {
                        "method_not_allowed"
                    };
                    assert_eq!(answer.code().1, code);
                }
            }
        }
    }
}

/// A HEAD does all that a GET does: it would issue a token that nobody gets.
#[tokio::test]
async fn a_head_issues_no_token() {
    let world = World::new().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    let paths = [
        "/open-api/v1/merchant/token",
        "/open-api/v1/merchant/client/C202605220001/token",
        "/open-api/v1/card/C202605220001/private/info",
        "/v2/cards/e9293471-5eb3-4dbc-916c-dbaf9e2deefd/access-token?accountId=F50091",
    ];
    let before = world.operator().log().await.len();
    for path in paths {
        let call = merchant
            .keysecure(path)
            .method(Method::HEAD)
            .header("Access-Token", &access)
            .header("Authorization", &merchant.key);
        let answer = merchant.send(empty(call)).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET")),
            "{path}"
        );
    }
    assert_eq!(world.operator().log().await.len(), before);
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let world = World::new().await;
    for kind in ListenerKind::ALL {
        for path in [
            "/",
            "//",
            "/..",
            "/.env",
            "/client/v1/redeem/",
            "/client/v1//redeem",
            "/embed/",
            "/embed/a/b",
            "/EMBED/emb_1",
            "/healthz/",
            "/%2e%2e/healthz",
            "/client/v1/redeem%2f",
        ] {
            let answer = world.stranger().get(kind, path).await;
            assert_eq!(answer.code(), (404, "not_found".to_owned()), "{path}");
            assert_eq!(
                answer.header("content-security-policy"),
                Some("default-src 'none'; frame-ancestors 'none'")
            );
        }
    }
}

/// They were problems, which a client of KeySecure's does not read.
#[tokio::test]
async fn what_is_not_there_under_open_api_is_told_in_keysecures_envelope_client_habits() {
    let world = World::new().await;
    for path in [
        "/open-api",
        "/open-api/",
        "/open-api/v1/merchant/tokens",
        "/open-api/v2/merchant/token",
    ] {
        for (language, msg) in [("en_US", "path does not exist"), ("zh_CN", "path 不存在")] {
            let call = empty(get(path).header("Language", language));
            let answer = world.stranger().send(ListenerKind::Merchant, call).await;
            assert_eq!(answer.status, 404, "{path}");
            assert_eq!(answer.json(), json!({"code": 1004, "msg": msg}));
        }
    }
    let call = empty(request(Method::PUT, "/open-api/v1/merchant/token"));
    let answer = world.stranger().send(ListenerKind::Merchant, call).await;
    assert_eq!(answer.status, 405);
    assert!(answer.header("allow").unwrap().starts_with("GET"));
    let msg = "method is not allowed, see the Allow header";
    assert_eq!(answer.json(), json!({"code": 1004, "msg": msg}));
    for path in ["/open-apis/v1", "/OPEN-API/v1", "/v1/nothing"] {
        let answer = world.stranger().get(ListenerKind::Merchant, path).await;
        assert_eq!(answer.code(), (404, "not_found".to_owned()), "{path}");
    }
    let elsewhere = world
        .stranger()
        .get(ListenerKind::Client, "/open-api/v1")
        .await;
    assert_eq!(elsewhere.code(), (404, "not_found".to_owned()));
}
