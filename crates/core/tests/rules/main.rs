//! The rules of `core` with the samples and stores of `testkit`, in the tree of its modules. A test
//! that needs neither stands beside its rule.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop where it is"
)]

mod audit;
mod card;
mod flow;
mod hook;
mod merchant;
mod mfa;
mod token;
mod vault;
mod wallet;
