//! Personal values of an entry: the chain holds commitments to them, and they stand beside it.
//!
//! ```text
//! commitment = SHA-256( "cardveil/personal/v1" | salt (16) | member | 0 | value )
//! ```
//!
//! The members that can name a person, or tell where one is, are those of [`MEMBERS`], and both
//! sides of the [`SETTINGS`] in `detail.changes`. An entry leaves such a member out of its place and
//! says in `commitments`, by the member's name, what the value was committed to. The values with
//! their salts are a text of their own ([`Written::personal`]), which the chain does not hash.
//!
//! So a value can be erased and the chain stays whole: without its salt, nobody can tell by the
//! commitment which value it was. And a value can be shown to somebody who has the entry alone.
//!
//! **Invariant:** a salt is random and used once: with the salt of another value, who knows that
//! one could try out this one.
//!
//! **Invariant:** whether values are what was written is decided by the entry alone, which names
//! its commitments. A later version that commits to more members needs no other form.
//!
//! To add a personal member or setting: its line in [`MEMBERS`] or [`SETTINGS`], and in the table of
//! `docs/operate/audit.md`.

use std::collections::BTreeMap;
use std::sync::Arc;

use cardveil_seal::{Entropy, sha256};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Event;
use super::chain::ByteText;

const LABEL: &[u8] = b"cardveil/personal/v1";
/// Enough that nobody tries all values of an address.
const SALT_BYTES: usize = 16;
/// How much chance is asked for at once: each call of the generator costs as much as a kilobyte.
const POOL_BYTES: usize = 1_024;
/// What an entry of form 2 begins with.
pub(super) const FORM_TWO: &str = "{\"form\":2,";
/// The entry's member that has its commitments.
pub(super) const COMMITMENTS: &str = "commitments";

/// The names of the personal members, and where they stand in an entry.
pub const MEMBERS: [(&str, &str); 7] = [
    ("operator", "/actor/operator"),
    ("ip", "/origin/network/ip"),
    ("person", "/target/person"),
    ("attested", "/detail/attested"),
    ("reason", "/detail/reason"),
    ("note", "/detail/note"),
    ("refused_from", "/detail/refused/from"),
];
/// The settings whose values are personal. The others stay in the chain, so that nobody can erase
/// how a protection was loosened.
pub const SETTINGS: [&str; 5] = ["name", "person", "account", "allowed_ips", "ip_ceiling"];
/// The sides of such a setting, which are members of their own: `changes.0.from`.
const SIDES: [&str; 2] = ["from", "to"];

/// How an entry is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// The event as JSON, personal values and all.
    One,
    /// Beginning with its form, and with commitments in the place of personal values.
    Two,
}

impl Form {
    /// The form of an entry that is stored.
    pub fn of(stored: &[u8]) -> Self {
        if stored.starts_with(FORM_TWO.as_bytes()) {
            Self::Two
        } else {
            Self::One
        }
    }
}

/// An entry as it is to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// What the chain hashes.
    pub stored: String,
    /// The personal values with their salts, as JSON; `None` for [`Form::One`], which has them in
    /// `stored`.
    pub personal: Option<String>,
}

/// A salt of a personal value.
pub type Salt = ByteText<SALT_BYTES>;

/// Salts, of chance that is taken by the kilobyte.
pub struct Salts {
    entropy: Arc<dyn Entropy>,
    pool: [u8; POOL_BYTES],
    used: usize,
}

impl Salts {
    /// Of this chance.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self {
            entropy,
            pool: [0; POOL_BYTES],
            used: POOL_BYTES,
        }
    }

    /// The next one, which is given once.
    pub fn draw(&mut self) -> Salt {
        if self.used >= POOL_BYTES {
            self.entropy.fill(&mut self.pool);
            self.used = 0;
        }
        let mut salt = [0; SALT_BYTES];
        for (byte, random) in salt.iter_mut().zip(self.pool.iter().skip(self.used)) {
            *byte = *random;
        }
        self.used = self.used.saturating_add(SALT_BYTES);
        ByteText(salt)
    }
}

/// What stands in an entry for the value of a member.
pub(super) fn commitment(salt: &Salt, member: &str, value: &str) -> ByteText<32> {
    let parts = [LABEL, &salt.0, member.as_bytes(), &[0], value.as_bytes()];
    ByteText(sha256(&parts))
}

