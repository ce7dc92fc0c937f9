//! What the domain's refusals are to callers who get problems.

use cardveil_core::flow::{CardRefusal, IssueRefusal, SessionRefused};
use cardveil_core::wallet;

use super::problem::{Code, Problem};

/// What is said of an embed that a token cannot be bound to.
pub(crate) const EMBED: &str = "must be an embed of yours that is in use";

/// What a merchant's own reference to a second factor is made of.
pub(crate) const REFERENCE: &str = "must be 1 to 64 letters, digits, _, -, . or :, and not what \
                                     programs write for nothing (undefined, null, 0)";

/// What to do where a budget asks for a second factor.
pub(crate) const ASKED_OFTEN: &str = "The card or its person was asked for often. Open an MFA session and send \
     its id with the person's code.";

/// What an issue's refusal is to callers who get problems.
impl From<IssueRefusal> for Problem {
    fn from(refusal: IssueRefusal) -> Self {
        match refusal {
            IssueRefusal::PciDisabled => Self::new(Code::PciNotEnabled),
            IssueRefusal::UnknownCard => Self::new(Code::NotFound),
            IssueRefusal::CardState(state) => Self::detail(
                Code::CardNotViewable,
                format!(
                    "The card is {}. Bring it into use first, or choose another.",
                    state.as_str()
                ),
            ),
            IssueRefusal::FieldUnavailable => Self::new(Code::FieldUnavailable),
            IssueRefusal::NoFields => Self::invalid("fields", "this operation releases none"),
            IssueRefusal::UnknownEmbed => Self::invalid("embed", EMBED),
            IssueRefusal::NameReused => Self::new(Code::IdempotencyMismatch),
            IssueRefusal::MfaRequired | IssueRefusal::MfaUnsupported => {
                Self::new(Code::MfaRequired)
            }
            IssueRefusal::MfaReference => Self::invalid("sessionId", REFERENCE),
            IssueRefusal::MfaRefused => Self::new(Code::MfaRefused),
            IssueRefusal::BudgetNeedsFactor { .. } => Self::detail(Code::MfaRequired, ASKED_OFTEN),
            IssueRefusal::BudgetExhausted { retry_after_secs } => Self::too_often(retry_after_secs),
        }
    }
}

/// What a refusal to change a card is to callers who get problems.
impl From<CardRefusal> for Problem {
    fn from(refusal: CardRefusal) -> Self {
        match refusal {
            CardRefusal::UnknownCard => Self::new(Code::NotFound),
            CardRefusal::OutOfReach => Self::new(Code::ScopeMissing),
            CardRefusal::State(from) => Self::detail(
                Code::TransitionRefused,
                format!("The card is {}, which does not lead there.", from.as_str()),
            ),
        }
    }
}

/// What a session's refusal is to callers who get problems.
impl From<SessionRefused> for Problem {
    fn from(refused: SessionRefused) -> Self {
        match refused {
            SessionRefused::UnknownCard => Self::new(Code::NotFound),
            SessionRefused::FactorUnavailable => Self::new(Code::FactorUnavailable),
            SessionRefused::StrongerEnrolled => Self::detail(
                Code::FactorUnavailable,
                "The person has a stronger factor: leave `factor` out, or ask for that one.",
            ),
            SessionRefused::TooOften { retry_after_secs } => Self::too_often(retry_after_secs),
        }
    }
}

/// What a refusal of the register is to callers who get problems.
impl From<wallet::Refused> for Problem {
    fn from(refused: wallet::Refused) -> Self {
        match refused {
            wallet::Refused::Unknown => Self::new(Code::NotFound),
            wallet::Refused::Final(state) => Self::detail(
                Code::WalletTokenFinal,
                format!(
                    "The token is {}, and nothing can become of it any more.",
                    state.as_str()
                ),
            ),
            wallet::Refused::LimitReached => Self::new(Code::WalletTokenLimit),
            wallet::Refused::NotRequested(state) => Self::detail(
                Code::WalletTokenFinal,
                format!(
                    "The token is {}: the network waits for no one's verification.",
                    state.as_str()
                ),
            ),
        }
    }
}
