//! A database for a store, and the store in it.

use std::sync::Arc;

use cardveil_core::audit::Kind;
use cardveil_core::port::{Admin, Change};
use cardveil_core::token::{Epoch, Issued, Record};
use cardveil_core::verb::{Changes, Commit};
use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::schema::{self, Migrated};
use cardveil_store::postgres::{OpenError, Options, Postgres, Raised, Transport};
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::{self, START};
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, OWNER, SERVER};

/// A database of the shared cluster, with the schema.
pub(crate) struct Home {
    pub(crate) database: String,
}

impl Home {
    pub(crate) async fn new() -> Self {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        let cluster = Cluster::shared();
        let template = TEMPLATE.get_or_init(|| async {
            let database = cluster.database();
            migrate(cluster, &database).await;
            // A database is copied only when nobody is connected to it any more.
            cluster.leave(&database);
            database
        });
        let database = cluster.database_like(template.await);
        // As if it were no copy, whose epoch would be raised.
        cluster.sql(
            &database,
            "UPDATE cardveil.meta SET database_oid =
                 (SELECT oid FROM pg_database WHERE datname = current_database())",
        );
        // A copy has none of its template's rights.
        cluster.sql(
            "postgres",
            &format!("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"),
        );
        Self { database }
    }

    pub(crate) async fn open(&self) -> Postgres {
        open(Cluster::shared(), &self.database).await
    }
}

pub(crate) fn options(cluster: &Cluster, user: &str, database: &str) -> Options {
    Options::parse(&cluster.connection(user, database), Transport::Local).unwrap()
}

/// Makes the schema, as its owner, for the server's role.
pub(crate) async fn migrate(cluster: &Cluster, database: &str) -> Migrated {
    let owner = options(cluster, OWNER, database);
    schema::migrate(&owner, Some(SERVER), START, &SystemEntropy)
        .await
        .unwrap()
}

pub(crate) async fn try_open(
    cluster: &Cluster,
    database: &str,
) -> Result<(Postgres, Option<Raised>), OpenError> {
    let opened = unguarded(cluster, database).await?;
    cardveil_testkit::guard_rows(&opened.0);
    Ok(opened)
}

/// One whose rows need no MAC, as long as nodes of the version before serve beside it.
pub(crate) async fn unguarded(
    cluster: &Cluster,
    database: &str,
) -> Result<(Postgres, Option<Raised>), OpenError> {
    unguarded_at(cluster, database, Arc::new(ManualClock::at(START))).await
}

/// The same, by a clock to turn.
pub(crate) async fn unguarded_at(
    cluster: &Cluster,
    database: &str,
    clock: Arc<ManualClock>,
) -> Result<(Postgres, Option<Raised>), OpenError> {
    let options = options(cluster, SERVER, database);
    Postgres::open(&options, clock, Arc::new(SystemEntropy)).await
}

pub(crate) async fn open(cluster: &Cluster, database: &str) -> Postgres {
    let (store, raised) = try_open(cluster, database).await.unwrap();
    assert_eq!(raised, None);
    store
}

/// Merchant 1 with its credential, embed and card.
pub(crate) async fn with_merchant(store: &Postgres) -> Epoch {
    let add = |change, kind| (change, sample::event(kind, START));
    let changes = vec![
        add(
            Change::AddMerchant(sample::merchant(1)),
            Kind::MerchantAdded,
        ),
        add(
            Change::AddCredential(sample::credential(1)),
            Kind::CredentialAdded,
        ),
        add(Change::AddEmbed(sample::embed(1)), Kind::EmbedAdded),
        add(Change::AddCard(Box::new(sample::card(1))), Kind::CardAdded),
    ];
    let results = store.commit(Changes(changes)).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    store.epoch().await.unwrap()
}

/// Token number `n`, in the store's epoch.
pub(crate) async fn with_token(store: &Postgres, n: u8) -> Record {
    let issue = sample::issue(n, START, store.epoch().await.unwrap());
    let record = issue.record.clone();
    assert_eq!(store.commit(issue).await.unwrap(), Issued::New);
    record
}
