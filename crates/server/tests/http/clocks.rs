//! A clock that jumped and is right again (P9, docs/operate/clocks.md): what shows at the surface
//! alone. What stores keep is in the contract suite.

use std::time::Duration;

use cardveil_core::Time;
use cardveil_core::clock::CLOCKS_APART;
use cardveil_core::port::Writes;
use cardveil_server::ListenerKind;

use crate::world::{CARD_ID, CARD_NO, KEY, World};

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);

/// How far ahead a clock stands, and whether that is no more than clocks may differ.
const AHEAD: [(Duration, bool); 4] = [
    (CLOCKS_APART, true),
    (CLOCKS_APART.saturating_add(MILLISECOND), false),
    (DAY.saturating_mul(2), false),
    (DAY.saturating_mul(365 * 600), false),
];

/// It would be good until that clock's time comes, and two hours more.
#[tokio::test]
async fn a_login_of_a_clock_ahead_is_refused() {
    let world = World::new().await;
    let (merchant, right) = (world.merchant(), world.clock_now());
    for (ahead, is_good) in AHEAD {
        world.clock.set(right.plus(ahead));
        let access = merchant.login().await;
        let code = async |now: Time| {
            world.clock.set(now);
            merchant.client_token(CARD_NO, &access).await.code().1
        };
        assert_eq!(code(right.plus(ahead)).await, "0", "{ahead:?}");
        let expected = if is_good { "0" } else { "1007" };
        assert_eq!(code(right).await, expected, "{ahead:?}");
        world.clock.set(right);
        assert_eq!(
            merchant
                .client_token(CARD_NO, &merchant.login().await)
                .await
                .code()
                .1,
            "0"
        );
    }
}

/// A clock ahead ends it, and writes nothing: it is good again afterwards, to the same moment.
#[tokio::test]
async fn a_credential_that_has_an_end_is_good_again() {
    let world = World::new().await;
    let (merchant, right) = (world.merchant(), world.clock_now());
    let ends = right.plus(DAY);
    let set_end = |known: &mut cardveil_core::merchant::Credential| known.expires_at = Some(ends);
    world.operator().set_credential(KEY, set_end).await;
    let status = async |now: Time| {
        world.clock.set(now);
        merchant
            .access_token(CARD_ID, "accountId=F50091")
            .await
            .status
    };
    for ahead in [DAY, 2 * DAY, 600 * 365 * DAY] {
        assert_eq!(status(right.plus(ahead)).await, 403, "{ahead:?}");
        assert_eq!(status(right).await, 200, "{ahead:?}");
    }
    assert_eq!(status(ends.minus(MILLISECOND)).await, 200);
    assert_eq!(status(ends).await, 403);
}

/// Since a moment that is yet to come: nobody knows for how long they fail.
#[tokio::test]
async fn writes_that_fail_since_a_moment_ahead_are_late() {
    let world = World::new().await;
    let right = world.clock_now();
    for (ahead, is_ready) in AHEAD {
        let since = right.plus(ahead);
        world.store.say_of_writes(Some(Writes::Pending {
            since,
            failed: true,
        }));
        let ready = world.stranger().get(ListenerKind::Admin, "/readyz").await;
        assert_eq!(ready.status == 200, is_ready, "{ahead:?}");
        world.store.say_of_writes(None);
        let ready = world.stranger().get(ListenerKind::Admin, "/readyz").await;
        assert_eq!(ready.status, 200);
    }
}
