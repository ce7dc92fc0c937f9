//! What the shop's backend asks of Cardveil, and what it never passes on: in front of a Cardveil
//! that takes notes and answers what it is told to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use cardveil_example_shop::{Programme, Settings, Shop, ShopCard};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const CARD: &str = "C1";
const PROTECTED: &str = "C2";

/// A call that Cardveil got.
struct Call {
    line: String,
    headers: HeaderMap,
    body: Value,
}

/// A shop, and the Cardveil behind it.
struct World {
    shop: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

type Answer = (StatusCode, &'static [(&'static str, &'static str)], Value);

async fn listen(router: Router) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(tcp, router).await.unwrap() });
    address
}

impl World {
    /// `answer` gets the method and path of a call.
    async fn new(answer: fn(&str) -> Answer) -> Self {
        Self::of(answer, programme(CARD, "everyday-key", None)).await
    }

    async fn of(answer: fn(&str) -> Answer, everyday: Programme) -> Self {
        let calls = Arc::new(Mutex::new(vec![]));
        let notes = calls.clone();
        let cardveil = Router::new().fallback(move |request: Request| {
            let notes = Arc::clone(&notes);
            async move { take_note(&notes, request, answer).await }
        });
        let cardveil = listen(cardveil).await;
        let url = format!("http://{cardveil}");
        let shop = Shop::new(Settings {
            merchant_url: url.clone(),
            client_url: url,
            programmes: vec![
                everyday,
                programme(PROTECTED, "protected-key", Some("GEZDGNBV")),
            ],
        });
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        tokio::spawn(shop.serve(tcp));
        Self {
            shop: address,
            calls,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.shop))
            // As a browser sends them.
            .header("Origin", "http://localhost:7400")
            .header("Cookie", "session=1");
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let bytes = to_bytes(Body::new(answer.into_body()), 65_536).await;
        (
            status,
            serde_json::from_slice(&bytes.unwrap()).unwrap_or_default(),
        )
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(Method::POST, path, Some(body)).await
    }

    fn lines(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|call| call.line.clone()).collect()
    }
}

async fn take_note(
    notes: &Mutex<Vec<Call>>,
    request: Request,
    answer: fn(&str) -> Answer,
) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, 65_536).await.unwrap();
    let line = format!("{} {}", parts.method, parts.uri);
    let (status, headers, said) = answer(&line);
    notes.lock().unwrap().push(Call {
        line,
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    });
    let mut response = (status, Json(said)).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

fn programme(card_no: &str, key: &str, totp_secret: Option<&str>) -> Programme {
    Programme {
        embed: format!("emb_{card_no}"),
        app: Some(format!("emb_app_{card_no}")),
        keysecure_key: key.to_owned(),
        equals_api_key: key.to_owned(),
        totp_secret: totp_secret.map(str::to_owned),
        cards: vec![ShopCard {
            card_no: card_no.to_owned(),
            card_id: format!("id-{card_no}"),
            account_id: "F50091".to_owned(),
            person_id: "person".to_owned(),
            last_four: "1111".to_owned(),
            network: "visa".to_owned(),
            state: "ACTIVE".to_owned(),
            kind: "VIRTUAL".to_owned(),
            label: "Everyday".to_owned(),
        }],
    }
}

fn ok(body: Value) -> Answer {
    (StatusCode::OK, &[], body)
}

fn a_token(_: &str) -> Answer {
    ok(json!({"token": "cvt_test_1"}))
}

