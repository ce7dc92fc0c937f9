//! The second factor: whether a merchant's cardholders need one, which they have, and the sessions
//! in which they prove it.
//!
//! A [`Policy`] per merchant and [`Purpose`] says whether a client token, or a PIN, needs a second
//! factor. Where it does, a [`Session`] is opened for one card, person and purpose, and its id
//! comes back with a code: an [`Assertion`]. The commit that issues the token, or that lets the PIN
//! pass, judges the assertion and spends the session, or writes the refusal and nothing else.
//!
//! **Invariant:** one session passes for one [`Use`] at most, and one step of a TOTP secret for one
//! at most: both are spent in the commit of that use.
//!
//! **Invariant:** a wrong code is counted before anyone is told that it was wrong, so no restart
//! and no lost answer gives a try back.
//!
//! **Invariant:** like [`crate::token`], this module reads no clock and no store: the rows and a
//! request in, an [`Effects`] and a verdict out. Codes and secrets do not come in either; what
//! comes in is which step a code has matched ([`Proof`]).
//!
//! To add a factor: a variant of [`Factor`] and of [`Proof`], then follow the compiler to
//! [`crate::flow`], which computes the proof.

pub(crate) mod base32;
mod person;
pub mod required;
mod session;

use std::time::Duration;

use cardveil_seal::{Secret, totp};
use serde::{Deserialize, Serialize};

pub use person::{FactorChange, FactorRefused, FactorRequest, Person, Totp};
pub use required::{Required, Unmet};
pub use session::{Assertion, Opening, OpeningRefused, Proof, Session, State, Use};

pub use crate::term::Purpose;

use crate::audit::Event;
use crate::clock::Time;
use crate::named;
use crate::text::holds_card_number;

/// How long a session waits for its code (RTS 2018/389 Article 4(3)(d): five minutes at most).
pub const SESSION_TTL: Duration = Duration::from_secs(300);
/// How many wrong codes end a session (RTS 2018/389 Article 4(3)(b)).
pub const WRONG_CODES_MAX: u8 = 5;
/// How long a person gets no new session after wrong codes have ended one.
pub const PAUSE: Duration = Duration::from_secs(15 * 60);
/// How many sessions a person gets in [`SESSIONS_WITHIN`].
pub const SESSIONS_MAX: usize = 20;
/// See [`SESSIONS_MAX`].
pub const SESSIONS_WITHIN: Duration = Duration::from_secs(3_600);
/// How many wrong codes in a row, over all sessions, lock a person's factors until an operator
/// resets them (NIST SP 800-63B 5.2.2).
pub const WRONG_IN_A_ROW_MAX: u32 = 100;
/// How long a session's row is kept after its end; past it, the session is unknown.
pub const RETENTION: Duration = Duration::from_secs(3_600);

named! {
    /// Whether an operation needs a second factor.
    #[derive(Default)]
    pub enum Policy {
        /// It needs none.
        #[default]
        Off = "off",
        /// The merchant has asked for it itself and says so with a reference of its own.
        Delegated = "delegated",
        /// The merchant's server brings it.
        Required = "required",
        /// The frame asks for it: the token is issued without, and waits for it.
        InFrame = "in-frame",
    }
}

impl Policy {
    /// Whether an operation can have it: a frame asks where there is one.
    pub const fn fits(self, purpose: Purpose) -> bool {
        match (self, purpose) {
            (Self::InFrame, Purpose::ViewPin | Purpose::SetPin) => false,
            (Self::InFrame, Purpose::ViewCard | Purpose::AddCardToWallet)
            | (Self::Off | Self::Delegated | Self::Required, _) => true,
        }
    }
}

/// A merchant's policies. What a row does not name is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MfaPolicy {
    /// Of `VIEW_CARD`.
    #[serde(skip_serializing_if = "is_default")]
    pub view_card: Policy,
    /// Of `ADD_CARD_TO_WALLET`.
    #[serde(skip_serializing_if = "is_default")]
    pub add_card_to_wallet: Policy,
    /// Of `VIEW_PIN`.
    #[serde(skip_serializing_if = "is_default")]
    pub view_pin: Policy,
    /// Of `SET_PIN`.
    #[serde(skip_serializing_if = "is_default")]
    pub set_pin: Policy,
    /// Which factors count, for whatever needs one.
    #[serde(skip_serializing_if = "is_default")]
    pub factors: FactorPolicy,
}