/// An event in form 2.
pub(super) fn write(
    event: &Event,
    mut salt: impl FnMut() -> Salt,
) -> Result<Written, serde_json::Error> {
    let mut event = serde_json::to_value(event)?;
    let (mut commitments, mut personal) = (Map::new(), Map::new());
    each_member(&mut event, |member, place| {
        let Value::String(value) = place.take() else {
            return;
        };
        let salt = salt();
        let commitment = commitment(&salt, member, &value).to_string();
        commitments.insert(member.to_owned(), commitment.into());
        let opened = vec![String::from(salt).into(), value.into()];
        personal.insert(member.to_owned(), Value::Array(opened));
    });
    let mut entry = Map::new();
    entry.insert("form".to_owned(), 2.into());
    if let Value::Object(members) = without_nothing(event) {
        entry.extend(members);
    }
    if !commitments.is_empty() {
        entry.insert(COMMITMENTS.to_owned(), commitments.into());
    }
    Ok(Written {
        stored: serde_json::to_string(&entry)?,
        personal: Some(serde_json::to_string(&personal)?),
    })
}

/// Whether values of an entry were erased: not all that it has committed to stand beside it. `None`
/// where one of those that do is not what the entry has committed to.
pub(super) fn is_erased(stored: &str, personal: Option<&str>) -> Option<bool> {
    #[derive(Deserialize)]
    struct Committed {
        #[serde(default)]
        commitments: BTreeMap<String, ByteText<32>>,
    }
    if Form::of(stored.as_bytes()) == Form::One {
        return personal.is_none().then_some(false);
    }
    let Committed { commitments } = serde_json::from_str(stored).ok()?;
    let opened = personal.map_or_else(|| Some(BTreeMap::new()), parse)?;
    let is_it = |(member, (salt, value)): (&String, &(Salt, String))| {
        commitments.get(member) == Some(&commitment(salt, member, value))
    };
    let fits = opened.iter().all(is_it);
    fits.then_some(opened.len() < commitments.len())
}

/// An entry with its values put back, and the names of those that were erased.
pub(super) fn read(stored: &str, personal: Option<&str>) -> (Value, Vec<String>) {
    let Ok(mut entry) = serde_json::from_str::<Value>(stored) else {
        return (Value::Object(Map::new()), Vec::new());
    };
    let mut erased = Vec::new();
    if Form::of(stored.as_bytes()) == Form::Two
        && let Value::Object(members) = &mut entry
        && let Some(Value::Object(commitments)) = members.shift_remove(COMMITMENTS)
    {
        let mut opened = personal.and_then(parse).unwrap_or_default();
        for (member, _) in commitments {
            match opened.remove(&member) {
                Some((_, value)) => put_back(&mut entry, &member, value),
                None => erased.push(member),
            }
        }
    }
    (entry, erased)
}

/// The event of an entry with its values put back, if it is one.
pub fn event(stored: &str, personal: Option<&str>) -> Option<Event> {
    serde_json::from_value(read(stored, personal).0).ok()
}

fn parse(personal: &str) -> Option<BTreeMap<String, (Salt, String)>> {
    serde_json::from_str(personal).ok()
}

/// Each personal member that an event has.
fn each_member(event: &mut Value, mut with: impl FnMut(&str, &mut Value)) {
    for (member, pointer) in MEMBERS {
        if let Some(place) = event.pointer_mut(pointer) {
            with(member, place);
        }
    }
    let changes = event.pointer_mut("/detail/changes");
    let changes = changes.and_then(Value::as_array_mut);
    for (number, change) in changes.into_iter().flatten().enumerate() {
        let field = change.get("field").and_then(Value::as_str);
        if !field.is_some_and(|field| SETTINGS.contains(&field)) {
            continue;
        }
        for side in SIDES {
            if let Some(place) = change.get_mut(side) {
                with(&format!("changes.{number}.{side}"), place);
            }
        }
    }
}

/// Without the members from which a value was taken. The one variant of an enum stays what it is.
fn without_nothing(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let stays = |(name, value): &(String, Value)| !value.is_null() || name == "operator";
            let members = members.into_iter().filter(stays);
            members
                .map(|(name, value)| (name, without_nothing(value)))
                .collect()
        }
        Value::Array(items) => items.into_iter().map(without_nothing).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// Of a name that only a later version knows, nothing is put back.
fn put_back(entry: &mut Value, member: &str, value: String) {
    let known = MEMBERS.iter().find(|(name, _)| *name == member);
    let pointer = match (known, member.strip_prefix("changes.")) {
        (Some((_, pointer)), _) => (*pointer).to_owned(),
        (None, Some(side)) => format!("/detail/changes/{}", side.replace('.', "/")),
        (None, None) => return,
    };
    let Some((place, name)) = pointer.rsplit_once('/') else {
        return;
    };
    if let Some(Value::Object(members)) = entry.pointer_mut(place) {
        members.insert(name.to_owned(), value.into());
    }
}
