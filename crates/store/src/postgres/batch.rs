//! A transaction under way, for the jobs in it.
//!
//! Jobs run one after the other, as in SQLite; but the batches of other nodes run at the same time.
//! What keeps them apart:
//!
//! 1. A job **locks what it decides on** (`FOR UPDATE`), so that of two batches the second waits
//!    and then reads what the first has committed. What may not be there is locked by inserting it,
//!    or by its row of `guard`. The budgets and the rows of `guard` that its jobs [share](Shared)
//!    with others are locked before any of them runs, in one order. The tokens of all claims of a
//!    batch, and their cards, are locked by two statements, after all other jobs of this kind; what
//!    is kept of them follows what the batch itself writes.
//! 2. **The head of the audit log** (the one row of `meta`) is locked last, before the entries are
//!    written, until the commit. So entries are committed in the order of their places, and whoever
//!    has read the log up to a place misses nothing before it. Those who raise the epoch hold it
//!    too: a batch that began under an older epoch is run again.
//! 3. Jobs that look at more than rows which they can lock (the registry, the outbox) run **under
//!    the head**, after all others of their batch, and therefore one after the other in the whole
//!    cluster. They lock nothing that others hold while they wait for the head.
//!
//! What tokens live by is written in case 3 and decides in case 1, without a lock: see
//! [`crate::sql::kept`].
//!
//! **Invariant:** no row that case 3 writes is locked by a job of case 1; but for what an operator
//! does to keys and credentials while their records are moved to another key. Then, and where two
//! jobs of case 1 lock the same cards in other orders, PostgreSQL finds the deadlock within a
//! second, and one of the two batches is run again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cardveil_core::audit::Event;
use cardveil_core::audit::personal::Salts;
use cardveil_core::budget::Of;
use cardveil_core::hook::Subscription;
use cardveil_core::id::{CardId, MerchantId};
use cardveil_core::port::Needs;
use cardveil_core::token::{Epoch, Lives, LivesOf};
use cardveil_core::vault::RowMacs;
use futures_util::FutureExt as _;
use futures_util::future::join3;
use tokio::runtime::Runtime;

use super::audit::{self, Head};
use super::budgets;
use super::cards;
use super::fault::Fault;
use super::link::{ANSWER_WITHIN, Link, Sent, within};
use super::outbox;
use super::row::Row;
use super::schema;
use super::tokens;
use crate::left_out::LeftOut;
use crate::sql::deciding::{KEEP_CHANGES, RowKey, RowMemory, Said, Versions, kept_change};
use crate::sql::kept::{Checked, Count, Kept, are_whole};
use crate::sql::value::{Row as _, Value, columns, values};
use crate::sql::{LIVES, lives_key, name_of, rows};

/// How many rows of `guard` there are.
const GUARDS: u64 = 1_024;

pub(super) struct Batch<'a> {
    link: &'a Link,
    runtime: &'a Runtime,
    epoch: Cell<Epoch>,
    /// Where the audit log ends, once the head is held.
    head: Cell<Option<Head>>,
    log: RefCell<Vec<Logged>>,
    salts: &'a RefCell<Salts>,
    /// Sent and not yet answered.
    sent: RefCell<Vec<Sent>>,
    told: RefCell<HashMap<MerchantId, Vec<Subscription>>>,
    pub(super) tokens: tokens::Gathered,
    kept: &'a Kept<LivesOf, Lives>,
    left_out: &'a LeftOut,
    macs: &'a RowMacs,
    checked: &'a Checked,
    versions: Versions<'a>,
    /// How often what tokens live by had been changed when this began. The count is read again under
    /// the head of the audit log: where both are the same, what was read in between, or before under
    /// the same count, is what the commit finds.
    lives: Count,
    /// Whether a job was decided by it.
    lives_used: Cell<bool>,
    pub(super) budgets: RefCell<budgets::Held>,
    /// Of `guard`, that are held.
    slots: RefCell<BTreeSet<i64>>,
    pub(super) card_states: RefCell<HashMap<CardId, cards::Held>>,
    /// Something was queued or settled in the outbox.
    ring: Cell<bool>,
}

