//! Merchants, their credentials, and the embeds that name who may frame a card.

pub mod allowlist;
mod certificate;
mod rights;
mod settings;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use self::allowlist::Allowlist;
pub use self::certificate::{ClientCertificate, InvalidPin, Pin};
pub(crate) use self::rights::sight_of;
pub use self::rights::{Lack, Need, Permissions, Scope, Sight, judge};
use crate::audit::refused::Keyholder;
use crate::clock::Time;
use crate::id::{CredentialId, EmbedId, MerchantId, PersonId};
use crate::mfa::MfaPolicy;
pub use crate::term::{CertificateHash, PublicKeyHash, SealedSecret};
use crate::wallet::WalletRules;

/// A partner whose server calls us (Equals: the account holder's platform).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merchant {
    /// Its name for machines.
    pub id: MerchantId,
    /// Its name for people.
    pub name: String,
    /// Whether it may call at all.
    pub state: MerchantState,
    /// Whether its cardholders may be shown card data (KeySecure's code 1013).
    pub pci_enabled: bool,
    /// What it may have beside that.
    #[serde(default)]
    pub permissions: Permissions,
    /// Which of its cards may go into which wallet; by default none.
    #[serde(default)]
    pub wallets: WalletRules,
    /// Which operations need a second factor.
    #[serde(default)]
    pub mfa: MfaPolicy,
    /// Since when we know it.
    pub created_at: Time,
}

/// A merchant's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MerchantState {
    /// It may call.
    Active,
    /// It may not for now (KeySecure's code 1022).
    Suspended,
    /// It has gone; to callers it does not exist (KeySecure's code 1021).
    Closed,
}

/// What a merchant's server calls us with. The Api-Key itself is not here: only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its name; safe to log.
    pub id: CredentialId,
    pub merchant: MerchantId,
    /// SHA-256 of the Api-Key, which has 256 random bits (ASVS 6.5.2).
    pub key_hash: [u8; 32],
    /// The apiSecret, sealed under the credential class key. Its bytes are an AES-256 key.
    pub sealed_secret: SealedSecret,
    /// Where calls may come from.
    pub allowed_ips: Allowlist,
    /// Within which networks it may add to that itself: the operator's ceiling. `None` in
    /// credentials of before there were ceilings, which may add any.
    #[serde(default)]
    pub ip_ceiling: Option<Vec<IpNet>>,
    /// Which client certificates its calls may come with: one of these, or with none of them
    /// whichever.
    #[serde(default)]
    pub client_certificates: Vec<Pin>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Whether it has scopes that nobody asked for by name, from before there were such.
    #[serde(default)]
    pub inherited: bool,
    /// Bound to one cardholder: what `cards:read:own` then sees.
    pub person: Option<PersonId>,
    /// Whether it is in use.
    pub state: CredentialState,
    /// The first moment at which it is no longer good.
    pub expires_at: Option<Time>,
    /// When it was made.
    pub created_at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialState {
    /// In use.
    Enabled,
    /// Taken out of use (KeySecure's code 1010).
    Disabled,
}

/// Why a credential that exists may not be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    Disabled,
    Expired,
}

impl Credential {
    /// Whether it is in use at `now`.
    pub fn usable(&self, now: Time) -> Result<(), Barred> {
        usable(self.state, self.expires_at, now)
    }

    /// Whether calls may come from `ip`. An IPv4 address inside IPv6 counts as the IPv4 one.
    pub fn allows_ip(&self, ip: IpAddr) -> bool {
        self.allowed_ips.contains(ip)
    }
}

impl From<&Credential> for Keyholder {
    fn from(credential: &Credential) -> Self {
        Self {
            credential: credential.id.clone(),
            merchant: credential.merchant.clone(),
        }
    }
}

/// Whether a credential in this state and with this end is in use at `now`.
pub(crate) fn usable(
    state: CredentialState,
    expires_at: Option<Time>,
    now: Time,
) -> Result<(), Barred> {
    match state {
        CredentialState::Disabled => Err(Barred::Disabled),
        CredentialState::Enabled if expires_at.is_some_and(|end| end <= now) => {
            Err(Barred::Expired)
        }
        CredentialState::Enabled => Ok(()),
    }
}

