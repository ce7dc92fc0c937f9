//! MACs over the rows that decide whose card is whose and who may call (P11).
//!
//! A store gives the words of a row and gets its MAC, and asks of a row that it has loaded whether
//! its MAC is right. The keys are of the class [`Class::Row`], and a MAC names the version that it
//! is under.
//!
//! Rows of a database from before have no MAC. They are taken as they are until all of them have
//! one, which is on record and part of the key's own row ([`ClassKey::complete_at`]); from then on
//! a row without a MAC is refused as one with a wrong one is. The class keys are bound to it, under
//! the root key, when a deployment is opened next, and those of a new one when they are made: from
//! then on no hand in the database takes it back.
//!
//! Here it is known which keys there are and since when, so the key of the index of numbers is
//! chosen here too ([`RowMacs::index_version`]): an index is a column of such a row.
//!
//! A version makes MACs once every server has had the time to notice it ([`NOTICE`]), so that none
//! meets one that it cannot check.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use cardveil_seal::{Class, constant_time_eq};

use super::{Error, Vault};
use crate::clock::{Clock, Time};
use crate::id::CardId;
use crate::keys::{ClassKey, NOTICE};
use crate::text::holds_card_number;

/// How many altered rows are remembered and told of, until all rows were gone through once more.
/// Whoever alters more has been told of.
const ALTERED_MAX: usize = 1_000;

/// A version, and when it was made.
type Version = (u32, Option<Time>);

/// What is known of the class keys, as they were last looked at.
#[derive(Default)]
struct Known {
    /// The versions that open, the newest first, and when each was made.
    versions: Vec<Version>,
    /// The same of the class [`Class::Index`].
    indexes: Vec<Version>,
    /// Whether every row has a MAC.
    is_complete: bool,
    looked_at: Option<Time>,
}