/// An event that gets its place at the end of the batch, and who is to be told of it.
struct Logged {
    event: Event,
    said: Said,
    /// Nothing while the head is not held: only under it is it certain who is subscribed.
    told: Option<Vec<Subscription>>,
}

/// What is true once the batch is committed.
#[derive(Clone, Debug)]
pub(super) struct Committed {
    pub(super) epoch: Epoch,
    /// Nothing when the batch has logged nothing.
    pub(super) audit_seq: Option<i64>,
    pub(super) ring: bool,
    /// What is remembered of rows.
    pub(super) brief: Vec<(RowKey, i64)>,
}

impl<'a> Batch<'a> {
    pub(super) fn begin(
        link: &'a Link,
        runtime: &'a Runtime,
        kept: &'a Kept<LivesOf, Lives>,
        (left_out, macs, checked): (&'a LeftOut, &'a RowMacs, &'a Checked),
        memory: &Arc<RowMemory>,
        salts: &'a RefCell<Salts>,
        (writer, number): (&[u8; 16], i64),
    ) -> Result<Self, Fault> {
        // Held from here on: whoever looks a commit up waits until the server has ended the
        // transaction, however much of it was sent and not answered.
        const HOLD_OWN: &str = "INSERT INTO writer (id, batch, knows) VALUES ($1, $2, $3)
             ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, touched_at = now()";
        let own = values![writer, number, i64::from(schema::known())];
        let lives = runtime.block_on(async {
            // Each is sent before the one ahead of it is answered.
            let rows = link.query("SELECT epoch, lives FROM meta", &[]);
            let own = link.execute(HOLD_OWN, &own);
            let (begun, rows, held) = join3(link.run("BEGIN"), rows, own).await;
            begun?;
            let rows = rows?;
            held?;
            let row = rows.first().ok_or_else(schema::not_there)?;
            Ok::<_, Fault>(Count {
                epoch: Epoch(row.get(0)?),
                changes: row.get(1)?,
            })
        })?;
        let epoch = lives.epoch;
        Ok(Self {
            link,
            runtime,
            epoch: Cell::new(epoch),
            head: Cell::default(),
            log: RefCell::default(),
            salts,
            sent: RefCell::default(),
            told: RefCell::default(),
            tokens: tokens::Gathered::default(),
            kept,
            left_out,
            macs,
            checked,
            versions: Versions::new(memory, epoch, salts),
            lives,
            lives_used: Cell::default(),
            budgets: RefCell::default(),
            slots: RefCell::default(),
            card_states: RefCell::default(),
            ring: Cell::default(),
        })
    }

    /// Where rows that cannot be read are noted.
    pub(super) const fn left_out(&self) -> &LeftOut {
        self.left_out
    }

    /// Makes and checks the MACs of rows.
    pub(super) const fn macs(&self) -> &RowMacs {
        self.macs
    }

    /// Rows that were looked up and whose MACs were right.
    pub(super) const fn checked(&self) -> &Checked {
        self.checked
    }

    /// The versions of its rows.
    pub(super) const fn versions(&self) -> &Versions<'_> {
        &self.versions
    }

    /// Runs a statement; tells how many rows it changed.
    pub(super) fn execute(&self, sql: &str, values: impl AsRef<[Value]>) -> Result<usize, Fault> {
        let changed = self
            .runtime
            .block_on(self.link.execute(sql, values.as_ref()))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// Sends a statement and does not wait for its answer: the commit is sent behind it, and counts
    /// only where it succeeded.
    /// The server runs statements in the order in which they were sent.
    pub(super) fn send(&self, sql: &str, values: impl Into<Vec<Value>>) -> Result<(), Fault> {
        let mut sent = self
            .runtime
            .block_on(self.link.prepare(sql, values.into()))?;
        match (&mut sent).now_or_never() {
            Some(answer) => drop(answer?),
            None => self.sent.borrow_mut().push(sent),
        }
        Ok(())
    }

    /// The first row that a query finds.
    pub(super) fn first<T>(
        &self,
        sql: &str,
        values: impl AsRef<[Value]>,
        read: impl FnOnce(&Row) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let rows = self
            .runtime
            .block_on(self.link.query(sql, values.as_ref()))?;
        rows.first().map(read).transpose()
    }

    /// All rows that a query finds.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        values: impl AsRef<[Value]>,
        read: impl FnMut(&Row) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let rows = self
            .runtime
            .block_on(self.link.query(sql, values.as_ref()))?;
        rows.iter().map(read).collect()
    }

