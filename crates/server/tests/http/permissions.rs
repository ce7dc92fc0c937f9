//! P10: a pair that was made without flags walks every route of the merchant listener; then each
//! right is given alone. What each route needs is what docs/reference/permissions.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::body::Body;
use cardveil_core::audit::Kind;
use cardveil_core::flow::Rotation;
use cardveil_core::merchant::{Credential, Permissions, Scope};
use cardveil_core::port::{CardFilter, Paging};
use cardveil_server::ListenerKind;
use cardveil_testkit::{Fault, sample};
use http::Method;
use serde_json::{Value, json};

use crate::actors::{Merchant, request, session_for};
use crate::strangers::{filled, of};
use crate::world::{
    Answer, CARD_ID, CARD_NO, CVV, KEY, OWN_KEY, PAN, PERSON, SECOND_ID, SECOND_PERSON, World,
};

const PAGE: &str = include_str!("../../../../docs/reference/permissions.md");
const PIN: &str = "2580";

/// A row of the page.
struct Row {
    scope: &'static str,
    by_default: bool,
}

/// What the page says of each call.
fn page() -> BTreeMap<String, Row> {
    let rows = PAGE.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, call, scope, by_default, _] = cells.as_slice() else {
            return None;
        };
        let call = call.strip_prefix('`')?.strip_suffix('`')?;
        call.contains(" /").then_some(())?;
        let row = Row {
            scope: scope.split('`').nth(1)?,
            by_default: match *by_default {
                "yes" => true,
                "no" => false,
                other => panic!("{call}: {other}"),
            },
        };
        Some((call.to_owned(), row))
    });
    rows.collect()
}

fn scope_of(name: &str) -> Scope {
    let name = match name {
        "cards:read" => "cards:read:any",
        "cards:write" => "cards:write:any",
        name => name,
    };
    Scope::parse(name).unwrap_or_else(|| panic!("{name}"))
}

/// A good call, so that nothing but a right can be missing.
async fn call(merchant: &Merchant<'_>, method: &str, path: &str) -> Answer {
    let body = match path {
        "/open-api/v1/card/active" => {
            json!({"card_no": CARD_NO, "cvv": "eA==", "card_last_no": "1111"})
        }
        "/open-api/v1/card/list" => json!({"start_time": "2026-01-01", "end_time": "2026-01-02"}),
        "/open-api/v1/card/pin/set" => json!({"card_no": CARD_NO, "pin": "eA=="}),
        "/open-api/v1/card/status/update" => json!({"card_no": CARD_NO, "status": "Frozen"}),
        "/v1/cards/{card_id}" => json!({"label": "Mine"}),
        "/v1/cards/{card_id}/transitions" | "/v2/cards/{cardId}/transition" => {
            json!({"state": "SUSPENDED"})
        }
        "/v1/client-tokens" => json!({"card_no": CARD_NO}),
        "/v1/mfa/sessions" => json!({"card_no": CARD_NO, "factor": "OTP"}),
        "/v1/people/{person_id}/totp/confirm" => json!({"code": "123456"}),
        "/v1/simulator/wallet-tokens" => json!({
            "card_id": CARD_ID, "wallet": "APPLE_PAY", "device_type": "WATCH", "device_id": "w-1",
            "decision": "GREEN",
        }),
        "/v1/webhooks" => json!({"url": "https://partner.example/hooks", "topics": ["card.state"]}),
        "/v2/cards/{cardId}" => json!({"name": "Mine"}),
        "/v2/cards/{cardId}/pin" => json!({"pin": "1379"}),
        "/v2/ipaddresses" => json!({"ip": "198.51.100.9"}),
        "/v2/mfa/sessions" => session_for("OTP"),
        "/v2/webhooks" => json!({
            "enabled": true, "url": "https://partner.example/hooks",
            "webhookEventTypeName": "CardStateUpdated",
        }),
        _ => json!({}),
    };
    let body = if ["GET", "DELETE"].contains(&method) {
        Body::empty()
    } else {
        Body::from(body.to_string())
    };
    let method: Method = method.parse().unwrap();
    let mut full = filled(path);
    if path == "/v2/cards/{cardId}/pin" {
        full = format!("{full}&personId={PERSON}&cardholderVerificationMethod=LOGIN");
    }
    let call = if path.starts_with("/open-api/") {
        let call = merchant.keysecure(&full).method(method);
        if path == "/open-api/v1/merchant/token" {
            call
        } else {
            call.header("Access-Token", merchant.login().await)
        }
    } else {
        let scheme = if path.starts_with("/v2/") {
            "ApiKey"
        } else {
            "Bearer"
        };
        request(method, &full)
            .header("content-type", "application/json")
            .header("authorization", format!("{scheme} {}", merchant.key))
    };
    merchant.send(call.body(body).unwrap()).await
}

