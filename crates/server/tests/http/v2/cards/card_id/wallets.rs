//! Equals' three provisioning calls: their place is ready, and they say what is missing.

use serde_json::{Value, json};

use crate::actors::post;
use crate::v1::simulator::world;
use crate::world::{ACCOUNT, Answer, CARD_ID, FOREIGN_ID, KEY, World};

const WALLETS: [&str; 3] = ["apple-wallet", "google-wallet", "samsung-wallet"];

fn good(wallet: &str) -> Value {
    match wallet {
        "apple-wallet" => json!({
            "deviceType": "MOBILE_PHONE", "provisioningAppVersion": "1.4.2",
            "certificates": ["bGVhZg==", "c3ViQ0E="], "nonce": "6c6f", "nonceSignature": "4078",
        }),
        _ => json!({
            "deviceType": "WATCH", "provisioningAppVersion": "1.4.2", "deviceId": "d".repeat(24),
            "walletUserId": "u".repeat(50), "undocumented": true,
        }),
    }
}

async fn send(world: &World, card: &str, wallet: &str, query: &str, body: &Value) -> Answer {
    let mut call = post(&format!("/v2/cards/{card}/{wallet}?{query}"), body);
    call.headers_mut()
        .insert("authorization", KEY.parse().unwrap());
    world.merchant().send(call).await
}

async fn ask(world: &World, card: &str, wallet: &str, body: &Value) -> Answer {
    send(world, card, wallet, &format!("accountId={ACCOUNT}"), body).await
}

#[tokio::test]
async fn a_good_request_is_told_what_is_missing() {
    let world = world().await;
    for wallet in WALLETS {
        let answer = ask(&world, CARD_ID, wallet, &good(wallet)).await;
        assert_eq!(
            answer.code(),
            (501, "not_implemented".to_owned()),
            "{wallet}"
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("simulator"), "{detail}");
    }
}

#[tokio::test]
async fn a_card_that_is_not_theirs_is_not_found() {
    let world = world().await;
    for wallet in WALLETS {
        let foreign = ask(&world, FOREIGN_ID, wallet, &good(wallet)).await;
        assert_eq!(foreign.code(), (404, "not_found".to_owned()), "{wallet}");
        let account = send(&world, CARD_ID, wallet, "accountId=F1", &good(wallet)).await;
        assert_eq!(account.code().0, 404, "{wallet}");
        let unnamed = send(&world, CARD_ID, wallet, "", &good(wallet)).await;
        assert_eq!(unnamed.code().0, 400, "{wallet}");
    }
}

#[tokio::test]
async fn every_documented_parameter_is_checked() {
    let world = world().await;
    for wallet in WALLETS {
        let body = good(wallet);
        let members = body
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| *name != "undocumented");
        for member in members {
            let mut without = body.clone();
            without.as_object_mut().unwrap().shift_remove(member);
            let mut blank = body.clone();
            blank[member] = json!("");
            for wrong in [without, blank] {
                let answer = ask(&world, CARD_ID, wallet, &wrong).await;
                let code = (400, "invalid_request".to_owned());
                assert_eq!(answer.code(), code, "{wallet} {member}");
            }
        }
    }
    for (wallet, member, value) in [
        (
            "apple-wallet",
            "provisioningAppVersion",
            json!("1".repeat(51)),
        ),
        ("apple-wallet", "certificates", json!(["one"])),
        (
            "apple-wallet",
            "certificates",
            json!(["one", "two", "three"]),
        ),
        ("apple-wallet", "certificates", json!(["one", ""])),
        ("apple-wallet", "deviceType", json!("FRIDGE")),
        ("samsung-wallet", "deviceId", json!("d".repeat(25))),
        ("samsung-wallet", "walletUserId", json!("u".repeat(51))),
        ("google-wallet", "deviceType", json!("watch")),
    ] {
        let mut body = good(wallet);
        body[member] = value;
        let answer = ask(&world, CARD_ID, wallet, &body).await;
        assert_eq!(answer.code().0, 400, "{wallet} {member}");
    }
}
