//! What a record says of a change, and what it never says.

use std::collections::BTreeSet;

use cardveil_core::audit::settings::*;
use cardveil_core::clock::Time;
use cardveil_core::hook::{Endpoint, Subscription};
use cardveil_core::merchant::allowlist::Allowlist;
use cardveil_core::merchant::{CredentialState, Pin, Scope, SealedSecret};
use cardveil_core::mfa::Policy;
use cardveil_core::wallet::{Bin, Wallet};
use cardveil_testkit::sample::{self, START};
use ipnet::IpNet;

fn change(field: &'static str, from: Option<&str>, to: Option<&str>) -> FieldChange {
    FieldChange {
        field: field.into(),
        from: from.map(ToOwned::to_owned),
        to: to.map(ToOwned::to_owned),
    }
}

fn between<T: Settings + Clone>(row: &T, alter: impl FnOnce(&mut T)) -> Vec<FieldChange> {
    let mut next = row.clone();
    alter(&mut next);
    changes(Some(row), Some(&next))
}

#[test]
fn a_changed_policy_says_from_what_to_what() {
    let merchant = sample::merchant(1);
    let told = between(&merchant, |m| {
        m.mfa.view_card = Policy::Required;
        m.wallets.wallets = vec![Wallet::ApplePay];
        m.wallets.bins = Some(vec![Bin::parse("411111").unwrap()]);
        m.pci_enabled = !m.pci_enabled;
        m.permissions.export = false;
    });
    let (was, is) = (merchant.pci_enabled, !merchant.pci_enabled);
    let of = |field: &str| told.iter().find(|c| c.field == field).unwrap().clone();
    assert_eq!(
        of("mfa.view_card"),
        change("mfa.view_card", Some("off"), Some("required"))
    );
    assert_eq!(
        of("pci_enabled"),
        change("pci_enabled", Some(&was.to_string()), Some(&is.to_string()))
    );
    assert_eq!(
        of("permissions.export"),
        change("permissions.export", Some("true"), Some("false"))
    );
    assert_eq!(
        of("wallets.bins"),
        change("wallets.bins", Some("all"), Some("411111"))
    );
    assert_eq!(of("wallets").to.as_deref(), Some("APPLE_PAY"));
}

#[test]
fn a_changed_origin_allow_list_scope_or_webhook_says_from_what_to_what() {
    let embed = sample::embed(1);
    let was = embed.origins.join(" ");
    let told = between(&embed, |e| {
        e.origins = vec!["https://new.example".to_owned()];
    });
    let expected = change("origins", Some(&was), Some("https://new.example"));
    assert_eq!(told, [expected]);

    let credential = sample::credential(1);
    let was = credential.allowed_ips.nets()[0].to_string();
    let told = between(&credential, |c| {
        let nets = ["10.0.0.0/16", "192.0.2.7/32"].map(|net| net.parse().unwrap());
        c.allowed_ips = Allowlist::of(nets, START);
        c.scopes = vec![Scope::WebhooksManage, Scope::CardsReadAny];
        c.ip_ceiling = Some(vec!["10.0.0.0/8".parse().unwrap()]);
        c.client_certificates = ["dns:a.example", "dns:b.example"]
            .map(|pin| Pin::parse(pin).unwrap())
            .to_vec();
        c.state = CredentialState::Disabled;
        c.expires_at = Some(Time::from_millis(0));
    });
    let scopes = change(
        "scopes",
        Some("cards:read:any"),
        Some("webhooks:manage cards:read:any"),
    );
    let expected = [
        change("allowed_ips", Some(&was), Some("10.0.0.0/16 192.0.2.7/32")),
        change("ip_ceiling", Some("all"), Some("10.0.0.0/8")),
        change(
            "client_certificates",
            None,
            Some("dns:a.example dns:b.example"),
        ),
        scopes,
        change("state", Some("enabled"), Some("disabled")),
        change(
            "expires_at",
            Some("2026-01-01T00:16:40.000Z"),
            Some("1970-01-01T00:00:00.000Z"),
        ),
    ];
    assert_eq!(told, expected);

    let subscription = sample::subscription(1);
    let told = between(&subscription, |s| {
        s.url = Endpoint::parse("https://hooks.example:8443/a/secret/path?key=hunter2").unwrap();
        s.topics.clear();
    });
    let of = |field: &str| told.iter().find(|c| c.field == field).unwrap();
    assert_eq!(of("host").to.as_deref(), Some("https://hooks.example:8443"));
    assert_eq!(*of("url"), change("url", Some("set"), Some("replaced")));
    assert_eq!(of("topics").to, None);
}

