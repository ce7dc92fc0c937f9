//! Rotation over many records.

use cardveil_core::keys::{Retirement, Sought};
use cardveil_core::port::{Class, Keys};
use cardveil_core::verb::Commit;
use cardveil_testkit::sample::{self, START};

use crate::cluster::Cluster;
use crate::home::{Home, with_merchant};

/// Cards as an import leaves them, all under version 1, which the statistics know; and then all are
/// under version 2, which they do not.
const MOVED: &str = "
    INSERT INTO cardveil.card (id, no, merchant, account, person, kind, state, network, last_four, label,
        dek, pan, expiry, name, pan_index, created_at)
    SELECT decode(md5(n::text), 'hex'), 'M' || n, merchant, account, person, kind, state, network, last_four,
        label, '\\x0100000001' || sha256(n::text::bytea), pan, expiry, name, pan_index, created_at
    FROM cardveil.card, generate_series(1, 20000) AS n;
    ANALYZE cardveil.card;
    UPDATE cardveil.card SET dek = '\\x0100000002' || substr(dek, 6)";
/// Whoever has ended has told what they did.
const END_OTHERS: &str = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";
const SCANS: &str = "SELECT relname, indexrelname, tables.seq_scan, indexes.idx_scan
    FROM pg_stat_user_tables AS tables JOIN pg_stat_user_indexes AS indexes USING (relid, relname)
    WHERE relname = 'card' AND (indexes.idx_scan > 0 OR tables.seq_scan > 0)";

/// The planner once walked the table in the order of its places, past all cards that were moved
/// before: each batch took longer than the one before, and a retirement held up the audit log for
/// it.
#[tokio::test]
async fn what_is_left_under_a_version_is_found_by_an_index_and_not_past_what_was_moved() {
    let cluster = Cluster::shared();
    let home = Home::new().await;
    let sql = |sql: &str| cluster.sql(&home.database, sql);
    let store = home.open().await;
    with_merchant(&store).await;
    store.close();
    sql(MOVED);
    sql(END_OTHERS);
    sql("SELECT pg_stat_reset()");

    let store = home.open().await;
    let under = |version| Sought {
        class: Class::Pan,
        version,
        limit: 500,
    };
    assert_eq!(store.envelopes(under(1)).await.unwrap(), []);
    assert_eq!(store.envelopes(under(2)).await.unwrap().len(), 500);
    let retirement = Retirement {
        class: Class::Pan,
        version: 1,
        at: START,
        source: sample::operator(),
    };
    store.commit(retirement).await.unwrap();
    store.close();
    sql(END_OTHERS);
    assert_eq!(sql(SCANS), "card|card_pan_key|0|3");
}