    /// Holds, until the commit, whatever goes by this name.
    pub(super) fn guard<const PARTS: usize>(&self, names: &[[&[u8]; PARTS]]) -> Result<(), Fault> {
        // Of many in one statement, in the order of the slots.
        self.hold_slots(&names.iter().map(|name| slot(name)).collect())
    }

    /// Holds, until the commit, what its jobs share with those of other batches.
    pub(super) fn hold(&self, shared: &Shared) -> Result<(), Fault> {
        budgets::hold(self, &shared.budgets)?;
        self.hold_slots(&shared.slots)
    }

    fn hold_slots(&self, slots: &BTreeSet<i64>) -> Result<(), Fault> {
        const HOLD: &str = "SELECT guard.slot FROM unnest($1::bigint[]) AS wanted (slot)
             CROSS JOIN LATERAL (SELECT slot FROM guard WHERE slot = wanted.slot FOR UPDATE)
             AS guard";
        let mut held = self.slots.borrow_mut();
        let missing: Vec<_> = slots.difference(&held).copied().collect();
        if !missing.is_empty() {
            self.all(HOLD, [missing.iter().copied().collect()], |_| Ok(()))?;
            held.extend(missing);
        }
        Ok(())
    }

    /// Appends to the audit log, and queues what merchants are told of. Nothing else writes to it.
    pub(super) fn log(&self, event: &Event, said: Said) -> Result<(), Fault> {
        let told = match self.head.get() {
            Some(_) => Some(outbox::told(self, event)?),
            None => None,
        };
        self.log.borrow_mut().push(Logged {
            event: event.clone(),
            said,
            told,
        });
        Ok(())
    }

    /// Has the bell rung once this is committed.
    pub(super) fn ring(&self) {
        self.ring.set(true);
    }