/// Whether it was turned away for want of a right.
fn is_refused(path: &str, answer: &Answer) -> bool {
    let code = answer.json_code();
    let codes: &[&str] = if path.starts_with("/open-api/") {
        &["1010", "1013"]
    } else {
        &["scope_missing", "pci_not_enabled"]
    };
    code.is_some_and(|code| codes.contains(&code.as_str()))
}

/// Every text and number in an answer.
fn values(json: &Value, all: &mut Vec<String>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| values(item, all)),
        Value::Object(members) => members.values().for_each(|member| values(member, all)),
        Value::String(text) => all.push(text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) => all.push(json.to_string()),
    }
}

/// Nothing that is sealed in the published examples' card.
fn gives_nothing_away(route: &str, answer: &Answer) {
    let mut all = Vec::new();
    if !answer.body.is_empty() {
        values(&answer.json(), &mut all);
    }
    for value in all {
        assert!(
            !value.contains(PAN) && !value.contains("CARDHOLDER"),
            "{route}: {value}"
        );
        let sealed = [CVV, PIN, "12", "2030", "1230", "12/2030", "12/30"];
        assert!(!sealed.contains(&value.as_str()), "{route}: {value}");
    }
}

/// The pair of `merchant add` and `credential add` without flags; and a card with a PIN.
async fn made_without_flags() -> World {
    let world = World::new().await;
    let operator = world.operator();
    operator
        .set_credential(KEY, |c| {
            c.scopes = vec![Scope::CardsReadAny, Scope::PinsSet];
        })
        .await;
    let merchant = world.merchant();
    let path = format!("/v2/cards/{CARD_ID}/pin?accountId=F50091");
    let set = merchant.call("ApiKey", Method::PUT, &path, Some(json!({"pin": PIN})));
    assert_eq!(set.await.status, 200);
    operator
        .set_credential(KEY, |c| c.scopes = vec![Scope::CardsReadAny])
        .await;
    operator
        .set_merchant(1, |m| m.permissions = Permissions::default())
        .await;
    world
}

#[test]
fn the_page_has_every_call_of_the_merchant_listener() {
    let there: BTreeSet<_> = of(ListenerKind::Merchant)
        .into_iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    let told: BTreeSet<_> = page().into_keys().collect();
    assert_eq!(told, there);
}

#[tokio::test]
async fn a_pair_made_without_flags_changes_nothing_and_reads_lists_states_and_last_fours() {
    let world = made_without_flags().await;
    let merchant = world.merchant();
    let known = async || {
        let service = &world.app.service;
        let (filter, paging) = (CardFilter::default(), Paging::default());
        let cards = service.store().list_cards(&filter, paging);
        (
            cards.await.unwrap().cards,
            service.store().merchants().await.unwrap(),
            service.store().credentials().await.unwrap(),
            service.store().subscriptions(None).await.unwrap(),
        )
    };
    let (before, logged) = (known().await, world.operator().log().await.len());
    for (route, row) in page() {
        let (method, path) = route.split_once(' ').unwrap();
        let answer = call(&merchant, method, path).await;
        assert_eq!(
            is_refused(path, &answer),
            !row.by_default,
            "{route}: {}",
            answer.shown()
        );
        gives_nothing_away(&route, &answer);
    }
    assert_eq!(known().await, before);
    let made: BTreeSet<_> = world.operator().log().await[logged..]
        .iter()
        .map(|entry| format!("{:?}", entry.event.kind))
        .collect();
    let allowed = [Kind::AccessGranted, Kind::TokenIssued, Kind::MfaCode];
    assert_eq!(made, allowed.map(|kind| format!("{kind:?}")).into());
}

/// With the merchant's permissions, a scope opens the calls that the page says and no others, and
/// nothing else opens them.
#[tokio::test]
async fn each_scope_opens_its_own_calls_alone() {
    let page = page();
    for scope in Scope::ALL {
        // Without a person they are nothing; of a person they are tried below.
        if [Scope::CardsReadOwn, Scope::CardsWriteOwn].contains(&scope) {
            continue;
        }
        let mut alone = vec![Scope::CardsReadAny, scope];
        alone.dedup();
        let world = World::new().await;
        world
            .operator()
            .set_credential(KEY, |c| c.scopes = alone.clone())
            .await;
        for (route, row) in &page {
            let (method, path) = route.split_once(' ').unwrap();
            let answer = call(&world.merchant(), method, path).await;
            let opens = alone.contains(&scope_of(row.scope));
            assert_eq!(
                is_refused(path, &answer),
                !opens,
                "{scope:?} {route}: {}",
                answer.shown()
            );
        }
    }
}

