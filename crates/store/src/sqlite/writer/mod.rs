//! The writer: one thread that takes all the writes that wait, runs them in one transaction, and
//! answers them after its commit. That is what makes a synced write cheap.
//!
//! **Invariant:** a job is answered `Ok` only after the commit that holds its writes. Either all
//! the writes of a batch are there, or none is: a job that fails after it has written takes the
//! batch with it, so no half of a job is ever committed.
//!
//! **Invariant:** after a commit whose outcome is not known, nothing is answered before another
//! commit has succeeded. SQLite appends to the WAL from the end of the last commit that it knows
//! of; a commit that failed left its frames, if any, behind that end, where only the recovery after
//! a crash could take them for a commit. The next commit overwrites them from the same place, and
//! since each frame's checksum covers all frames before it, what may be left of them is not valid
//! any more ("WAL file format", section 4.1 to 4.4). So the state that this next commit has read is
//! final, and a look-up that commits ([`cardveil_core::token::Attempt`]) tells the truth.

mod queue;

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cardveil_core::audit::Event;
use cardveil_core::audit::chain::Link;
use cardveil_core::audit::personal::Salts;
use cardveil_core::clock::Clock;
use cardveil_core::hook::Bell;
use cardveil_core::port::{Error, Result, Work, Writes};
use cardveil_core::token::{Epoch, Lives, LivesOf};
use cardveil_core::vault::RowMacs;
use rusqlite::{Connection, OptionalExtension, Params, Row, params_from_iter};
use tokio::sync::oneshot;

use self::queue::{Next, QUEUE_MAX, Queue};
use super::fault::{self, Fault};
use super::fence::{Fence, Mark};
use super::open::{self, OpenError, Ready, Why};
use super::outbox;
use super::{Texts, audit};
use crate::left_out::LeftOut;
use crate::patience::{Patience, waited_too_long};
use crate::pulse::Pulse;
use crate::sql::deciding::{KEEP_CHANGE, RowKey, RowMemory, Said, Versions, kept_change};
use crate::sql::kept::{self, Checked, Count, are_whole};
use crate::sql::rows::{self, seq};
use crate::sql::{LIVES, Loads, lives_key};

