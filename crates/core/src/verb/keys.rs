//! The verbs of class keys, and what all verbs that write records under them heed.

use std::collections::BTreeSet;

use super::Verb;
use crate::audit::Event;
use crate::keys::{
    ClassKey, Move, Reindex, Retired, Retirement, RootChange, Rotation, as_read, version_of,
};
use crate::port::rows::{Loaded, Rows};
use crate::port::{Class, Error, Needs, WrappedKey};

/// Refuses what is about to be written under a key that opens nothing any more: whoever made it has
/// not noticed the retirement, and the record could never be opened. Call it before anything is
/// saved.
pub(super) fn refuse_retired<'a>(
    rows: &dyn Rows,
    deks: impl IntoIterator<Item = (Class, &'a [u8])>,
) -> Loaded<()> {
    let versions = deks
        .into_iter()
        .filter_map(|(class, dek)| Some((class, version_of(dek).ok()?)));
    refuse_retired_versions(rows, versions)
}

/// The same of what names its version beside it.
pub(super) fn refuse_retired_versions(
    rows: &dyn Rows,
    versions: impl IntoIterator<Item = (Class, u32)>,
) -> Loaded<()> {
    // Many records are under few keys.
    for (class, version) in versions.into_iter().collect::<BTreeSet<_>>() {
        if rows.is_retired(class, version)? {
            let why = "a record is under a retired key";
            return Err(Error::Unavailable(why.into()).into());
        }
    }
    Ok(())
}

/// Writes the first keys of classes, made at the event's time. `false`, and nothing written, when
/// the keys that are there are not those that were read, or one of the classes has a key already.
#[derive(Clone)]
pub struct CreateKeys {
    /// All that open, as they were read.
    pub from: Vec<WrappedKey>,
    pub keys: Vec<WrappedKey>,
    /// Their record.
    pub event: Event,
}

impl Verb for CreateKeys {
    type Answer = bool;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<bool> {
        let known = rows.class_keys()?;
        let is_there = |new: &WrappedKey| known.iter().any(|key| key.key.class == new.class);
        // Rows whose MACs are under keys that another program has just made are unknown here.
        let is_first = !self.from.is_empty() || !rows.has_class_keys()?;
        if !is_first || as_read(&self.from, &known).is_none() || self.keys.iter().any(is_there) {
            return Ok(false);
        }
        let keys = self.keys.iter();
        let keys = keys.map(|key| ClassKey::new(key.clone(), self.event.at));
        save(rows, Some(keys.collect()), &self.event)
    }
}

/// Applies [`Rotation::decide`]. `false`, and nothing written, when somebody else was first.
impl Verb for Rotation {
    type Answer = bool;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<bool> {
        save(rows, self.decide(&rows.class_keys()?), &self.event)
    }
}

/// Applies [`RootChange::decide`]. `false`, and nothing written, when the keys are not those that
/// were read.
impl Verb for RootChange {
    type Answer = bool;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<bool> {
        save(rows, self.decide(&rows.class_keys()?), &self.event)
    }
}

fn save(rows: &dyn Rows, keys: Option<Vec<ClassKey>>, event: &Event) -> Loaded<bool> {
    let Some(keys) = keys else {
        return Ok(false);
    };
    for key in &keys {
        rows.save_class_key(key)?;
    }
    rows.log(event)?;
    Ok(true)
}

/// Applies [`Retirement::decide`]: whether records are under the version is looked up in the commit
/// that destroys it.
impl Verb for Retirement {
    type Answer = Retired;

    fn needs(&self) -> Needs {
        Needs::ALONE
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Retired> {
        let in_use = rows.has_records(self.class, self.version)?;
        let (retired, write) = self.decide(&rows.class_keys()?, in_use);
        if let Some((key, event)) = write {
            save(rows, Some(vec![key]), &event)?;
        }
        Ok(retired)
    }
}

/// Writes the envelopes with [`Move::event`], if any was moved; tells how many were. An envelope
/// that is not what it was read as stays as it is.
impl Verb for Move {
    type Answer = usize;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<usize> {
        let deks = self.envelopes.iter().map(|one| (self.class, &*one.dek));
        refuse_retired(rows, deks)?;
        let mut moved = 0;
        for one in &self.envelopes {
            moved += usize::from(rows.move_envelope(one)?);
        }
        if let Some(event) = self.event(moved) {
            rows.log(&event)?;
        }
        Ok(moved)
    }
}

/// Moves the indexes with [`Reindex::event`], if any was moved; tells how many were. An index that
/// is not what it was read as stays as it is.
impl Verb for Reindex {
    type Answer = usize;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<usize> {
        refuse_retired_versions(rows, [(Class::Index, self.to)])?;
        let mut moved = 0;
        for one in &self.cards {
            moved += usize::from(rows.move_index(one, self.to)?);
        }
        if let Some(event) = self.event(moved) {
            rows.log(&event)?;
        }
        Ok(moved)
    }
}
