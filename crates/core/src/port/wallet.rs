//! The register of digital wallet tokens.

use async_trait::async_trait;

use super::Result;
use crate::card::{LastFour, PanIndexes};
use crate::id::{AccountId, CardId, DeviceId, MerchantId, PersonId, WalletTokenId};
use crate::wallet::{Census, Device, DeviceType, State, Wallet, WalletToken};

/// Which tokens to list. What is left out does not narrow.
#[derive(Clone, Debug, Default)]
pub struct WalletFilter {
    pub merchant: Option<MerchantId>,
    /// Of cards of this account.
    pub account: Option<AccountId>,
    /// Of cards of this person.
    pub person: Option<PersonId>,
    pub card: Option<CardId>,
    /// Of cards whose numbers end so.
    pub last_fours: Option<Vec<LastFour>>,
    /// In one of these states.
    pub states: Option<Vec<State>>,
    /// In one of these wallets.
    pub wallets: Option<Vec<Wallet>>,
    /// On devices of one of these types.
    pub device_types: Option<Vec<DeviceType>>,
    /// On this device.
    pub device_id: Option<DeviceId>,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug)]
pub struct WalletPage {
    /// Those that came after this one; none when it is not there.
    pub after: Option<WalletTokenId>,
    /// How many of them to leave out.
    pub offset: usize,
    /// How many at most.
    pub limit: usize,
}

/// A token with what anyone who may know of its card may see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedToken {
    pub token: WalletToken,
    /// What people call the card.
    pub label: String,
    /// The last four digits of its number.
    pub last_four: LastFour,
}

/// Digital wallet tokens.
#[async_trait]
pub trait WalletTokens: Send + Sync {
    /// The merchant's token. Another merchant's is not found.
    async fn wallet_token(
        &self,
        merchant: &MerchantId,
        id: &WalletTokenId,
    ) -> Result<Option<ListedToken>>;

    /// Those that match, in the order in which they came.
    async fn wallet_tokens(
        &self,
        filter: &WalletFilter,
        page: WalletPage,
    ) -> Result<Vec<ListedToken>>;

    /// How many match.
    async fn wallet_tokens_count(&self, filter: &WalletFilter) -> Result<usize>;

    /// What the card number of these keyed indexes has, as seen from this device.
    async fn wallet_census(&self, indexes: &PanIndexes, device: &Device) -> Result<Census>;
}