/// How many pages wait in the WAL before a busy writer stops to bring them into the database:
/// enough that a page which is written again and again is brought over once, and few enough that
/// callers do not feel it.
const CHECKPOINT_PAGES: i64 = 1_000;
/// How many rows are changed before the writer looks how many there are: some pages each.
const LOOK_AT_WAL_ROWS: u64 = 200;
/// From here on readers are made to wait, so that the WAL can start anew and stays bounded.
const WAL_PAGES_MAX: i64 = 16_000;
/// How long a checkpoint waits for readers that are under way.
const READERS_WAIT: Duration = Duration::from_millis(100);
/// How long nothing has come before an idle writer tidies up.
const IDLE: Duration = Duration::from_millis(100);
/// How long is tried to get the lock that writes need. After two such times in which another
/// program had it and committed nothing, that is told: our own commands that write beside a server
/// commit more often.
const LOCK_TRY: Duration = Duration::from_millis(125);
/// How often a job's batch tries: for five seconds.
const LOCK_TRIES: u32 = 40;
/// How often it is tried where nobody waits.
const LOCK_LOOKS: u32 = 2;
/// How often an idle writer looks whether it could write.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The way to the writer's thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
    bell: Bell,
    pulse: Pulse,
    clock: Arc<dyn Clock>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        ready: Ready,
        clock: Arc<dyn Clock>,
        (left_out, macs, checked): (Arc<LeftOut>, Arc<RowMacs>, Arc<Checked>),
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let bell = Bell::default();
        let pulse = Pulse::new(Arc::clone(&clock));
        let shell = Shell {
            queue: Arc::clone(&queue),
            bell: bell.clone(),
            pulse: pulse.clone(),
            connection: ready.connection,
            fence: ready.fence,
            database_id: ready.database_id,
            clock: Arc::clone(&clock),
            kept: Kept {
                left_out,
                macs,
                checked,
                memory: Arc::default(),
                lives: kept::Kept::new(&clock),
                texts: Texts::default(),
            },
            salts: RefCell::new(ready.salts),
            unsettled: false,
            untidy: true,
            wal_pages_max: WAL_PAGES_MAX,
            wal_looked_at: 0,
            lock_try: LOCK_TRY,
        };
        let thread = std::thread::Builder::new()
            .name("cardveil-writer".into())
            .spawn(move || shell.run())?;
        Ok(Self {
            queue,
            bell,
            pulse,
            clock,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Rung after a commit that queued something in the outbox.
    pub(super) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// How they go.
    pub(super) fn writes(&self) -> Writes {
        self.pulse.writes()
    }

    /// How many jobs wait, and how many may.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.queue.len(), QUEUE_MAX)
    }

    /// Runs the work in the next batch and answers once it is durable. It goes on without the
    /// caller, should the caller not wait.
    pub(super) async fn run(&self, work: Arc<dyn Work>) -> Result<()> {
        let patience = if work.needs().soon {
            Patience::Since(self.clock.now())
        } else {
            Patience::Endless
        };
        self.submit(patience, move |batch| Ok(work.run(&Loads::of_job(batch))?))
            .await
    }

    async fn submit<T: Send + 'static>(
        &self,
        patience: Patience,
        work: impl FnOnce(&Batch<'_>) -> std::result::Result<T, Fault> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Box::new(Task {
            patience,
            work: Some(work),
            result: None,
            reply,
        }))?;
        answer
            .await
            .unwrap_or_else(|_| Err(Error::Unknown("the writer has ended".into())))
    }

    /// Takes no more, finishes what waits, brings the WAL into the database, and ends.
    pub(super) fn close(&self) {
        self.queue.close();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A thread that panicked has said so itself.
        drop(thread.map(JoinHandle::join));
    }
}