/// A row that is not what was written, by its table and key.
pub type AlteredRow = (&'static str, String);

/// Makes and checks the MACs of rows, once the vault is open.
pub struct RowMacs {
    vault: OnceLock<Arc<Vault>>,
    clock: Arc<dyn Clock>,
    keeps_any_back: AtomicBool,
    known: RwLock<Known>,
    altered: Mutex<Altered>,
}

#[derive(Default)]
struct Altered {
    /// How often all rows were gone through.
    round: u64,
    waiting: BTreeSet<AlteredRow>,
    /// And in which round each was noted last.
    told: BTreeMap<AlteredRow, u64>,
    /// Those whose MAC is right, and which are not what was written last, by their keys as they are.
    kept_back: BTreeSet<AlteredRow>,
}

impl RowMacs {
    /// That can do nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            vault: OnceLock::new(),
            clock,
            keeps_any_back: AtomicBool::new(false),
            known: RwLock::default(),
            altered: Mutex::default(),
        }
    }

    /// Gives them the keys. The first vault stays.
    pub fn open(&self, vault: Arc<Vault>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.is_complete |= vault.says_rows_have_macs();
        // Whoever opens a deployment does it once.
        drop(self.vault.set(vault));
    }

    /// Takes down which keys there are.
    pub fn learn(&self, keys: &[ClassKey]) {
        let of_rows = keys.iter().filter(|key| key.key.class == Class::Row);
        let versions = open_versions(keys, Class::Row);
        let looked_at = Some(self.clock.now());
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.looked_at = looked_at;
        // What was once so is not taken back by rows that say otherwise, or are gone.
        if !versions.is_empty() {
            known.versions = versions;
        }
        known.indexes = open_versions(keys, Class::Index);
        known.is_complete |= of_rows.into_iter().any(|key| key.complete_at.is_some());
    }

    /// Whether every row has a MAC.
    pub fn are_complete(&self) -> bool {
        self.known().is_complete
    }

    /// The version that makes MACs now.
    pub fn version(&self) -> Option<u32> {
        let now = self.clock.now();
        let known = self.known();
        // Where every row has a MAC, all servers know the oldest version.
        let is_first = |version: u32| known.versions.last().is_some_and(|last| last.0 == version);
        let is_noticed = |version: u32, at: Option<Time>| {
            (known.is_complete && is_first(version)) || at.is_none_or(|at| at.plus(NOTICE) <= now)
        };
        let noticed = known.versions.iter();
        let noticed = noticed
            .copied()
            .find(|(version, at)| is_noticed(*version, *at));
        noticed.map(|(version, _)| version)
    }

    /// The version that new indexes of numbers are under: the newest that every server has had the
    /// time to notice, so that none counts by fewer indexes than there are.
    pub fn index_version(&self) -> Option<u32> {
        let now = self.clock.now();
        let known = self.known();
        let is_noticed = |(_, at): &&Version| at.is_none_or(|at| at.plus(NOTICE) <= now);
        let noticed = known.indexes.iter().find(is_noticed);
        // The oldest was there before all others.
        let version = noticed.or_else(|| known.indexes.last());
        version.map(|(version, _)| *version)
    }

    /// The MAC of a row. Where the key is not open, no row is written.
    pub fn make(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let none = || Error::Seal(cardveil_seal::Error::MissingClass(Class::Row));
        let oldest = || self.known().versions.last().map(|(version, _)| *version);
        // A row that has a MAC already keeps one, also where this server's clock is behind.
        let version = self.version().or_else(oldest).ok_or_else(none)?;
        let vault = self.vault.get().ok_or_else(none)?;
        let mac = vault.row_mac(version, message)?;
        Ok([&version.to_be_bytes()[..], &mac].concat())
    }

    /// Whether the MAC of a row is right. `None`: nobody can tell, because the keys are not open, or
    /// not yet the one that it is under.
    pub fn check(&self, message: &[u8], mac: Option<&[u8]>) -> Option<bool> {
        let Some(mac) = mac else {
            return Some(!self.are_complete());
        };
        let vault = self.vault.get()?;
        let Some((version, tag)) = mac.split_first_chunk() else {
            return Some(false);
        };
        let version = u32::from_be_bytes(*version);
        match vault.row_mac(version, message) {
            Ok(expected) => Some(constant_time_eq(&expected, tag)),
            Err(_) if self.knows_all_but(version) => Some(false),
            Err(_) => None,
        }
    }

    /// Whether there is no key of this version. One makes MACs only when whoever looked at the keys
    /// within [`NOTICE`] has seen it; who looked longer ago cannot tell.
    fn knows_all_but(&self, version: u32) -> bool {
        let now = self.clock.now();
        let known = self.known();
        let is_fresh = known
            .looked_at
            .is_some_and(|at| at <= now && now < at.plus(NOTICE));
        is_fresh && !known.versions.iter().any(|known| known.0 == version)
    }

    /// Takes down that a row is not what was written; tells whether that was not known. What is in
    /// it is not taken down: whoever altered it would have it told.
    pub fn note(&self, table: &'static str, key: String) -> bool {
        let row = (table, tellable(key));
        let mut altered = self.altered();
        let round = altered.round;
        if let Some(noted) = altered.told.get_mut(&row) {
            *noted = round;
            return false;
        }
        if altered.told.len() >= ALTERED_MAX {
            return false;
        }
        altered.told.insert(row.clone(), round);
        altered.waiting.insert(row);
        if let Some(vault) = self.vault.get() {
            vault.alarm();
        }
        true
    }

    /// A row whose MAC is right is not what was written last: from here on it is refused too.
    pub fn keep_back(&self, table: &'static str, key: String) {
        self.altered().kept_back.insert((table, key));
        self.keeps_any_back.store(true, Ordering::Relaxed);
    }

    pub fn keeps_any_back(&self) -> bool {
        self.keeps_any_back.load(Ordering::Relaxed)
    }

    pub fn keeps_back(&self, table: &'static str, key: &str) -> bool {
        self.altered().kept_back.contains(&(table, key.to_owned()))
    }

    /// It is what was written last again.
    pub fn let_go(&self, table: &'static str, key: &str) {
        let mut altered = self.altered();
        altered.kept_back.remove(&(table, key.to_owned()));
        let any = !altered.kept_back.is_empty();
        self.keeps_any_back.store(any, Ordering::Relaxed);
    }

    /// A row is right again: if it is altered once more, that is news.
    pub fn forget(&self, table: &str, key: &str) {
        let told = tellable(key.to_owned());
        let is_told = |row: &AlteredRow| row.0 == table && row.1 == told;
        let mut altered = self.altered();
        altered.told.retain(|row, _| !is_told(row));
        altered.waiting.retain(|row| !is_told(row));
        altered
            .kept_back
            .retain(|row| row.0 != table || row.1 != key);
        let any = !altered.kept_back.is_empty();
        self.keeps_any_back.store(any, Ordering::Relaxed);
    }

    /// All rows were gone through. What was not noted meanwhile is right again, or gone.
    pub fn end_round(&self) {
        let mut altered = self.altered();
        let round = altered.round;
        altered.told.retain(|_, noted| *noted >= round);
        altered.round += 1;
    }

    /// The rows that were noted and not yet taken from here.
    pub fn take_altered(&self) -> Vec<AlteredRow> {
        std::mem::take(&mut self.altered().waiting)
            .into_iter()
            .collect()
    }

    /// They could not be put on record.
    pub fn wait_again(&self, rows: impl Iterator<Item = AlteredRow>) {
        self.altered().waiting.extend(rows);
    }

    /// All rows that were noted.
    pub fn all_altered(&self) -> Vec<AlteredRow> {
        self.altered().told.keys().cloned().collect()
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn altered(&self) -> MutexGuard<'_, Altered> {
        self.altered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A row's key is told as it is where it could be one of ours: whoever forges a row may write a
/// card number there, or what a terminal obeys. One in two hundred of our random ids would pass for a
/// card number.
pub fn tellable(key: String) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b" _-.:".contains(&byte);
    let is_id = |part: &&str| part.parse::<CardId>().is_ok();
    let others: Vec<_> = key.split(' ').filter(|part| !is_id(part)).collect();
    if key.bytes().all(is_plain) && !holds_card_number(&others.join(" ")) {
        key
    } else {
        "?".to_owned()
    }
}

/// The versions of a class that open, the newest first.
fn open_versions(keys: &[ClassKey], class: Class) -> Vec<Version> {
    let of_class = keys.iter().filter(|key| key.key.class == class);
    let open = of_class.filter(|key| key.opens());
    let mut versions: Vec<_> = open.map(|key| (key.key.version, key.created_at)).collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions
}
