//! What tokens live by, over nodes: kept in memory from batch to batch, and never past a change.

use cardveil_core::audit::Kind;
use cardveil_core::card::Field;
use cardveil_core::merchant::allowlist::{AllowlistChange, AllowlistChanged, Wish, parse_net};
use cardveil_core::merchant::{Credential, CredentialState};
use cardveil_core::port::{Change, Set, Tokens};
use cardveil_core::token::{Cause, REFUSALS_RECORDED_MAX, Record, Verdict};
use cardveil_core::verb::{Changes, Commit};
use cardveil_store::postgres::Postgres;
use cardveil_testkit::sample::{self, START};
use futures_util::future::{join, join_all};
use tokio_postgres::NoTls;

use crate::cluster::Cluster;
use crate::home::{Home, with_merchant, with_token};

async fn claim(node: &Postgres, record: &Record, key: u8, field: Field) -> Verdict {
    let claim = sample::claim(record, key, &[field], START);
    node.commit(claim).await.unwrap()
}

async fn set_credential(node: &Postgres, was: CredentialState, to: CredentialState) {
    let with = |state| Credential {
        state,
        ..sample::credential(1)
    };
    let change = Change::SetCredential(Set::boxed(with(was), with(to)));
    let event = sample::event(Kind::CredentialChanged, START);
    assert_eq!(
        node.commit(Changes(vec![(change, event)])).await.unwrap(),
        [Ok(())]
    );
}

/// What one node has kept, another's change takes away; and so does a hand with SQL.
#[tokio::test]
async fn what_a_node_keeps_ends_with_a_change_by_anyone() {
    use CredentialState::{Disabled, Enabled};
    let home = Home::new().await;
    let (one, two) = (home.open().await, home.open().await);
    with_merchant(&one).await;
    let record = with_token(&one, 1).await;
    let fields = [Field::Pan, Field::Expiry, Field::Name];
    for (field, by_hand) in fields.into_iter().zip([false, true, false]) {
        let granted = claim(&one, &record, 1, field).await;
        assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
        if by_hand {
            let sql = "UPDATE cardveil.embed SET enabled = NOT enabled";
            Cluster::shared().sql(&home.database, sql);
            let refused = claim(&one, &record, 1, Field::Cvv).await;
            assert_eq!(refused, Verdict::Refused(Cause::Foreign));
            Cluster::shared().sql(&home.database, sql);
        } else {
            set_credential(&two, Enabled, Disabled).await;
            let refused = claim(&one, &record, 1, Field::Cvv).await;
            assert_eq!(refused, Verdict::Refused(Cause::Revoked));
            set_credential(&two, Disabled, Enabled).await;
        }
    }
    let granted = claim(&one, &record, 1, Field::Cvv).await;
    assert!(matches!(granted, Verdict::Granted(_)), "{granted:?}");
}

/// A merchant's own server changes its list as often as it likes; no node forgets what it keeps.
#[tokio::test]
async fn a_list_of_networks_is_nothing_that_tokens_live_by() {
    let home = Home::new().await;
    let store = home.open().await;
    with_merchant(&store).await;
    let lives = || Cluster::shared().sql(&home.database, "SELECT lives FROM cardveil.meta");
    let before = lives();
    let change = AllowlistChange {
        credential: sample::credential(1).id,
        wish: Wish::Add {
            net: parse_net("203.0.113.7").unwrap(),
            description: "office".to_owned(),
        },
        from: Some([127, 0, 0, 1].into()),
        at: START,
        source: sample::operator(),
    };
    let changed = store.commit(change).await.unwrap();
    assert!(matches!(changed, AllowlistChanged::Done(_)), "{changed:?}");
    assert_eq!(lives(), before);
}

/// A claim that was judged waits for the head of the log, which the change holds: it is judged
/// again.
#[tokio::test]
async fn a_change_that_is_committed_while_a_claim_waits_is_seen() {
    let home = Home::new().await;
    let store = home.open().await;
    with_merchant(&store).await;
    let record = with_token(&store, 1).await;
    let kept = claim(&store, &record, 1, Field::Pan).await;
    assert!(matches!(kept, Verdict::Granted(_)), "{kept:?}");
    let cluster = Cluster::shared();
    let connection = cluster.connection("postgres", &home.database);
    let (other, driver) = tokio_postgres::connect(&connection, NoTls).await.unwrap();
    tokio::spawn(driver);
    let head = "BEGIN; SELECT FROM cardveil.meta FOR UPDATE";
    other.batch_execute(head).await.unwrap();
    let change = async {
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = '{}' AND wait_event_type = 'Lock'",
            home.database
        );
        while cluster.sql("postgres", &waiting) != "1" {
            tokio::task::yield_now().await;
        }
        let disable = "SET search_path = cardveil;
             UPDATE credential SET state = 'disabled'; COMMIT";
        other.batch_execute(disable).await.unwrap();
    };
    let late = claim(&store, &record, 1, Field::Cvv);
    let (late, ()) = join(late, change).await;
    assert_eq!(late, Verdict::Refused(Cause::Revoked));
}

/// The count of refusals is exact over nodes, and the records are 16 in all.
#[tokio::test]
async fn refusals_are_counted_over_all_nodes() {
    const TRIES: u32 = 60;
    let home = Home::new().await;
    let nodes = [home.open().await, home.open().await, home.open().await];
    with_merchant(&nodes[0]).await;
    let record = with_token(&nodes[0], 1).await;
    let late = |node| {
        let mut late = sample::claim(&record, 1, &[Field::Pan], record.expires_at);
        late.attempt = cardveil_core::id::AttemptId::from_bytes([7; 16]);
        Postgres::commit(node, late)
    };
    let tries = (0..TRIES).flat_map(|_| nodes.iter().map(late));
    for verdict in join_all(tries).await {
        assert_eq!(verdict.unwrap(), Verdict::Refused(Cause::Expired));
    }
    let kept = nodes[0].token(&record.key).await.unwrap().unwrap();
    assert_eq!(kept.refusals, 3 * TRIES);
    let recorded = "SELECT count(*) FROM cardveil.audit WHERE event LIKE '%\"reveal.refused\"%'";
    let recorded = Cluster::shared().sql(&home.database, recorded);
    assert_eq!(recorded, REFUSALS_RECORDED_MAX.to_string());
}