fn is_default<T: Default + PartialEq>(policy: &T) -> bool {
    *policy == T::default()
}

impl MfaPolicy {
    /// The policy of an operation.
    pub const fn of(&self, purpose: Purpose) -> Policy {
        match purpose {
            Purpose::ViewCard => self.view_card,
            Purpose::AddCardToWallet => self.add_card_to_wallet,
            Purpose::ViewPin => self.view_pin,
            Purpose::SetPin => self.set_pin,
        }
    }

    /// Sets the policy of an operation.
    pub const fn set(&mut self, purpose: Purpose, policy: Policy) {
        match purpose {
            Purpose::ViewCard => self.view_card = policy,
            Purpose::AddCardToWallet => self.add_card_to_wallet = policy,
            Purpose::ViewPin => self.view_pin = policy,
            Purpose::SetPin => self.set_pin = policy,
        }
    }
}

/// Which factors count at a merchant. Of those that a person has, the strongest is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FactorPolicy {
    /// Those that count at all; by default every one.
    pub accepts: FactorSet,
    /// Those of them that count also where the person has a stronger one; by default none.
    pub fallback: FactorSet,
}

impl Default for FactorPolicy {
    fn default() -> Self {
        Self {
            accepts: Factor::ALL.into_iter().collect(),
            fallback: FactorSet::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Factor>", into = "Vec<Factor>")]
pub struct FactorSet {
    totp: bool,
    otp: bool,
}

impl FactorSet {
    /// Whether it is one of them.
    pub const fn contains(self, factor: Factor) -> bool {
        match factor {
            Factor::Totp => self.totp,
            Factor::Otp => self.otp,
        }
    }

    /// The strongest first.
    pub fn iter(self) -> impl Iterator<Item = Factor> {
        Factor::ALL
            .into_iter()
            .filter(move |factor| self.contains(*factor))
    }
}

impl FromIterator<Factor> for FactorSet {
    fn from_iter<T: IntoIterator<Item = Factor>>(factors: T) -> Self {
        let mut set = Self::default();
        for factor in factors {
            match factor {
                Factor::Totp => set.totp = true,
                Factor::Otp => set.otp = true,
            }
        }
        set
    }
}

impl From<Vec<Factor>> for FactorSet {
    fn from(factors: Vec<Factor>) -> Self {
        factors.into_iter().collect()
    }
}

impl From<FactorSet> for Vec<Factor> {
    fn from(set: FactorSet) -> Self {
        set.iter().collect()
    }
}

named! {
    /// What a person proves that they have, the strongest first: an app's code is of the person's
    /// own secret, and one that is delivered is known to whoever delivers it.
    pub enum Factor {
        /// An authenticator app (RFC 6238).
        Totp = "TOTP",
        /// A code that the merchant delivers.
        Otp = "OTP",
    }
}

/// What a store is to write, in one commit. It has its event, or there is none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The session's next form.
    pub session: Option<Session>,
    /// The next form of what is known of the person.
    pub person: Option<Person>,
    /// The record of it.
    pub event: Event,
}

/// What was decided, and what must be durable before anyone is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision<V> {
    /// To be written first.
    pub effects: Effects,
    /// To be told then.
    pub verdict: V,
}

/// The step of time at a moment.
pub fn step_at(at: Time) -> u64 {
    u64::from(at.secs_u32()) / totp::STEP_SECS
}

/// Which step a code is of, if it is of the present one or of a neighbour: the clock of a phone may
/// differ by a step (RFC 6238 section 5.2), and a code may be typed while its step ends. Takes the
/// same time whichever it is. Of two steps that share a code it is the later, so that neither can
/// be used again.
pub fn matching_step(secret: &Secret, at: Time, code: &[u8]) -> Option<u64> {
    let now = step_at(at);
    let mut found = None;
    for step in now.saturating_sub(1)..=now.saturating_add(1) {
        if totp::code(secret, step).ct_eq(code) {
            found = Some(step);
        }
    }
    found
}

/// A merchant's own name for a second factor that it has asked for itself. It goes into the audit
/// record, which holds no card number: where it looks like one, only its first six and last four
/// digits are kept (PCI DSS 3.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(String);

impl Reference {
    /// 1 to 64 ASCII letters, digits, `_`, `-`, `.` or `:`, and not what a program writes where it
    /// has no reference.
    pub fn parse(text: &str) -> Option<Self> {
        let word = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
        (word && !is_nothing(text)).then(|| Self(without_card_number(text)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What comes of a variable that was never set: it attests nothing.
fn is_nothing(text: &str) -> bool {
    const WORDS: [&str; 13] = [
        "undefined",
        "null",
        "nil",
        "none",
        "nan",
        "infinity",
        "true",
        "false",
        "object",
        "sessionid",
        "session_id",
        "session-id",
        "string",
    ];
    let zeros = text.bytes().all(|byte| b"0-_.:".contains(&byte));
    zeros || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// The digits of the whole text between its first six and last four, where some of them could be a
/// card number, become `_`.
fn without_card_number(text: &str) -> String {
    if !holds_card_number(text) {
        return text.to_owned();
    }
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let mut place = 0;
    let shown = |char: char| {
        if !char.is_ascii_digit() {
            return char;
        }
        place += 1;
        let shown = place <= 6 || place > digits.saturating_sub(4);
        if shown { char } else { '_' }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::new(b"12345678901234567890".to_vec())
    }

    fn at(secs: i64) -> Time {
        Time::from_millis(secs * 1_000)
    }

    #[test]
    fn a_code_is_good_in_its_step_and_the_steps_beside_it() {
        // RFC 6238 appendix B: 59 s is step 1, whose code is 287082.
        let matched = |secs| matching_step(&secret(), at(secs), b"287082");
        assert_eq!(matched(0), Some(1), "the step before");
        assert_eq!(matched(29), Some(1));
        assert_eq!(matched(30), Some(1));
        assert_eq!(matched(59), Some(1));
        assert_eq!(matched(89), Some(1), "the last second of the step after");
        assert_eq!(matched(90), None);
        for wrong in [&b"287083"[..], b"28708", b"2870820", b"", b"94287082"] {
            assert_eq!(matching_step(&secret(), at(59), wrong), None);
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for policy in Policy::ALL {
            assert_eq!(Policy::parse(policy.as_str()), Some(policy));
        }
        for factor in Factor::ALL {
            assert_eq!(Factor::parse(factor.as_str()), Some(factor));
            let json = serde_json::to_value(factor).unwrap();
            assert_eq!(json, factor.as_str());
        }
        assert_eq!(Factor::parse("totp"), None);
        let empty: MfaPolicy = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, MfaPolicy::default());
        let kept = serde_json::to_value(empty.factors).unwrap();
        assert_eq!(
            kept,
            serde_json::json!({"accepts": ["TOTP", "OTP"], "fallback": []})
        );
        for purpose in Purpose::ALL {
            assert_eq!(empty.of(purpose), Policy::Off);
            assert_eq!(Purpose::parse(purpose.as_str()), Some(purpose));
            assert_eq!(serde_json::to_value(purpose).unwrap(), purpose.as_str());
            let mut policy = MfaPolicy::default();
            policy.set(purpose, Policy::Required);
            let only = |other: &Purpose| policy.of(*other) == Policy::Required;
            let required: Vec<_> = Purpose::ALL.into_iter().filter(only).collect();
            assert_eq!(required, [purpose]);
        }
    }

    #[test]
    fn a_reference_is_a_word_and_holds_no_card_number() {
        let kept = |text: &str| Reference::parse(text).map(|kept| kept.as_str().to_owned());
        for text in ["a", "c92e2960-b745-4b38-8e77-898b2f9ad9bb", &"x".repeat(64)] {
            assert_eq!(kept(text).as_deref(), Some(text));
        }
        for wrong in ["", "a b", "é", "a/b", &"x".repeat(65)] {
            assert_eq!(kept(wrong), None, "{wrong}");
        }
        for unset in [
            "undefined",
            "null",
            "0",
            "NaN",
            "[object Object]",
            "None",
            "false",
            "-",
            "00000000-0000-0000-0000-000000000000",
        ] {
            assert_eq!(kept(unset), None, "{unset} attests nothing");
        }
        for (pan, shown) in [
            ("4111111111111111", "411111______1111"),
            ("4111-1111-1111-1111", "4111-11__-____-1111"),
            ("sca:4111111111111111", "sca:411111______1111"),
        ] {
            assert_eq!(kept(pan).as_deref(), Some(shown));
        }
        assert_eq!(
            kept("4111111111111112").as_deref(),
            Some("4111111111111112")
        );
    }
}
