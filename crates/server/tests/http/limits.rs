//! P8 and P9: how often callers may call, at its edges, by the injected clock.

mod lists;
mod shared;

use std::num::NonZeroU32;
use std::time::Duration;

use cardveil_server::log::AccessLog;
use cardveil_server::{Limits, ListenerKind};
use serde_json::json;

use crate::actors::{Cardholder, Merchant, empty, post};
use crate::world::{Answer, CARD_ID, CARD_NO, HOME, OTHER_KEY, OWN_KEY, World, settings};

async fn world(credential_per_second: u32, client_per_minute: u32) -> World {
    limited(credential_per_second, client_per_minute, 0).await
}

async fn limited(credential_per_second: u32, client_per_minute: u32, refused: u32) -> World {
    let mut settings = settings();
    settings.limits = Limits {
        credential_per_second: NonZeroU32::new(credential_per_second),
        client_per_minute: NonZeroU32::new(client_per_minute),
        refused_per_minute: NonZeroU32::new(refused),
        ..Limits::none()
    };
    World::with(settings, AccessLog::none()).await
}

/// A stranger who tries Api-Keys learns nothing more after a while, in any dialect; nobody else is
/// held up by it, not even a partner behind the same address.
#[tokio::test]
async fn an_address_that_is_refused_too_often_is_told_to_wait() {
    let world = limited(0, 0, 3).await;
    let thief = Merchant::new(&world, "cvk_test_guessed");
    assert_eq!(login(&thief).await.code().1, "1008");
    let equals = thief.access_token(CARD_ID, "accountId=F50091").await;
    assert_eq!(equals.code(), (403, "credential_refused".to_owned()));
    assert_eq!(login(&thief).await.code().1, "1008");
    let told = login(&thief).await;
    assert_eq!(told.code().1, "1009");
    assert_eq!(told.header("retry-after"), Some("20"));
    assert_eq!(
        told.header("ratelimit-policy"),
        Some("\"refused\";q=3;w=60")
    );
    assert_eq!(told.header("ratelimit"), Some("\"refused\";r=0;t=20"));
    let native = thief.native(&json!({"card_no": CARD_NO})).await;
    assert_eq!(native.code(), (429, "rate_limited".to_owned()));
    assert_eq!(login(&world.merchant()).await.code().1, "0");
    world.clock.advance(Duration::from_secs(20));
    assert_eq!(login(&thief).await.code().1, "1008");
    assert_eq!(login(&thief).await.code().1, "1009");
}

#[tokio::test]
async fn every_answer_tells_where_its_caller_stands() {
    let world = world(3, 2).await;
    let merchant = world.merchant();
    for (left, reset) in [("2", "1"), ("1", "1"), ("0", "1")] {
        let answer = merchant.native(&json!({"card_no": CARD_NO})).await;
        assert_eq!(answer.status, 201);
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"credential\";q=3;w=1")
        );
        let standing = format!("\"credential\";r={left};t={reset}");
        assert_eq!(answer.header("ratelimit"), Some(standing.as_str()));
    }
    let refused = merchant.native(&json!({"card_no": CARD_NO})).await;
    assert_eq!(refused.code(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.header("ratelimit"), Some("\"credential\";r=0;t=1"));
    world.clock.advance(Duration::from_secs(1));
    let cardholder = world.cardholder().await;
    let answer = cardholder.redeem(&["pan"]).await;
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"address\";q=2;w=60")
    );
    assert_eq!(answer.header("ratelimit"), Some("\"address\";r=1;t=30"));
}

async fn login(merchant: &Merchant<'_>) -> Answer {
    merchant
        .send(empty(merchant.keysecure("/open-api/v1/merchant/token")))
        .await
}

#[tokio::test]
async fn keysecure_code_1009_in_both_languages() {
    let world = world(1, 0).await;
    let merchant = world.merchant();
    assert_eq!(login(&merchant).await.code().1, "0");
    assert_eq!(
        login(&merchant).await.json(),
        json!({"code": 1009, "msg": "Requests are too frequent"})
    );
    let call = merchant
        .keysecure("/open-api/v1/merchant/token")
        .header("Language", "zh_CN");
    let answer = merchant.send(empty(call)).await;
    assert_eq!(answer.json(), json!({"code": 1009, "msg": "请求过于频繁"}));
    assert_eq!(world.counted("cardveil_rate_limited_total").await, 2);
    world.clock.advance(Duration::from_millis(999));
    assert_eq!(login(&merchant).await.code().1, "1009");
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(login(&merchant).await.code().1, "0");
}

