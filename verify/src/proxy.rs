//! What lies between the nodes and PostgreSQL, and fails when told to: connections are cut, answers
//! stay away for a while, and commits are lost in both forms: the request, or the answer to it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;

/// How a node asks for a commit, in PostgreSQL's protocol: a simple query (53.7 of its manual,
/// "Query").
const COMMIT: &[u8] = b"COMMIT\0";
const STALL: Duration = Duration::from_millis(5);

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) at: SocketAddr,
    wire: Arc<Wire>,
}

struct Wire {
    socket: Mutex<PathBuf>,
    open: Mutex<Vec<TcpStream>>,
    /// How many of the next commits are lost.
    losing: AtomicUsize,
    lost: AtomicUsize,
    stalled: AtomicBool,
}

impl Proxy {
    /// Before the socket of a server.
    pub(crate) fn open(socket: &Path) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let wire = Arc::new(Wire {
            socket: Mutex::new(socket.to_owned()),
            open: Mutex::default(),
            losing: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            stalled: AtomicBool::new(false),
        });
        let at = listener.local_addr()?;
        let proxy = Self {
            at,
            wire: Arc::clone(&wire),
        };
        // It ends with the program.
        std::thread::spawn(move || {
            for node in listener.incoming().map_while(Result::ok) {
                // A server that is down takes no connection, and so does not its proxy.
                if let Ok(server) = UnixStream::connect(wire.socket()) {
                    drop(wire.join(node, server));
                }
            }
        });
        Ok(proxy)
    }

    /// Leads to another server from now on.
    pub(crate) fn turn_to(&self, socket: &Path) {
        let mut at = self
            .wire
            .socket
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        socket.clone_into(&mut at);
    }

    /// Cuts all that are open.
    pub(crate) fn cut(&self) {
        for node in self.wire.open().drain(..) {
            // One that is gone already needs no cutting.
            drop(node.shutdown(Shutdown::Both));
        }
    }

    /// Loses the next commits, every other one with all that was asked, the others after it was
    /// done.
    pub(crate) fn lose_commits(&self, count: usize) {
        self.wire.losing.fetch_add(count, Ordering::SeqCst);
    }

    pub(crate) fn commits_lost(&self) -> usize {
        self.wire.lost.load(Ordering::SeqCst)
    }

    /// Lets nothing through, or everything again.
    pub(crate) fn stall(&self, stalled: bool) {
        self.wire.stalled.store(stalled, Ordering::SeqCst);
    }
}

impl Wire {
    fn socket(&self) -> PathBuf {
        let at = self.socket.lock();
        at.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, node: TcpStream, server: UnixStream) -> std::io::Result<()> {
        node.set_nodelay(true)?;
        let (mut from_node, mut to_node) = (node.try_clone()?, node.try_clone()?);
        let (mut from_server, mut to_server) = (server.try_clone()?, server);
        self.open().push(node);
        let up = Arc::clone(self);
        std::thread::spawn(move || {
            up.carry(&mut from_node, &mut to_server, true);
            drop(from_node.shutdown(Shutdown::Both));
            drop(to_server.shutdown(Shutdown::Write));
        });
        let down = Arc::clone(self);
        std::thread::spawn(move || {
            down.carry(&mut from_server, &mut to_node, false);
            drop(to_node.shutdown(Shutdown::Both));
        });
        Ok(())
    }

    /// Carries bytes until one end is gone, or a commit is lost.
    fn carry(&self, from: &mut impl Read, to: &mut impl Write, requests: bool) {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            while self.stalled.load(Ordering::SeqCst) {
                std::thread::sleep(STALL);
            }
            let some = bytes.get(..count).unwrap_or_default();
            let loses = requests && some.ends_with(COMMIT) && self.loses_one();
            if loses && self.lost.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                return;
            }
            if to.write_all(some).is_err() || loses {
                return;
            }
        }
    }

    fn loses_one(&self) -> bool {
        let one_less = |losing: usize| losing.checked_sub(1);
        self.losing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok()
    }
}
