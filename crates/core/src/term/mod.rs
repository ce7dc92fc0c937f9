//! The terms that the rows, the audit log and the wire share: which field, what for, why not.
//!
//! **Invariant:** a term knows no row and no rule, so that the audit log can tell it. Each is shown
//! again by the module whose rules are about it, and others take it from there.

mod cause;
mod digest;
mod epoch;
mod field;
mod named;
mod operation;
mod purpose;
mod sealed;
mod verification;

pub use cause::Cause;
pub(crate) use digest::digest;
pub use digest::{CertificateHash, PublicKeyHash, Thumbprint, TokenHash};
pub use epoch::Epoch;
pub use field::{Field, Fields};
pub use operation::Operation;
pub use purpose::Purpose;
pub use sealed::SealedSecret;
pub use verification::Verification;
