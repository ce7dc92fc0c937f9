//! The chain of the audit log: each entry carries a hash over itself and the entry before, and now
//! and then the last hash is signed. So an entry that was edited, removed, moved or inserted is
//! found.
//!
//! # What is hashed
//!
//! ```text
//! hash = SHA-256( label | chain (16) | place (u64) | hash before (32) | length (u64) | entry )
//! ```
//!
//! Numbers are big endian. `entry` is the bytes that the store keeps, and nothing that was made of
//! them again: a later program may write the same event otherwise. The first entry of a chain has
//! place 1 and 32 zero bytes as the hash before.
//!
//! | form | begins with | label | since |
//! | --- | --- | --- | --- |
//! | 1 | `{"at":` | `cardveil/audit-chain/v1` | the first version |
//! | 2 | `{"form":2,` | `cardveil/audit-chain/v2` | the place where a chain's first entry of this form stands; none of form 1 follows. [`personal`] says what it leaves out |
//!
//! # What is signed
//!
//! Whoever can write to the database can make all hashes anew. So a [`Checkpoint`], which is an
//! entry of the log itself, carries the signature of a class key ([`cardveil_seal::Class::Audit`])
//! over a link of the chain before it:
//!
//! ```text
//! Ed25519( "cardveil/audit-checkpoint/v1" | chain (16) | place (u64) | hash (32) | at, in ms (i64) )
//! ```
//!
//! **Invariant:** this module is pure. It sees entries in their order and tells the first one that
//! does not fit. What is cut off at the end shows only beside a copy that is longer: an export, a
//! sink, a fence.
//!
//! To change what is hashed: a new [`Form`] with its label, beside the old ones.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cardveil_seal::{PublicKey, sha256};
use serde::{Deserialize, Serialize};

use super::personal::{self, Form};
use super::{Entry, Event, Kind};
use crate::clock::Time;
use crate::id::ChainId;
use crate::term::digest;

const CHAIN_LABEL: &[u8] = b"cardveil/audit-chain/v1";
const CHAIN_LABEL_TWO: &[u8] = b"cardveil/audit-chain/v2";
const CHECKPOINT_LABEL: &[u8] = b"cardveil/audit-checkpoint/v1";
/// How many links a checkpoint may lie behind its own entry: other writes come between the look at
/// the chain's end and its commit.
const LOOK_BACK: usize = 65_536;

digest!(
    /// SHA-256 over an entry and the one before.
    Hash
);

impl Hash {
    /// Before the first entry.
    pub const ZERO: Self = Self([0; 32]);
}

/// Where an entry is in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub chain: ChainId,
    /// Which place in it, counted from 1 without a gap.
    pub place: u64,
    /// The hash of the entry there.
    pub hash: Hash,
}

impl Link {
    /// Before the first entry of a chain.
    pub const fn start(chain: ChainId) -> Self {
        Self {
            chain,
            place: 0,
            hash: Hash::ZERO,
        }
    }

    /// The link of the entry that follows, which is stored as these bytes.
    #[must_use]
    pub fn next(&self, stored: &[u8]) -> Self {
        let place = self.place.saturating_add(1);
        let length = u64::try_from(stored.len()).unwrap_or(u64::MAX);
        let label = match Form::of(stored) {
            Form::One => CHAIN_LABEL,
            Form::Two => CHAIN_LABEL_TWO,
        };
        Self {
            chain: self.chain,
            place,
            hash: Hash(sha256(&[
                label,
                self.chain.as_bytes(),
                &place.to_be_bytes(),
                &self.hash.0,
                &length.to_be_bytes(),
                stored,
            ])),
        }
    }
}

/// An entry as it is stored, with its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chained {
    /// Its place in the log of all chains.
    pub seq: i64,
    /// Its place in its chain.
    pub link: Link,
    /// The bytes that the hash is of: an [`Event`] as JSON, in one of the [`Form`]s.
    pub stored: String,
    /// Its personal values, which stand beside it; `None` in an entry of form 1, and where all were
    /// erased.
    pub personal: Option<String>,
}