/// All scopes are nothing where the merchant may not.
#[tokio::test]
async fn a_merchant_without_permissions_has_no_card_data_and_no_pins() {
    let world = made_without_flags().await;
    let operator = world.operator();
    operator
        .set_credential(KEY, |c| c.scopes = Scope::ALL.to_vec())
        .await;
    for (route, row) in page() {
        let (method, path) = route.split_once(' ').unwrap();
        let permitted = !["cards:export", "pins:read", "pins:set"].contains(&row.scope);
        if !permitted {
            let answer = call(&world.merchant(), method, path).await;
            assert!(is_refused(path, &answer), "{route}: {}", answer.shown());
            gives_nothing_away(&route, &answer);
        }
    }
}

/// A credential of one person, with every scope that there is.
#[tokio::test]
async fn a_credential_of_one_person_reaches_nothing_of_another() {
    let world = World::new().await;
    world
        .operator()
        .set_credential(OWN_KEY, |c| c.scopes = Scope::ALL.to_vec())
        .await;
    let own = Merchant::new(&world, OWN_KEY);
    for (route, row) in page() {
        let (method, path) = route.split_once(' ').unwrap();
        if row.scope == "webhooks:manage" {
            let answer = call(&own, method, path).await;
            assert!(is_refused(path, &answer), "{route}: {}", answer.shown());
        }
    }
    for (scheme, path) in [
        ("ApiKey", format!("/v2/cards/{SECOND_ID}?accountId=F50091")),
        (
            "ApiKey",
            format!(
                "/v2/cards/{SECOND_ID}/pin?accountId=F50091&personId={SECOND_PERSON}&cardholderVerificationMethod=LOGIN"
            ),
        ),
        ("Bearer", format!("/v1/cards/{SECOND_ID}")),
    ] {
        let answer = own.call(scheme, Method::GET, &path, None).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let cards = own.call("Bearer", Method::GET, "/v1/cards", None).await;
    assert!(!cards.text().contains(SECOND_ID), "{}", cards.text());
    let totp = format!("/v1/people/{SECOND_PERSON}/totp");
    let enrolled = own.call("Bearer", Method::PUT, &totp, None).await;
    assert_eq!(enrolled.status, 404);
}

/// One-time codes need a scope of their own: to ask for them, and to have them sent elsewhere.
#[tokio::test]
async fn a_credential_that_manages_webhooks_has_no_one_time_codes() {
    let world = World::new().await;
    let operator = world.operator();
    operator
        .set_credential(KEY, |c| c.scopes = Scope::ALL.to_vec())
        .await;
    let merchant = world.merchant();
    let url = "https://partner.example/hooks";
    let native = |topic: &str| json!({"url": url, "topics": [topic]});
    let equals = |name: &str| json!({"enabled": true, "url": url, "webhookEventTypeName": name});
    let send = async |method: Method, path: &str, body: &Value| {
        let scheme = if path.starts_with("/v2") {
            "ApiKey"
        } else {
            "Bearer"
        };
        merchant
            .call(scheme, method, path, Some(body.clone()))
            .await
    };
    let of_codes = [
        (
            "/v1/webhooks",
            send(Method::POST, "/v1/webhooks", &native("mfa.code")).await,
        ),
        (
            "/v2/webhooks",
            send(Method::POST, "/v2/webhooks", &equals("MfaCode")).await,
        ),
    ];
    let others = [
        (
            "/v1/webhooks",
            send(Method::POST, "/v1/webhooks", &native("card.state")).await,
        ),
        (
            "/v2/webhooks",
            send(Method::POST, "/v2/webhooks", &equals("CardStateUpdated")).await,
        ),
    ];
    operator
        .set_credential(KEY, |c| c.scopes.retain(|scope| *scope != Scope::MfaCodes))
        .await;
    let id = |answer: &Answer| answer.json()["id"].as_str().unwrap().to_owned();
    let is_missing = |answer: &Answer| {
        assert_eq!(
            answer.code(),
            (403, "scope_missing".to_owned()),
            "{}",
            answer.shown()
        );
    };
    is_missing(&send(Method::POST, "/v1/webhooks", &native("mfa.code")).await);
    is_missing(&send(Method::POST, "/v2/webhooks", &equals("MfaCode")).await);
    let elsewhere = json!({"url": "https://elsewhere.example/hooks"});
    for (path, known) in &of_codes {
        let one = format!("{path}/{}", id(known));
        is_missing(&send(Method::PATCH, &one, &elsewhere).await);
        is_missing(&send(Method::PATCH, &one, &json!({"enabled": true})).await);
    }
    let [(_, native_one), (_, equals_one)] = &others;
    let one = format!("/v1/webhooks/{}", id(native_one));
    is_missing(&send(Method::PATCH, &one, &json!({"topics": ["mfa.code"]})).await);
    assert_eq!(send(Method::PATCH, &one, &elsewhere).await.status, 200);
    let one = format!("/v2/webhooks/{}", id(equals_one));
    is_missing(
        &send(
            Method::PATCH,
            &one,
            &json!({"webhookEventTypeName": "MfaCode"}),
        )
        .await,
    );
    for (path, known) in &of_codes {
        let one = format!("{path}/{}", id(known));
        let scheme = if path.starts_with("/v2") {
            "ApiKey"
        } else {
            "Bearer"
        };
        let removed = merchant.call(scheme, Method::DELETE, &one, None).await;
        assert_eq!(removed.status, 204, "to take it away gives nothing");
    }
}

/// Both are good for the overlap, with the same rights, and then the old one ends; an end of its
/// own that comes sooner stays.
#[tokio::test]
async fn a_rotated_credential_ends_at_the_end_of_the_overlap() {
    const DAY: Duration = Duration::from_secs(86_400);
    let world = World::new().await;
    world
        .operator()
        .set_credential(KEY, |c| {
            c.scopes = vec![Scope::CardsReadAny, Scope::MfaManage];
            c.ip_ceiling = Some(vec!["203.0.113.0/24".parse().unwrap()]);
        })
        .await;
    let service = &world.app.service;
    let before = service.admission(KEY).await.unwrap().unwrap().credential;
    let rotation = Rotation {
        overlap: DAY,
        expires_at: None,
    };
    let rotated = service
        .rotate_credential(&before, rotation, &sample::operator())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rotated.before_ends, Ok(service.now().plus(DAY)));
    let new = &rotated.credential;
    assert_eq!(
        (&new.scopes, &new.ip_ceiling, &new.allowed_ips, new.person),
        (
            &before.scopes,
            &before.ip_ceiling,
            &before.allowed_ips,
            before.person
        )
    );
    let api_key = String::from_utf8(rotated.keys.api_key.expose().to_vec()).unwrap();
    let status = async |key: &str| {
        let merchant = Merchant::new(&world, key);
        let listed = merchant.call("Bearer", Method::GET, "/v1/cards", None);
        listed.await.status
    };
    let moment = Duration::from_millis(1);
    world.clock.advance(DAY.saturating_sub(moment));
    assert_eq!((status(KEY).await, status(&api_key).await), (200, 200));
    world.clock.advance(moment);
    assert_eq!((status(KEY).await, status(&api_key).await), (403, 200));
    let log = world.operator().logged(Kind::CredentialAdded).await;
    let note = log.last().unwrap().event.detail.note.clone().unwrap();
    assert!(note.contains(before.id.as_str()), "{note}");

    let ends = service.now().plus(Duration::from_secs(60));
    let ending = Credential {
        expires_at: Some(ends),
        ..service
            .admission(&api_key)
            .await
            .unwrap()
            .unwrap()
            .credential
    };
    world
        .operator()
        .set_credential(&api_key, |c| c.expires_at = Some(ends))
        .await;
    let operator = sample::operator();
    let rotated = service.rotate_credential(&ending, rotation, &operator);
    assert_eq!(rotated.await.unwrap().unwrap().before_ends, Ok(ends));
}

