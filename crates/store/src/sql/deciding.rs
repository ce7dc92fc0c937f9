//! Rows that decide: whose card is whose, and who may call (P11).
//!
//! Each has a version, which counts its changes, and a MAC over what it says, where it stands and
//! its version. Here is the one place where MACs are made and checked: what is read of a row is
//! [`Unchecked`] until [`Table::load`] has checked it.
//!
//! **Invariant:** the columns of a kind that decides keep their order, and one that comes later may
//! be null: a MAC says nothing of what is null, so that of a row from before stays right.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cardveil_core::audit::chain::ByteText;
use cardveil_core::audit::personal::Salts;
use cardveil_core::audit::{Event, Kind};
use cardveil_core::token::Epoch;
use cardveil_core::vault::{RowMacs, tellable};

use super::kept::{Guarded, Known};
use super::rows::{CARD, CLASS_KEY};
use super::table::{Statement, Table};
use super::value::{Row, Value, values};

/// How the rows of a kind are guarded.
#[derive(Clone, Copy)]
pub(crate) struct Deciding {
    /// The places of the columns that the MAC leaves out: what is sealed to its place in its own
    /// right, so that it moves to another key without a new version.
    pub(crate) sealed: Places,
    /// Which of its versions are kept.
    pub(crate) keeps: Keeps,
}

/// Which versions of a kind's rows are kept beside the entry of the log that they came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// All, for as long as there is a log.
    All,
    /// Of a row that lives for minutes, those after the first, for as long as there is the row.
    Later,
    /// None: the process remembers them.
    Nothing,
}

impl Keeps {
    fn has(self, version: i64) -> bool {
        match self {
            Self::All => true,
            Self::Later => version > UNVERSIONED + 1,
            Self::Nothing => false,
        }
    }

    /// Whether its rows live for minutes only.
    pub(crate) fn is_brief(self) -> bool {
        self != Self::All
    }
}

/// Places of columns, a bit each.
#[derive(Clone, Copy)]
pub(crate) struct Places(u64);

impl Places {
    pub(crate) const NONE: Self = Self(0);

    /// From a first place up to before a last.
    pub(crate) const fn with(self, first: u8, end: u8) -> Self {
        let (mut bits, mut place) = (self.0, first);
        while place < end {
            bits |= 1 << place;
            place += 1;
        }
        Self(bits)
    }

    pub(crate) const fn has(self, place: usize) -> bool {
        (self.0 >> place) & 1 == 1
    }
}

/// What was read of a row, before its MAC was checked.
pub(crate) struct Unchecked<T>(T);

impl<T> Unchecked<T> {
    pub(crate) const fn new(read: T) -> Self {
        Self(read)
    }

    /// Of a copy of a database, by which nothing is decided.
    pub(crate) fn of_a_copy(self) -> T {
        self.0
    }
}

/// The version of a row that was never changed under a MAC.
pub(super) const UNVERSIONED: i64 = 0;
/// The least by which the version of a row grows with a change: what is given to one from before MACs
/// is less.
const FIRST_STEP: i64 = 2;