impl Chained {
    /// The event with its personal values, if it is one.
    pub fn event(&self) -> Option<Event> {
        personal::event(&self.stored, self.personal.as_deref())
    }

    /// The same, with its place in the log.
    pub fn entry(&self) -> Option<Entry> {
        let (event, erased) = personal::read(&self.stored, self.personal.as_deref());
        Some(Entry {
            seq: self.seq,
            event: serde_json::from_value(event).ok()?,
            erased,
        })
    }

    /// Whether it is the same entry, whatever was erased of one of the two.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.seq, self.link, &self.stored) == (other.seq, other.link, &other.stored)
    }

    /// The event without its personal values: what the chain itself says.
    fn bare(&self) -> Option<Event> {
        serde_json::from_str(&self.stored).ok()
    }

    /// When it happened, whoever wrote it.
    pub fn at(&self) -> Option<Time> {
        #[derive(Deserialize)]
        struct When {
            at: Time,
        }
        serde_json::from_str(&self.stored)
            .ok()
            .map(|When { at }| at)
    }

    /// Whether a later version wrote it, which has kinds of events that this one does not know. No
    /// checkpoint is one of them.
    fn is_of_a_later_version(&self) -> bool {
        #[derive(Deserialize)]
        struct Told {
            kind: String,
        }
        let kind = serde_json::from_str(&self.stored).map(|Told { kind }| kind);
        self.at().is_some() && kind.is_ok_and(|kind| Kind::parse(&kind).is_none())
    }

    /// Whether it is a checkpoint.
    pub fn is_checkpoint(&self) -> bool {
        self.bare()
            .is_some_and(|event| event.kind == Kind::AuditCheckpoint)
    }
}

/// Bytes as base64url text.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteText<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Display for ByteText<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<const N: usize> fmt::Debug for ByteText<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl<const N: usize> From<ByteText<N>> for String {
    fn from(bytes: ByteText<N>) -> Self {
        bytes.to_string()
    }
}

impl<const N: usize> TryFrom<String> for ByteText<N> {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("not so many bytes in base64url")
    }
}

/// How far a chain had come, signed. The time is that of its event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    #[serde(flatten)]
    pub link: Link,
    /// The public key that it is signed with.
    pub key: ByteText<32>,
    /// The signature, of [`checkpoint_message`].
    pub signature: ByteText<64>,
}

/// What a checkpoint's signature is of.
pub fn checkpoint_message(link: &Link, at: Time) -> Vec<u8> {
    [
        CHECKPOINT_LABEL,
        link.chain.as_bytes(),
        &link.place.to_be_bytes(),
        &link.hash.0,
        &at.millis().to_be_bytes(),
    ]
    .concat()
}

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "flaw")]
pub enum Flaw {
    /// The hash is not that of the entry and the one before.
    #[error("it, or the hash of the entry before it, is not what was written")]
    Edited,
    /// Entries of its chain are missing before it.
    #[error("the entries of its chain before it are missing, from place {expected} on")]
    Missing {
        /// The first place that is missing.
        expected: u64,
    },
    /// It stands where its chain, or the log, has come further already.
    #[error("it is out of its place: moved, repeated or inserted")]
    OutOfPlace,
    /// It is no event.
    #[error("it is not an audit entry")]
    Unreadable,
    /// It is of form 1, and its chain had come to form 2 before.
    #[error("it is of an earlier form than the entries of its chain before it")]
    EarlierForm,
    /// A personal value that stands beside it is not what the entry has committed to.
    #[error("a personal value beside it is not the one that was written")]
    Personal,
    /// It is a checkpoint, and the chain before it is not the one that was signed.
    #[error("the chain was written anew: what was signed of place {place} is something else")]
    Rewritten {
        /// The place that the checkpoint is of.
        place: u64,
    },
    /// It is a checkpoint that none of the given keys has signed.
    #[error("it is a checkpoint that none of the given keys has signed")]
    Unsigned,
    /// A longer copy of the log has it, and the log does not.
    #[error("the copy has it and the log does not")]
    Removed,
    /// A copy of the log has another entry there.
    #[error("the copy and the log have different entries there")]
    Different,
}

