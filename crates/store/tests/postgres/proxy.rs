//! What stands between a store and the server, and knows where one message ends and the next
//! begins.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::{Options, Postgres, Transport};
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::START;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::cluster::{Cluster, SERVER};

/// What happens to the next `COMMIT`.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Fate {
    Answered = 0,
    /// It reaches the server, and its answer reaches nobody.
    Done = 1,
    /// It does not reach the server.
    Undone = 2,
}

pub(crate) struct Proxy {
    folder: TempDir,
    way: Arc<Way>,
}

/// What all connections have in common.
struct Way {
    fate: AtomicU8,
    lost: AtomicUsize,
    executed: AtomicUsize,
    /// Whether answers are let through.
    open: watch::Sender<bool>,
    /// How many connections have one that is not.
    held: watch::Sender<usize>,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket(folder.path())).unwrap();
        let way = Arc::new(Way {
            fate: AtomicU8::new(Fate::Answered as u8),
            lost: AtomicUsize::new(0),
            executed: AtomicUsize::new(0),
            open: watch::Sender::new(true),
            held: watch::Sender::new(0),
        });
        let ours = Arc::clone(&way);
        tokio::spawn(async move {
            while let Ok((store, _)) = listener.accept().await {
                let server = UnixStream::connect(socket(Cluster::shared().host())).await;
                tokio::spawn(carry(store, server.unwrap(), Arc::clone(&ours)));
            }
        });
        Self { folder, way }
    }

    pub(crate) fn next(&self, fate: Fate) {
        self.way.fate.store(fate as u8, Ordering::SeqCst);
    }

    /// How many commits had another fate than an answer.
    pub(crate) fn lost(&self) -> usize {
        self.way.lost.load(Ordering::SeqCst)
    }

    /// How many statements with parameters have reached the server.
    pub(crate) fn executed(&self) -> usize {
        self.way.executed.load(Ordering::SeqCst)
    }

    /// From here on the server's answers wait.
    pub(crate) fn hold_answers(&self) {
        self.way.open.send_replace(false);
    }

    pub(crate) fn let_answers_through(&self) {
        self.way.open.send_replace(true);
    }

    /// Until so many connections have an answer that waits.
    pub(crate) async fn until_held(&self, connections: usize) {
        let mut held = self.way.held.subscribe();
        held.wait_for(|held| *held >= connections).await.unwrap();
    }

    pub(crate) fn options(&self, user: &str, database: &str) -> Options {
        let host = self.folder.path().display();
        let connection = format!("host={host} user={user} dbname={database}");
        Options::parse(&connection, Transport::Local).unwrap()
    }

    pub(crate) async fn open(&self, database: &str) -> Postgres {
        let options = self.options(SERVER, database);
        let clock = Arc::new(ManualClock::at(START));
        let opened = Postgres::open(&options, clock, Arc::new(SystemEntropy)).await;
        let store = opened.unwrap().0;
        cardveil_testkit::guard_rows(&store);
        store
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join(".s.PGSQL.5432")
}

/// Carries one connection until it is cut.
async fn carry(store: UnixStream, server: UnixStream, way: Arc<Way>) {
    let (from_store, to_store) = store.into_split();
    let (from_server, to_server) = server.into_split();
    let answers = tokio::spawn(answers(from_server, to_store, Arc::clone(&way)));
    // Nothing is left of an end that came as it should.
    drop(requests(from_store, to_server, &way, || answers.abort()).await);
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Arc<Way>,
) -> std::io::Result<()> {
    let mut open = way.open.subscribe();
    let mut bytes = vec![0; 8_192];
    loop {
        let length = from.read(&mut bytes).await?;
        if length == 0 {
            return Ok(());
        }
        if !*open.borrow_and_update() {
            way.held.send_modify(|held| *held += 1);
            open.wait_for(|open| *open).await.unwrap();
        }
        to.write_all(bytes.get(..length).unwrap()).await?;
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: &Way,
    cut: impl Fn(),
) -> std::io::Result<()> {
    // "Message Formats": the first message has no type.
    let mut head = vec![0; 4];
    loop {
        from.read_exact(&mut head).await?;
        let length: [u8; 4] = *head.last_chunk().unwrap();
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
        from.read_exact(&mut body).await?;
        let kind = head.first().filter(|_| head.len() == 5).copied();
        if kind == Some(b'E') {
            way.executed.fetch_add(1, Ordering::SeqCst);
        }
        let fated = if kind == Some(b'Q') && body.as_slice() == b"COMMIT\0" {
            way.fate.swap(Fate::Answered as u8, Ordering::SeqCst)
        } else {
            Fate::Answered as u8
        };
        if fated != Fate::Answered as u8 {
            cut();
            way.lost.fetch_add(1, Ordering::SeqCst);
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