/// A row that was added is told whole, but for what it has nothing of; so is one that was removed.
#[test]
fn a_row_that_is_added_says_what_it_starts_with() {
    let told = changes(None, Some(&sample::embed(1)));
    let fields: Vec<_> = told.iter().map(|change| &*change.field).collect();
    assert_eq!(fields, ["origins", "copy_cvv", "transparent", "enabled"]);
    assert!(told.iter().all(|c| c.from.is_none() && c.to.is_some()));
    let told = changes(Some(&sample::embed(1)), None);
    assert!(told.iter().all(|c| c.from.is_some() && c.to.is_none()));
}

#[test]
fn what_is_the_same_is_not_told() {
    assert_eq!(between(&sample::merchant(1), |_| ()), []);
    assert_eq!(between(&sample::credential(1), |_| ()), []);
    assert_eq!(between(&sample::embed(1), |_| ()), []);
    let later = |s: &mut Subscription| s.updated_at = Time::from_millis(1);
    assert_eq!(between(&sample::subscription(1), later), []);
}

#[test]
fn no_secret_is_told() {
    let sealed = |byte: u8| SealedSecret {
        dek: vec![byte; 8],
        sealed: vec![byte; 8],
    };
    let told = between(&sample::credential(1), |c| {
        c.key_hash = [0xab; 32];
        c.sealed_secret = sealed(0xab);
    });
    let replaced = [
        change("api_key", Some("set"), Some("replaced")),
        change("api_secret", Some("set"), Some("replaced")),
    ];
    assert_eq!(told, replaced);
    let mut subscription = sample::subscription(1);
    subscription.authorization = None;
    let told = between(&subscription, |s| s.authorization = Some(sealed(1)));
    assert_eq!(told, [change("authorization", None, Some("set"))]);
    subscription.url = Endpoint::parse("https://hooks.example/hunter2?key=hunter2").unwrap();
    let told = changes(None, Some(&subscription));
    assert!(!format!("{told:?}").contains("hunter2"), "{told:?}");
    let mut merchant = sample::merchant(1);
    merchant.name = "4111 1111 1111 1111".to_owned();
    let told = changes(None, Some(&merchant));
    assert!(!format!("{told:?}").contains("1111"), "{told:?}");
}

#[test]
fn a_long_list_is_told_by_what_differs_and_ends() {
    let nets = |range: std::ops::Range<u32>| {
        let net = |n: u32| IpNet::from(std::net::IpAddr::from(n.to_be_bytes()));
        Allowlist::of(range.map(net), START)
    };
    let mut credential = sample::credential(1);
    credential.allowed_ips = nets(0x0a00_0000..0x0a00_00c8);
    let told = between(&credential, |c| {
        c.allowed_ips = nets(0x0a00_0000..0x0a00_00c9);
    });
    let from = "200 in all, of them only here:";
    let to = "201 in all, of them only here: 10.0.0.200/32";
    assert_eq!(told, [change("allowed_ips", Some(from), Some(to))]);
    let told = between(&credential, |c| {
        c.allowed_ips = nets(0x0b00_0000..0x0b00_1000);
    });
    let to = told[0].to.as_deref().unwrap();
    assert!(to.chars().count() <= VALUE_CHARS_MAX, "{}", to.len());
    assert!(
        to.starts_with("4096 in all") && to.ends_with(" more"),
        "{to}"
    );
}

/// Two settings of one name would hide one another.
#[test]
fn each_setting_has_a_name_of_its_own() {
    fn check(row: &impl Settings) {
        let settings = row.settings();
        let names: BTreeSet<_> = settings.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), settings.len());
    }
    check(&sample::merchant(1));
    check(&sample::credential(1));
    check(&sample::embed(1));
    check(&sample::subscription(1));
}
