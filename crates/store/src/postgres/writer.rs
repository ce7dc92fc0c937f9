//! The writer: a thread that takes the writes that wait, runs them in one transaction, and answers
//! them after its commit. That is what makes a synced write cheap. A node has one: a second would
//! take half of what waits, and then wait for the head of the audit log, which the first holds
//! until its commit.
//!
//! **Invariant:** a job is answered `Ok` only after the commit that holds its writes was answered,
//! or was looked up and found.
//!
//! **Invariant:** what may have been committed is never run again. Each batch writes its number
//! into its writer's row. When a commit does not answer, a fresh connection locks that row, which
//! waits until the old transaction has ended either way, and reads which batch was the last.
//! (`pg_xact_status` would not do: after a crash a transaction id that never reached the disk is
//! given a second time.) What is known not to be committed is run again, a bounded number of times.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cardveil_core::Entropy;
use cardveil_core::audit::personal::Salts;
use cardveil_core::clock::Clock;
use cardveil_core::hook::Bell;
use cardveil_core::port::{Error, Needs, Result, Work, Writes};
use cardveil_core::token::{Lives, LivesOf, TokenKey};
use cardveil_core::vault::RowMacs;
use futures_util::FutureExt as _;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::batch::{Batch, Committed, Shared};
use super::fault::{Fault, Remedy};
use super::home::Home;
use super::link::{ANSWER_WITHIN, Link, Sent, within};
use super::options::Options;
use super::schema;
use super::tokens;
use crate::left_out::LeftOut;
use crate::patience::{Patience, waited_too_long};
use crate::pulse::Pulse;
use crate::sql::Loads;
use crate::sql::deciding::RowMemory;
use crate::sql::kept::{Checked, Kept};
use crate::sql::value::{Row as _, values};

/// How many jobs may wait (P8); more are refused.
const QUEUE_MAX: usize = 4_096;
/// How many jobs share one commit.
const BATCH_MAX: usize = 256;
/// How often a batch that is known not to be committed is run.
const ROUNDS_MAX: u32 = 5;
/// How often a batch waits for a lock in vain before its jobs are run one by one, each of which
/// then waits in vain once.
const WAITS_TOGETHER_MAX: u32 = 2;
/// How often it waits in vain in all: then what is left of it is refused, since all others wait
/// behind it.
const WAITS_MAX: u32 = 5;
/// How long a commit that did not answer is looked for; longer than the server keeps an abandoned
/// transaction open (`idle_in_transaction_session_timeout`).
const LOOK_UP_ROUNDS_MAX: u32 = 8;
const PAUSE: Duration = Duration::from_millis(50);
/// Writers that have committed nothing for so long are forgotten: nobody looks them up any more.
const FORGET_WRITERS: &str = "DELETE FROM writer WHERE touched_at < now() - interval '1 day'";

/// When a job runs within its batch; see [`super::batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// It locks the rows that it decides on, but those that are locked for all jobs: see
    /// [`Shared`].
    Rows,
    /// It decides on this token. The tokens of a batch are locked together, by all batches in the
    /// same order, so that none waits for one that waits for it.
    Token(TokenKey),
    /// It runs under the head of the audit log.
    Head,
}

impl Turn {
    fn token(self) -> Option<TokenKey> {
        match self {
            Self::Token(key) => Some(key),
            Self::Rows | Self::Head => None,
        }
    }
}

