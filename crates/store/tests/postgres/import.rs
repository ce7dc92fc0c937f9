//! A deployment that moves from SQLite.

use std::path::Path;
use std::sync::Arc;

use cardveil_core::Entropy;
use cardveil_core::audit::Kind;
use cardveil_core::card::Field;
use cardveil_core::port::{
    Admin, Audit, CardFilter, Cards, Change, Error, Keys, Paging, Store, Tokens,
};
use cardveil_core::token::{Cause, Verdict};
use cardveil_core::verb::{Changes, Commit, NoteUses};
use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::{OpenError, from_sqlite, schema};
use cardveil_store::sqlite::{self, Sqlite};
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::{self, START};

use crate::cluster::{Cluster, OWNER, SERVER};
use crate::home::{Home, options};
use crate::proxy::{Fate, Proxy};

async fn filled(store: &dyn Store) {
    let add = |change, kind| (change, sample::event(kind, START));
    let changes = vec![
        add(
            Change::AddMerchant(sample::merchant(1)),
            Kind::MerchantAdded,
        ),
        add(
            Change::AddMerchant(sample::merchant(2)),
            Kind::MerchantAdded,
        ),
        add(
            Change::AddCredential(sample::credential(1)),
            Kind::CredentialAdded,
        ),
        add(Change::AddEmbed(sample::embed(1)), Kind::EmbedAdded),
        add(Change::AddCard(Box::new(sample::card(1))), Kind::CardAdded),
        add(Change::AddCard(Box::new(sample::card(2))), Kind::CardAdded),
    ];
    let results = store.commit(Changes(changes)).await.unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let used = (sample::credential(1).id, START);
    store.commit(NoteUses([used].into())).await.unwrap();
    let asked = sample::wallet_asked(1, START);
    store.commit(asked).await.unwrap().unwrap();
    let epoch = store.epoch().await.unwrap();
    for n in 1..=3 {
        store.commit(sample::issue(n, START, epoch)).await.unwrap();
    }
    let record = sample::record(1, START, epoch);
    let claim = sample::claim(&record, 1, &[Field::Pan], START);
    assert!(matches!(
        store.commit(claim).await.unwrap(),
        Verdict::Granted(_)
    ));
}

/// A deployment on SQLite.
async fn deployment(folder: &Path) -> (sqlite::Options, Sqlite) {
    let files = sqlite::Options {
        database: folder.join("data/cardveil.db"),
        fence: folder.join("fence/fence"),
    };
    for file in [&files.database, &files.fence] {
        std::fs::create_dir(file.parent().unwrap()).unwrap();
    }
    let (old, _) = Sqlite::open(
        &files,
        Arc::new(ManualClock::at(START)),
        Arc::new(SystemEntropy),
    )
    .unwrap();
    cardveil_testkit::guard_rows(&old);
    filled(&old).await;
    (files, old)
}

#[tokio::test]
async fn what_was_in_sqlite_is_in_postgresql_and_no_token_of_before_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let (files, old) = deployment(folder.path()).await;
    let home = Home::new().await;
    let owner = options(Cluster::shared(), OWNER, &home.database);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let mut told = Vec::new();
    let copy = from_sqlite(&owner, &files.database, (START, &entropy), |table, rows| {
        told.push((table.to_owned(), rows));
    });
    let raised = copy.await.unwrap();
    for (table, rows) in [
        ("merchant", 2),
        ("card", 2),
        ("token", 3),
        ("wallet_token", 1),
    ] {
        assert!(told.contains(&(table.to_owned(), rows)), "{told:?}");
    }
    let new = home.open().await;
    assert_eq!(
        new.merchants().await.unwrap(),
        old.merchants().await.unwrap()
    );
    assert_eq!(
        new.credentials().await.unwrap(),
        old.credentials().await.unwrap()
    );
    let uses = new.last_uses().await.unwrap();
    assert_eq!(uses.len(), 1);
    assert_eq!(uses, old.last_uses().await.unwrap());
    assert_eq!(new.embeds().await.unwrap(), old.embeds().await.unwrap());
    assert_eq!(
        new.class_keys().await.unwrap(),
        old.class_keys().await.unwrap()
    );
    let (filter, paging) = (
        CardFilter::default(),
        Paging {
            limit: 10,
            count: true,
            ..Paging::default()
        },
    );
    assert_eq!(
        new.list_cards(&filter, paging).await.unwrap(),
        old.list_cards(&filter, paging).await.unwrap()
    );
    let (before, mut after) = (
        old.chained(0, 100).await.unwrap(),
        new.chained(0, 100).await.unwrap(),
    );
    let last = after.pop().unwrap();
    assert_eq!(after, before, "the chain goes on where it was");
    let end = before.last().unwrap().link;
    assert_eq!(last.link, end.next(last.stored.as_bytes()));

    let epoch = old.epoch().await.unwrap();
    assert!(raised > epoch);
    assert_eq!(new.epoch().await.unwrap(), raised);
    for n in 1..=3 {
        let record = sample::record(n, START, epoch);
        assert_eq!(
            new.token(&record.key).await.unwrap(),
            old.token(&record.key).await.unwrap()
        );
        let claim = sample::claim(&record, 2, &[Field::Pan], START);
        let verdict = new.commit(claim).await.unwrap();
        assert_eq!(verdict, Verdict::Refused(Cause::OldEpoch));
    }
    let third = Change::AddCard(Box::new(sample::card(3)));
    let added = sample::event(Kind::CardAdded, START);
    assert_eq!(
        new.commit(Changes(vec![(third, added)])).await.unwrap(),
        [Ok(())]
    );

    let again = from_sqlite(&owner, &files.database, (START, &entropy), |_, _| {}).await;
    assert!(again.unwrap_err().to_string().contains("not empty"));
}

/// The owner who is told that nothing was copied serves from SQLite again, and a token is good in
/// two places.
#[tokio::test]
async fn a_copy_whose_commit_has_no_answer_is_told_as_unknown_and_the_next_one_tells() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _old) = deployment(folder.path()).await;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let proxy = Proxy::start();
    for (fate, is_there) in [(Fate::Done, true), (Fate::Undone, false)] {
        let home = Home::new().await;
        let owner = proxy.options(OWNER, &home.database);
        proxy.next(fate);
        let lost = from_sqlite(&owner, &files.database, (START, &entropy), |_, _| {}).await;
        assert!(matches!(lost, Err(Error::Unknown(_))), "{lost:?}");
        let again = from_sqlite(&owner, &files.database, (START, &entropy), |_, _| {}).await;
        match again {
            Err(Error::Unavailable(why)) => {
                assert!(
                    is_there && why.contains("the database is not empty"),
                    "{why}"
                );
            }
            again => assert!(!is_there && again.is_ok(), "{again:?}"),
        }
    }
}

#[tokio::test]
async fn a_migration_whose_commit_has_no_answer_is_told_as_unknown_and_the_next_one_tells() {
    let proxy = Proxy::start();
    for (fate, is_there) in [(Fate::Done, true), (Fate::Undone, false)] {
        let database = Cluster::shared().database();
        let owner = proxy.options(OWNER, &database);
        proxy.next(fate);
        let lost = schema::migrate(&owner, Some(SERVER), START, &SystemEntropy).await;
        let unknown = matches!(lost, Err(OpenError::Database(Error::Unknown(_))));
        assert!(unknown, "{lost:?}");
        let again = schema::migrate(&owner, Some(SERVER), START, &SystemEntropy).await;
        let again = again.unwrap();
        assert_eq!(again.from, if is_there { again.to } else { 0 });
    }
}
