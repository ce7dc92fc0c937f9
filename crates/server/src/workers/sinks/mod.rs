//! The sinks of the audit log: workers that follow the log into files and to syslog receivers, and
//! the one that looks how far they are behind and keeps the gate of releases.
//!
//! What is decided about a sink's place and about the gate is in `cardveil_core::audit::sink`. A
//! sink is fed by the node that has its lease; all nodes look at its place themselves, so the gate
//! closes on each of them, whoever feeds it.
//!
//! **Invariant:** a place moves only after the output says that it has what comes before.
//!
//! **Invariant:** the log of the process has a sink's name and why it takes nothing, never an
//! entry.
//!
//! To add an output: a variant of [`Target`], its module beside `file.rs` with an `Output`, and its
//! form in the configuration.

mod file;
mod syslog;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cardveil_core::audit::chain::{Chained, Hash};
use cardveil_core::audit::exported;
use cardveil_core::audit::sink::{Fed, Hold, Holder, Limit, Progress};
use cardveil_core::clock::Time;
use cardveil_core::flow::Fault;
use cardveil_core::id::SinkName;
use cardveil_core::verb::Commit;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::syslog::{Framing, Host, Identity, Malformed, Receiver};
use crate::http::app::App;
use crate::http::chain::Chain;
use crate::http::listener;
use crate::http::sink_health::SinkHealth;

/// How long a sink is one worker's at a time. It is renewed when half of that is over.
const LEASE: Duration = Duration::from_secs(10);
/// How many entries a piece has at most. A failure makes the next one smaller, so that what a slow
/// output takes in time gets through, and little is handed over twice.
const PIECE: usize = 500;
/// How long is waited after an output failed: at first, and at most.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How long what is left is handed over at the end.
const LAST_TURNS: Duration = Duration::from_secs(5);

/// Where a sink is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, one entry a line.
    File(PathBuf),
    /// A syslog receiver, one entry a message.
    Syslog(Receiver),
}

impl Target {
    /// Where it gets the entries from before it was there: a file beside the one that grows, so
    /// that each is in its order, or the same receiver.
    fn of_history(&self) -> Self {
        match self {
            Self::File(path) => {
                let mut path = path.clone().into_os_string();
                path.push(".history");
                Self::File(path.into())
            }
            Self::Syslog(receiver) => Self::Syslog(receiver.clone()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Whose place it goes on from. Nodes that use one name share the work.
    pub name: SinkName,
    /// Where it is.
    pub target: Target,
    /// How far it may be behind before nothing is released; `None` when it stops nothing.
    pub limit: Option<Limit>,
}

/// What the workers are told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub sinks: Vec<Sink>,
    /// How often it is looked for new entries, and how far the sinks are behind.
    pub round: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sinks: Vec::new(),
            round: Duration::from_secs(1),
        }
    }
}

/// Why an output takes nothing. The words hold nothing of an entry.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Stuck(pub(crate) String);

/// The last entry that an output holds, where it can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) seq: i64,
    pub(crate) hash: Hash,
}

/// What entries are handed to.
#[async_trait]
pub(crate) trait Output: Send + Sync {
    /// Makes it ready to take entries, and tells the last that it holds, where it can.
    async fn ready(&mut self) -> Result<Option<Held>, Stuck>;

    /// Takes entries. When this returns well, they are where they should be; otherwise any number
    /// of the first of them may be, and it is to be made ready again.
    async fn take(&mut self, entries: Arc<Vec<Chained>>) -> Result<(), Stuck>;

    /// Lets go of it: the sink is another's.
    fn close(&mut self);
}

/// An entry's line, the same as that of `cardveil audit export`.
pub(crate) fn text_of(entry: &Chained) -> String {
    exported(entry).to_string()
}

/// The workers of a process.
pub struct Sinks {
    app: Arc<App>,
    settings: Settings,
    look_failed: bool,
}

impl Sinks {
    /// Puts them together.
    pub fn new(app: &Arc<App>, settings: Settings) -> Self {
        Self {
            app: Arc::clone(app),
            settings,
            look_failed: false,
        }
    }