/// The first entry that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("entry {seq}: {flaw}")]
pub struct Finding {
    /// Its place in the log.
    pub seq: i64,
    /// What is wrong with it.
    #[serde(flatten)]
    pub flaw: Flaw,
}

/// How far a checkpoint reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Signed {
    pub place: u64,
    pub at: Time,
}

/// What was seen of one chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The first place that was seen: not 1 for a copy that begins later.
    pub first: u64,
    #[serde(flatten)]
    pub last: Link,
    /// The last checkpoint that fits; what follows it is chained and not yet signed.
    pub signed: Option<Signed>,
    #[serde(skip)]
    form: Form,
    #[serde(skip)]
    recent: VecDeque<Hash>,
}

impl Seen {
    /// How many entries come after what was signed last.
    pub const fn unsigned(&self) -> u64 {
        match self.signed {
            Some(signed) => self.last.place.saturating_sub(signed.place),
            None => self.last.place.saturating_sub(self.first).saturating_add(1),
        }
    }

    fn push(&mut self, link: Link) {
        self.last = link;
        self.recent.push_back(link.hash);
        if self.recent.len() > LOOK_BACK {
            self.recent.pop_front();
        }
    }

    /// The hash of a place not too far back.
    fn hash_at(&self, place: u64) -> Option<Hash> {
        let back = usize::try_from(self.last.place.checked_sub(place)?).ok()?;
        let at = self.recent.len().checked_sub(back)?.checked_sub(1)?;
        self.recent.get(at).copied()
    }
}

/// Looks at the entries of a log, one after the other.
pub struct Verifier {
    keys: Vec<PublicKey>,
    /// A copy may begin in the middle of a chain; then its first entry is taken as it is.
    is_part: bool,
    chains: BTreeMap<ChainId, Seen>,
    last_seq: i64,
    count: u64,
    doubles: u64,
    erased: u64,
}

impl Verifier {
    /// For a whole log, whose checkpoints one of these keys must have signed.
    pub const fn whole(keys: Vec<PublicKey>) -> Self {
        Self {
            keys,
            is_part: false,
            chains: BTreeMap::new(),
            last_seq: i64::MIN,
            count: 0,
            doubles: 0,
            erased: 0,
        }
    }

    /// For a copy of a part of a log. A copy may hold an entry twice, because sinks are told of one
    /// again when it is not known whether they have it: what is exactly the same is passed over.
    pub fn part(keys: Vec<PublicKey>) -> Self {
        Self {
            is_part: true,
            ..Self::whole(keys)
        }
    }

    /// Looks at the next entry. After a finding, the verifier says nothing more of use.
    pub fn look(&mut self, entry: &Chained) -> Result<(), Finding> {
        self.fits(entry).map_err(|flaw| Finding {
            seq: entry.seq,
            flaw,
        })
    }

    /// How many entries were looked at.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How many entries were there once more.
    pub const fn doubles(&self) -> u64 {
        self.doubles
    }

    /// How many entries have lost personal values that they were written with.
    pub const fn erased(&self) -> u64 {
        self.erased
    }

    /// The place in the log of the last entry.
    pub fn last_seq(&self) -> Option<i64> {
        (self.count > 0).then_some(self.last_seq)
    }

    /// The chains, as far as they were seen.
    pub fn chains(&self) -> impl Iterator<Item = &Seen> {
        self.chains.values()
    }

