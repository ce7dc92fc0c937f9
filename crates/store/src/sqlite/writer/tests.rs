//! What goes wrong between a job and its commit.

use std::sync::mpsc;

use cardveil_core::audit::Kind;
use cardveil_core::port::Change;
use cardveil_core::verb::{Changes, Verb as _};
use cardveil_seal::SystemEntropy;
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::{self, START, event};
use rusqlite::ErrorCode;
use tempfile::TempDir;

use super::*;
use crate::sqlite::open::{Options, open};

/// A way to hear what a job was answered.
type Answer<T> = oneshot::Receiver<Result<T>>;

struct Bench {
    shell: Shell,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let (ready, folder) = ready();
        let shell = Shell {
            bell: Bell::default(),
            clock: clock(),
            pulse: Pulse::new(clock()),
            queue: Arc::default(),
            kept: Kept {
                left_out: Arc::default(),
                macs: Arc::new(RowMacs::new(clock())),
                checked: Arc::new(Checked::new(&clock())),
                memory: Arc::default(),
                lives: kept::Kept::new(&clock()),
                texts: Texts::default(),
            },
            salts: RefCell::new(ready.salts),
            connection: ready.connection,
            fence: ready.fence,
            database_id: ready.database_id,
            unsettled: false,
            untidy: false,
            wal_pages_max: WAL_PAGES_MAX,
            wal_looked_at: 0,
            lock_try: Duration::ZERO,
        };
        Self { shell, folder }
    }

    fn last_entry(&self) -> i64 {
        let sql = "SELECT coalesce(max(seq), 0) FROM audit";
        self.shell
            .connection
            .query_row(sql, [], |row| row.get(0))
            .unwrap()
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(START))
}

fn ready() -> (Ready, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        database: folder.path().join("data/db"),
        fence: folder.path().join("fence"),
    };
    std::fs::create_dir(folder.path().join("data")).unwrap();
    (
        open(&options, START, Arc::new(SystemEntropy)).unwrap(),
        folder,
    )
}

fn job<T: Send + 'static>(
    work: impl FnOnce(&Batch<'_>) -> std::result::Result<T, Fault> + Send + 'static,
) -> (Box<dyn Job>, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    let task = Task {
        patience: Patience::Endless,
        work: Some(work),
        result: None,
        reply,
    };
    (Box::new(task), answer)
}

fn logging() -> (Box<dyn Job>, Answer<()>) {
    job(log_one)
}

fn log_one(batch: &Batch<'_>) -> std::result::Result<(), Fault> {
    Ok(batch.log(&event(Kind::AuditRead, START), Said::default())?)
}

/// Writes what only the commit finds to be wrong.
fn orphan_found_at_commit(batch: &Batch<'_>) -> std::result::Result<(), Fault> {
    batch
        .connection
        .pragma_update(None, "defer_foreign_keys", true)?;
    batch.execute(
        "INSERT INTO embed (id, merchant, origins, copy_cvv, enabled, created_at)
         VALUES ('emb_1', 'mer_none', '[]', 0, 0, 0)",
        [],
    )?;
    log_one(batch)
}

#[test]
fn a_job_that_sqlite_refuses_takes_its_batch_with_it() {
    let mut bench = Bench::new();
    let (first, first_answer) = logging();
    let (bad, bad_answer) = job(|batch| {
        log_one(batch)?;
        Ok(batch.execute(
            "INSERT INTO meta (one, database_id, epoch) VALUES (2, x'', 0)",
            [],
        )?)
    });
    let (last, last_answer) = logging();
    bench.shell.serve(vec![first, bad, last]);
    assert_eq!(bench.last_entry(), 0, "nothing is left of any");
    assert!(matches!(
        bad_answer.blocking_recv(),
        Ok(Err(Error::Unavailable(_)))
    ));
    for answer in [first_answer, last_answer] {
        assert!(matches!(
            answer.blocking_recv(),
            Ok(Err(Error::Unavailable(_)))
        ));
    }
    let (next, next_answer) = logging();
    bench.shell.serve(vec![next]);
    assert!(
        matches!(next_answer.blocking_recv(), Ok(Ok(()))),
        "and it goes on"
    );
    assert_eq!(bench.last_entry(), 1);
}