    /// Works until it is told to stop; then hands over what is left, for a bounded time.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut feeders = JoinSet::new();
        for sink in &self.settings.sinks {
            let (sink, round) = (sink.clone(), self.settings.round);
            let feed = move |app, stop| Feeder::new(&app, &sink, round).run(stop);
            feeders.spawn(self.app.keep_up("audit sink", &stop, feed));
        }
        loop {
            self.look().await;
            tokio::select! {
                () = listener::stopped(&mut stop) => break,
                () = tokio::time::sleep(self.settings.round) => {}
            }
        }
        while feeders.join_next().await.is_some() {}
    }

    /// Looks how far the sinks are behind, and keeps the gate. Once before anything is served, so
    /// that what is asked first need not wait for it.
    pub async fn look(&mut self) {
        let names: Vec<_> = self.settings.sinks.iter().map(|s| s.name.clone()).collect();
        if names.is_empty() {
            return;
        }
        let service = &self.app.service;
        match service.sink_standings(&names).await {
            Ok(found) => {
                self.look_failed = false;
                let now = service.now();
                let sinks = self.settings.sinks.iter().zip(found);
                let standing =
                    |(sink, found): (&Sink, cardveil_core::flow::SinkStanding)| SinkHealth {
                        name: found.name,
                        lag: found.lag,
                        // Nothing is required of one that has not begun: it does within a round.
                        is_full: found.progress.is_some()
                            && sink.limit.is_some_and(|l| l.is_passed(&found.lag, now)),
                    };
                self.judge(sinks.map(standing).collect(), now);
            }
            // The gate runs out by itself. Said once, or it would be said every second.
            Err(error) if !self.look_failed => {
                self.look_failed = true;
                tracing::error!(error = %Chain(&error), "the audit sinks' places could not be read");
            }
            Err(_) => {}
        }
    }

    fn judge(&self, now_standing: Vec<SinkHealth>, now: Time) {
        let gate = self.app.service.gate();
        if now_standing.iter().any(|standing| standing.is_full) {
            gate.close();
        } else {
            gate.hold_open(now);
        }
        let mut board = self.app.sinks.lock();
        for standing in &now_standing {
            let was_full = board
                .iter()
                .any(|before| before.name == standing.name && before.is_full);
            let (sink, entries) = (&standing.name, standing.lag.entries);
            let age_secs = standing.lag.age(now).as_secs();
            match (was_full, standing.is_full) {
                (false, true) => tracing::error!(
                    audit.sink = %sink, audit.lag_entries = entries, audit.lag_secs = age_secs,
                    "a required audit sink is too far behind: nothing is released"
                ),
                (true, false) => tracing::info!(
                    audit.sink = %sink, audit.lag_entries = entries,
                    "a required audit sink has caught up"
                ),
                (true, true) | (false, false) => {}
            }
        }
        *board = now_standing;
    }
}

/// What a turn came to.
enum Went {
    /// There is more.
    On,
    /// All is handed over, or the sink is another's.
    Idle,
}

/// Why a turn came to nothing.
enum Failed {
    Output(Stuck),
    Store(Fault),
}