/// What waits for the writer.
trait Job: Send {
    fn patience(&self) -> Patience;
    /// Does the writing. An error is SQLite's, and the batch's.
    fn run(&mut self, batch: &Batch<'_>) -> std::result::Result<(), rusqlite::Error>;
    /// Tells the caller, given the outcome of the batch.
    fn answer(self: Box<Self>, outcome: &Result<()>);
}

struct Task<W, T> {
    patience: Patience,
    work: Option<W>,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<W, T> Job for Task<W, T>
where
    W: FnOnce(&Batch<'_>) -> std::result::Result<T, Fault> + Send,
    T: Send,
{
    fn patience(&self) -> Patience {
        self.patience
    }

    fn run(&mut self, batch: &Batch<'_>) -> std::result::Result<(), rusqlite::Error> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        let before = batch.connection.total_changes();
        self.result = Some(match work(batch) {
            Ok(value) => Ok(value),
            Err(Fault::Own(error)) if batch.connection.total_changes() == before => Err(error),
            Err(Fault::Own(error)) => {
                let half_way = rusqlite::Error::ToSqlConversionFailure(error.to_string().into());
                return Err(half_way);
            }
            Err(Fault::Sqlite(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: &Result<()>) {
        let never_ran = || Err(waited_too_long());
        let answer = match outcome {
            Ok(()) => self.result.unwrap_or_else(never_ran),
            Err(error) => Err(error.clone()),
        };
        // A caller that has gone away is told nothing.
        drop(self.reply.send(answer));
    }
}

/// How far the database has come: the epoch, and the end of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reached {
    epoch: Epoch,
    end: Link,
}

impl Reached {
    fn generation(&self) -> i64 {
        seq(&self.end)
    }
}

/// A transaction under way, for the jobs in it.
pub(super) struct Batch<'a> {
    connection: &'a Connection,
    kept: &'a Kept,
    salts: &'a RefCell<Salts>,
    versions: Versions<'a>,
    /// How often what tokens live by had been changed when this began.
    registry: Count,
    place: Cell<Reached>,
    /// Something was queued or settled in the outbox.
    queued: Cell<bool>,
}

impl<'a> Batch<'a> {
    /// Begins it. From here on no other process writes.
    fn begin(
        connection: &'a Connection,
        kept: &'a Kept,
        salts: &'a RefCell<Salts>,
    ) -> rusqlite::Result<Self> {
        run(connection, "BEGIN IMMEDIATE")?;
        let registry = count(connection)?;
        let epoch = registry.epoch;
        let end = audit::end(connection)?;
        Ok(Self {
            connection,
            kept,
            salts,
            versions: Versions::new(&kept.memory, epoch, salts),
            registry,
            place: Cell::new(Reached { epoch, end }),
            queued: Cell::new(false),
        })
    }

    /// For a lookup that is run outside a batch too. Nothing is written through it.
    pub(super) const fn connection(&self) -> &Connection {
        self.connection
    }

    /// A statement that both adapters have, in SQLite's form.
    pub(super) fn text(&self, sql: &'static str) -> Arc<str> {
        self.kept.texts.of(sql)
    }

    /// Where rows that cannot be read are noted.
    pub(super) fn left_out(&self) -> &LeftOut {
        &self.kept.left_out
    }

    /// Makes and checks the MACs of rows.
    pub(super) fn macs(&self) -> &RowMacs {
        &self.kept.macs
    }

    /// Rows that were looked up and whose MACs were right.
    pub(super) fn checked(&self) -> &Checked {
        &self.kept.checked
    }

    /// The versions of its rows.
    pub(super) const fn versions(&self) -> &Versions<'_> {
        &self.versions
    }

    /// What a token lives by. Nobody else changes that until the commit; whether this batch has, and
    /// may take it back, is what the count tells.
    pub(super) fn lives(&self, of: LivesOf) -> rusqlite::Result<Arc<Lives>> {
        let is_as_it_was = count(self.connection)? == self.registry;
        let kept = is_as_it_was.then(|| self.kept.lives.find(self.registry, &of));
        if let Some(found) = kept.flatten() {
            return Ok(found);
        }
        let key = params_from_iter(lives_key(&of));
        let found = self.first(&self.text(&LIVES.one), key, |row| {
            rows::lives(self.macs(), row)
        })?;
        let found = Arc::new(found.unwrap_or_default());
        if is_as_it_was && are_whole(&found) {
            self.kept.lives.keep(self.registry, of, &found);
        }
        Ok(found)
    }

    /// Runs a statement; tells how many rows it changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }

    /// The first row that a query finds.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.connection
            .prepare_cached(sql)?
            .query_row(params, read)
            .optional()
    }

    /// All rows that a query finds.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.connection
            .prepare_cached(sql)?
            .query_map(params, read)?
            .collect()
    }

    /// Appends to the audit log, and queues what merchants are told of. Nothing else writes to it.
    pub(super) fn log(&self, event: &Event, said: Said) -> rusqlite::Result<()> {
        let place = self.place.get();
        let salts = &mut self.salts.borrow_mut();
        let end = audit::append(self.connection, &place.end, (event, said.version), salts)?;
        self.place.set(Reached { end, ..place });
        for changed in said.changed {
            self.execute(
                &self.text(&KEEP_CHANGE),
                params_from_iter(kept_change(changed, seq(&end))),
            )?;
        }
        if outbox::queue(self, seq(&end), event)? {
            self.ring();
        }
        Ok(())
    }

    /// Has the bell rung once this is committed.
    pub(super) fn ring(&self) {
        self.queued.set(true);
    }

    /// The epoch as it is in this transaction.
    pub(super) fn epoch(&self) -> Epoch {
        self.place.get().epoch
    }

    /// Puts another epoch in its place.
    pub(super) fn set_epoch(&self, epoch: Epoch) -> rusqlite::Result<()> {
        self.execute("UPDATE meta SET epoch = ?1", [epoch.0])?;
        self.versions.turn_to(epoch);
        self.place.set(Reached {
            epoch,
            ..self.place.get()
        });
        Ok(())
    }
}

/// How often the registry was changed.
fn count(connection: &Connection) -> rusqlite::Result<Count> {
    let mut count = connection.prepare_cached(kept::COUNT)?;
    count.query_row([], |row| kept::count(row, 0))
}

/// Runs a statement without parameters.
fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// What follows once a batch is committed.
struct Done {
    /// Something was queued or settled in the outbox.
    queued: bool,
    /// What is remembered of rows.
    brief: Vec<(RowKey, i64)>,
}

/// What every batch has.
struct Kept {
    /// Where rows that cannot be read are noted.
    left_out: Arc<LeftOut>,
    macs: Arc<RowMacs>,
    checked: Arc<Checked>,
    memory: Arc<RowMemory>,
    lives: kept::Kept<LivesOf, Lives>,
    texts: Texts,
}

/// The thread's own things.
struct Shell {
    queue: Arc<Queue>,
    bell: Bell,
    pulse: Pulse,
    connection: Connection,
    fence: Fence,
    database_id: [u8; 16],
    clock: Arc<dyn Clock>,
    kept: Kept,
    salts: RefCell<Salts>,
    /// A commit has failed and none has succeeded since.
    unsettled: bool,
    /// There may be pages in the WAL, or something of the fence to sync.
    untidy: bool,
    /// How long the WAL may get before readers are made to wait. A reader that does not end soon,
    /// such as a backup, is not waited for again before the WAL has grown by as much once more.
    wal_pages_max: i64,
    /// How many rows the connection had changed when it looked at the WAL last.
    wal_looked_at: u64,
    lock_try: Duration,
}

impl Shell {
    fn run(mut self) {
        let _ended = Ended(Arc::clone(&self.queue), self.pulse.clone());
        loop {
            let patience = if self.untidy { IDLE } else { LOOK_EVERY };
            match self.queue.next(patience) {
                Next::Jobs(jobs) => {
                    self.serve(jobs);
                    self.untidy = true;
                    self.checkpoint_if_due();
                }
                Next::Nothing if self.untidy => self.tidy(),
                Next::Nothing => self.look(),
                Next::Closed => break,
            }
        }
        self.checkpoint("TRUNCATE");
        self.sync_fence();
    }

