//! Why a token or a second factor was refused.

use serde::{Deserialize, Serialize};

/// Why a redemption is refused, or a second factor. The caller gets one answer for all of them
/// (P6); the audit record says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No such token, or its row is past its retention.
    Unknown,
    /// It is of an older epoch.
    OldEpoch,
    /// The embed is unknown, disabled, or another merchant's.
    Foreign,
    /// The merchant may not show cards now.
    MerchantBarred,
    /// It was not claimed in time.
    Expired,
    Revoked,
    /// It is for another operation.
    WrongOperation,
    /// It is for other fields, or its card has none of them. The one cause that the caller is told:
    /// nothing is wrong with the token.
    FieldNotAllowed,
    /// Another key holds it, or it is bound to another key.
    OtherKey,
    /// The window for further fields has closed.
    WindowClosed,
    /// The field was released too long ago, or too often.
    RepeatsExhausted,
    /// The card's state does not allow it now.
    CardState,
    /// The browser reports on a redemption that is not this token's.
    WrongRedemption,
    /// The browser has reported too often.
    TooManyEvents,
    /// The code of a second factor is wrong.
    WrongCode,
    /// The code was used, or is older than one that was.
    CodeReused,
    /// The session of a second factor has given its token.
    SessionSpent,
    /// Wrong codes have ended the session.
    SessionLocked,
    /// The person has opened too many sessions, or was wrong too often.
    TooOften,
    /// The person has no such factor, it is locked, or it does not count.
    FactorUnavailable,
    /// The person has a stronger factor than the one that was asked for.
    WeakerFactor,
}
