//! How far the sinks of the audit log have come.

use std::time::Duration;

use super::START;
use crate::sample;
use cardveil_core::audit::Kind;
use cardveil_core::audit::sink::{Fed, History, Hold, Holder, Lease, Progress};
use cardveil_core::clock::Time;
use cardveil_core::id::SinkName;
use cardveil_core::port::Store;
use cardveil_core::verb::{Commit, RecordEvent};

const LEASE: Duration = Duration::from_secs(30);

fn name(text: &str) -> SinkName {
    SinkName::parse(text).unwrap()
}

fn hold(sink: &str, holder: u8, at: Time) -> Hold {
    Hold {
        name: name(sink),
        holder: Holder([holder; 16]),
        at,
        until: at.plus(LEASE),
        most: None,
    }
}

fn fed(sink: &str, holder: u8, place: i64, at: Time) -> Fed {
    Fed {
        name: name(sink),
        holder: Holder([holder; 16]),
        at,
        until: Some(at.plus(LEASE)),
        place,
        history: None,
        error: None,
    }
}

/// One feeds it at a time; another when that one's lease is over, or was given back.
pub(super) async fn a_sink_is_fed_by_one_at_a_time(store: &dyn Store) {
    assert_eq!(store.sinks().await.unwrap(), []);
    let fresh = store.commit(hold("siem", 1, START)).await.unwrap();
    let fresh = fresh.unwrap();
    assert_eq!(
        (fresh.place, fresh.taken_at, &fresh.error),
        (0, None, &None)
    );
    let end = START.plus(LEASE);
    let early = hold("siem", 2, end.minus(Duration::from_millis(1)));
    assert_eq!(store.commit(early).await.unwrap(), None);
    let again = store.commit(hold("siem", 1, START)).await.unwrap();
    assert_eq!(again.as_ref(), Some(&fresh), "its own");
    let second = store.commit(hold("siem", 2, end)).await.unwrap().unwrap();
    assert_eq!(second.lease.unwrap().holder, Holder([2; 16]));
    // The first one comes back too late.
    let late = store.commit(fed("siem", 1, 7, end)).await.unwrap();
    assert_eq!(late, None);
    assert_eq!(store.sinks().await.unwrap(), [second]);
    let mut last = fed("siem", 2, 3, end);
    last.until = None;
    let given = store.commit(last).await.unwrap().unwrap();
    assert_eq!((given.place, given.lease), (3, None));
    let third = store.commit(hold("siem", 3, end)).await.unwrap();
    assert_eq!(third.unwrap().place, 3, "goes on from there");
    let unknown = store.commit(fed("soc", 3, 1, end)).await.unwrap();
    assert_eq!(unknown, None);
}

/// It begins with what comes now, and its history goes forward beside it and to its end.
pub(super) async fn a_required_sink_of_a_long_log_gets_its_history_beside(store: &dyn Store) {
    for _ in 0..5 {
        let event = sample::event(Kind::AuditRead, START);
        store.commit(RecordEvent(event)).await.unwrap();
    }
    let required = |sink, most| Hold {
        most: Some(most),
        ..hold(sink, 1, START)
    };
    let short = store.commit(required("short", 5)).await.unwrap();
    let short = short.unwrap();
    assert_eq!((short.place, short.history), (0, None));
    let long = store.commit(required("long", 4)).await.unwrap().unwrap();
    let history = |place| Some(History { place, end: 5 });
    assert_eq!((long.place, long.history), (5, history(0)));
    // Of what comes now, of the history, and of neither.
    for (place, taken, expected) in [
        (7, None, (7, history(0))),
        (7, Some(3), (7, history(3))),
        (7, Some(2), (7, history(3))),
        (8, Some(9), (8, history(5))),
        (8, None, (8, history(5))),
    ] {
        let mut fed = fed("long", 1, place, START);
        fed.history = taken;
        let row = store.commit(fed).await.unwrap().unwrap();
        assert_eq!((row.place, row.history), expected);
        assert_eq!(store.sinks().await.unwrap()[0], row);
    }
    let again = store.commit(required("long", 4)).await.unwrap();
    assert_eq!(again.unwrap().history, history(5), "it begins once");
}

/// Its place goes forward; its error stays for as long as it is told.
pub(super) async fn a_sinks_place_never_goes_back(store: &dyn Store) {
    for sink in ["soc", "siem"] {
        store.commit(hold(sink, 1, START)).await.unwrap();
    }
    let later = START.plus(Duration::from_secs(1));
    store.commit(fed("siem", 1, 9, later)).await.unwrap();
    let mut broken = fed("siem", 1, 4, later.plus(Duration::from_secs(1)));
    broken.error = Some("x".repeat(300));
    let row = store.commit(broken.clone()).await.unwrap().unwrap();
    let expected = Progress {
        name: name("siem"),
        place: 9,
        history: None,
        taken_at: Some(later),
        lease: Some(Lease {
            holder: Holder([1; 16]),
            until: broken.until.unwrap(),
        }),
        error: Some("x".repeat(200)),
    };
    assert_eq!(row, expected);
    let rows = store.sinks().await.unwrap();
    let places: Vec<_> = rows
        .iter()
        .map(|row| (row.name.as_str(), row.place))
        .collect();
    assert_eq!(places, [("siem", 9), ("soc", 0)], "by name");
    assert_eq!(rows[0], expected);
    store.commit(fed("siem", 1, 9, later)).await.unwrap();
    assert_eq!(store.sinks().await.unwrap()[0].error, None);
}

/// A lease that was taken under a clock ahead keeps nobody away.
pub(super) async fn a_sink_that_a_clock_ahead_holds_is_given_to_another(store: &dyn Store) {
    for days in [2_u64, 80 * 365, 600 * 365] {
        let ahead = START.plus(Duration::from_secs(days * 86_400));
        let first = store.commit(hold("siem", 1, ahead)).await.unwrap();
        assert!(first.is_some());
        let second = store.commit(hold("siem", 2, START)).await.unwrap();
        assert_eq!(second.unwrap().lease.unwrap().holder, Holder([2; 16]));
        let late = store.commit(fed("siem", 1, 7, START)).await.unwrap();
        assert_eq!(late, None, "{ahead}");
        let mut given = fed("siem", 2, 0, START);
        given.until = None;
        store.commit(given).await.unwrap();
    }
}
