//! `POST /open-api/v1/card/status/update`.

use cardveil_core::audit::{Kind, Topic};
use cardveil_core::card::{self, State};
use cardveil_core::merchant::Scope;
use cardveil_testkit::Fault;
use serde_json::{Value, json};

use crate::actors::Merchant;
use crate::world::{Answer, CARD_NO, FOREIGN_NO, KEY, OWN_KEY, SECOND_NO, World};

const PATH: &str = "/open-api/v1/card/status/update";

async fn world() -> World {
    let world = World::new().await;
    let scopes = vec![Scope::CardsReadAny, Scope::CardsWriteAny];
    world
        .operator()
        .set_credential(KEY, |c| c.scopes = scopes)
        .await;
    world
}

async fn asked(merchant: &Merchant<'_>, card_no: &str, status: &str) -> Answer {
    let body = json!({"card_no": card_no, "status": status});
    merchant.keysecure_post(PATH, "en_US", &body).await
}

/// Every state against every status: which moves there are, and no others.
#[tokio::test]
async fn code_4005_for_each_move_that_is_none() {
    let world = world().await;
    let mut n = 0;
    for state in State::ALL {
        for (status, to) in [
            ("Frozen", State::Suspended),
            ("Activated", State::Active),
            ("Delete", State::Terminated),
        ] {
            n += 1;
            let (no, _) = world.card_in(n, card::Kind::Physical, state).await;
            let before = world.operator().logged(Kind::CardChanged).await.len();
            let allowed = matches!(
                (state, to),
                (State::Active, State::Suspended)
                    | (State::Suspended, State::Active)
                    | (
                        State::Unactivated | State::Active | State::Suspended,
                        State::Terminated
                    )
            );
            let answer = asked(&world.merchant(), &no, status).await;
            let expected = if allowed || state == to { "0" } else { "4005" };
            assert_eq!(
                answer.code(),
                (200, expected.to_owned()),
                "{state:?} {status}"
            );
            let log = world.operator().logged(Kind::CardChanged).await;
            assert_eq!(log.len() - before, usize::from(allowed));
            if allowed {
                let event = &log.last().unwrap().event;
                assert_eq!(event.detail.from.as_deref(), Some(state.as_str()));
                assert_eq!(event.detail.to.as_deref(), Some(to.as_str()));
                assert_eq!(event.topic(), Some(Topic::CardState));
            }
        }
    }
}

#[tokio::test]
async fn the_answer_in_both_languages() {
    let world = world().await;
    let merchant = world.merchant();
    let body = |status: &str| json!({"card_no": CARD_NO, "status": status, "unknown": 1});
    let answer = merchant
        .keysecure_post(PATH, "en_US", &body("Frozen"))
        .await;
    assert_eq!(
        answer.json(),
        json!({"code": 0, "msg": "Success", "data": {"result": true}})
    );
    let answer = merchant
        .keysecure_post(PATH, "zh_CN", &body("Activated"))
        .await;
    assert_eq!(
        answer.json(),
        json!({"code": 0, "msg": "成功", "data": {"result": true}})
    );
}

#[tokio::test]
async fn code_1004_names_the_field() {
    let world = world().await;
    for (body, msg) in [
        (json!({"status": "Frozen"}), "card_no is required"),
        (
            json!({"card_no": "C 1", "status": "Frozen"}),
            "card_no must be 1 to 64 letters, digits, _ or -",
        ),
        (json!({"card_no": CARD_NO}), "status is required"),
        (
            json!({"card_no": CARD_NO, "status": "frozen"}),
            "status must be Frozen, Activated or Delete",
        ),
        (
            json!({"card_no": CARD_NO, "status": 3}),
            "status must be a string",
        ),
    ] {
        let answer = world
            .merchant()
            .keysecure_post(PATH, "en_US", &body)
            .await
            .json();
        assert_eq!(
            (&answer["code"], &answer["msg"]),
            (&json!(1004), &json!(msg))
        );
    }
}

#[tokio::test]
async fn code_4001_for_a_card_that_the_caller_may_not_change() {
    let world = world().await;
    let scopes = vec![Scope::CardsReadOwn, Scope::CardsWriteOwn];
    world
        .operator()
        .set_credential(OWN_KEY, |c| c.scopes = scopes)
        .await;
    let unknown = asked(&world.merchant(), "C404", "Frozen").await;
    assert_eq!(unknown.code().1, "4001");
    let foreign = asked(&world.merchant(), FOREIGN_NO, "Frozen").await;
    let own = Merchant::new(&world, OWN_KEY);
    let others = asked(&own, SECOND_NO, "Frozen").await;
    assert_eq!(foreign.without_id(), unknown.without_id());
    assert_eq!(others.without_id(), unknown.without_id());
    assert_eq!(asked(&own, CARD_NO, "Frozen").await.code().1, "0");
}

#[tokio::test]
async fn code_1010_without_a_scope_that_writes() {
    let world = World::new().await;
    assert_eq!(
        asked(&world.merchant(), CARD_NO, "Frozen").await.code().1,
        "1010"
    );
}

#[tokio::test]
async fn code_1001_when_the_store_fails() {
    let world = world().await;
    let merchant = world.merchant();
    let access = merchant.login().await;
    world.store.fail_next(Fault::NotPersisted);
    let call = merchant
        .keysecure(PATH)
        .method(http::Method::POST)
        .header("Access-Token", access)
        .body(axum::body::Body::from(
            json!({"card_no": CARD_NO, "status": "Frozen"}).to_string(),
        ));
    let answer = merchant.send(call.unwrap()).await;
    assert_eq!(answer.code(), (500, "1001".to_owned()));
    let data: Option<&Value> = None;
    assert_eq!(answer.json().get("data"), data);
}