/// What tokens live by is kept from batch to batch. A change in a claim's own batch is seen, and one
/// that is taken back leaves nothing, though the next has the same count.
#[test]
fn what_is_kept_follows_a_change_in_its_own_batch() {
    let enabled = || {
        job(|batch| {
            let of = LivesOf {
                credential: sample::credential(1).id,
                merchant: sample::merchant(1).id,
                embed: sample::embed(1).id,
            };
            let lives = batch.lives(of)?;
            Ok(lives.embed.as_ref().map(|embed| embed.enabled))
        })
    };
    let sql = |sql: &'static str| job(move |batch| Ok(batch.execute(sql, [])?));
    let mut bench = Bench::new();
    let (add, _) = job(|batch| {
        let add = |change, kind| (change, event(kind, START));
        let changes = Changes(vec![
            add(
                Change::AddMerchant(sample::merchant(1)),
                Kind::MerchantAdded,
            ),
            add(
                Change::AddCredential(sample::credential(1)),
                Kind::CredentialAdded,
            ),
            add(Change::AddEmbed(sample::embed(1)), Kind::EmbedAdded),
        ]);
        Ok(changes.run(&Loads::of_job(batch))?)
    });
    let (first, seen) = enabled();
    bench.shell.serve(vec![add]);
    bench.shell.serve(vec![first]);
    assert!(matches!(seen.blocking_recv(), Ok(Ok(Some(true)))));

    let (disable, _) = sql("UPDATE embed SET enabled = 0");
    let (then, seen) = enabled();
    bench.shell.serve(vec![disable, then]);
    assert!(matches!(seen.blocking_recv(), Ok(Ok(Some(false)))));
    let (enable, _) = sql("UPDATE embed SET enabled = 1");
    bench.shell.serve(vec![enable]);

    let (disable, _) = sql("UPDATE embed SET enabled = 0");
    let (then, _) = enabled();
    let (bad, _) = sql("INSERT INTO meta (one, database_id, epoch) VALUES (2, x'', 0)");
    bench.shell.serve(vec![disable, then, bad]);
    let (other, _) = sql("UPDATE embed SET copy_cvv = 1");
    bench.shell.serve(vec![other]);
    let (last, seen) = enabled();
    bench.shell.serve(vec![last]);
    assert!(matches!(seen.blocking_recv(), Ok(Ok(Some(true)))));
}

#[test]
fn a_job_that_fails_before_it_writes_fails_alone() {
    let mut bench = Bench::new();
    let (first, first_answer) = logging();
    let (bad, bad_answer) = job::<()>(|_| Err(Fault::Own(Error::Corrupt("a row".into()))));
    bench.shell.serve(vec![first, bad]);
    assert!(matches!(first_answer.blocking_recv(), Ok(Ok(()))));
    assert!(matches!(
        bad_answer.blocking_recv(),
        Ok(Err(Error::Corrupt(_)))
    ));
    assert_eq!(bench.last_entry(), 1);
}

#[test]
fn a_job_that_fails_half_way_leaves_no_half() {
    let mut bench = Bench::new();
    let (first, first_answer) = logging();
    let (bad, bad_answer) = job::<()>(|batch| {
        log_one(batch)?;
        Err(Fault::Own(Error::Corrupt("a row".into())))
    });
    bench.shell.serve(vec![first, bad]);
    assert!(matches!(
        first_answer.blocking_recv(),
        Ok(Err(Error::Unavailable(_)))
    ));
    assert!(matches!(
        bad_answer.blocking_recv(),
        Ok(Err(Error::Unavailable(_)))
    ));
    assert_eq!(bench.last_entry(), 0);
}

#[test]
fn a_failed_commit_that_is_known_to_be_undone_wrote_nothing() {
    let mut bench = Bench::new();
    let (bad, answer) = job(orphan_found_at_commit);
    bench.shell.serve(vec![bad]);
    assert!(matches!(
        answer.blocking_recv(),
        Ok(Err(Error::Unavailable(_)))
    ));
    assert!(!bench.shell.unsettled, "a later commit has settled it");
    assert_eq!(bench.last_entry(), 0);
}

#[test]
fn after_a_commit_of_unknown_outcome_nothing_is_answered_before_another_succeeds() {
    let mut bench = Bench::new();
    let (bad, answer) = job(|batch| {
        orphan_found_at_commit(batch)?;
        Ok(batch.connection.pragma_update(None, "query_only", true)?)
    });
    bench.shell.serve(vec![bad]);
    assert!(matches!(answer.blocking_recv(), Ok(Err(Error::Unknown(_)))));

    let (reads, answer) = job(|batch| Ok(batch.epoch()));
    bench.shell.serve(vec![reads]);
    assert!(
        matches!(answer.blocking_recv(), Ok(Err(Error::Unavailable(_)))),
        "not even what writes nothing"
    );

    let writable = bench
        .shell
        .connection
        .pragma_update(None, "query_only", false);
    writable.unwrap();
    let (reads, answer) = job(|batch| Ok(batch.epoch()));
    bench.shell.serve(vec![reads]);
    assert!(matches!(answer.blocking_recv(), Ok(Ok(_))));
    assert!(!bench.shell.unsettled);
    assert_eq!(bench.last_entry(), 0);
}

