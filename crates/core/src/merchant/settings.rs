//! What a record of the audit log tells of a merchant, a credential and an embed.

use ipnet::IpNet;

use super::allowlist::{Allowlist, Network};
use super::{Credential, Embed, Merchant, Permissions, Pin, Scope};
use crate::audit::settings::{
    Settings, Value, hidden, limit_to, list_of, maybe, named, one, words,
};
use crate::clock::Time;
use crate::mfa::{Factor, FactorPolicy, FactorSet, MfaPolicy};
use crate::wallet::{Bin, WalletRules};

impl Settings for Merchant {
    fn settings(&self) -> Vec<(&'static str, Value)> {
        let Self {
            id: _,
            name,
            state,
            pci_enabled,
            permissions:
                Permissions {
                    export,
                    read_pins,
                    set_pins,
                },
            wallets:
                WalletRules {
                    wallets,
                    bins,
                    products,
                },
            mfa:
                MfaPolicy {
                    view_card,
                    add_card_to_wallet,
                    view_pin,
                    set_pin,
                    factors: FactorPolicy { accepts, fallback },
                },
            created_at: _,
        } = self;
        vec![
            ("name", Value::One(words(name))),
            ("state", named(state)),
            ("pci_enabled", one(pci_enabled)),
            ("permissions.export", one(export)),
            ("permissions.read_pins", one(read_pins)),
            ("permissions.set_pins", one(set_pins)),
            ("wallets", list_of(wallets, |w| w.as_str().to_owned())),
            (
                "wallets.bins",
                limit_to(bins.as_deref(), |bin: &Bin| bin.as_str().to_owned()),
            ),
            (
                "wallets.products",
                limit_to(products.as_deref(), |product: &String| words(product)),
            ),
            ("mfa.view_card", one(view_card.as_str())),
            ("mfa.add_card_to_wallet", one(add_card_to_wallet.as_str())),
            ("mfa.view_pin", one(view_pin.as_str())),
            ("mfa.set_pin", one(set_pin.as_str())),
            ("mfa.factors.accepts", factors(*accepts)),
            ("mfa.factors.fallback", factors(*fallback)),
        ]
    }
}

fn factors(set: FactorSet) -> Value {
    let all: Vec<_> = set.iter().collect();
    list_of(&all, |factor: &Factor| factor.as_str().to_owned())
}

impl Settings for Credential {
    fn settings(&self) -> Vec<(&'static str, Value)> {
        let Self {
            id: _,
            merchant: _,
            key_hash,
            sealed_secret,
            allowed_ips,
            ip_ceiling,
            client_certificates,
            scopes,
            inherited,
            person,
            state,
            expires_at,
            created_at: _,
        } = self;
        vec![
            ("api_key", Value::Hidden(key_hash.to_vec())),
            ("api_secret", hidden(Some(sealed_secret))),
            ("allowed_ips", networks(allowed_ips)),
            (
                "ip_ceiling",
                limit_to(ip_ceiling.as_deref(), |net: &IpNet| net.to_string()),
            ),
            (
                "client_certificates",
                list_of(client_certificates, Pin::to_string),
            ),
            (
                "scopes",
                list_of(scopes, |scope: &Scope| scope.as_str().to_owned()),
            ),
            ("inherited", one(inherited)),
            ("person", maybe(person.as_ref())),
            ("state", named(state)),
            ("expires_at", maybe::<Time>(expires_at.as_ref())),
        ]
    }
}

/// Where calls may come from. What people call a network lets nobody in.
fn networks(allowed: &Allowlist) -> Value {
    let net = |network: &Network| {
        let Network {
            net,
            description: _,
            created_at: _,
            updated_at: _,
        } = network;
        net.to_string()
    };
    list_of(allowed.networks(), net)
}

impl Settings for Embed {
    fn settings(&self) -> Vec<(&'static str, Value)> {
        let Self {
            id: _,
            merchant: _,
            origins,
            copy_cvv,
            transparent,
            enabled,
            created_at: _,
        } = self;
        vec![
            ("origins", Value::List(origins.clone())),
            ("copy_cvv", one(copy_cvv)),
            ("transparent", one(transparent)),
            ("enabled", one(enabled)),
        ]
    }
}