/// The way to the writer's thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
    bell: Bell,
    pulse: Pulse,
    clock: Arc<dyn Clock>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Chance is for its id, and for the salts of personal values.
    pub(super) fn start(
        options: &Options,
        home: &Arc<Home>,
        clock: &Arc<dyn Clock>,
        (left_out, macs, checked): (&Arc<LeftOut>, &Arc<RowMacs>, &Arc<Checked>),
        entropy: Arc<dyn Entropy>,
    ) -> std::io::Result<Self> {
        let mut id = [0; 16];
        entropy.fill(&mut id);
        let queue = Arc::new(Queue::default());
        let bell = Bell::default();
        let pulse = Pulse::new(Arc::clone(clock));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut shell = Shell {
            queue: Arc::clone(&queue),
            bell: bell.clone(),
            pulse: pulse.clone(),
            options: options.clone(),
            home: Arc::clone(home),
            clock: Arc::clone(clock),
            runtime,
            link: None,
            kept: Kept::new(clock),
            left_out: Arc::clone(left_out),
            macs: Arc::clone(macs),
            checked: Arc::clone(checked),
            memory: Arc::default(),
            salts: RefCell::new(Salts::new(entropy)),
            id,
            number: 0,
        };
        let thread = std::thread::Builder::new().name("cardveil-writer".into());
        let thread = thread.spawn(move || shell.run())?;
        Ok(Self {
            queue,
            bell,
            pulse,
            clock: Arc::clone(clock),
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
        (self.queue.waiting().jobs.len(), QUEUE_MAX)
    }

    /// Runs the work in a batch and answers once it is durable. It goes on without the caller,
    /// should the caller not wait. It may be run more than once; only the last time is committed.
    pub(super) async fn run(&self, work: Arc<dyn Work>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Job {
            order: Order::new(&work.needs(), &*self.clock),
            work,
            reply,
        })?;
        answer
            .await
            .unwrap_or_else(|_| Err(Error::Unknown("the writer has ended".into())))
    }

    /// Takes no more, finishes what waits, and ends.
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

/// When and how a job runs.
struct Order {
    /// What is locked for it before any job of its batch runs.
    shared: Shared,
    turn: Turn,
    patience: Patience,
}

impl Order {
    fn new(needs: &Needs, clock: &dyn Clock) -> Self {
        let turn = match needs.token {
            _ if needs.alone => Turn::Head,
            Some(token) => Turn::Token(token),
            None => Turn::Rows,
        };
        let patience = if needs.soon {
            Patience::Since(clock.now())
        } else {
            Patience::Endless
        };
        Self {
            shared: Shared::of(needs),
            turn,
            patience,
        }
    }
}

/// What waits for a writer.
struct Job {
    order: Order,
    work: Arc<dyn Work>,
    reply: oneshot::Sender<Result<()>>,
}

impl Job {
    /// Tells the caller.
    fn answer(self, outcome: Result<()>) {
        // A caller that has gone away is told nothing.
        drop(self.reply.send(outcome));
    }
}

type Jobs = Vec<Job>;

/// How a batch ended.
enum Ended {
    Committed,
    /// It was rolled back, since some of its jobs have waited too long.
    Late,
    /// Nothing of it was or will be committed.
    Failed(Fault),
    /// It may be committed or not.
    Unknown(String),
}

/// The thread's own things.
struct Shell {
    queue: Arc<Queue>,
    bell: Bell,
    pulse: Pulse,
    options: Options,
    home: Arc<Home>,
    clock: Arc<dyn Clock>,
    runtime: Runtime,
    link: Option<Link>,
    /// What tokens live by.
    kept: Kept<LivesOf, Lives>,
    left_out: Arc<LeftOut>,
    macs: Arc<RowMacs>,
    checked: Arc<Checked>,
    memory: Arc<RowMemory>,
    salts: RefCell<Salts>,
    /// Which row of `writer` is its own.
    id: [u8; 16],
    number: i64,
}

impl Shell {
    fn run(&mut self) {
        let _ended = ThreadEnd(Arc::clone(&self.queue), self.pulse.clone());
        while let Some(mut jobs) = self.queue.next() {
            jobs.sort_by_key(|job| job.order.turn);
            self.serve(jobs, &mut 0);
        }
    }

    /// `waits` counts how often the batch that these jobs are of has waited for a lock in vain.
    fn serve(&mut self, mut jobs: Jobs, waits: &mut u32) {
        let mut rounds = 0;
        loop {
            jobs = self.refuse_late(jobs);
            if jobs.is_empty() {
                // What was tried before, if anything was, did not succeed.
                self.pulse.failed();
                return;
            }
            self.pulse.begin();
            rounds += 1;
            let fault = match self.commit(&jobs) {
                Ended::Late => {
                    // The server has answered: it works.
                    self.pulse.committed();
                    continue;
                }
                Ended::Committed => {
                    self.pulse.committed();
                    return answer(jobs, &Ok(()));
                }
                Ended::Unknown(text) => {
                    self.pulse.failed();
                    tracing::error!(error = text, store.jobs = jobs.len(), "a commit is unknown");
                    return answer(jobs, &Err(Error::Unknown(text)));
                }
                Ended::Failed(fault) => fault,
            };
            let alone = jobs.len() == 1;
            let remedy = fault.remedy();
            *waits += u32::from(remedy == Remedy::Locked);
            match remedy {
                Remedy::Reconnect => self.link = None,
                Remedy::Locked if alone && *waits > WAITS_TOGETHER_MAX => rounds = ROUNDS_MAX,
                Remedy::Locked if !alone && *waits >= WAITS_TOGETHER_MAX => {
                    return self.serve_apart(jobs, waits);
                }
                Remedy::Again | Remedy::Locked => {}
                Remedy::Apart if alone => {
                    if fault.is_of_a_job() {
                        // The server has told of it: it works.
                        self.pulse.committed();
                    } else {
                        self.pulse.failed();
                    }
                    return give_up(jobs, fault);
                }
                Remedy::Apart => return self.serve_apart(jobs, waits),
            }
            if rounds >= ROUNDS_MAX {
                self.pulse.failed();
                return give_up(jobs, fault);
            }
            tracing::debug!(?fault, store.jobs = jobs.len(), "a batch is run again");
            self.pause(rounds);
        }
    }

    /// Refuses what has waited too long, before it runs or runs again; tells what is left.
    fn refuse_late(&self, jobs: Jobs) -> Jobs {
        let (late, in_time) = jobs.into_iter().partition(|job| self.is_late(job));
        answer(late, &Err(waited_too_long()));
        in_time
    }

    fn is_late(&self, job: &Job) -> bool {
        job.order.patience.is_over(self.clock.now())
    }

    /// One bad job does not fail its neighbours, nor does one that waits for what another keeps
    /// locked.
    fn serve_apart(&mut self, jobs: Jobs, waits: &mut u32) {
        for job in jobs {
            if *waits < WAITS_MAX {
                self.serve(vec![job], waits);
            } else {
                let too_long = "others waited too long for a lock";
                job.answer(Err(Error::Unavailable(too_long.into())));
            }
        }
    }

    /// All jobs in one transaction.
    fn commit(&mut self, jobs: &[Job]) -> Ended {
        self.number += 1;
        if let Err(fault) = self.connect() {
            return Ended::Failed(fault);
        }
        let (place, sent) = match self.run_jobs(jobs) {
            Ok(finished) => finished,
            Err(fault) => {
                self.roll_back();
                return Ended::Failed(fault);
            }
        };
        if jobs.iter().any(|job| self.is_late(job)) {
            self.roll_back();
            return Ended::Late;
        }
        let ended = self.send_commit(sent);
        if let Ended::Committed = ended {
            self.memory.remember(place.brief);
            if let Some(seq) = place.audit_seq {
                self.home.saw(seq, place.epoch);
            }
            if place.ring {
                self.bell.ring();
            }
        }
        ended
    }

    fn run_jobs(&self, jobs: &[Job]) -> std::result::Result<(Committed, Vec<Sent>), Fault> {
        let Some(link) = &self.link else {
            return Err(Fault::Connection("there is no connection".into()));
        };
        let batch = Batch::begin(
            link,
            &self.runtime,
            &self.kept,
            (&self.left_out, &self.macs, &self.checked),
            &self.memory,
            &self.salts,
            (&self.id, self.number),
        )?;
        if self.home.has_passed(batch.epoch()) {
            return Err(Fault::Connection("the epoch was set back".into()));
        }
        let mut tokens: Vec<_> = jobs
            .iter()
            .filter_map(|job| job.order.turn.token())
            .collect();
        let mut shared = Shared::default();
        for job in jobs {
            shared.extend(&job.order.shared);
        }
        let run = |job: &Job| {
            match job.order.turn {
                Turn::Rows => {}
                Turn::Token(_) => tokens::hold(&batch, &std::mem::take(&mut tokens))?,
                Turn::Head => drop(batch.hold_head()?),
            }
            Ok(job.work.run(&Loads::of_job(&batch))?)
        };
        batch
            .hold(&shared)
            .and_then(|()| jobs.iter().try_for_each(run))
            .and_then(|()| batch.finish())
            .map_err(|fault| batch.cause(fault))
    }

    /// Sends the commit behind what is not yet answered, in one trip to the server. Where one of
    /// those fails, the server has rolled back and the commit is none. What stalls from here on is a
    /// commit that stalls: jobs that grow late meanwhile are answered by what became of it.
    fn send_commit(&mut self, sent: Vec<Sent>) -> Ended {
        let Some(link) = &self.link else {
            return Ended::Failed(Fault::Connection("there is no connection".into()));
        };
        let mut commit = link.ready("COMMIT");
        let early = (&mut commit).now_or_never();
        let answered = self.runtime.block_on(async {
            for statement in sent {
                let done = within(ANSWER_WITHIN, statement).await;
                done.map_err(|fault| (fault.ends_its_transaction(), fault))?;
            }
            let answer = async {
                match early {
                    Some(answer) => answer,
                    None => commit.await,
                }
            };
            let committed = within(ANSWER_WITHIN, answer).await;
            committed.map_err(|fault| (fault.is_a_refusal(), fault))
        });
        let error = match answered {
            Ok(_) => return Ended::Committed,
            Err((true, fault)) => {
                self.roll_back();
                return Ended::Failed(fault);
            }
            Err((false, fault)) => fault.nothing_written().to_string(),
        };
        self.link = None;
        tracing::warn!(error, "a commit did not answer and is looked up");
        self.look_up(&error)
    }

    /// Whether the batch of this number is there, from what can no longer change.
    fn look_up(&mut self, error: &str) -> Ended {
        // The update is a commit of its own, so that what it has read is durable when it is
        // answered.
        const LAST: &str = "INSERT INTO writer (id, batch, knows) VALUES ($1, -1, $2)
             ON CONFLICT (id) DO UPDATE SET touched_at = now() RETURNING batch";
        for round in 1..=LOOK_UP_ROUNDS_MAX {
            let last = self.connect().and_then(|()| {
                let Some(link) = &self.link else {
                    return Err(Fault::Connection("there is no connection".into()));
                };
                let rows = self
                    .runtime
                    .block_on(link.query(LAST, &values![self.id, i64::from(schema::known())]))?;
                rows.first().map_or(Ok(-1), |row| row.get::<i64>(0))
            });
            match last {
                Ok(last) if last == self.number => return Ended::Committed,
                Ok(_) => {
                    let text = format!("not committed: {error}");
                    return Ended::Failed(Fault::Connection(text));
                }
                Err(fault) => {
                    tracing::debug!(?fault, "a commit is still looked up");
                    self.link = None;
                    self.pause(round + 3);
                }
            }
        }
        Ended::Unknown(error.to_owned())
    }

    fn connect(&mut self) -> std::result::Result<(), Fault> {
        if self.link.as_ref().is_some_and(|link| !link.is_closed()) {
            return Ok(());
        }
        self.link = None;
        // Another server may have counted other changes as many times.
        self.kept.clear();
        let connecting = async {
            let link = Link::connect(&self.options).await?;
            self.home.admit(&link, self.clock.now()).await?;
            link.run(FORGET_WRITERS).await?;
            Ok::<_, Fault>(link)
        };
        self.link = Some(self.runtime.block_on(connecting)?);
        Ok(())
    }

    fn roll_back(&mut self) {
        let rolled_back = match &self.link {
            Some(link) => self.runtime.block_on(link.run("ROLLBACK")),
            None => Ok(()),
        };
        if rolled_back.is_err() {
            self.link = None;
        }
    }

    fn pause(&self, rounds: u32) {
        let pause = PAUSE * 2_u32.pow(rounds.min(6) - 1);
        self.runtime
            .block_on(async { tokio::time::sleep(pause).await });
    }
}

fn give_up(jobs: Jobs, fault: Fault) {
    let error = fault.nothing_written();
    tracing::error!(%error, store.jobs = jobs.len(), "a batch was not committed");
    answer(jobs, &Err(error));
}

fn answer(jobs: Jobs, outcome: &Result<()>) {
    for job in jobs {
        job.answer(outcome.clone());
    }
}

/// However the thread ends, no caller waits for it any more.
struct ThreadEnd(Arc<Queue>, Pulse);

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a writer has panicked: the store takes no more writes");
            self.0.abandon();
        }
        self.1.end();
    }
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    fn push(&self, job: Job) -> Result<()> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(closed());
        }
        if waiting.jobs.len() >= QUEUE_MAX {
            return Err(Error::Unavailable("too many writes wait".into()));
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// What waits, up to a batch; nothing when it is closed and empty.
    fn next(&self) -> Option<Jobs> {
        let mut waiting = self.waiting();
        loop {
            if !waiting.jobs.is_empty() {
                let length = waiting.jobs.len().min(BATCH_MAX);
                return Some(waiting.jobs.drain(..length).collect());
            }
            if waiting.closed {
                return None;
            }
            waiting = self
                .arrived
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.waiting().closed = true;
        self.arrived.notify_one();
    }

    /// Nobody will run what waits.
    fn abandon(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.jobs);
        drop(waiting);
        for job in left {
            job.answer(Err(closed()));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn closed() -> Error {
    Error::Unavailable("the store is closed".into())
}