    fn serve(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        self.pulse.begin();
        let before = self.connection.total_changes();
        let outcome = self.commit(&mut jobs);
        // A commit of nothing succeeds on a full disk, too.
        let has_written = !self.pulse.has_failed() || self.connection.total_changes() != before;
        match &outcome {
            Ok(()) if has_written => self.pulse.committed(),
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, store.jobs = jobs.len(), "a batch was not committed");
            }
        }
        for job in jobs {
            job.answer(&outcome);
        }
        if !has_written || outcome.is_err() {
            self.try_to_write();
        }
    }

    /// What keeps it from writing is seen before a caller has to wait, and seen to be over when
    /// none comes.
    fn look(&mut self) {
        self.pulse.begin();
        let begun = self.begin(LOCK_LOOKS).map(drop);
        self.roll_back();
        match begun {
            Ok(()) if !self.pulse.has_failed() => self.pulse.committed(),
            Err(error) if fault::locked_out(&error) => {}
            Ok(()) | Err(_) => self.try_to_write(),
        }
    }

    /// Finds out whether it was the batch's own fault. Nobody waits for it but the next batch.
    fn try_to_write(&mut self) {
        self.untidy = true;
        if self.barrier(LOCK_LOOKS).is_ok() && self.fence.catch_up().is_ok() {
            self.pulse.committed();
        } else if !self.pulse.is_locked_out() {
            self.pulse.failed();
        }
    }