/// A table and a key in it.
pub(crate) type RowKey = (&'static str, Vec<u8>);

/// How many rows of a kind are remembered.
const REMEMBERED_MAX: usize = 50_000;

/// The versions that this process has committed of rows that live for minutes only: one that is put
/// back is not taken for what it was. Bounded: what comes after most forgets the first by its key,
/// which begins with the time of issue. Another epoch comes with an older state of all rows, in
/// which no row of before is good.
#[derive(Default)]
pub(crate) struct RowMemory(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    epoch: Option<Epoch>,
    kinds: HashMap<&'static str, BTreeMap<Vec<u8>, i64>>,
}

impl RowMemory {
    /// They were committed.
    pub(crate) fn remember(&self, rows: Vec<(RowKey, i64)>) {
        if rows.is_empty() {
            return;
        }
        let mut remembered = self.remembered();
        for ((kind, key), version) in rows {
            let of_kind = remembered.kinds.entry(kind).or_default();
            of_kind.insert(key, version);
            if of_kind.len() > REMEMBERED_MAX {
                of_kind.pop_first();
            }
        }
    }

    fn turn_to(&self, epoch: Epoch) {
        let mut remembered = self.remembered();
        // One that a hand has set back makes nobody forget.
        if remembered.epoch < Some(epoch) {
            remembered.epoch = Some(epoch);
            remembered.kinds.clear();
        }
    }

    fn knows_later(&self, (kind, key): &RowKey, version: i64) -> bool {
        let remembered = self.remembered();
        let known = remembered.kinds.get(kind);
        let known = known.and_then(|of_kind| of_kind.get(key));
        known.is_some_and(|known| *known > version)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The versions of the rows of a batch, as they are in its transaction.
///
/// A row's next version is greater by chance: in a copy of the database that goes on by itself the
/// same row gets others, so that none of the copy's is taken for one that was written here. The rows
/// that live for minutes only count by one: one of a version that the row has had is refused.
pub(crate) struct Versions<'a> {
    memory: Arc<RowMemory>,
    chance: &'a RefCell<Salts>,
    seen: RefCell<HashMap<RowKey, Seen>>,
    /// Of rows that live for minutes only, those that were changed.
    brief: RefCell<Vec<(RowKey, i64)>>,
    /// Of rows that were changed and whose event was not yet logged.
    changed: RefCell<Vec<Changed>>,
}

/// The version of a row as it is in a transaction.
#[derive(Clone, Copy)]
struct Seen {
    version: i64,
    /// Whether the transaction has changed it.
    is_changed: bool,
}

/// What an event says of the rows that it is of.
#[derive(Default)]
pub(crate) struct Said {
    /// The version of the row after it.
    pub(crate) version: Option<u64>,
    /// The rows whose versions are kept.
    pub(crate) changed: Vec<Changed>,
}

/// A row that was changed, and its version after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) row: RowKey,
    pub(crate) version: i64,
    /// The version before, where it must be the last that is kept: else the row was put back.
    after: Option<i64>,
    /// Whether the row was deleted.
    pub(crate) is_gone: bool,
    keeps: Keeps,
}

impl<'a> Versions<'a> {
    pub(crate) fn new(memory: &Arc<RowMemory>, epoch: Epoch, chance: &'a RefCell<Salts>) -> Self {
        memory.turn_to(epoch);
        Self {
            memory: Arc::clone(memory),
            chance,
            seen: RefCell::default(),
            brief: RefCell::default(),
            changed: RefCell::default(),
        }
    }

    /// The batch raises the epoch: what was remembered is of another state.
    pub(crate) fn turn_to(&self, epoch: Epoch) {
        self.memory.turn_to(epoch);
    }

    /// What is to be remembered once the batch is committed.
    pub(crate) fn take_brief(&self) -> Vec<(RowKey, i64)> {
        self.brief.take()
    }

    /// What a row that is there has, or last had. What the transaction itself made it stays.
    pub(crate) fn saw(&self, row: RowKey, version: i64) {
        let seen = Seen {
            version,
            is_changed: false,
        };
        let mut all = self.seen.borrow_mut();
        let known = all.entry(row).or_insert(seen);
        if !known.is_changed {
            *known = seen;
        }
    }

    /// How much greater the next version of a row is.
    pub(super) fn step(&self, keeps: Keeps) -> i64 {
        if keeps.is_brief() {
            return 1;
        }
        let ByteText([a, b, c, d, ..]) = self.chance.borrow_mut().draw();
        i64::from(u32::from_be_bytes([a, b, c, d])) + FIRST_STEP
    }

    pub(super) fn next(&self, row: RowKey, keeps: Keeps) -> i64 {
        self.advance(row, keeps, self.step(keeps))
    }

    pub(super) fn advance(&self, row: RowKey, keeps: Keeps, step: i64) -> i64 {
        let (version, after) = self.reach(row.clone(), step);
        // A row that was added has no older version that could be put back.
        if keeps.is_brief() && version > UNVERSIONED + 1 {
            self.brief.borrow_mut().push((row.clone(), version));
        }
        self.changed.borrow_mut().push(Changed {
            row,
            version,
            after: after.filter(|_| !keeps.is_brief()),
            is_gone: false,
            keeps,
        });
        version
    }

    /// The version that a row has from here on, and the one before where it is the transaction's
    /// first.
    fn reach(&self, row: RowKey, step: i64) -> (i64, Option<i64>) {
        let mut all = self.seen.borrow_mut();
        let seen = all.entry(row).or_insert(Seen {
            version: UNVERSIONED,
            is_changed: false,
        });
        let after = (!seen.is_changed).then_some(seen.version);
        *seen = Seen {
            version: seen.version + step,
            is_changed: true,
        };
        (seen.version, after)
    }

    /// A job begins.
    pub(crate) fn begin_job(&self) {
        let mut changed = self.changed.borrow_mut();
        debug_assert!(changed.is_empty(), "a row was changed without an event");
        changed.clear();
    }

    /// An event is logged: what it says of the rows that were changed since the one before. Of many
    /// cards that were added together each has its own.
    pub(crate) fn said(&self, event: &Event) -> Said {
        let mut waiting = self.changed.borrow_mut();
        let card = event.target.card.filter(|_| event.kind == Kind::CardAdded);
        let own = card.and_then(|card| {
            let (name, key) = CARD.key_of(&[card.as_bytes().into()]);
            let is_it = |changed: &Changed| changed.row.0 == name && changed.row.1 == key;
            waiting.iter().position(is_it)
        });
        let mut changed = match own {
            Some(own) => vec![waiting.remove(own)],
            None => std::mem::take(&mut *waiting),
        };
        let of_one = |mut rows: std::slice::Iter<'_, Changed>| match (rows.next(), rows.next()) {
            (Some(only), None) => Some(only.version),
            _ => None,
        };
        // A session goes with its person.
        changed.retain(|changed| changed.keeps != Keeps::Nothing);
        let version = of_one(changed.iter());
        changed.retain(|changed| changed.keeps.has(changed.version));
        Said {
            version: version.map(i64::unsigned_abs),
            changed,
        }
    }

    /// A row is deleted.
    pub(crate) fn goes(&self, row: RowKey) {
        // One that never had a version is on record nowhere.
        if self.of(&row) > UNVERSIONED {
            let (version, after) = self.reach(row.clone(), self.step(Keeps::All));
            self.changed.borrow_mut().push(Changed {
                row,
                version,
                after,
                is_gone: true,
                keeps: Keeps::All,
            });
        }
    }

    fn of(&self, row: &RowKey) -> i64 {
        let seen = self.seen.borrow();
        seen.get(row).map_or(UNVERSIONED, |seen| seen.version)
    }

    /// A row was not added: another stands in its place.
    pub(crate) fn was_not_added(&self, row: &RowKey) {
        self.seen.borrow_mut().remove(row);
        self.changed
            .borrow_mut()
            .retain(|changed| changed.row != *row);
    }
}

