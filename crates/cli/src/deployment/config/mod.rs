//! The configuration: a TOML file and `CARDVEIL_` variables over it. Unknown keys are errors. No
//! secret is in it: the root key is a path.

mod designs;
#[cfg(test)]
mod documented;
mod fonts;
mod keys;
mod limits;
mod origin;
mod place;
mod read;
mod sinks;
mod store;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use cardveil_core::Time;
use cardveil_core::card::Environment;
use cardveil_core::text::NumberedField;
use cardveil_server::ListenerKind;
use cardveil_server::courier::Authorities;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(crate) use self::designs::Design;
pub(crate) use self::fonts::Font;
pub(crate) use self::keys::{Keys, Pkcs11, RootKey};
pub(crate) use self::limits::{Budgets, Credentials, Limits};
pub(crate) use self::origin::{embed_origin, origin};
pub(crate) use self::place::{Setting, located};
pub(crate) use self::sinks::{Audit, Sink};
pub(crate) use self::store::Store;
pub(crate) use self::tls::{Partners, Tls};
use crate::print::hinted;

/// A deployment's configuration. See `docs/reference/configuration.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// `sandbox` takes the schemes' test numbers only, `live` refuses them.
    pub(crate) environment: Environment,
    pub(crate) store: Store,
    pub(crate) keys: Keys,
    pub(crate) client: Client,
    pub(crate) listen: Listen,
    #[serde(default)]
    pub(crate) tls: Tls,
    #[serde(default)]
    pub(crate) network: Network,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) budgets: Budgets,
    #[serde(default)]
    pub(crate) timestamp: Timestamp,
    #[serde(default)]
    pub(crate) issuer: Issuer,
    #[serde(default)]
    pub(crate) numbering: Numbering,
    #[serde(default)]
    pub(crate) webhooks: Webhooks,
    #[serde(default)]
    pub(crate) audit: Audit,
    #[serde(default)]
    pub(crate) retention: Retention,
    #[serde(default)]
    pub(crate) credentials: Credentials,
    #[serde(default)]
    pub(crate) log: Log,
    #[serde(default)]
    pub(crate) shutdown: Shutdown,
    /// The fonts that frames may show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fonts: Vec<Font>,
    /// The designs that cards' faces may wear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) designs: Vec<Design>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    /// The client listener's origin as browsers see it.
    pub(crate) origin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    /// For partners' servers.
    pub(crate) merchant: SocketAddr,
    /// For the public.
    pub(crate) client: SocketAddr,
    /// For operators. It has no credentials: keep it on loopback or behind a firewall.
    pub(crate) admin: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Network {
    /// Peers whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Listeners to which they speak the PROXY protocol.
    pub(crate) proxy_protocol: Vec<ListenerKind>,
    /// How long a connection may rest between two requests: 1 to 3,600. A proxy that keeps
    /// connections must let them go sooner.
    pub(crate) idle_secs: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            idle_secs: 75,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Timestamp {
    /// How far in the future KeySecure's `Timestamp` may be. The contract says 0.
    pub(crate) future_tolerance_ms: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Issuer {
    /// Why CVVs are stored, and who answers for it. Left out, none is (PCI DSS 3.3.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store_cvv_reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Numbering {
    /// The fields of a card whose own numbers look like card numbers, and are taken as they are.
    pub(crate) own: Vec<NumberedField>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Webhooks {
    /// Whether receivers may be at private addresses and without TLS.
    pub(crate) allow_private: bool,
    /// How long an attempt may take, in milliseconds: 100 to 60,000.
    pub(crate) timeout_ms: u32,
    /// Authorities of receivers' certificates besides the system's, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    /// How many days after its last month a card is ended, and then removed with its keys. Left
    /// out, no card is removed by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expired_cards_days: Option<u32>,
}

impl Retention {
    /// How long expired cards are kept, if not for ever.
    pub(crate) fn expired_cards(&self) -> Option<Duration> {
        let days = self.expired_cards_days?;
        Some(Duration::from_secs(u64::from(days) * 86_400))
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            allow_private: false,
            timeout_ms: 10_000,
            ca_file: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Shutdown {
    /// How long it serves on after it was told to stop, while `/readyz` says 503 so that load
    /// balancers send nothing new: at most 300.
    pub(crate) delay_secs: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// Whether probes of health that found nothing have lines.
    pub(crate) probes: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { probes: true }
    }
}

impl Config {
    /// What `init` writes.
    pub(crate) fn fresh(environment: Environment) -> Self {
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            environment,
            store: Store {
                database: "data/cardveil.db".into(),
                fence: "fence/cardveil.fence".into(),
                postgres: None,
                password_file: None,
                postgres_ca: None,
                postgres_plain: false,
            },
            keys: Keys {
                root: RootKey::File("keys/root.key".into()),
                next_root: None,
            },
            client: Client {
                origin: "http://127.0.0.1:7420".to_owned(),
            },
            listen: Listen {
                merchant: local(7410),
                client: local(7420),
                admin: local(7430),
            },
            tls: Tls::default(),
            network: Network::default(),
            limits: Limits::default(),
            budgets: Budgets::default(),
            timestamp: Timestamp::default(),
            issuer: Issuer::default(),
            numbering: Numbering::default(),
            webhooks: Webhooks::default(),
            audit: Audit::default(),
            retention: Retention::default(),
            credentials: Credentials::default(),
            log: Log::default(),
            shutdown: Shutdown::default(),
            fonts: Vec::new(),
            designs: Vec::new(),
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        // What it says otherwise is in the error of an origin.
        origin(&self.client.origin).map_err(|_| {
            hinted(
                "is not an origin",
                "give scheme, host and port only, such as https://cards.example",
            )
            .context(Setting::new("client.origin"))
        })?;
        self.budgets.budgets()?;
        self.tls.check(&self.client.origin)?;
        if !(100..=60_000).contains(&self.webhooks.timeout_ms) {
            return out_of_range("webhooks.timeout_ms", "100 to 60000 milliseconds");
        }
        if !self.network.proxy_protocol.is_empty() && self.network.trusted_proxies.is_empty() {
            let wrong = hinted(
                "is believed of trusted proxies only, and there are none",
                "name the load balancers' addresses in network.trusted_proxies",
            );
            return Err(wrong.context(Setting::new("network.proxy_protocol")));
        }
        if !(1..=3_600).contains(&self.network.idle_secs) {
            return out_of_range("network.idle_secs", "1 to 3600 seconds");
        }
        if self.shutdown.delay_secs > 300 {
            return out_of_range("shutdown.delay_secs", "0 to 300 seconds");
        }
        self.audit.check()?;
        self.store.check()?;
        if self.store.postgres.is_some() {
            return Ok(());
        }
        let folder = self
            .store
            .database
            .parent()
            .unwrap_or_else(|| Path::new(""));
        let fence = ("store.fence", &self.store.fence);
        for (name, path) in self.keys.files().chain([fence]) {
            if path.starts_with(folder) && folder != Path::new("") || path.parent() == Some(folder)
            {
                let wrong = hinted(
                    "is in the database's folder",
                    "whoever copies the one must not get the other: move it to a folder of its own",
                );
                return Err(wrong.context(Setting::new(name)));
            }
        }
        Ok(())
    }

    fn under(mut self, base: &Path) -> Self {
        self.store.under(base);
        self.keys.root.under(base);
        if let Some(next) = &mut self.keys.next_root {
            next.under(base);
        }
        for font in &mut self.fonts {
            font.file = base.join(&font.file);
        }
        for design in &mut self.designs {
            design.under(base);
        }
        if let Some(path) = &mut self.webhooks.ca_file {
            *path = base.join(&*path);
        }
        self.audit.under(base);
        self.tls.under(base);
        self
    }

    /// For the courier.
    pub(crate) fn webhooks(&self) -> anyhow::Result<cardveil_server::courier::Webhooks> {
        let authorities = match &self.webhooks.ca_file {
            Some(path) => Authorities::read(path)
                .map_err(|error| hinted(error.to_string(), error.hint()))
                .context(Setting::new("webhooks.ca_file"))?,
            None => Authorities::default(),
        };
        Ok(cardveil_server::courier::Webhooks {
            allow_private: self.webhooks.allow_private,
            authorities,
            timeout: Duration::from_millis(self.webhooks.timeout_ms.into()),
            ..cardveil_server::courier::Webhooks::default()
        })
    }

    /// Listeners that carry tokens or card data in the clear to whoever is on the network: in
    /// `live`, plain, not on loopback, and without a proxy that could end TLS before them.
    pub(crate) fn exposed_listeners(&self) -> Vec<&'static str> {
        if self.network.trusted_proxies.is_empty() {
            let plain = self.plain_listeners().into_iter();
            plain.map(ListenerKind::as_str).collect()
        } else {
            Vec::new()
        }
    }

    /// Listeners of `live` that others than this machine reach, without TLS of their own. They take
    /// connections from trusted proxies only.
    fn plain_listeners(&self) -> Vec<ListenerKind> {
        if self.environment == Environment::Sandbox {
            return Vec::new();
        }
        let all = [
            (
                ListenerKind::Merchant,
                self.listen.merchant,
                &self.tls.merchant,
            ),
            (ListenerKind::Client, self.listen.client, &self.tls.client),
        ];
        let plain = all
            .into_iter()
            .filter(|(_, at, tls)| tls.is_none() && !at.ip().is_loopback());
        plain.map(|(kind, ..)| kind).collect()
    }

    /// For the server.
    pub(crate) fn settings(&self, now: Time) -> anyhow::Result<cardveil_server::Settings> {
        Ok(cardveil_server::Settings {
            client_origin: self.client.origin.clone(),
            trusted_proxies: self.network.trusted_proxies.clone(),
            proxy_protocol: self.network.proxy_protocol.clone(),
            behind_proxies: self.plain_listeners(),
            idle_secs: self.network.idle_secs,
            log_probes: self.log.probes,
            timestamp_future_tolerance_ms: self.timestamp.future_tolerance_ms,
            private_webhooks: self.webhooks.allow_private,
            limits: self.limits.limits(),
            fonts: fonts::read(&self.fonts)?,
            designs: designs::read(&self.designs)?,
            tls: self.tls.load(now)?,
        })
    }
}

fn out_of_range(key: &str, range: &str) -> anyhow::Result<()> {
    let wrong = hinted(
        format!("must be {range}"),
        "`cardveil help configuration` says what it is",
    );
    Err(wrong.context(Setting::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh_text() -> String {
        toml::to_string(&Config::fresh(Environment::Sandbox)).unwrap()
    }

    fn parse(text: &str, variables: &[(&str, &str)]) -> anyhow::Result<Config> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        Config::parse(text.parse()?, variables)
    }

    #[test]
    fn what_init_writes_is_read_back() {
        assert_eq!(
            parse(&fresh_text(), &[]).unwrap(),
            Config::fresh(Environment::Sandbox)
        );
    }

    #[test]
    fn variables_stand_over_the_file() {
        let variables = [
            ("CARDVEIL_ENVIRONMENT", "live"),
            ("CARDVEIL_LISTEN_MERCHANT", "127.0.0.1:9000"),
            ("CARDVEIL_LIMITS_CLIENT_PER_MINUTE", "7"),
            ("CARDVEIL_NETWORK_TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
            ("CARDVEIL_CONFIG", "elsewhere.toml"),
        ];
        let config = parse(&fresh_text(), &variables).unwrap();
        assert_eq!(config.environment, Environment::Live);
        assert_eq!(config.listen.merchant.port(), 9000);
        assert_eq!(config.limits.client_per_minute, 7);
        assert_eq!(config.network.trusted_proxies.len(), 1);
    }

    #[test]
    fn unknown_keys_and_variables_are_errors() {
        assert!(parse(&format!("surprise = 1\n{}", fresh_text()), &[]).is_err());
        assert!(parse(&fresh_text(), &[("CARDVEIL_STORE_SURPRISE", "1")]).is_err());
        assert!(parse(&fresh_text(), &[("CARDVEIL_SURPRISE", "1")]).is_err());
        assert!(parse(&fresh_text(), &[("CARDVEIL_ENVIRONMENT_X", "1")]).is_err());
    }

    #[test]
    fn the_root_key_and_the_fence_are_kept_from_the_database() {
        for wrong in ["data/root.key", "data/keys/root.key"] {
            assert!(
                parse(&fresh_text(), &[("CARDVEIL_KEYS_ROOT", wrong)]).is_err(),
                "{wrong}"
            );
            for name in ["CARDVEIL_STORE_FENCE", "CARDVEIL_KEYS_NEXT_ROOT"] {
                assert!(parse(&fresh_text(), &[(name, wrong)]).is_err(), "{wrong}");
            }
        }
    }

    #[test]
    fn a_store_is_one_of_the_two_and_whole() {
        let store = |lines: &str| {
            let mut table: toml::Table = fresh_text().parse().unwrap();
            table.insert(
                "store".to_owned(),
                lines.parse::<toml::Table>().unwrap().into(),
            );
            parse(&table.to_string(), &[])
        };
        let postgres = "postgres = \"host=/run/postgresql user=cardveil dbname=cardveil\"";
        let right = store(&format!(
            "{postgres}\npassword_file = \"pg.password\"\npostgres_ca = \"/etc/ca.pem\""
        ))
        .unwrap();
        let text = toml::to_string(&right).unwrap();
        assert!(!text.contains("fence"), "{text}");
        assert!(!text.contains("plain"), "{text}");
        assert_eq!(parse(&text, &[]).unwrap(), right);
        let under = right.under(Path::new("/srv"));
        assert_eq!(under.store.password_file, Some("/srv/pg.password".into()));
        assert_eq!(under.store.postgres_ca, Some("/etc/ca.pem".into()));
        assert_eq!(under.store.database, PathBuf::new());
        let sqlite = "database = \"data/x.db\"\nfence = \"fence/x\"";
        assert!(store(sqlite).is_ok());
        for wrong in [
            "",
            "database = \"data/x.db\"",
            &format!("{sqlite}\n{postgres}"),
            &format!("{sqlite}\npassword_file = \"x\""),
            &format!("{sqlite}\npostgres_ca = \"x\""),
            &format!("{sqlite}\npostgres_plain = true"),
            &format!("{postgres}\npostgres_ca = \"x\"\npostgres_plain = true"),
        ] {
            assert!(store(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_root_key_is_a_file_or_in_a_module() {
        let module = r#"{ pkcs11 = { module = "/usr/lib/m.so", token_label = "t", key_label = "k", pin_file = "keys/pin" } }"#;
        let config = parse(&fresh_text(), &[("CARDVEIL_KEYS_NEXT_ROOT", module)]).unwrap();
        assert_eq!(
            parse(&toml::to_string(&config).unwrap(), &[]).unwrap(),
            config
        );
        let under = config.under(Path::new("/srv"));
        let files: Vec<_> = under.keys.files().collect();
        let [root, pin] = ["/srv/keys/root.key", "/srv/keys/pin"].map(PathBuf::from);
        let expected = [
            ("keys.root", &root),
            ("keys.next_root.pkcs11.pin_file", &pin),
        ];
        assert_eq!(files, expected);
        for wrong in [
            module.replace("keys/pin", "data/pin"),
            module.replace("key_label", "key"),
            module.replace("{ pkcs11", "{ surprise = 1, pkcs11"),
            module.replace(", pin_file = \"keys/pin\"", ""),
        ] {
            let variables = [("CARDVEIL_KEYS_NEXT_ROOT", wrong.as_str())];
            assert!(parse(&fresh_text(), &variables).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_root_key_may_be_in_shares_and_none_lies_beside_the_data() {
        let shares = r#"{ shares = ["/media/a/share-1", "b/share-2"] }"#;
        let config = parse(&fresh_text(), &[("CARDVEIL_KEYS_ROOT", shares)]).unwrap();
        assert_eq!(
            parse(&toml::to_string(&config).unwrap(), &[]).unwrap(),
            config
        );
        let under = config.under(Path::new("/srv"));
        let [one, two] = ["/media/a/share-1", "/srv/b/share-2"].map(PathBuf::from);
        let files: Vec<_> = under.keys.files().collect();
        assert_eq!(files, [("keys.root", &one), ("keys.root", &two)]);
        for wrong in [
            shares.replace("b/share-2", "data/share-2"),
            shares.replace("{ shares", "{ surprise = 1, shares"),
            r#"{ shares = "one" }"#.to_owned(),
        ] {
            let variables = [("CARDVEIL_KEYS_ROOT", wrong.as_str())];
            assert!(parse(&fresh_text(), &variables).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_attempts_time_has_bounds() {
        for (value, right) in [
            ("99", false),
            ("100", true),
            ("60000", true),
            ("60001", false),
        ] {
            let variables = [("CARDVEIL_WEBHOOKS_TIMEOUT_MS", value)];
            assert_eq!(parse(&fresh_text(), &variables).is_ok(), right, "{value}");
        }
        let variables = [("CARDVEIL_WEBHOOKS_ALLOW_PRIVATE", "true")];
        let config = parse(&fresh_text(), &variables).unwrap();
        assert!(config.webhooks().unwrap().allow_private);
        let fresh = Config::fresh(Environment::Live).webhooks().unwrap();
        assert!(!fresh.allow_private);
    }

    #[test]
    fn what_a_live_listener_carries_in_the_clear_is_told() {
        let exposed = |variables: &[(&str, &str)]| {
            let config = parse(&fresh_text(), variables).unwrap();
            config.exposed_listeners()
        };
        let live = ("CARDVEIL_ENVIRONMENT", "live");
        let merchant = ("CARDVEIL_LISTEN_MERCHANT", "0.0.0.0:7410");
        let client = ("CARDVEIL_LISTEN_CLIENT", "[::]:7420");
        let admin = ("CARDVEIL_LISTEN_ADMIN", "10.0.0.1:7430");
        assert!(exposed(&[live]).is_empty());
        assert!(exposed(&[live, admin]).is_empty());
        assert!(exposed(&[merchant, client]).is_empty());
        assert_eq!(exposed(&[live, merchant, client]), ["merchant", "client"]);
        let proxy = ("CARDVEIL_NETWORK_TRUSTED_PROXIES", "[\"10.0.0.0/8\"]");
        assert!(exposed(&[live, merchant, client, proxy]).is_empty());
        let behind = |variables: &[(&str, &str)]| {
            let settings = parse(&fresh_text(), variables)
                .unwrap()
                .settings(Time::from_millis(0));
            settings.unwrap().behind_proxies
        };
        let both = [ListenerKind::Merchant, ListenerKind::Client];
        assert_eq!(behind(&[live, merchant, client, proxy]), both);
        assert_eq!(behind(&[live, client, proxy]), [ListenerKind::Client]);
        assert!(behind(&[merchant, client, proxy]).is_empty());
        let own = "{ certificate = \"c\", key = \"k\" }";
        let tls = ("CARDVEIL_TLS_MERCHANT", own);
        assert_eq!(exposed(&[live, merchant, client, tls]), ["client"]);
    }

    #[test]
    fn the_proxy_protocol_is_of_trusted_proxies_and_named_listeners() {
        let listeners = (
            "CARDVEIL_NETWORK_PROXY_PROTOCOL",
            "[\"merchant\", \"client\"]",
        );
        let proxies = ("CARDVEIL_NETWORK_TRUSTED_PROXIES", "[\"10.0.0.0/8\"]");
        let config = parse(&fresh_text(), &[listeners, proxies]).unwrap();
        let both = [ListenerKind::Merchant, ListenerKind::Client];
        assert_eq!(config.network.proxy_protocol, both);
        assert!(parse(&fresh_text(), &[listeners]).is_err());
        let wrong = ("CARDVEIL_NETWORK_PROXY_PROTOCOL", "[\"shop\"]");
        assert!(parse(&fresh_text(), &[wrong, proxies]).is_err());
    }

    #[test]
    fn connections_rest_for_75_seconds_unless_it_says_otherwise() {
        let rest = |secs: &str| {
            let secs = ("CARDVEIL_NETWORK_IDLE_SECS", secs);
            parse(&fresh_text(), &[secs]).map(|config| config.network.idle_secs)
        };
        assert_eq!(parse(&fresh_text(), &[]).unwrap().network.idle_secs, 75);
        assert_eq!(rest("620").unwrap(), 620);
        assert_eq!((rest("1").unwrap(), rest("3600").unwrap()), (1, 3_600));
        for wrong in ["0", "3601", "-1", "1.5"] {
            assert!(rest(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fonts_are_a_list_with_paths_relative_to_the_file() {
        let text = format!(
            "{}\n[[fonts]]\nname = \"inter\"\nfile = \"fonts/inter.woff2\"\nweight = \"100 900\"\n\
             [[fonts]]\nname = \"inter\"\nfile = \"/etc/inter.woff2\"\nstyle = \"italic\"\n",
            fresh_text()
        );
        let config = parse(&text, &[]).unwrap();
        assert_eq!(
            parse(&toml::to_string(&config).unwrap(), &[]).unwrap(),
            config
        );
        let under = config.under(Path::new("/srv"));
        let files: Vec<_> = under.fonts.iter().map(|font| font.file.as_path()).collect();
        let expected = ["/srv/fonts/inter.woff2", "/etc/inter.woff2"];
        assert_eq!(files, expected.map(Path::new));
        for wrong in ["style = \"oblique\"", "family = \"x\"", "weight = 400"] {
            assert!(parse(&format!("{text}{wrong}\n"), &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn designs_are_a_list_with_paths_relative_to_the_file() {
        let text = format!(
            "{}\n[[designs]]\nname = \"dune\"\nbackground = \"designs/dune.svg\"\nink = \"#1d2b3a\"\n\
             logo = \"/etc/logo.png\"\nmark = \"visa.svg\"\nnetwork = \"visa\"\nproducts = [\"a\"]\n",
            fresh_text()
        );
        let config = parse(&text, &[]).unwrap();
        assert_eq!(
            parse(&toml::to_string(&config).unwrap(), &[]).unwrap(),
            config
        );
        let design = config.under(Path::new("/srv")).designs.remove(0);
        assert_eq!(design.background, Path::new("/srv/designs/dune.svg"));
        assert_eq!(design.logo.as_deref(), Some(Path::new("/etc/logo.png")));
        assert_eq!(design.mark.as_deref(), Some(Path::new("/srv/visa.svg")));
        for wrong in ["title = \"x\"", "ink_dark = 1"] {
            assert!(parse(&format!("{text}{wrong}\n"), &[]).is_err(), "{wrong}");
        }
    }
}
