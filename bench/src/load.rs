//! The load generator: a closed loop of users with keep-alive connections on one thread. Each user
//! sends a request, waits for its answer, and sends the next. Where the answer calls for another
//! request, the user sends that to a second listener, and both count as one.
//!
//! It must never be what is measured, so it tells how busy it was, and requests are prepared bytes.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::clock;
use crate::http1::{self, Answer};
use crate::machine;
use crate::report::Measured;

/// The first part of a round is not counted: connections, caches and branch predictors settle.
const WARM_UP: f64 = 0.15;
/// An answer longer than this is none of ours.
const ANSWER_BYTES_MAX: usize = 16 * 1_024;

/// What is asked.
pub(crate) trait Requests {
    /// Writes the next request; `false` when there is none left, which ends the round.
    fn next(&mut self, out: &mut Vec<u8>) -> bool;
    /// Looks at an answer. A wrong one is an error.
    fn check(&mut self, answer: &Answer<'_>) -> anyhow::Result<()>;
    /// Writes what the answer calls for, which goes to the second listener; nothing when it ends
    /// there.
    fn follow(&mut self, _answer: &Answer<'_>, _out: &mut Vec<u8>) -> anyhow::Result<()> {
        Ok(())
    }
}

struct User {
    streams: Streams,
    sent_at: Instant,
    buffer: Vec<u8>,
    filled: usize,
}

/// The connections of one user, who waits for an answer of one of them.
struct Streams {
    first: TcpStream,
    second: Option<TcpStream>,
    at_second: bool,
}

impl Streams {
    fn current(&mut self) -> anyhow::Result<&mut TcpStream> {
        if self.at_second {
            return self.second.as_mut().context("no second listener");
        }
        Ok(&mut self.first)
    }
}

/// Whom to ask, over how many connections, and for how long.
#[derive(Clone)]
pub(crate) struct Load {
    /// The users go to these in turn.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The second listener of each; empty where no request follows another.
    pub(crate) seconds: Vec<SocketAddr>,
    /// The processes that serve.
    pub(crate) pids: Vec<u32>,
    /// How many users there are: as many connections, or twice as many with second listeners.
    pub(crate) connections: usize,
    pub(crate) time: Duration,
}

impl Load {
    /// Asks, and measures.
    pub(crate) fn measure(&self, requests: &mut dyn Requests) -> anyhow::Result<Measured> {
        self.drive(requests)?.end(&self.pids)
    }

    /// Asks until the requests or the time end.
    pub(crate) fn drive<'a>(&self, requests: &'a mut dyn Requests) -> anyhow::Result<Round<'a>> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(self.connections.max(1));
        let mut open = Vec::with_capacity(self.connections);
        let firsts = self.addresses.iter().copied().cycle();
        let mut seconds = self.seconds.iter().copied().cycle();
        for (number, first) in (0..self.connections).zip(firsts) {
            let mut user = User::open(first, seconds.next())?;
            let Streams { first, second, .. } = &mut user.streams;
            for stream in [Some(first), second.as_mut()].into_iter().flatten() {
                poll.registry()
                    .register(stream, Token(number), Interest::READABLE)?;
            }
            open.push(user);
        }
        let mut round = Round::begin(self.time, requests);
        for user in &mut open {
            user.begin(&mut round)?;
        }
        while !round.over {
            poll.poll(&mut events, Some(Duration::from_secs(5)))?;
            anyhow::ensure!(!events.is_empty(), "no answer for 5 seconds");
            for event in &events {
                if let Some(user) = open.get_mut(event.token().0) {
                    user.turn(&mut round, &self.pids)?;
                }
            }
        }
        Ok(round)
    }
}

/// A round under way.
pub(crate) struct Round<'a> {
    requests: &'a mut dyn Requests,
    out: Vec<u8>,
    starts_at: Instant,
    ends_at: Instant,
    counted: Option<Counted>,
    over: bool,
    ended_at: Instant,
    latencies_us: Vec<u32>,
}

/// Where counting began.
struct Counted {
    at: Instant,
    server_cpu: Duration,
    own_cpu: Duration,
}

impl<'a> Round<'a> {
    fn begin(time: Duration, requests: &'a mut dyn Requests) -> Self {
        let now = clock::now();
        let starts_at = now + time.mul_f64(WARM_UP);
        Self {
            requests,
            out: Vec::with_capacity(4_096),
            starts_at,
            ends_at: starts_at + time,
            counted: None,
            over: false,
            ended_at: now,
            latencies_us: Vec::with_capacity(1 << 18),
        }
    }

    fn answered(&mut self, sent_at: Instant, pids: &[u32]) -> anyhow::Result<Instant> {
        let now = clock::now();
        if self.counted.is_some() {
            let micros = (now - sent_at).as_micros();
            self.latencies_us
                .push(u32::try_from(micros).unwrap_or(u32::MAX));
            self.ended_at = now;
            self.over |= now >= self.ends_at;
        } else if now >= self.starts_at {
            self.counted = Some(Counted {
                at: now,
                server_cpu: machine::cpu_of(pids)?,
                own_cpu: machine::own_cpu()?,
            });
        }
        Ok(now)
    }

    fn end(self, pids: &[u32]) -> anyhow::Result<Measured> {
        let counted = self.counted.context("the round was too short")?;
        let time = self.ended_at - counted.at;
        let server_cpu = machine::cpu_of(pids)?.saturating_sub(counted.server_cpu);
        let own_cpu = machine::own_cpu()?.saturating_sub(counted.own_cpu);
        Measured::new(self.latencies_us, time, server_cpu, own_cpu)
    }
}

impl User {
    fn open(first: SocketAddr, second: Option<SocketAddr>) -> io::Result<Self> {
        Ok(Self {
            streams: Streams {
                first: connect(first)?,
                second: second.map(connect).transpose()?,
                at_second: false,
            },
            sent_at: clock::now(),
            buffer: vec![0; ANSWER_BYTES_MAX],
            filled: 0,
        })
    }

    fn begin(&mut self, round: &mut Round<'_>) -> anyhow::Result<()> {
        round.out.clear();
        if !round.requests.next(&mut round.out) {
            round.over = true;
            return Ok(());
        }
        self.streams.at_second = false;
        self.send(&round.out)
    }

    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        // A request is far smaller than a socket's buffer, which is empty: it goes in one piece.
        let written = self.streams.current()?.write(request)?;
        anyhow::ensure!(
            written == request.len(),
            "a request did not go in one piece"
        );
        Ok(())
    }

    /// Reads what is there; at the end of an answer, asks again. The poll tells edges, so after
    /// half an answer it reads until there is nothing; after a whole one nothing can be left.
    fn turn(&mut self, round: &mut Round<'_>, pids: &[u32]) -> anyhow::Result<()> {
        loop {
            let stream = self.streams.current()?;
            let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match stream.read(free) {
                Ok(0) => anyhow::bail!("the server closed a connection"),
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let bytes = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some(answer) = http1::parse(bytes)? {
                round.requests.check(&answer)?;
                round.out.clear();
                round.requests.follow(&answer, &mut round.out)?;
                self.filled = 0;
                if !round.out.is_empty() {
                    self.streams.at_second = true;
                    return self.send(&round.out);
                }
                self.sent_at = round.answered(self.sent_at, pids)?;
                return if round.over {
                    Ok(())
                } else {
                    self.begin(round)
                };
            }
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}