impl<T> Table<T> {
    /// The row whose columns begin at `first`; nothing where it is not what was written, which is
    /// taken down.
    pub(crate) fn load<R: Row, U>(
        &self,
        macs: &RowMacs,
        row: &R,
        first: usize,
        read: impl FnOnce() -> Result<Unchecked<U>, R::Fault>,
    ) -> Result<Option<U>, R::Fault> {
        match self.version(macs, row, first)? {
            Some(_) => read().map(|Unchecked(read)| Some(read)),
            None => Ok(None),
        }
    }

    /// The same in a batch, which takes down the row's version.
    pub(crate) fn load_held<R: Row, U>(
        &self,
        (macs, versions): (&RowMacs, &Versions<'_>),
        row: &R,
        read: impl FnOnce() -> Result<Unchecked<U>, R::Fault>,
    ) -> Result<Option<U>, R::Fault> {
        let Some(version) = self.version(macs, row, 0)? else {
            return Ok(None);
        };
        let key = self.key_in(row, 0)?;
        if versions.memory.knows_later(&key, version) {
            self.altered(macs, row, 0);
            return Ok(None);
        }
        versions.saw(key, version);
        read().map(|Unchecked(read)| Some(read))
    }

    /// The same of a row that may have been checked when it was looked up.
    pub(crate) fn load_known<R: Row, U: PartialEq>(
        &self,
        (macs, versions): (&RowMacs, &Versions<'_>),
        known: &Known<U>,
        row: &R,
        read: impl Fn() -> Result<Unchecked<U>, R::Fault>,
    ) -> Result<Option<U>, R::Fault> {
        if let Ok(Unchecked(found)) = read()
            && let Some((key, found)) = self.as_guarded(row, found)?
            && known.has(&key, &found)
            && !versions.memory.knows_later(&key, found.version)
        {
            versions.saw(key, found.version);
            return Ok(Some(found.read));
        }
        self.load_held((macs, versions), row, read)
    }

    /// The version of the row whose columns begin at `first`; nothing where it is not what was
    /// written.
    pub(crate) fn version<R: Row>(
        &self,
        macs: &RowMacs,
        row: &R,
        first: usize,
    ) -> Result<Option<i64>, R::Fault> {
        let Some(deciding) = &self.deciding else {
            return Ok(Some(UNVERSIONED));
        };
        let at = first + self.columns.len();
        let version = row.get::<Option<i64>>(at)?.unwrap_or(UNVERSIONED);
        let mac: Option<Vec<u8>> = row.get(at + 1)?;
        let message = match &mac {
            Some(_) => self.message(deciding, version, |place, out| row.put(first + place, out))?,
            None => Vec::new(),
        };
        match macs.check(&message, mac.as_deref()) {
            Some(true)
                if macs.keeps_any_back() && macs.keeps_back(self.name, &self.shown(row, first)) =>
            {
                Ok(None)
            }
            Some(true) => Ok(Some(version)),
            Some(false) => {
                self.altered(macs, row, first);
                Ok(None)
            }
            // The keys are opened from these. Whoever opens them reads the rows once more.
            None if self.name == CLASS_KEY.name => Ok(Some(version)),
            None => Err(R::unreadable("rows cannot be checked yet")),
        }
    }

    /// All values of a row that is saved, its version and its MAC among them: its next version, but
    /// where no event is of the change.
    pub(crate) fn guarded(
        &self,
        (macs, versions): (&RowMacs, &Versions<'_>),
        row: &T,
        has_event: bool,
    ) -> Result<Vec<Value>, cardveil_core::vault::Error> {
        let mut values = self.values(row);
        let Some(deciding) = &self.deciding else {
            return Ok(values);
        };
        let key = self.key_of(&values);
        // One that another server gave a MAC keeps having one, whatever this one's clock says.
        if macs.version().is_none() && versions.of(&key) == UNVERSIONED {
            values.extend([Value::Null, Value::Null]);
            return Ok(values);
        }
        let version = if has_event {
            versions.next(key, deciding.keeps)
        } else {
            versions.of(&key)
        };
        let put = |place: usize, out: &mut Vec<u8>| {
            if let Some(value) = values.get(place) {
                value.put(out);
            }
            Ok::<_, cardveil_core::vault::Error>(())
        };
        let mac = macs.make(&self.message(deciding, version, put)?)?;
        values.extend([Value::Int(version), mac.into()]);
        Ok(values)
    }

    /// What was read of a row, with what guards it; nothing of one without a MAC.
    pub(crate) fn as_guarded<R: Row, U>(
        &self,
        row: &R,
        read: U,
    ) -> Result<Option<(RowKey, Guarded<U>)>, R::Fault> {
        let at = self.columns.len();
        let version: Option<i64> = row.get(at)?;
        let Some((version, mac)) = version.zip(row.get(at + 1)?) else {
            return Ok(None);
        };
        let guarded = Guarded { read, version, mac };
        Ok(Some((self.key_in(row, 0)?, guarded)))
    }

    fn message<E>(
        &self,
        deciding: &Deciding,
        version: i64,
        put: impl Fn(usize, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        message((self.name, deciding), self.columns.len(), version, put)
    }

    /// The key of a row of these values.
    pub(crate) fn key_of(&self, values: &[Value]) -> RowKey {
        let mut key = Vec::new();
        for value in values.iter().take(self.key) {
            value.put(&mut key);
        }
        (self.name, key)
    }

    /// The key of a row that was read.
    pub(crate) fn key_in<R: Row>(&self, row: &R, first: usize) -> Result<RowKey, R::Fault> {
        let mut key = Vec::new();
        for place in first..first + self.key {
            row.put(place, &mut key)?;
        }
        Ok((self.name, key))
    }

    fn altered<R: Row>(&self, macs: &RowMacs, row: &R, first: usize) {
        note(macs, self.name, &self.shown(row, first));
    }

    /// The key of a row, as people are told it.
    fn shown<R: Row>(&self, row: &R, first: usize) -> String {
        let key = (first..first + self.key).map(|at| row.shown(at));
        key.collect::<Vec<_>>().join(" ")
    }
}

/// What a MAC is over: the kind, the version, and each column that is not null.
pub(super) fn message<E>(
    (kind, deciding): (&'static str, &Deciding),
    columns: usize,
    version: i64,
    put: impl Fn(usize, &mut Vec<u8>) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    const USUAL_BYTES: usize = 512;
    let mut out = Vec::with_capacity(USUAL_BYTES);
    Value::from(kind).put(&mut out);
    Value::Int(version).put(&mut out);
    for place in (0..columns).filter(|place| !deciding.sealed.has(*place)) {
        let before = out.len();
        out.push(u8::try_from(place).unwrap_or(u8::MAX));
        let named = out.len();
        put(place, &mut out)?;
        if out.len() == named {
            out.truncate(before);
        }
    }
    Ok(out)
}

/// Takes down that a row is not what was written, and logs it the first time.
pub(crate) fn note(macs: &RowMacs, table: &'static str, key: &str) {
    if macs.note(table, key.to_owned()) {
        tracing::error!(
            store.table = table,
            store.row = tellable(key.to_owned()),
            "a row is not what was written: it is refused"
        );
    }
}

/// Keeps which version a row has after an entry of the audit log. Where the version before is not the
/// last that is kept there is no entry, which is refused: the row was put back before it was changed.
pub(crate) static KEEP_CHANGE: Statement = Statement::new(|| {
    format!(
        "INSERT INTO row_change (kind, key, version, seq, gone) VALUES ($1, $2, $3, {}, $5)",
        entry_of(["$1", "$2", "$4", "$6"])
    )
});

/// The same of many rows.
pub(crate) static KEEP_CHANGES: Statement = Statement::new(|| {
    format!(
        "INSERT INTO row_change (kind, key, version, seq, gone)
         SELECT kind, key, version, {}, gone
         FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[], $5::boolean[], $6::bigint[])
             AS changed (kind, key, version, seq, gone, after)",
        entry_of(["changed.kind", "changed.key", "changed.seq", "changed.after"])
    )
});

fn entry_of([kind, key, seq, after]: [&str; 4]) -> String {
    format!(
        "CASE WHEN {after} IS NULL OR {after} = coalesce(
             (SELECT max(known.version) FROM row_change AS known
                  WHERE known.kind = {kind} AND known.key = {key}), {UNVERSIONED}) THEN {seq} END"
    )
}

/// What [`KEEP_CHANGE`] takes.
pub(crate) fn kept_change(changed: Changed, seq: i64) -> [Value; 6] {
    let (kind, key) = changed.row;
    values![
        kind,
        key,
        changed.version,
        seq,
        changed.is_gone,
        changed.after
    ]
}