    /// The epoch as it is in this transaction.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch.get()
    }

    /// Puts another epoch in its place. Only under the head.
    pub(super) fn set_epoch(&self, epoch: Epoch) -> Result<(), Fault> {
        self.send("UPDATE meta SET epoch = $1", values![epoch.0])?;
        self.epoch.set(epoch);
        self.versions.turn_to(epoch);
        Ok(())
    }

    /// What a token lives by, as the commit finds it.
    pub(super) fn lives(&self, of: LivesOf) -> Result<Arc<Lives>, Fault> {
        let alone = self.head.get().is_none();
        if alone {
            self.lives_used.set(true);
            if let Some(lives) = self.kept.find(self.lives, &of) {
                return Ok(lives);
            }
        }
        let keys = columns(vec![lives_key(&of)]);
        let found = self.first(&LIVES.many, keys, |row| rows::lives(self.macs, row))?;
        let lives = Arc::new(found.unwrap_or_default());
        // The batch itself changes them under the head only.
        if alone && are_whole(&lives) {
            self.kept.keep(self.lives, of, &lives);
        }
        Ok(lives)
    }

    /// The subscriptions that were looked up in this batch before.
    pub(super) fn told(&self) -> &RefCell<HashMap<MerchantId, Vec<Subscription>>> {
        &self.told
    }

    /// Holds the head of the audit log until the commit.
    pub(super) fn hold_head(&self) -> Result<Head, Fault> {
        if let Some(head) = self.head.get() {
            return Ok(head);
        }
        let read = |row: &Row| Ok((audit::head(row)?, row.get::<i64>(7)?));
        let found = self.first(audit::HOLD, values![], read)?;
        let ((epoch, head), lives) = found.ok_or_else(schema::not_there)?;
        let outlived = self.lives_used.get() && self.lives.changes != lives;
        if epoch != self.epoch.get() || outlived {
            return Err(Fault::Stale);
        }
        self.head.set(Some(head));
        self.tell_of_what_was_logged()?;
        Ok(head)
    }

    fn tell_of_what_was_logged(&self) -> Result<(), Fault> {
        let mut log = self.log.borrow_mut();
        let merchants = log
            .iter()
            .filter_map(|logged| outbox::listener(&logged.event));
        outbox::look_up_told(self, merchants.cloned().collect())?;
        for logged in &mut *log {
            if logged.told.is_none() {
                logged.told = Some(outbox::told(self, &logged.event)?);
            }
        }
        Ok(())
    }

    /// Sends what the jobs have logged: all but the commit.
    pub(super) fn finish(&self) -> Result<(Committed, Vec<Sent>), Fault> {
        tokens::send_issued(self)?;
        let audit_seq = if self.log.borrow().is_empty() {
            None
        } else {
            Some(self.append()?)
        };
        let committed = Committed {
            epoch: self.epoch.get(),
            audit_seq,
            ring: self.ring.get(),
            brief: self.versions.take_brief(),
        };
        Ok((committed, self.sent.take()))
    }

    /// The fault with which it began: what was sent before may have failed first, and then all that
    /// follows fails because of it.
    pub(super) fn cause(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Postgres(_) => self.settle().err().unwrap_or(fault),
            Fault::Connection(_) | Fault::Stale | Fault::Unfit(_) | Fault::Own(_) => fault,
        }
    }

    /// Waits for all that was sent.
    fn settle(&self) -> Result<(), Fault> {
        for sent in self.sent.take() {
            self.runtime.block_on(within(ANSWER_WITHIN, sent))?;
        }
        Ok(())
    }

    fn append(&self) -> Result<i64, Fault> {
        let Head { end, form } = self.hold_head()?;
        let log = self.log.take();
        let salts = &mut self.salts.borrow_mut();
        let written: Result<_, _> = log
            .iter()
            .map(|logged| audit::write(&logged.event, logged.said.version, form, salts))
            .collect();
        let (entries, place, last) = audit::append(end, written?);
        self.send(audit::ADVANCE, place)?;
        self.send(audit::APPEND, entries)?;
        let mut kept = Vec::new();
        for (seq, logged) in (rows::seq(&end) + 1..).zip(&log) {
            let changed = logged.said.changed.iter().cloned();
            kept.extend(changed.map(|changed| Vec::from(kept_change(changed, seq))));
            for subscription in logged.told.iter().flatten() {
                outbox::queue(self, subscription, seq, &logged.event)?;
                self.ring();
            }
        }
        if !kept.is_empty() {
            self.send(&KEEP_CHANGES, columns(kept))?;
        }
        Ok(rows::seq(&last))
    }
}

/// What jobs of many batches lock, each in an order of its own: budgets and slots of `guard`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shared {
    budgets: BTreeSet<Vec<u8>>,
    slots: BTreeSet<i64>,
}

impl Shared {
    pub(super) fn of(needs: &Needs) -> Self {
        let person = needs.person.iter();
        let slot_of = |(merchant, person)| slot(&name_of(merchant, person));
        Self {
            budgets: needs.budgets.iter().map(Of::key).collect(),
            slots: person.map(|(m, p)| slot_of((m, p))).collect(),
        }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.budgets.extend(other.budgets.iter().cloned());
        self.slots.extend(&other.slots);
    }
}

fn slot(name: &[&[u8]]) -> i64 {
    i64::try_from(fnv(name) % GUARDS).unwrap_or_default()
}

/// FNV-1a over the parts, each with its length: which row of `guard` stands for a name. Two names
/// may share one; then one waits for the other and nothing else happens.
fn fnv(name: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for part in name {
        part.len().to_be_bytes().into_iter().for_each(&mut eat);
        part.iter().copied().for_each(&mut eat);
    }
    hash
}
