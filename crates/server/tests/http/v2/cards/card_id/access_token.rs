//! `GET /v2/cards/{cardId}/access-token`: Equals Money's "Retrieve an access token".

mod mfa;

use cardveil_core::Time;
use cardveil_core::audit::Kind;
use cardveil_core::card::{self, State};
use cardveil_core::merchant::{CredentialState, MerchantState, Scope};
use cardveil_server::ListenerKind;
use cardveil_testkit::Fault;

use crate::actors::{Cardholder, Merchant, empty, get};
use crate::world::{
    Answer, CARD_ID, FOREIGN_ID, HOME, KEY, OFFICE, OWN_KEY, PERSON, SECOND_ID, SECOND_PERSON,
    World,
};

const PATH: &str = "/v2/cards/e9293471-5eb3-4dbc-916c-dbaf9e2deefd/access-token?accountId=F50091";

async fn authorised(world: &World, value: &str) -> Answer {
    let call = get(PATH).header("Authorization", value);
    world.merchant().send(empty(call)).await
}

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        answer.code(),
        (status, code.to_owned()),
        "{}",
        answer.shown()
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
}

fn good(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.shown());
    assert!(
        answer.json()["token"]
            .as_str()
            .unwrap()
            .starts_with("cvt_test_")
    );
}

