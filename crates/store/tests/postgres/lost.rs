//! Commits whose answer is lost. A proxy stands between the store and the server, and knows where one
//! message ends and the next begins.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use cardveil_core::audit::Kind;
use cardveil_core::card::Field;
use cardveil_core::port::{Admin, Audit, Issued, Tokens};
use cardveil_core::testing::ManualClock;
use cardveil_core::testing::sample::{self, START};
use cardveil_core::token::{Cause, Verdict};
use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::{Options, Postgres, Transport};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

use crate::cluster::{Cluster, SERVER};
use crate::home::{Home, with_merchant};

/// What happens to the next `COMMIT`.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Fate {
    Answered = 0,
    /// It reaches the server, and its answer reaches nobody.
    Done = 1,
    /// It does not reach the server.
    Undone = 2,
}

struct Proxy {
    folder: TempDir,
    fate: Arc<AtomicU8>,
    lost: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket(folder.path())).unwrap();
        let fate = Arc::new(AtomicU8::new(Fate::Answered as u8));
        let lost = Arc::new(AtomicUsize::new(0));
        let (ours, counter) = (Arc::clone(&fate), Arc::clone(&lost));
        tokio::spawn(async move {
            while let Ok((store, _)) = listener.accept().await {
                let server = UnixStream::connect(socket(Cluster::shared().host())).await;
                let (fate, lost) = (Arc::clone(&ours), Arc::clone(&counter));
                tokio::spawn(carry(store, server.unwrap(), fate, lost));
            }
        });
        Self { folder, fate, lost }
    }

    fn next(&self, fate: Fate) {
        self.fate.store(fate as u8, Ordering::SeqCst);
    }

    fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }

    async fn open(&self, database: &str) -> Postgres {
        let host = self.folder.path().display();
        let connection = format!("host={host} user={SERVER} dbname={database}");
        let options = Options::parse(&connection, Transport::Local).unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let opened = Postgres::open(&options, clock, &SystemEntropy).await;
        opened.unwrap().0
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join(".s.PGSQL.5432")
}

/// Carries one connection until it is cut.
async fn carry(store: UnixStream, server: UnixStream, fate: Arc<AtomicU8>, lost: Arc<AtomicUsize>) {
    let (from_store, mut to_store) = store.into_split();
    let (mut from_server, to_server) = server.into_split();
    let answers = tokio::spawn(async move { copy(&mut from_server, &mut to_store).await });
    // Nothing is left of an end that came as it should.
    drop(requests(from_store, to_server, &fate, &lost, || answers.abort()).await);
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fate: &AtomicU8,
    lost: &AtomicUsize,
    cut: impl Fn(),
) -> std::io::Result<()> {
    // "Message Formats": the first message has no type.
    let mut head = vec![0; 4];
    loop {
        from.read_exact(&mut head).await?;
        let length: [u8; 4] = *head.last_chunk().unwrap();
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
        from.read_exact(&mut body).await?;
        let is_commit = head.first() == Some(&b'Q') && body.as_slice() == b"COMMIT\0";
        let fated = if is_commit {
            fate.swap(Fate::Answered as u8, Ordering::SeqCst)
        } else {
            Fate::Answered as u8
        };
        if fated != Fate::Answered as u8 {
            cut();
            lost.fetch_add(1, Ordering::SeqCst);
        }
        if fated != Fate::Undone as u8 {
            to.write_all(&head).await?;
            to.write_all(&body).await?;
        }
        if fated != Fate::Answered as u8 {
            return Ok(());
        }
        head = vec![0; 5];
    }
}

/// A blind retry would find its own token there, and fail; a blind refusal would lose it.
#[tokio::test]
async fn a_commit_without_an_answer_is_looked_up() {
    let home = Home::new().await;
    let proxy = Proxy::start();
    let store = proxy.open(&home.database).await;
    let epoch = with_merchant(&store).await;
    for (n, fate) in [(1, Fate::Done), (2, Fate::Undone), (3, Fate::Answered)] {
        proxy.next(fate);
        let issued = store.issue(sample::issue(n, START, epoch)).await.unwrap();
        assert_eq!(issued, Issued::New);
    }
    assert_eq!(proxy.lost(), 2);
    for (n, fate) in [(1, Fate::Done), (2, Fate::Undone), (3, Fate::Answered)] {
        let record = sample::record(n, START, epoch);
        proxy.next(fate);
        let claim = sample::claim(&record, 1, &[Field::Pan], START);
        let verdict = store.redeem(claim).await.unwrap();
        assert!(matches!(verdict, Verdict::Granted(_)), "{verdict:?}");
        let thief = sample::claim(&record, 2, &[Field::Pan], START);
        let verdict = store.redeem(thief).await.unwrap();
        assert_eq!(verdict, Verdict::Refused(Cause::OtherKey));
    }
    assert_eq!(proxy.lost(), 4);
    let log = store.entries(0, 100).await.unwrap();
    for kind in [
        Kind::TokenIssued,
        Kind::RevealReleased,
        Kind::RevealConflict,
    ] {
        let count = log.iter().filter(|entry| entry.event.kind == kind).count();
        assert_eq!(count, 3, "{kind:?}");
    }
    let raised = store.epoch().await.unwrap();
    assert_eq!(raised, epoch, "a lost connection is no restore");
}
