//! Client tokens: their text, their states, and the rules by which they are claimed.
//!
//! A token goes to at most one key, ever (P1). The rules are pure: a [`Claim`] and the stored
//! [`Record`] in, a [`Decision`] out. Every store applies them inside its own transaction, so that
//! all stores redeem by the same rules, and [`crate::flow`] runs them beforehand to fail early.
//!
//! Each decision that changes something carries its audit event in the same value (P2).

mod challenge;
mod codec;
mod issue;
mod lives;
mod state;

pub use crate::clock::CLOCKS_APART;
pub use crate::term::{Cause, Epoch, Operation, Thumbprint, TokenHash};
pub use challenge::{Answered, Challenge, Challenged, session_of};
pub use codec::{ClientToken, Malformed, Said, Unchecked};
pub use issue::{Idempotency, Issue, Issued};
pub use lives::{CredentialLife, EmbedLife, Lives, LivesOf, MerchantLife};
pub use state::{
    Around, Attempt, Claim, ClaimKind, Claimed, Decision, Grant, Held, Observation, Record,
    Release, State, Verdict, Write,
};

use std::time::Duration;

/// How long a token waits for its redemption (KeySecure: `expires_in`; Equals Money: "5 minutes").
pub const TTL: Duration = Duration::from_secs(300);
/// How long after the claim the key may ask for further fields.
pub const REVEAL_WINDOW: Duration = Duration::from_secs(60);
/// How long after a field's release the key may ask for that field again.
pub const REPEAT_WINDOW: Duration = Duration::from_secs(30);
/// How often it may.
pub const REPEATS_MAX: u8 = 3;
/// How long after its issue a token can still be redeemed, by anyone, if it was claimed at its end.
pub const LIFE: Duration = TTL
    .saturating_add(REVEAL_WINDOW)
    .saturating_add(REPEAT_WINDOW);
/// How often one token answers whether its card can go into a wallet; each of three wallets on each
/// of three kinds of device, and some retries.
pub const CHECKS_MAX: usize = 16;
/// How many refusals of one token are records; what comes after is counted in its row, and the
/// count is on record when the row goes. The first try of another key is on record always.
pub const REFUSALS_RECORDED_MAX: u32 = 16;
/// How many events of a browser one redemption records; what comes after is refused.
pub const EVENTS_MAX: u16 = 64;
/// How long a token's row is kept after its issue; past it, the token is unknown.
pub const RETENTION: Duration = Duration::from_secs(3_600);

/// How long a login token of KeySecure ("Access-Token") is good.
pub const ACCESS_TTL: Duration = Duration::from_secs(2 * 3_600);

/// Where a token's row is: its second of issue, which the token carries, then its hash. The time
/// comes first so that new rows land at the end of the table, which is worth several times the
/// commit rate of rows that land anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKey {
    /// Seconds since the Unix epoch.
    pub issued_secs: u32,
    /// SHA-256 of the text.
    pub hash: TokenHash,
}