impl From<cardveil_core::port::Error> for Failed {
    fn from(error: cardveil_core::port::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Feeds one sink.
struct Feeder {
    app: Arc<App>,
    name: SinkName,
    output: Box<dyn Output>,
    /// Where it gets the entries from before it was there.
    history: Box<dyn Output>,
    most: Option<u64>,
    holder: Holder,
    round: Duration,
    /// The row, and until when the sink is ours.
    ours: Option<(Progress, Time)>,
    wait: Duration,
    /// How many entries the next piece may have.
    piece: usize,
    said: Option<String>,
    said_of_history: Option<String>,
}

impl Feeder {
    fn new(app: &Arc<App>, sink: &Sink, round: Duration) -> Self {
        let output = |target: &Target| -> Box<dyn Output> {
            match target {
                Target::File(path) => Box::new(file::FileOutput::new(path.clone())),
                Target::Syslog(receiver) => Box::new(syslog::SyslogOutput::new(receiver.clone())),
            }
        };
        Self {
            app: Arc::clone(app),
            name: sink.name.clone(),
            output: output(&sink.target),
            history: output(&sink.target.of_history()),
            most: sink.limit.map(|limit| limit.entries),
            holder: app.service.sink_holder(),
            round,
            ours: None,
            wait: WAITS.0,
            piece: PIECE,
            said: None,
            said_of_history: None,
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let pause = match self.turn().await {
                Ok(Went::On) => Duration::ZERO,
                Ok(Went::Idle) => self.round,
                Err(failed) => self.failed(failed).await,
            };
            tokio::select! {
                () = listener::stopped(&mut stop) => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        let _ = tokio::time::timeout(LAST_TURNS, self.finish()).await;
    }

    /// Hands over what is left, as far as the sink takes it, and lets the next one feed it at once.
    async fn finish(&mut self) {
        while let Ok(Went::On) = self.turn().await {}
        if let Some((row, _)) = self.ours.take() {
            let fed = self.fed((&row, row.place, None), None, row.error.clone());
            let _ = self.app.service.store().commit(fed).await;
        }
    }

    async fn turn(&mut self) -> Result<Went, Failed> {
        let Some(row) = self.hold().await? else {
            return Ok(Went::Idle);
        };
        let app = Arc::clone(&self.app);
        let store = app.service.store();
        let entries = store.chained(row.place, self.piece).await?;
        let Some(last) = entries.last() else {
            return match self.turn_of_history(&row).await {
                // Nothing that comes now waits for it.
                Err(Failed::Output(Stuck(why))) => Ok(self.history_failed(why)),
                went => went,
            };
        };
        let last = last.seq;
        if let Some(held) = self.output.ready().await.map_err(Failed::Output)?
            && held.seq > row.place
            && self.has(&held).await?
        {
            // Taken before a crash, or before a commit that did not answer, and not yet noted.
            return self.went_to(&row, held.seq, None).await;
        }
        let took = self.output.take(Arc::new(entries)).await;
        took.map_err(Failed::Output)?;
        self.went_to(&row, last, None).await
    }

    /// When there is nothing new: a piece of what was before the sink was there.
    async fn turn_of_history(&mut self, row: &Progress) -> Result<Went, Failed> {
        let Some(history) = row.history.filter(|history| history.left() > 0) else {
            self.history.close();
            return Ok(Went::Idle);
        };
        let app = Arc::clone(&self.app);
        let store = app.service.store();
        let mut entries = store.chained(history.place, self.piece).await?;
        entries.retain(|entry| entry.seq <= history.end);
        let last = entries.last().map_or(history.end, |entry| entry.seq);
        if let Some(held) = self.history.ready().await.map_err(Failed::Output)?
            && held.seq > history.place
            && self.has(&held).await?
        {
            return self.went_to(row, row.place, Some(held.seq)).await;
        }
        let took = self.history.take(Arc::new(entries)).await;
        took.map_err(Failed::Output)?;
        self.went_to(row, row.place, Some(last)).await
    }

    /// Logs why, once.
    fn history_failed(&mut self, why: String) -> Went {
        if self.said_of_history.as_ref() != Some(&why) {
            let error = why.as_str();
            tracing::error!(audit.sink = %self.name, error, "an audit sink takes no history");
            self.said_of_history = Some(why);
        }
        Went::Idle
    }

    /// The row, when the sink is ours for longer than a piece may take.
    async fn hold(&mut self) -> Result<Option<Progress>, Failed> {
        let now = self.app.service.now();
        if let Some((row, until)) = &self.ours
            && now.plus(LEASE / 2) < *until
            && *until <= now.plus(LEASE)
        {
            return Ok(Some(row.clone()));
        }
        let until = now.plus(LEASE);
        let hold = Hold {
            name: self.name.clone(),
            holder: self.holder,
            at: now,
            until,
            most: self.most,
        };
        let row = self.app.service.store().commit(hold).await?;
        if row.is_none() {
            self.output.close();
            self.history.close();
        }
        self.ours = row.clone().map(|row| (row, until));
        Ok(row)
    }

    /// Whether the log has the entry that the output holds. It has not after a restore.
    async fn has(&self, held: &Held) -> Result<bool, Failed> {
        let before = held.seq.saturating_sub(1);
        let found = self.app.service.store().chained(before, 1).await?;
        let same = |entry: &Chained| entry.seq == held.seq && entry.link.hash == held.hash;
        Ok(found.first().is_some_and(same))
    }

    fn fed(
        &self,
        (row, place, history): (&Progress, i64, Option<i64>),
        until: Option<Time>,
        error: Option<String>,
    ) -> Fed {
        Fed {
            name: row.name.clone(),
            holder: self.holder,
            at: self.app.service.now(),
            until,
            place,
            history,
            error,
        }
    }

    async fn went_to(
        &mut self,
        row: &Progress,
        place: i64,
        history: Option<i64>,
    ) -> Result<Went, Failed> {
        let until = self.app.service.now().plus(LEASE);
        let fed = self.fed((row, place, history), Some(until), None);
        let next = self.app.service.store().commit(fed).await?;
        self.ours = next.map(|row| (row, until));
        self.wait = WAITS.0;
        self.piece = (self.piece * 2).min(PIECE);
        if self.said.take().is_some() {
            tracing::info!(audit.sink = %self.name, "the audit sink takes entries again");
        }
        Ok(Went::On)
    }

    /// Notes and logs why, once; tells how long to wait.
    async fn failed(&mut self, failed: Failed) -> Duration {
        let why = match failed {
            Failed::Output(Stuck(why)) => {
                self.piece = (self.piece / 4).max(1);
                why
            }
            // A step whose outcome is not known is looked up by holding the sink anew.
            Failed::Store(error) => {
                self.ours = None;
                format!("the log or the sink's place: {}", Chain(&error))
            }
        };
        if self.said.as_ref() != Some(&why) {
            tracing::error!(audit.sink = %self.name, error = why, "an audit sink takes no entries");
            if let Some((row, until)) = self.ours.clone() {
                let fed = self.fed((&row, row.place, None), Some(until), Some(why.clone()));
                let noted = self.app.service.store().commit(fed).await;
                self.ours = noted.ok().flatten().map(|row| (row, until));
            }
            self.said = Some(why);
        }
        let wait = self.wait;
        self.wait = (wait * 2).min(WAITS.1);
        wait
    }
}