/// A place where cards may be shown: the public id in a frame's address, or an app's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embed {
    /// The public id.
    pub id: EmbedId,
    pub merchant: MerchantId,
    /// The origins whose pages may frame it, exact and in ASCII form (`https://shop.example`).
    /// Empty for a native app.
    pub origins: Vec<String>,
    /// Whether the CVV may be copied in it. The card number always may.
    pub copy_cvv: bool,
    /// Whether a page may lay parts without looks over what it draws itself, so that it decides
    /// what a cardholder believes to click.
    #[serde(default)]
    pub transparent: bool,
    /// Whether it is in use.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Time,
}

/// Whether pages of an origin may frame cards: nobody on the network between can have written them.
/// `https`, or whatever this very device serves itself: `http://localhost`,
/// `capacitor://localhost`.
pub fn is_secure_origin(origin: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else {
        return false;
    };
    let host = match rest.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => rest,
    };
    let here = ["localhost", "127.0.0.1", "[::1]"].contains(&host)
        || host
            .strip_suffix(".localhost")
            .is_some_and(|name| !name.is_empty());
    scheme == "https" || here
}

/// What one lookup of an Api-Key tells: enough to admit the call or to say why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    pub credential: Credential,
    /// Its merchant; `None` when the row is gone, which callers see as a closed merchant.
    pub merchant: Option<Merchant>,
    /// The store's epoch at that moment.
    pub epoch: crate::term::Epoch,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> Credential {
        Credential {
            id: CredentialId::parse("crd_1").unwrap(),
            merchant: MerchantId::parse("mer_1").unwrap(),
            key_hash: [0; 32],
            sealed_secret: SealedSecret {
                dek: vec![],
                sealed: vec![],
            },
            allowed_ips: Allowlist::of(["127.0.0.1/32".parse().unwrap()], Time::from_millis(0)),
            ip_ceiling: None,
            client_certificates: vec![],
            scopes: vec![Scope::CardsReadAny],
            inherited: false,
            person: None,
            state: CredentialState::Enabled,
            expires_at: Some(Time::from_millis(1_000)),
            created_at: Time::from_millis(0),
        }
    }

    #[test]
    fn expiry_is_the_first_moment_at_which_it_is_no_longer_good() {
        let mut credential = credential();
        assert_eq!(credential.usable(Time::from_millis(999)), Ok(()));
        assert_eq!(
            credential.usable(Time::from_millis(1_000)),
            Err(Barred::Expired)
        );
        credential.state = CredentialState::Disabled;
        assert_eq!(
            credential.usable(Time::from_millis(0)),
            Err(Barred::Disabled)
        );
    }

    #[test]
    fn an_ipv4_address_inside_ipv6_counts_as_the_ipv4_one() {
        let credential = credential();
        assert!(credential.allows_ip("127.0.0.1".parse().unwrap()));
        assert!(credential.allows_ip("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!credential.allows_ip("127.0.0.2".parse().unwrap()));
        assert!(!credential.allows_ip("::1".parse().unwrap()));
    }

    #[test]
    fn pages_of_https_and_of_this_device_may_frame_cards() {
        for secure in [
            "https://shop.example",
            "https://shop.example:8443",
            "https://[2001:db8::1]",
            "http://localhost",
            "http://localhost:3000",
            "http://127.0.0.1:3000",
            "http://[::1]",
            "http://[::1]:3000",
            "http://shop.localhost:7400",
            "capacitor://localhost",
        ] {
            assert!(is_secure_origin(secure), "{secure}");
        }
        for other in [
            "http://shop.example",
            "http://shop.example:8080",
            "http://127.0.0.2",
            "http://10.0.0.1:3000",
            "http://[::2]",
            "http://[::ffff:127.0.0.1]",
            "http://localhost.example",
            "http://notlocalhost",
            "http://.localhost",
            "http://127.0.0.1.example",
            "ftp://shop.example",
            "app://shop.example",
            "localhost",
            "",
        ] {
            assert!(!is_secure_origin(other), "{other}");
        }
    }
}
