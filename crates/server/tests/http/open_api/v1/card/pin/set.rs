//! `POST /open-api/v1/card/pin/set`: its place, until PINs are kept.

use cardveil_core::merchant::Scope;
use serde_json::json;

use crate::world::{CARD_NO, KEY, World};

#[tokio::test]
async fn code_1012_in_both_languages() {
    let world = World::new().await;
    let scopes = vec![Scope::CardsReadAny, Scope::CardsWriteAny];
    world
        .operator()
        .set_credential(KEY, |c| c.scopes = scopes)
        .await;
    let path = "/open-api/v1/card/pin/set";
    for (language, msg) in [
        ("en_US", "Integration mode not supported"),
        ("zh_CN", "不支持的接入模式"),
    ] {
        for body in [
            json!({"card_no": CARD_NO, "pin": "AAAA"}),
            json!({"card_no": "C404"}),
            json!([]),
        ] {
            let answer = world.merchant().keysecure_post(path, language, &body).await;
            assert_eq!(answer.json(), json!({"code": 1012, "msg": msg}));
        }
    }
}