#[test]
fn a_full_disk_refuses_whole_batches_and_is_got_over() {
    let mut bench = Bench::new();
    let limit = |bench: &Bench, pages: i64| {
        let connection = &bench.shell.connection;
        connection
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
    };
    let pages: i64 = bench
        .shell
        .connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    limit(&bench, pages + 2).unwrap();
    let mut full = None;
    for _ in 0..1_000 {
        let before = bench.last_entry();
        let (jobs, answers): (Vec<_>, Vec<_>) = (0..10).map(|_| logging()).unzip();
        bench.shell.serve(jobs);
        let answers: Vec<_> = answers
            .into_iter()
            .map(|a| a.blocking_recv().unwrap())
            .collect();
        if let Err(error) = &answers[0] {
            assert!(answers.iter().all(Result::is_err), "{answers:?}");
            assert_eq!(bench.last_entry(), before, "no half of a batch");
            full = Some(error.to_string());
            break;
        }
        assert_eq!(bench.last_entry(), before + 10);
    }
    assert!(full.unwrap().contains("full"), "it says why");
    limit(&bench, 1_000_000).unwrap();
    let (next, answer) = logging();
    bench.shell.serve(vec![next]);
    assert!(matches!(answer.blocking_recv(), Ok(Ok(()))));
}

/// Since the sample's start.
const fn pending(failed: bool) -> Writes {
    Writes::Pending {
        since: START,
        failed,
    }
}

/// Serves one job that writes and one that does not, and tells how writes go after each.
fn writes_after(bench: &mut Bench) -> [Writes; 2] {
    let idle: (Box<dyn Job>, Answer<Epoch>) = job(|batch| Ok(batch.epoch()));
    [logging().0, idle.0].map(|job| {
        bench.shell.serve(vec![job]);
        bench.shell.pulse.writes()
    })
}

#[test]
fn a_batch_that_fails_by_its_own_fault_says_nothing_of_writes() {
    let mut bench = Bench::new();
    let (bad, _) = job(orphan_found_at_commit);
    let (worse, _) = job::<()>(|batch| {
        log_one(batch)?;
        Err(Fault::Own(Error::Corrupt("a row".into())))
    });
    for job in [bad, worse] {
        bench.shell.serve(vec![job]);
        assert_eq!(bench.shell.pulse.writes(), Writes::Fine);
    }
}

/// As on a full disk, a commit of nothing succeeds.
#[test]
fn writes_fail_until_one_is_committed_even_if_nobody_comes_to_write() {
    let mut bench = Bench::new();
    assert_eq!(writes_after(&mut bench), [Writes::Fine; 2]);
    let refuse = |bench: &Bench, refused: bool| {
        let connection = &bench.shell.connection;
        connection
            .pragma_update(None, "query_only", refused)
            .unwrap();
    };
    refuse(&bench, true);
    assert_eq!(writes_after(&mut bench), [pending(true); 2]);
    refuse(&bench, false);
    let (idle, answer) = job(|batch| Ok(batch.epoch()));
    bench.shell.serve(vec![idle]);
    assert!(matches!(answer.blocking_recv(), Ok(Ok(_))));
    assert_eq!(bench.shell.pulse.writes(), Writes::Fine);
}

#[test]
fn writes_fail_while_the_fence_cannot_be_written() {
    let mut bench = Bench::new();
    let read_only = std::fs::File::open(bench.folder.path().join("fence")).unwrap();
    let whole = bench.shell.fence.swap(read_only);
    bench.shell.serve(vec![logging().0]);
    assert_eq!(bench.last_entry(), 1, "it was committed before the fence");
    assert_eq!(writes_after(&mut bench), [pending(true); 2]);
    bench.shell.fence.swap(whole);
    assert_eq!(writes_after(&mut bench), [Writes::Fine; 2]);
}

/// A program with the file open, as a copy of `sqlite3`, a backup tool or a second server.
fn other(folder: &TempDir) -> Connection {
    Connection::open(folder.path().join("data/db")).unwrap()
}

#[test]
fn a_lock_of_another_program_is_seen_before_and_after_anybody_writes_sonarr_1886() {
    let mut bench = Bench::new();
    let mut look = || {
        bench.shell.look();
        bench.shell.pulse.writes()
    };
    assert_eq!(look(), Writes::Fine);
    let other = other(&bench.folder);
    for _ in 0..2 {
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let locked_out = Writes::LockedOut { since: START };
        assert_eq!([look(), look()], [locked_out; 2]);
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(look(), Writes::Fine);
    }
}

/// As an import beside a server: the lock is taken again before the writer has seen that it was
/// free.
#[test]
fn a_program_that_commits_locks_nobody_out() {
    let bench = Bench::new();
    let other = other(&bench.folder);
    let commits = || bench.shell.commits_of_others().unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = commits();
    other
        .execute_batch("UPDATE meta SET barrier = barrier + 1")
        .unwrap();
    assert_eq!(commits(), before, "one that holds it");
    other.execute_batch("COMMIT; BEGIN IMMEDIATE").unwrap();
    assert_ne!(commits(), before);
}