    /// All jobs in one transaction.
    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<()> {
        let unavailable = |error: rusqlite::Error| Error::Unavailable(error.to_string());
        self.roll_back();
        if self.unsettled {
            self.barrier(LOCK_TRIES).map_err(unavailable)?;
        }
        // Without a fence a restore would go unseen, so nothing is written either.
        self.fence
            .catch_up()
            .map_err(|error| Error::Unavailable(format!("the fence: {error}")))?;
        let (before, after, done) = match self.run_jobs(jobs) {
            Ok(ran) => ran,
            Err(error) => {
                self.roll_back();
                return Err(unavailable(error));
            }
        };
        if let Err(error) = run(&self.connection, "COMMIT") {
            return Err(self.after_failed_commit(&error, before));
        }
        if after != before {
            self.advance_fence(after);
        }
        self.kept.memory.remember(done.brief);
        if done.queued {
            self.bell.ring();
        }
        Ok(())
    }

    fn run_jobs(&self, jobs: &mut [Box<dyn Job>]) -> rusqlite::Result<(Reached, Reached, Done)> {
        let batch = self.begin(LOCK_TRIES)?;
        let before = batch.place.get();
        self.raise_if_put_back(&batch)?;
        // What they waited for was the moment at which no other process writes.
        let now = self.clock.now();
        let in_time = jobs.iter_mut().filter(|job| !job.patience().is_over(now));
        for job in in_time {
            job.run(&batch)?;
        }
        let done = Done {
            queued: batch.queued.get(),
            brief: batch.versions.take_brief(),
        };
        Ok((before, batch.place.get(), done))
    }