#[tokio::test]
async fn the_published_call_as_it_is_written() {
    let world = World::new().await;
    // curl --request GET --url '.../v2/cards/{cardId}/access-token?accountId={{accountId}}'
    //   --header 'Authorization: <api-key>'
    let call = get(PATH).header("Authorization", KEY);
    let answer = world.ask(ListenerKind::Merchant, OFFICE, empty(call)).await;
    good(&answer);
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    insta::assert_snapshot!(answer.shown().replace(&token, "[client token]"), @r#"
    200
    cache-control: no-store
    content-length: 104
    content-security-policy: default-src 'none'; frame-ancestors 'none'
    content-type: application/json
    cross-origin-resource-policy: same-origin
    referrer-policy: no-referrer
    strict-transport-security: max-age=31536000; includeSubDomains
    x-content-type-options: nosniff
    x-request-id: [request id]

    {
      "token": "[client token]"
    }
    "#);
    assert_eq!(world.operator().logged(Kind::TokenIssued).await.len(), 1);
    let cardholder = Cardholder::with(&world, token);
    assert_eq!(
        cardholder.open(&cardholder.redeem(&["cvv"]).await)["cvv"],
        "739"
    );
}

#[tokio::test]
async fn the_key_bare_and_with_its_scheme() {
    let world = World::new().await;
    for value in [KEY, &format!("ApiKey {KEY}"), &format!("apikey   {KEY} ")] {
        good(&authorised(&world, value).await);
    }
}

#[tokio::test]
async fn without_a_credential_it_is_401_and_says_how() {
    let world = World::new().await;
    for call in [get(PATH), get(PATH).header("Authorization", " ")] {
        let answer = world.merchant().send(empty(call)).await;
        is(&answer, 401, "credential_required");
        assert_eq!(answer.header("www-authenticate"), Some("ApiKey"));
    }
}

#[tokio::test]
async fn with_a_wrong_credential_it_is_403() {
    let world = World::new().await;
    for value in [
        "wrong",
        "ApiKey wrong",
        "ApiKey",
        &format!("Bearer {KEY}"),
        "Basic eA==",
    ] {
        is(&authorised(&world, value).await, 403, "credential_refused");
    }
    let twice = get(PATH)
        .header("Authorization", KEY)
        .header("Authorization", KEY);
    is(
        &world.merchant().send(empty(twice)).await,
        403,
        "credential_refused",
    );
}

#[tokio::test]
async fn all_that_bars_a_known_credential_is_the_same_answer() {
    let world = World::new().await;
    let operator = world.operator();
    let wrong = authorised(&world, "wrong").await.without_id();
    let call = get(PATH).header("Authorization", KEY);
    let strange = world.ask(ListenerKind::Merchant, HOME, empty(call)).await;
    assert_eq!(strange.without_id(), wrong, "a strange address");
    operator
        .set_credential(KEY, |c| c.state = CredentialState::Disabled)
        .await;
    assert_eq!(
        authorised(&world, KEY).await.without_id(),
        wrong,
        "disabled"
    );
    operator
        .set_credential(KEY, |c| c.state = CredentialState::Enabled)
        .await;
    operator
        .set_credential(KEY, |c| c.expires_at = Some(Time::from_millis(0)))
        .await;
    assert_eq!(authorised(&world, KEY).await.without_id(), wrong, "expired");
    operator.set_credential(KEY, |c| c.expires_at = None).await;
    for state in [MerchantState::Suspended, MerchantState::Closed] {
        operator.set_merchant(1, |m| m.state = state).await;
        assert_eq!(
            authorised(&world, KEY).await.without_id(),
            wrong,
            "{state:?}"
        );
    }
    operator.set_merchant(1, |_| {}).await;
    good(&authorised(&world, KEY).await);
}

#[tokio::test]
async fn a_credential_without_a_scope() {
    let world = World::new().await;
    for (key, scope) in [("own", Some(Scope::CardsReadOwn)), ("none", None)] {
        world
            .add_credential(1, key, Scope::CardsReadOwn, None)
            .await;
        world
            .operator()
            .set_credential(key, |c| c.scopes = scope.into_iter().collect())
            .await;
        is(&authorised(&world, key).await, 403, "scope_missing");
    }
}

#[tokio::test]
async fn own_sees_the_cards_of_its_person_and_any_sees_all_of_the_merchant() {
    let world = World::new().await;
    let own = Merchant::new(&world, OWN_KEY);
    let any = world.merchant();
    good(&own.access_token(CARD_ID, "accountId=F50091").await);
    good(&any.access_token(CARD_ID, "accountId=F50091").await);
    is(
        &own.access_token(SECOND_ID, "accountId=F50091").await,
        404,
        "not_found",
    );
    good(&any.access_token(SECOND_ID, "accountId=F50091").await);
    is(
        &any.access_token(FOREIGN_ID, "accountId=F50091").await,
        404,
        "not_found",
    );
}

#[tokio::test]
async fn what_the_caller_may_not_know_of_is_the_same_404() {
    let world = World::new().await;
    let own = Merchant::new(&world, OWN_KEY);
    let unknown = own
        .access_token("00000000-5eb3-4dbc-916c-dbaf9e2deefd", "accountId=F50091")
        .await;
    is(&unknown, 404, "not_found");
    for (id, query) in [
        (FOREIGN_ID, "accountId=F50091".to_owned()),
        (SECOND_ID, "accountId=F50091".to_owned()),
        (CARD_ID, "accountId=F50092".to_owned()),
        (
            CARD_ID,
            format!("accountId=F50091&personId={SECOND_PERSON}"),
        ),
    ] {
        let answer = own.access_token(id, &query).await;
        assert_eq!(answer.without_id(), unknown.without_id(), "{id} {query}");
    }
}

#[tokio::test]
async fn account_and_person_must_be_the_cards() {
    let world = World::new().await;
    let merchant = world.merchant();
    let both = format!("accountId=F50091&personId={PERSON}");
    good(&merchant.access_token(CARD_ID, &both).await);
    let upper = format!("accountId=F50091&personId={}", PERSON.to_uppercase());
    good(&merchant.access_token(CARD_ID, &upper).await);
    let other = format!("accountId=F50091&personId={SECOND_PERSON}");
    is(
        &merchant.access_token(CARD_ID, &other).await,
        404,
        "not_found",
    );
}

/// Equals Money's description takes any text for an account: what cannot be one's is of nobody.
#[tokio::test]
async fn any_text_may_be_an_account_and_most_are_of_nobody() {
    let world = World::new().await;
    let long = "F".repeat(65);
    for account in ["", "F%20S3CRET", "%00", "%F0%9F%92%B3", long.as_str()] {
        let query = format!("accountId={account}");
        let answer = world.merchant().access_token(CARD_ID, &query).await;
        is(&answer, 404, "not_found");
        assert!(!answer.text().contains("S3CRET"));
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_named_and_not_repeated() {
    let world = World::new().await;
    let merchant = world.merchant();
    for (card, query, place) in [
        (CARD_ID, "", "accountId"),
        (CARD_ID, "accountId=%FF", "accountId"),
        (CARD_ID, "accountId=F50091&accountId=F50091", "accountId"),
        (CARD_ID, "accountId=F50091&personId=S3CRET", "personId"),
        (
            CARD_ID,
            "accountId=F50091&personId=775596ae262440afa9dc9756110a4a04",
            "personId",
        ),
        (
            CARD_ID,
            "accountId=F50091&operationName=S3CRET",
            "operationName",
        ),
        (
            CARD_ID,
            "accountId=F50091&operationName=view_card",
            "operationName",
        ),
        (
            CARD_ID,
            "accountId=F50091&operationName=VIEW_CARD&operationName=VIEW_CARD",
            "operationName",
        ),
        (
            CARD_ID,
            "accountId=F50091&sessionId=1&sessionId=2",
            "sessionId",
        ),
        (CARD_ID, "accountId=F50091&token=1&token=2", "token"),
        ("C202605220001", "accountId=F50091", "cardId"),
        (
            "e92934715eb34dbc916cdbaf9e2deefd",
            "accountId=F50091",
            "cardId",
        ),
        ("%FF", "accountId=F50091", "cardId"),
    ] {
        let answer = merchant.access_token(card, query).await;
        is(&answer, 400, "invalid_request");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.starts_with(&format!("{place}: ")),
            "{query}: {detail}"
        );
        assert!(!answer.text().contains("S3CRET"), "{query}");
    }
}

#[tokio::test]
async fn a_parameter_of_mfa_is_taken_and_an_unknown_one_is_passed_over() {
    let world = World::new().await;
    let query = "accountId=F50091&sessionId=c92e2960-b745-4b38-8e77-898b2f9ad9bb&token=123456&x=1";
    good(&world.merchant().access_token(CARD_ID, query).await);
}

#[tokio::test]
async fn a_token_for_a_wallet_cannot_be_redeemed_for_viewing() {
    let world = World::new().await;
    let query = "accountId=F50091&operationName=ADD_CARD_TO_WALLET";
    let answer = world.merchant().access_token(CARD_ID, query).await;
    good(&answer);
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let refused = Cardholder::with(&world, token).redeem(&["pan"]).await;
    assert_eq!(refused.code(), (403, "token_refused".to_owned()));
    assert!(
        world
            .operator()
            .logged(Kind::RevealReleased)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn the_operation_left_out_is_view_card() {
    let world = World::new().await;
    for query in [
        "accountId=F50091",
        "accountId=F50091&operationName=VIEW_CARD",
    ] {
        let answer = world.merchant().access_token(CARD_ID, query).await;
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        assert_eq!(
            Cardholder::with(&world, token)
                .redeem(&["pan"])
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn a_card_in_each_state_that_is_not_shown() {
    let world = World::new().await;
    for (n, state) in (1..).zip(State::ALL) {
        let (_, id) = world.card_in(n, card::Kind::Physical, state).await;
        let answer = world.merchant().access_token(&id, "accountId=F50091").await;
        if state == State::Active {
            good(&answer);
        } else {
            is(&answer, 403, "card_not_viewable");
        }
    }
}

#[tokio::test]
async fn a_merchant_that_may_not_show_cards() {
    let world = World::new().await;
    world
        .operator()
        .set_merchant(1, |m| m.pci_enabled = false)
        .await;
    is(&authorised(&world, KEY).await, 403, "pci_not_enabled");
}

#[tokio::test]
async fn a_store_that_fails_gives_no_token_and_is_counted() {
    let world = World::new().await;
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        world.store.fail_next(fault);
        is(&authorised(&world, KEY).await, 503, "unavailable");
    }
    assert_eq!(world.counted("cardveil_faults_total").await, 3);
}
