//! A load balancer for TCP, as operators put one before their nodes: it asks `/readyz` of each,
//! sends new connections to those that are ready, one after the other, and tries another when one
//! does not take it.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use crate::system::{Addresses, System};

/// How often each node is asked.
const ROUND: Duration = Duration::from_millis(100);

pub(crate) struct Balancer {
    pub(crate) merchant_at: SocketAddr,
    pub(crate) client_at: SocketAddr,
}

struct Nodes {
    at: Vec<Addresses>,
    ready: Vec<AtomicBool>,
    turn: AtomicUsize,
}

impl Balancer {
    /// Before all nodes of a system, which are taken to be ready. It ends with the program.
    pub(crate) fn before(system: &System) -> anyhow::Result<Self> {
        let at: Vec<_> = system.nodes.iter().map(|node| node.at).collect();
        let nodes = Arc::new(Nodes {
            ready: at.iter().map(|_| AtomicBool::new(true)).collect(),
            at,
            turn: AtomicUsize::new(0),
        });
        let asks = Arc::clone(&nodes);
        std::thread::spawn(move || {
            loop {
                asks.ask();
                std::thread::sleep(ROUND);
            }
        });
        Ok(Self {
            merchant_at: nodes.listen(|at| at.merchant)?,
            client_at: nodes.listen(|at| at.client)?,
        })
    }
}

impl Nodes {
    fn ask(&self) {
        for (at, ready) in self.at.iter().zip(&self.ready) {
            ready.store(at.are_ready(), Ordering::Relaxed);
        }
    }

    fn listen(self: &Arc<Self>, which: fn(&Addresses) -> SocketAddr) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let at = listener.local_addr()?;
        let nodes = Arc::clone(self);
        std::thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                // With no node to send it to it is closed.
                if let Some(node) = nodes.connect(which) {
                    drop(join(&caller, &node));
                }
            }
        });
        Ok(at)
    }

    fn connect(&self, which: fn(&Addresses) -> SocketAddr) -> Option<TcpStream> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.at.len();
        (turn..turn + count).find_map(|n| {
            let ready = self.ready.get(n % count)?.load(Ordering::Relaxed);
            let at = self.at.get(n % count).filter(|_| ready)?;
            TcpStream::connect(which(at)).ok()
        })
    }
}

/// Carries bytes both ways, until one end is gone.
fn join(caller: &TcpStream, node: &TcpStream) -> std::io::Result<()> {
    for (from, to) in [(caller, node), (node, caller)] {
        from.set_nodelay(true)?;
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        std::thread::spawn(move || {
            // What ends it, ends both.
            drop(std::io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        });
    }
    Ok(())
}