#[tokio::test]
async fn a_protected_card_is_asked_for_like_any_other() {
    let world = World::new(a_token).await;
    for api in ["equals", "native"] {
        let path = format!("/api/cards/{PROTECTED}/token?api={api}");
        let (status, token) = world.ask(Method::POST, &path, None).await;
        assert_eq!(
            (status, token),
            (StatusCode::OK, json!({"token": "cvt_test_1"}))
        );
    }
    let expected = [
        "GET /v2/cards/id-C2/access-token?accountId=F50091",
        "POST /v1/client-tokens",
    ];
    assert_eq!(world.lines(), expected);
    for call in &*world.calls.lock().unwrap() {
        let key = call.headers["Authorization"].to_str().unwrap();
        assert!(key.ends_with(" protected-key"), "{key}");
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_its_time_and_gets_words() {
    let world = World::new(|line| {
        if line.starts_with("POST") {
            let body = json!({"code": "rate_limited", "title": "Too many requests"});
            return (
                StatusCode::TOO_MANY_REQUESTS,
                &[("Retry-After", "900")],
                body,
            );
        }
        let body = json!({"code": "card_not_viewable", "title": "The card cannot be shown now"});
        (StatusCode::FORBIDDEN, &[], body)
    })
    .await;
    let token = |api| format!("/api/cards/{CARD}/token?api={api}");
    let (status, said) = world.ask(Method::POST, &token("native"), None).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(said["error"]["code"], "rate_limited");
    assert_eq!(said["error"]["retry_after"], 900);
    let (_, said) = world.ask(Method::POST, &token("equals"), None).await;
    assert_eq!(said["error"]["code"], "card_not_viewable");
    assert_eq!(said["error"]["title"], "This card cannot be shown now");
    assert_eq!(said["error"].get("retry_after"), None);
}

#[tokio::test]
async fn a_programme_without_an_app_offers_no_wallets() {
    let world = World::of(
        a_token,
        Programme {
            app: None,
            ..programme(CARD, "everyday-key", None)
        },
    )
    .await;
    let (_, said) = world.ask(Method::GET, "/api/cards", None).await;
    assert_eq!(said["cards"][0]["wallets"], false);
    let path = format!("/api/cards/{CARD}/wallet/check");
    let (status, said) = world.post(&path, question()).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(said["error"]["code"], "wallets_not_offered");
    assert_eq!(world.lines(), [""; 0]);
}

fn question() -> Value {
    json!({
        "wallet": "APPLE_PAY", "device_type": "MOBILE_PHONE", "device_id": "demo-phone",
        "key": {"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "private"},
    })
}

#[tokio::test]
async fn a_phone_asks_without_a_page_behind_it_and_sends_no_private_key() {
    let world = World::new(|line| match line {
        "POST /client/v1/wallet/eligibility" => {
            ok(json!({"eligible": false, "reasons": ["card_not_active"]}))
        }
        _ => a_token(line),
    })
    .await;
    for api in ["keysecure", "equals", "native"] {
        let path = format!("/api/cards/{CARD}/wallet/check?api={api}");
        let (status, said) = world.post(&path, question()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(said["reasons"], json!(["card_not_active"]));
    }
    let equals =
        "GET /v2/cards/id-C1/access-token?accountId=F50091&operationName=ADD_CARD_TO_WALLET";
    let phone = "POST /client/v1/wallet/eligibility";
    let native = "POST /v1/client-tokens";
    assert_eq!(world.lines(), [equals, phone, equals, phone, native, phone]);
    let calls = world.calls.lock().unwrap();
    assert_eq!(calls[4].body["operation"], "ADD_CARD_TO_WALLET");
    for call in calls.iter().filter(|call| call.line == phone) {
        for name in ["Origin", "Cookie", "Authorization"] {
            assert_eq!(call.headers.get(name), None, "{name}");
        }
        let expected = json!({
            "token": "cvt_test_1", "app": "emb_app_C1",
            "key": {"kty": "EC", "crv": "P-256", "x": "x", "y": "y"},
            "wallet": "APPLE_PAY", "device_type": "MOBILE_PHONE", "device_id": "demo-phone",
        });
        assert_eq!(call.body, expected);
    }
}

/// Two pages of one token each.
fn two_tokens(line: &str) -> Answer {
    match line {
        "GET /v1/wallet-tokens?card_id=id-C1&limit=100" => {
            ok(json!({"wallet_tokens": [{"id": "first"}], "next": "first"}))
        }
        "GET /v1/wallet-tokens?card_id=id-C1&limit=100&after=first" => {
            ok(json!({"wallet_tokens": [{"id": "second"}], "next": null}))
        }
        _ => ok(json!({"id": "second", "state": "ACTIVE"})),
    }
}

#[tokio::test]
async fn a_wallet_token_is_moved_only_as_one_of_the_card() {
    let world = World::new(two_tokens).await;
    let tokens = format!("/api/cards/{CARD}/wallet/tokens");
    let (_, said) = world.ask(Method::GET, &tokens, None).await;
    assert_eq!(
        said["wallet_tokens"],
        json!([{"id": "second"}, {"id": "first"}])
    );
    for foreign in ["third", "first%2F..", "first%3Fx=1"] {
        let (status, said) = world
            .post(&format!("{tokens}/{foreign}"), json!({"do": "remove"}))
            .await;
        assert_eq!(status, StatusCode::CONFLICT, "{foreign}");
        assert_eq!(said["error"]["code"], "not_found");
    }
    assert!(world.lines().iter().all(|line| line.starts_with("GET ")));
    for (verb, path, body) in [
        (
            "suspend",
            "wallet-tokens/second/transitions",
            json!({"state": "SUSPENDED"}),
        ),
        (
            "resume",
            "wallet-tokens/second/transitions",
            json!({"state": "ACTIVE"}),
        ),
        (
            "remove",
            "wallet-tokens/second/transitions",
            json!({"state": "TERMINATED"}),
        ),
        (
            "pass",
            "simulator/wallet-tokens/second/verify",
            json!({"passed": true}),
        ),
        (
            "fail",
            "simulator/wallet-tokens/second/verify",
            json!({"passed": false}),
        ),
    ] {
        let (status, _) = world
            .post(&format!("{tokens}/second"), json!({ "do": verb }))
            .await;
        assert_eq!(status, StatusCode::OK);
        let calls = world.calls.lock().unwrap();
        let last = calls.last().unwrap();
        assert_eq!(
            (&*last.line, &last.body),
            (&*format!("POST /v1/{path}"), &body)
        );
    }
}

#[tokio::test]
async fn the_simulator_is_asked_for_this_card_whatever_the_page_says() {
    let world = World::new(two_tokens).await;
    let body = json!({
        "wallet": "APPLE_PAY", "device_type": "WATCH", "device_id": "demo-watch",
        "decision": "green", "card_id": "another",
    });
    let path = format!("/api/cards/{CARD}/wallet/tokens");
    let (status, said) = world.post(&path, body).await;
    assert_eq!((status, &said["state"]), (StatusCode::OK, &json!("ACTIVE")));
    let calls = world.calls.lock().unwrap();
    assert_eq!(calls[0].line, "POST /v1/simulator/wallet-tokens");
    assert_eq!(calls[0].body["card_id"], "id-C1");
}

#[tokio::test]
async fn a_card_that_is_not_the_cardholders_is_not_there() {
    let world = World::new(a_token).await;
    for path in ["token", "wallet/check", "wallet/tokens"] {
        let body = (path == "wallet/check").then(question);
        let method = if path == "wallet/tokens" {
            Method::GET
        } else {
            Method::POST
        };
        let (status, said) = world
            .ask(method, &format!("/api/cards/C3/{path}"), body)
            .await;
        assert_eq!(status, StatusCode::CONFLICT, "{path}");
        assert_eq!(said["error"]["code"], "not_found");
    }
    assert_eq!(world.lines(), [""; 0]);
}

#[tokio::test]
async fn the_page_is_told_how_to_show_each_card_and_no_key() {
    let world = World::new(a_token).await;
    let (_, said) = world.ask(Method::GET, "/api/cards", None).await;
    let cards = said["cards"].as_array().unwrap();
    assert_eq!(cards[0]["embed"], "emb_C1");
    assert_eq!(cards[0]["wallets"], true);
    assert_eq!(cards[0]["totp_secret"], Value::Null);
    assert_eq!(cards[1]["embed"], "emb_C2");
    assert_eq!(cards[1]["totp_secret"], "GEZDGNBV");
    for hidden in ["everyday-key", "protected-key", "F50091", "person"] {
        assert!(!said.to_string().contains(hidden), "{hidden}");
    }
}
