//! `GET` and `PUT /v2/cards/{cardId}`: Equals, "Get card details" and "Update cards".

use cardveil_core::audit::Kind;
use cardveil_core::merchant::Scope;
use cardveil_testkit::Fault;
use http::Method;
use serde_json::{Value, json};

use crate::actors::Merchant;
use crate::world::{Answer, CARD_ID, FOREIGN_ID, KEY, OWN_KEY, SECOND_ID, SECOND_PERSON, World};

async fn ask(merchant: &Merchant<'_>, id: &str, query: &str, body: Option<Value>) -> Answer {
    let method = if body.is_some() {
        Method::PUT
    } else {
        Method::GET
    };
    let path = format!("/v2/cards/{id}?{query}");
    merchant.call("ApiKey", method, &path, body).await
}

async fn may_write(world: &World) {
    for (key, scopes) in [
        (KEY, [Scope::CardsReadAny, Scope::CardsWriteAny]),
        (OWN_KEY, [Scope::CardsReadAny, Scope::CardsWriteOwn]),
    ] {
        world
            .operator()
            .set_credential(key, |c| c.scopes = scopes.to_vec())
            .await;
    }
}

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
}

#[tokio::test]
async fn a_card_is_found_by_those_who_may_know_of_it() {
    let world = World::new().await;
    let merchant = world.merchant();
    let answer = ask(&merchant, CARD_ID, "accountId=F50091", None).await;
    assert_eq!(
        (answer.status, &answer.json()["id"]),
        (200, &json!(CARD_ID))
    );
    assert!(!answer.shown().contains("4111"), "no card number");
    let own = Merchant::new(&world, OWN_KEY);
    for (who, id, query) in [
        (&merchant, FOREIGN_ID, "accountId=F50091"),
        (&merchant, CARD_ID, "accountId=F1"),
        (&own, SECOND_ID, "accountId=F50091"),
        (
            &merchant,
            CARD_ID,
            &format!("accountId=F50091&personId={SECOND_PERSON}"),
        ),
        (
            &merchant,
            "00000000-0000-4000-8000-000000000000",
            "accountId=F50091",
        ),
    ] {
        is(&ask(who, id, query, None).await, 404, "not_found");
    }
    is(
        &ask(&merchant, "1", "accountId=F50091", None).await,
        400,
        "invalid_request",
    );
    is(
        &ask(&merchant, CARD_ID, "", None).await,
        400,
        "invalid_request",
    );
}

#[tokio::test]
async fn a_card_is_called_otherwise() {
    let world = World::new().await;
    may_write(&world).await;
    let merchant = world.merchant();
    let name = "x".repeat(21);
    let body = json!({"name": name, "unknownMember": 1});
    let answer = ask(&merchant, CARD_ID, "accountId=F50091", Some(body.clone())).await;
    assert_eq!((answer.status, &answer.json()["name"]), (200, &json!(name)));
    let again = ask(&merchant, CARD_ID, "accountId=F50091", Some(body)).await;
    assert_eq!(again.json(), answer.json());
    assert_eq!(world.operator().logged(Kind::CardChanged).await.len(), 1);
    let read = ask(&merchant, CARD_ID, "accountId=F50091", None).await;
    assert_eq!(read.json(), answer.json());
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_and_not_repeated_card_validator_33_86() {
    let world = World::new().await;
    may_write(&world).await;
    let names = [
        "",
        " ",
        "\u{3164}",
        &"x".repeat(22),
        "a\nb",
        "a\u{202e}b",
        "4111 1111 1111 1111",
    ];
    for name in names {
        let body = Some(json!({"name": name}));
        let answer = ask(&world.merchant(), CARD_ID, "accountId=F50091", body).await;
        is(&answer, 400, "invalid_request");
        assert!(!answer.shown().contains("1111"));
    }
    let nothing = ask(
        &world.merchant(),
        CARD_ID,
        "accountId=F50091",
        Some(json!({})),
    )
    .await;
    is(&nothing, 400, "invalid_request");
    assert!(world.operator().logged(Kind::CardChanged).await.is_empty());
}

#[tokio::test]
async fn who_may_only_read_changes_nothing() {
    let world = World::new().await;
    let body = || Some(json!({"name": "Mine"}));
    let reader = ask(&world.merchant(), CARD_ID, "accountId=F50091", body()).await;
    is(&reader, 403, "scope_missing");
    may_write(&world).await;
    let own = Merchant::new(&world, OWN_KEY);
    // Bound to a person, it does not see another's card, whatever its scopes say.
    let another = ask(&own, SECOND_ID, "accountId=F50091", body()).await;
    is(&another, 404, "not_found");
    let foreign = ask(&world.merchant(), FOREIGN_ID, "accountId=F50091", body()).await;
    is(&foreign, 404, "not_found");
    assert!(world.operator().logged(Kind::CardChanged).await.is_empty());
    assert_eq!(
        ask(&own, CARD_ID, "accountId=F50091", body()).await.status,
        200
    );
}

#[tokio::test]
async fn a_write_that_fails_may_be_sent_again() {
    for (fault, events) in [
        (Fault::NotPersisted, 0),
        (Fault::UnknownNotPersisted, 0),
        (Fault::UnknownPersisted, 1),
    ] {
        let world = World::new().await;
        may_write(&world).await;
        let body = || Some(json!({"name": "Mine"}));
        world.store.fail_next(fault);
        let failed = ask(&world.merchant(), CARD_ID, "accountId=F50091", body()).await;
        is(&failed, 503, "unavailable");
        assert_eq!(
            world.operator().logged(Kind::CardChanged).await.len(),
            events
        );
        let again = ask(&world.merchant(), CARD_ID, "accountId=F50091", body()).await;
        assert_eq!(again.status, 200, "{fault:?}");
        assert_eq!(world.operator().logged(Kind::CardChanged).await.len(), 1);
    }
}