/// Written now and again, in one commit, and of admitted calls alone.
#[tokio::test]
async fn the_last_use_of_a_credential_is_kept() {
    let world = World::new().await;
    let service = &world.app.service;
    let id = service.admission(KEY).await.unwrap().unwrap().credential.id;
    let ask = async || {
        let merchant = world.merchant();
        let cards = merchant.call("Bearer", Method::GET, "/v1/cards", None);
        cards.await.status
    };
    let other = Merchant::new(&world, OWN_KEY);
    let refused = other.call("Bearer", Method::GET, "/v1/webhooks", None);
    assert_eq!((ask().await, refused.await.status), (200, 403));
    let used = world.clock_now();
    assert!(service.store().last_uses().await.unwrap().is_empty());
    world.app.write_uses().await.unwrap();
    let kept = service.store().last_uses().await.unwrap();
    assert_eq!(kept, BTreeMap::from([(id.clone(), used)]));
    // With nothing new there is no commit that could fail.
    world.store.fail_next(Fault::NotPersisted);
    world.app.write_uses().await.unwrap();
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(ask().await, 200);
    assert!(world.app.write_uses().await.is_err());
    assert_eq!(ask().await, 200, "it is in nobody's way");
    world.app.write_uses().await.unwrap();
    let kept = service.store().last_uses().await.unwrap();
    assert_eq!(kept.get(&id), Some(&world.clock_now()));
}
