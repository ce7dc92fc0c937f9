//! Rows that somebody with the database has altered.

use cardveil_testkit::contract::{an_altered_row_hides_no_other, with_three_of_each};

use tokio_postgres::NoTls;

use crate::cluster::Cluster;
use crate::home::Home;

/// What no program of ours writes there, in the second row of each table.
const ALTER: &str = "
    UPDATE %merchant SET state = 'odd' WHERE id = 'mer_2';
    UPDATE %credential SET rights = '{' WHERE id = 'crd_2';
    UPDATE %embed SET origins = 'https://evil.example' WHERE id = 'emb_2';
    UPDATE %card SET kind = 'odd' WHERE no = 'C2';
    UPDATE %subscription SET topics = '{' WHERE seq = (SELECT seq FROM %subscription ORDER BY seq LIMIT 1 OFFSET 1);
    UPDATE %wallet_token SET state = 'odd' WHERE seq = (SELECT seq FROM %wallet_token ORDER BY seq LIMIT 1 OFFSET 1);";

#[tokio::test]
async fn one_altered_record_fails_no_list() {
    let home = Home::new().await;
    let store = home.open().await;
    with_three_of_each(&store).await;
    let connection = Cluster::shared().connection("postgres", &home.database);
    let (other, driver) = tokio_postgres::connect(&connection, NoTls).await.unwrap();
    tokio::spawn(driver);
    let alter = ALTER.replace('%', "cardveil.");
    other.batch_execute(&alter).await.unwrap();
    an_altered_row_hides_no_other(&store).await;
}