    fn fits(&mut self, entry: &Chained) -> Result<(), Flaw> {
        if entry.seq <= self.last_seq {
            if self.is_part && self.is_double(entry) {
                self.doubles = self.doubles.saturating_add(1);
                return has_erased(entry).map(drop);
            }
            return Err(Flaw::OutOfPlace);
        }
        let link = entry.link;
        let is_part = self.is_part;
        let seen = self.chains.entry(link.chain).or_insert_with(|| Seen {
            first: link.place,
            last: if is_part && link.place > 1 {
                // Nothing is known of what came before, so its own hash is taken on trust.
                Link {
                    place: link.place.saturating_sub(1),
                    ..link
                }
            } else {
                Link::start(link.chain)
            },
            signed: None,
            form: Form::One,
            recent: VecDeque::new(),
        });
        let anchors = is_part && link.place > 1 && seen.recent.is_empty();
        let next = seen.last.next(entry.stored.as_bytes());
        if link.place < next.place {
            return Err(Flaw::OutOfPlace);
        }
        if link.place > next.place {
            return Err(Flaw::Missing {
                expected: next.place,
            });
        }
        if link.hash != next.hash && !anchors {
            return Err(Flaw::Edited);
        }
        let form = Form::of(entry.stored.as_bytes());
        if form < seen.form {
            return Err(Flaw::EarlierForm);
        }
        seen.form = form;
        let event = entry.bare();
        if event.is_none() && !entry.is_of_a_later_version() {
            return Err(Flaw::Unreadable);
        }
        let erased = u64::from(has_erased(entry)?);
        self.erased = self.erased.saturating_add(erased);
        if let Some(event) = event.filter(|event| event.kind == Kind::AuditCheckpoint) {
            let checkpoint = event.detail.checkpoint.ok_or(Flaw::Unreadable)?;
            signed_by(&self.keys, &checkpoint, event.at)?;
            reaches(seen, &checkpoint)?;
            seen.signed = Some(Signed {
                place: checkpoint.link.place,
                at: event.at,
            });
        }
        seen.push(link);
        self.last_seq = entry.seq;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Whether it was seen before, to the letter. Of the first entry of a part nobody can tell.
    fn is_double(&self, entry: &Chained) -> bool {
        let link = entry.link;
        let Some(seen) = self.chains.get(&link.chain) else {
            return false;
        };
        let before = match link.place.checked_sub(1) {
            None => return false,
            Some(0) => Some(Hash::ZERO),
            Some(place) => seen.hash_at(place),
        };
        let Some(hash) = before.filter(|_| seen.hash_at(link.place) == Some(link.hash)) else {
            return false;
        };
        let before = Link {
            chain: link.chain,
            place: link.place.saturating_sub(1),
            hash,
        };
        before.next(entry.stored.as_bytes()) == link
    }
}

fn has_erased(entry: &Chained) -> Result<bool, Flaw> {
    personal::is_erased(&entry.stored, entry.personal.as_deref()).ok_or(Flaw::Personal)
}

fn signed_by(keys: &[PublicKey], checkpoint: &Checkpoint, at: Time) -> Result<(), Flaw> {
    let message = checkpoint_message(&checkpoint.link, at);
    let signed = |key: &&PublicKey| {
        *key.as_bytes() == checkpoint.key.0 && key.verify(&message, &checkpoint.signature.0).is_ok()
    };
    keys.iter().find(signed).map(drop).ok_or(Flaw::Unsigned)
}

/// Whether the chain before is the one that was signed. A checkpoint is of its own chain; of a
/// part, it may be of an entry from before the part.
fn reaches(seen: &Seen, checkpoint: &Checkpoint) -> Result<(), Flaw> {
    let Link { chain, place, hash } = checkpoint.link;
    let is_signed = seen.hash_at(place) == Some(hash);
    if chain == seen.last.chain && (is_signed || place < seen.first) {
        Ok(())
    } else {
        Err(Flaw::Rewritten { place })
    }
}