    /// Begins a transaction, and says so when another program keeps it from that.
    fn begin(&self, tries: u32) -> rusqlite::Result<Batch<'_>> {
        self.connection.busy_timeout(self.lock_try)?;
        let (mut left, mut seen) = (tries, None);
        loop {
            let begun = Batch::begin(&self.connection, &self.kept, &self.salts);
            match &begun {
                Ok(_) => self.let_in(),
                Err(error) if fault::locked_out(error) => {
                    let commits = self.commits_of_others()?;
                    if seen.replace(commits) == Some(commits) {
                        self.locked_out();
                    }
                    left -= 1;
                    if left > 0 {
                        continue;
                    }
                }
                Err(_) => {}
            }
            return begun;
        }
    }

    /// A number that changes with each.
    fn commits_of_others(&self) -> rusqlite::Result<i64> {
        self.connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))
    }

    fn locked_out(&self) {
        if self.pulse.locked_out() {
            tracing::error!(
                hint = "`fuser -v` on the file tells which: end it, or wait for it",
                "another program holds the write lock of the database file"
            );
        }
    }

    fn let_in(&self) {
        if self.pulse.let_in() {
            tracing::info!("the write lock of the database file is free again");
        }
    }

    /// A copy that was put back into the open database, as by `.restore` of `sqlite3`, un-spends
    /// tokens as any other does. Nothing is decided on it in the old epoch.
    fn raise_if_put_back(&self, batch: &Batch<'_>) -> rusqlite::Result<()> {
        let mark = self.mark(batch.place.get());
        let unreadable =
            |error: std::io::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
        let Some(seen) = self.fence.ahead_of(mark).map_err(unreadable)? else {
            return Ok(());
        };
        let (why, now) = (Why::Behind, self.clock.now());
        let epoch = seen.epoch.max(mark.epoch).next(now).ok_or_else(|| {
            rusqlite::Error::ToSqlConversionFailure(OpenError::EpochExhausted.into())
        })?;
        batch.set_epoch(epoch)?;
        batch.log(&open::raised(epoch, why, now), Said::default())?;
        tracing::warn!(store.epoch = epoch.0, "the epoch was raised: {why}");
        Ok(())
    }

    /// Finds out whether the batch is there, by a commit after which that cannot change; see the
    /// invariant at the top. A batch that moved nothing on wrote nothing that a caller was
    /// promised.
    fn after_failed_commit(&mut self, error: &rusqlite::Error, before: Reached) -> Error {
        self.roll_back();
        self.unsettled = true;
        match self.barrier(LOCK_TRIES) {
            Ok(place) if place == before => Error::Unavailable(format!("not committed: {error}")),
            Ok(_) => Error::Unknown(format!("the commit failed: {error}")),
            Err(second) => Error::Unknown(format!("the commit failed: {error}; then: {second}")),
        }
    }

    /// A commit that writes. It tells where the database stood.
    fn barrier(&mut self, tries: u32) -> rusqlite::Result<Reached> {
        let written = self.write_barrier(tries);
        match written {
            Ok(_) => self.unsettled = false,
            Err(_) => self.roll_back(),
        }
        written
    }

    fn write_barrier(&self, tries: u32) -> rusqlite::Result<Reached> {
        let batch = self.begin(tries)?;
        batch.execute("UPDATE meta SET barrier = barrier + 1", [])?;
        run(&self.connection, "COMMIT")?;
        Ok(batch.place.get())
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = run(&self.connection, "ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    /// What is committed stays so; the next batch waits until the fence is in step.
    fn advance_fence(&mut self, place: Reached) {
        if let Err(error) = self.fence.advance(self.mark(place)) {
            tracing::error!(%error, "the fence could not be written: no writes until it can");
        }
    }

    fn mark(&self, place: Reached) -> Mark {
        Mark {
            database_id: self.database_id,
            generation: place.generation(),
            epoch: place.epoch,
        }
    }

    fn sync_fence(&mut self) {
        if self.fence.is_behind()
            && let Err(error) = self.fence.catch_up().and_then(|()| self.fence.sync())
        {
            tracing::error!(%error, "the fence could not be synced");
        }
    }

    /// What an idle writer does, so that a busy one need not.
    fn tidy(&mut self) {
        self.sync_fence();
        self.checkpoint("PASSIVE");
        self.untidy = self.fence.is_behind();
    }

    fn checkpoint_if_due(&mut self) {
        let changed = self.connection.total_changes();
        if changed.saturating_sub(self.wal_looked_at) < LOOK_AT_WAL_ROWS {
            return;
        }
        self.wal_looked_at = changed;
        match self.wal("NOOP") {
            Ok((pages, _)) if pages > self.wal_pages_max => {
                self.checkpoint("TRUNCATE");
                let left = self.wal("NOOP").map_or(0, |(pages, _)| pages);
                self.wal_pages_max = left.saturating_add(WAL_PAGES_MAX);
            }
            Ok((pages, done)) if pages - done > CHECKPOINT_PAGES => self.checkpoint("PASSIVE"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the length of the WAL cannot be read"),
        }
    }

    fn checkpoint(&self, mode: &str) {
        if let Err(error) = self.wal(mode) {
            tracing::warn!(%error, store.checkpoint = mode, "a checkpoint failed");
        }
    }

    /// Runs a checkpoint; tells how many pages the WAL has and how many of them are in the
    /// database. `NOOP` does nothing else.
    fn wal(&self, mode: &str) -> rusqlite::Result<(i64, i64)> {
        self.connection.busy_timeout(READERS_WAIT)?;
        self.connection
            .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
            .query_row([], |row| Ok((row.get(1)?, row.get(2)?)))
    }
}

/// However the thread ends, no caller waits for it any more.
struct Ended(Arc<Queue>, Pulse);

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the writer has panicked: the store takes no more writes");
        }
        self.1.end();
        self.0.abandon();
    }
}

#[cfg(test)]
mod tests;