#[tokio::test]
async fn each_credential_has_its_own() {
    let world = world(1, 0).await;
    for key in [crate::world::KEY, OWN_KEY, OTHER_KEY] {
        let merchant = Merchant::new(&world, key);
        assert_eq!(login(&merchant).await.code().1, "0", "{key}");
        assert_eq!(login(&merchant).await.code().1, "1009", "{key}");
    }
}

#[tokio::test]
async fn one_limit_for_all_dialects() {
    let world = world(1, 0).await;
    let merchant = world.merchant();
    assert_eq!(login(&merchant).await.code().1, "0");
    for answer in [
        merchant.access_token(CARD_ID, "accountId=F50091").await,
        merchant.native(&json!({"card_no": CARD_NO})).await,
    ] {
        assert_eq!(answer.code(), (429, "rate_limited".to_owned()));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

/// Whoever is refused for another reason before is not counted, and uses nothing of the limit.
#[tokio::test]
async fn a_call_that_is_not_admitted_costs_its_credential_nothing() {
    let world = world(1, 0).await;
    let merchant = world.merchant();
    for _ in 0..5 {
        let call = empty(merchant.keysecure("/open-api/v1/merchant/token"));
        let elsewhere = world.ask(ListenerKind::Merchant, HOME, call).await;
        assert_eq!(elsewhere.code().1, "1003");
    }
    assert_eq!(login(&merchant).await.code().1, "0");
}

async fn redeem(world: &World, from: &str) -> Answer {
    let cardholder = Cardholder::with(world, "cvt_test_x".to_owned());
    let call = post("/client/v1/redeem", &cardholder.ask_for(&["pan"]));
    world.ask(ListenerKind::Client, from, call).await
}

#[tokio::test]
async fn a_browsers_address_may_call_so_often_a_minute() {
    let world = world(0, 2).await;
    assert_eq!(redeem(&world, HOME).await.status, 403);
    assert_eq!(redeem(&world, HOME).await.status, 403);
    let answer = redeem(&world, HOME).await;
    assert_eq!(answer.code(), (429, "rate_limited".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("30"));
    world.clock.advance(Duration::from_millis(29_999));
    assert_eq!(redeem(&world, HOME).await.header("retry-after"), Some("1"));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(redeem(&world, HOME).await.status, 403);
    assert_eq!(redeem(&world, HOME).await.status, 429);
    assert_eq!(redeem(&world, "198.51.100.21").await.status, 403);
}

#[tokio::test]
async fn the_addresses_of_one_household_are_one() {
    let world = world(0, 1).await;
    assert_eq!(redeem(&world, "2001:db8:1:2::1").await.status, 403);
    assert_eq!(redeem(&world, "2001:db8:1:2:ffff::1").await.status, 429);
    assert_eq!(redeem(&world, "2001:db8:1:3::1").await.status, 403);
    assert_eq!(redeem(&world, "198.51.100.20").await.status, 403);
    assert_eq!(redeem(&world, "::ffff:198.51.100.20").await.status, 429);
}

#[tokio::test]
async fn a_token_is_still_good_after_a_429() {
    let world = world(0, 1).await;
    let (one, two) = (world.cardholder().await, world.cardholder().await);
    assert_eq!(one.redeem(&["pan"]).await.status, 200);
    assert_eq!(two.redeem(&["pan"]).await.status, 429);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(two.redeem(&["pan"]).await.status, 200);
}

#[tokio::test]
async fn events_count_too() {
    let world = world(0, 1).await;
    let cardholder = world.cardholder().await;
    let redemption = cardholder.redeem(&["pan"]).await.json()["redemption"].clone();
    let event = json!({"redemption": redemption, "token": cardholder.token, "event": "displayed"});
    let answer = cardholder.report(&event).await;
    assert_eq!(answer.code(), (429, "rate_limited".to_owned()));
}

/// A clock that is set back renews no limit, and nobody waits for it to catch up.
#[tokio::test]
async fn a_clock_that_is_set_back() {
    let world = world(0, 1).await;
    assert_eq!(redeem(&world, HOME).await.status, 403);
    world
        .clock
        .set(cardveil_core::Time::from_millis(world.now_ms() - 3_600_000));
    assert_eq!(redeem(&world, HOME).await.status, 429);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(redeem(&world, HOME).await.status, 403);
}

/// A step of 600 years ended governor, and the process answered 503 until it was started anew.
#[tokio::test]
async fn a_clock_that_jumps_by_600_years() {
    let world = limited(0, 1, 1).await;
    let right = world.clock_now();
    let centuries = Duration::from_secs(600 * 366 * 86_400);
    let thief = Merchant::new(&world, "cvk_test_guessed");
    assert_eq!(redeem(&world, HOME).await.status, 403);
    assert_eq!(login(&thief).await.code().1, "1008");
    for _ in 0..3 {
        world.clock.advance(centuries);
        assert_eq!(redeem(&world, HOME).await.status, 403);
        assert_eq!(login(&thief).await.code().1, "1008");
        assert_eq!(redeem(&world, HOME).await.header("retry-after"), Some("60"));
        world.clock.set(right);
        // Right again: nobody waits for longer than the window.
        assert_eq!(redeem(&world, HOME).await.header("retry-after"), Some("60"));
        assert_eq!(login(&thief).await.code().1, "1009");
    }
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(redeem(&world, HOME).await.status, 403);
    assert_eq!(login(&thief).await.code().1, "1008");
    assert_eq!(world.counted("cardveil_faults_total").await, 0);
}

async fn refusals(address: u32, network: u32, all: u32) -> World {
    let mut settings = settings();
    settings.limits = Limits {
        client_per_minute: NonZeroU32::new(address),
        refused_per_minute: NonZeroU32::new(address),
        network_per_minute: NonZeroU32::new(network),
        all_per_minute: NonZeroU32::new(all),
        ..Limits::none()
    };
    World::with(settings, AccessLog::none()).await
}

/// Strangers who fill the limits, over all and their own address's, hold up no token that we made.
#[tokio::test]
async fn strangers_never_use_up_what_a_token_of_ours_needs() {
    let world = refusals(2, 2, 2).await;
    let cardholder = world.cardholder().await;
    for from in [HOME, "203.0.113.200", "2001:db8::1", HOME] {
        redeem(&world, from).await;
    }
    assert_eq!(redeem(&world, HOME).await.status, 429);
    assert_eq!(redeem(&world, "192.0.2.1").await.status, 429, "over all");
    let released = cardholder.redeem(&["pan"]).await;
    assert_eq!(released.status, 200);
    assert_eq!(
        released.header("ratelimit-policy"),
        Some("\"address\";q=2;w=60")
    );
    // Past its life it is still one of ours: refused as such, and not as a stranger's.
    let late = world.cardholder().await;
    world.clock.advance(Duration::from_secs(301));
    for from in [HOME, "203.0.113.200", "2001:db8::1"] {
        redeem(&world, from).await;
    }
    assert_eq!(
        late.redeem(&["pan"]).await.code(),
        (403, "token_refused".to_owned())
    );
}

/// Who has a network of many addresses fills its own limit, and not everybody's.
#[tokio::test]
async fn the_network_is_asked_before_everybody() {
    let world = refusals(100, 3, 5).await;
    for (flood, other) in [
        (
            (1..50)
                .map(|n| format!("2001:db8:1:{n:x}::1"))
                .collect::<Vec<_>>(),
            "2001:db8:2::1",
        ),
        (
            (1..50).map(|n| format!("192.0.2.{n}")).collect(),
            "192.0.3.1",
        ),
    ] {
        let mut refused = 0;
        for from in &flood {
            refused += u32::from(redeem(&world, from).await.status == 403);
        }
        assert_eq!(refused, 3, "of the network");
        assert_eq!(
            redeem(&world, other).await.status,
            403,
            "of the two that are left for all"
        );
        world.clock.advance(Duration::from_secs(60));
    }
    let thief = Merchant::new(&world, "cvk_test_guessed");
    for expected in ["1008", "1008", "1008", "1009"] {
        assert_eq!(login(&thief).await.code().1, expected);
    }
    assert_eq!(login(&world.merchant()).await.code().1, "0");
}

#[tokio::test]
async fn frames_and_scripts_have_a_limit_and_probes_have_none() {
    let mut settings = settings();
    settings.limits = Limits {
        public_per_minute: NonZeroU32::new(2),
        ..Limits::none()
    };
    let world = World::with(settings, AccessLog::none()).await;
    let stranger = world.stranger();
    for (path, expected) in [
        ("/embed/emb_1", 200),
        ("/sdk/v1/cardveil.js", 200),
        ("/embed/emb_1", 429),
    ] {
        let answer = stranger.get(ListenerKind::Client, path).await;
        assert_eq!(answer.status, expected, "{path}");
    }
    for _ in 0..9 {
        assert_eq!(
            stranger.get(ListenerKind::Admin, "/healthz").await.status,
            200
        );
    }
    assert_eq!(world.cardholder().await.redeem(&["pan"]).await.status, 200);
}
