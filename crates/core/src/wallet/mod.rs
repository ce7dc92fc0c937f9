//! Digital wallets: which cards may go into which wallet, and the tokens that stand for them there.
//!
//! A wallet token is the network's stand-in for a card on one device. The network makes it and
//! decides over its request; this deployment keeps the register, changes states for merchants and
//! cardholders, and answers beforehand whether a card can go into a wallet at all.
//!
//! **Invariant:** a change of a token is a value that holds its audit event ([`Changed`]), and is
//! decided by [`token`] over the row as it is inside the write.
//!
//! To add a wallet: its variant in [`Wallet`], then follow the compiler. To add a reason against a
//! wallet: [`Reason`], its place in [`Facts::reasons`], and the table in
//! `docs/integrate/wallets.md`.

mod rules;
pub mod token;

use crate::named;
use serde::{Deserialize, Serialize};

pub use rules::{Bin, Facts, InvalidBin, Reason, WalletRules};
pub use token::{
    Asked, Census, Change, Changed, Decision, Fulfilment, Refused, State, Step, WalletToken,
};

/// How many active and suspended tokens one card number may have (Equals, "Create digital wallet
/// tokens").
pub const TOKENS_PER_PAN_MAX: usize = 25;

named! {
    /// A digital wallet, by Equals' name (`tokenType`).
    pub enum Wallet {
        ApplePay = "APPLE_PAY",
        /// Google Pay and others on Android.
        AndroidPay = "ANDROID_PAY",
        SamsungPay = "SAMSUNG_PAY",
    }
}

named! {
    /// What the wallet runs on, by Equals' name (`deviceType`).
    pub enum DeviceType {
        MobilePhone = "MOBILE_PHONE",
        Tablet = "TABLET",
        Watch = "WATCH",
    }
}

/// A device and the wallet on it: where a card is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub wallet: Wallet,
    /// What it runs on.
    pub device_type: DeviceType,
    /// Which one, by the wallet's own name for it.
    pub device_id: crate::id::DeviceId,
}
