//! P8: lists of one merchant, and everything of another.

use axum::body::Body;
use cardveil_server::ListenerKind;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use crate::actors::{Cardholder, Merchant};
use crate::world::{Answer, FOREIGN_NO, KEY, OTHER_KEY, World};

/// The lists of cards, each in its dialect's words.
async fn list(merchant: &Merchant<'_>, dialect: &str, access: &str) -> Answer {
    match dialect {
        "native" => {
            let path = "/v1/cards?search=petrol";
            merchant.call("Bearer", Method::GET, path, None).await
        }
        "equals" => {
            let path = "/v2/cards?accountId=F50091&search=petrol";
            merchant.call("ApiKey", Method::GET, path, None).await
        }
        _ => {
            let range =
                json!({"start_time": "2026-01-01", "end_time": "2026-01-02", "page": 1_000_000});
            let call = merchant.keysecure("/open-api/v1/card/list");
            let call = call.method(Method::POST).header("access-token", access);
            merchant
                .send(call.body(Body::from(range.to_string())).unwrap())
                .await
        }
    }
}

/// 48 connections of one credential on searches, on far pages and on filtered lists of 10^6 cards
/// pushed another merchant's issue to seconds, and half of its redemptions to 503.
#[tokio::test(start_paused = true)]
async fn lists_that_do_not_end_hold_up_no_issue_and_no_redemption() {
    let world = World::new().await;
    let thief = Merchant::new(&world, KEY);
    let access = thief.login().await;
    world.store.hold_lists();
    let lists = (0..48).map(|n| {
        let dialect = ["native", "equals", "keysecure"][n % 3];
        Box::pin(list(&thief, dialect, &access))
    });
    let mut lists: Vec<_> = lists.collect();
    for list in &mut lists {
        assert!(list.now_or_never().is_none());
    }

    let victim = Merchant::new(&world, OTHER_KEY);
    let issued = victim.native(&json!({"card_no": FOREIGN_NO})).await;
    assert_eq!(issued.status, 201, "{}", issued.shown());
    let token = issued.json()["token"].as_str().unwrap().to_owned();
    let mut holder = Cardholder::with(&world, token);
    holder.embed = "emb_2".to_owned();
    let shown = holder.redeem(&["pan"]).await;
    assert_eq!(shown.status, 200, "{}", shown.shown());
    let ready = world.stranger().get(ListenerKind::Admin, "/readyz").await;
    assert_eq!(ready.status, 200);

    // One is worked on all the while.
    let waited = join_all(lists.split_off(1)).await;
    for (n, answer) in (1..).zip(waited) {
        let expected = match n % 3 {
            2 => (200, "1009".to_owned()),
            _ => (429, "rate_limited".to_owned()),
        };
        assert_eq!(answer.code(), expected, "{}", answer.shown());
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}