#[test]
fn a_lock_that_goes_does_not_hide_that_writes_fail() {
    let mut bench = Bench::new();
    let read_only = std::fs::File::open(bench.folder.path().join("fence")).unwrap();
    let whole = bench.shell.fence.swap(read_only);
    bench.shell.serve(vec![logging().0]);
    let other = other(&bench.folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let locked_out = Writes::LockedOut { since: START };
    assert_eq!(writes_after(&mut bench), [locked_out; 2]);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(writes_after(&mut bench), [pending(true); 2]);
    bench.shell.fence.swap(whole);
    assert_eq!(writes_after(&mut bench), [Writes::Fine; 2]);
}

#[test]
fn the_log_cannot_be_changed() {
    let bench = Bench::new();
    let connection = &bench.shell.connection;
    connection
        .execute(
            "INSERT INTO audit (event, chain_hash) VALUES ('{}', zeroblob(32))",
            [],
        )
        .unwrap();
    for sql in ["UPDATE audit SET event = ''", "DELETE FROM audit"] {
        let error = connection.execute(sql, []).unwrap_err();
        assert_eq!(
            error.sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation),
            "{sql}"
        );
    }
}

fn started() -> (Arc<Writer>, TempDir) {
    let (ready, folder) = ready();
    let macs = Arc::new(RowMacs::new(clock()));
    let checked = Arc::new(Checked::new(&clock()));
    let kept = (Arc::default(), macs, checked);
    let writer = Writer::start(ready, clock(), kept).unwrap();
    (Arc::new(writer), folder)
}

/// Keeps the writer busy until it is told to go on.
async fn busy(writer: &Arc<Writer>) -> (mpsc::Sender<()>, tokio::task::JoinHandle<Result<()>>) {
    let (go, wait) = mpsc::channel::<()>();
    let (started, has_started) = oneshot::channel();
    let writer = Arc::clone(writer);
    let busy = tokio::spawn(async move {
        let work = move |batch: &Batch<'_>| {
            started.send(()).unwrap();
            wait.recv().unwrap();
            log_one(batch)
        };
        writer.submit(Patience::Endless, work).await
    });
    has_started.await.unwrap();
    (go, busy)
}

#[tokio::test]
async fn a_write_waits_for_another_program_which_is_told_meanwhile_uptime_kuma_3786() {
    let (writer, folder) = started();
    let other = other(&folder);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let told = async {
        while writer.writes() != (Writes::LockedOut { since: START }) {
            tokio::task::yield_now().await;
        }
        other.execute_batch("COMMIT").unwrap();
    };
    let (written, ()) =
        futures_util::future::join(writer.submit(Patience::Endless, log_one), told).await;
    written.unwrap();
    assert_eq!(writer.writes(), Writes::Fine);
}

#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing() {
    let (writer, _folder) = started();
    let (go, first) = busy(&writer).await;
    let waiting: Vec<_> = (0..QUEUE_MAX)
        .map(|_| {
            let (job, answer) = logging();
            writer.queue.push(job).unwrap();
            answer
        })
        .collect();
    let refused = writer.submit(Patience::Endless, log_one).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert_eq!(writer.writes(), pending(false), "as long as it takes");
    go.send(()).unwrap();
    first.await.unwrap().unwrap();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    let last = writer
        .submit(Patience::Endless, |batch| {
            Ok(batch.place.get().generation())
        })
        .await;
    assert_eq!(last.unwrap(), i64::try_from(QUEUE_MAX).unwrap() + 1);
}

#[tokio::test]
async fn what_waits_when_it_is_closed_is_done() {
    let (writer, folder) = started();
    let (go, first) = busy(&writer).await;
    let (job, answer) = logging();
    writer.queue.push(job).unwrap();
    writer.queue.close();
    let refused = writer.submit(Patience::Endless, log_one).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))));
    go.send(()).unwrap();
    first.await.unwrap().unwrap();
    answer.await.unwrap().unwrap();
    writer.close();
    let wal = folder.path().join("data/db-wal");
    assert!(!wal.exists(), "the last connection has tidied up");
}

#[tokio::test]
async fn a_panic_is_an_unknown_outcome_and_then_nothing_is_taken() {
    let (writer, _folder) = started();
    let (go, first) = busy(&writer).await;
    let (panicking, in_batch) = job::<()>(|_| panic!("planted"));
    writer.queue.push(panicking).unwrap();
    go.send(()).unwrap();
    first.await.unwrap().unwrap();
    assert!(
        in_batch.await.is_err(),
        "its caller is told that it is unknown"
    );
    writer.close();
    assert_eq!(writer.writes(), Writes::Ended);
    let refused = writer.submit(Patience::Endless, log_one).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}
