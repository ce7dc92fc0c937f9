//! `[tls.merchant]`, `[tls.client]`, `[tls.admin]`: a listener's certificate, and whom it lets in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use cardveil_core::Time;
use cardveil_server::tls::{self, Callers, Files};
use serde::{Deserialize, Serialize};

use super::Setting;
use crate::print::hinted;

/// Listeners without a table of their own speak plain HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) merchant: Option<ListenerTls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<ListenerTls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin: Option<ListenerTls>,
}

/// One listener's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerTls {
    /// PEM: the server's own certificate first, then those that lead to its authority.
    pub(crate) certificate: PathBuf,
    /// PEM, mode 0600.
    pub(crate) key: PathBuf,
    /// PEM: the authorities of callers' certificates. Without, callers show none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_ca: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_certificates: Option<ClientCertificates>,
}

/// Whether callers must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientCertificates {
    Required,
    Optional,
}

/// Whether partners' servers show certificates to the merchant listener itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partners {
    /// Nobody asks them to.
    ShowNone,
    /// They may.
    MayShow,
    /// They are not let in without.
    MustShow,
}

impl Tls {
    pub(super) fn check(&self, client_origin: &str) -> anyhow::Result<()> {
        for (name, listener) in self.named() {
            let ListenerTls {
                client_ca,
                client_certificates,
                ..
            } = listener;
            if client_certificates.is_some() && client_ca.is_none() {
                let wrong = hinted(
                    format!("is without tls.{name}.client_ca"),
                    "name the file of the authorities whose certificates are good",
                );
                let setting = Setting::new(format!("tls.{name}.client_certificates"));
                return Err(wrong.context(setting));
            }
        }
        let Some(client) = &self.client else {
            return Ok(());
        };
        if client.client_ca.is_some() {
            let wrong = hinted(
                "asks cardholders for certificates",
                "browsers have none: give it in [tls.merchant] or [tls.admin]",
            );
            return Err(wrong.context(Setting::new("tls.client.client_ca")));
        }
        if !client_origin.starts_with("https://") {
            let wrong = hinted(
                "is not https, and the client listener speaks TLS",
                "give the https origin at which browsers reach it",
            );
            return Err(wrong.context(Setting::new("client.origin")));
        }
        Ok(())
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &ListenerTls)> {
        let all = [
            ("merchant", &self.merchant),
            ("client", &self.client),
            ("admin", &self.admin),
        ];
        all.into_iter()
            .filter_map(|(name, listener)| Some((name, listener.as_ref()?)))
    }

    pub(super) fn under(&mut self, base: &Path) {
        for listener in [&mut self.merchant, &mut self.client, &mut self.admin] {
            let Some(listener) = listener else { continue };
            for path in [&mut listener.certificate, &mut listener.key]
                .into_iter()
                .chain(&mut listener.client_ca)
            {
                *path = base.join(&*path);
            }
        }
    }

    /// What the merchant listener knows of its callers' certificates.
    pub(crate) fn partners(&self) -> Partners {
        match self.merchant.as_ref().map(ListenerTls::callers) {
            None | Some(Callers::Anyone) => Partners::ShowNone,
            Some(Callers::MayShow(_)) => Partners::MayShow,
            Some(Callers::MustShow(_)) => Partners::MustShow,
        }
    }

    /// Reads all files.
    pub(crate) fn load(&self, now: Time) -> anyhow::Result<tls::Listeners> {
        let load = |name: &str, listener: &Option<ListenerTls>| {
            let Some(listener) = listener else {
                return Ok(None);
            };
            let tls = tls::Tls::load(listener.files(), now).map_err(|error| {
                let hint = error.hint();
                hinted(error.to_string(), hint)
            });
            let tls = tls.with_context(|| Setting::new(format!("tls.{name}")))?;
            anyhow::Ok(Some(Arc::new(tls)))
        };
        Ok(tls::Listeners {
            merchant: load("merchant", &self.merchant)?,
            client: load("client", &self.client)?,
            admin: load("admin", &self.admin)?,
        })
    }
}

impl ListenerTls {
    fn callers(&self) -> Callers {
        match (&self.client_ca, self.client_certificates) {
            (None, _) => Callers::Anyone,
            (Some(ca), Some(ClientCertificates::Optional)) => Callers::MayShow(ca.clone()),
            (Some(ca), Some(ClientCertificates::Required) | None) => Callers::MustShow(ca.clone()),
        }
    }

    fn files(&self) -> Files {
        Files {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            callers: self.callers(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, origin: &str) -> anyhow::Result<Tls> {
        let mut tls: Tls = toml::from_str(text)?;
        tls.check(origin)?;
        tls.under(Path::new("/srv"));
        Ok(tls)
    }

    const ORIGIN: &str = "https://cards.example";

    #[test]
    fn paths_are_relative_to_the_file_and_certificates_of_callers_are_required() {
        let text = "[merchant]\ncertificate = \"tls/own.pem\"\nkey = \"/run/own.key\"\n\
                    client_ca = \"tls/partners.pem\"\n";
        let of = |text: &str| parse(text, ORIGIN).unwrap().merchant.unwrap().files();
        let files = of(text);
        assert_eq!(files.certificate, Path::new("/srv/tls/own.pem"));
        assert_eq!(files.key, Path::new("/run/own.key"));
        let partners = PathBuf::from("/srv/tls/partners.pem");
        assert_eq!(files.callers, Callers::MustShow(partners.clone()));
        let optional = format!("{text}client_certificates = \"optional\"\n");
        assert_eq!(of(&optional).callers, Callers::MayShow(partners));
        let none = text.lines().take(3).collect::<Vec<_>>().join("\n");
        assert_eq!(of(&none).callers, Callers::Anyone);
    }

    #[test]
    fn what_cannot_be_meant_is_an_error() {
        let own = "certificate = \"c\"\nkey = \"k\"\n";
        assert!(parse(&format!("[client]\n{own}"), ORIGIN).is_ok());
        for (text, origin) in [
            (format!("[client]\n{own}"), "http://127.0.0.1:7420"),
            (format!("[client]\n{own}client_ca = \"x\"\n"), ORIGIN),
            (
                format!("[admin]\n{own}client_certificates = \"optional\"\n"),
                ORIGIN,
            ),
            (
                format!("[admin]\n{own}client_ca = \"x\"\nclient_certificates = \"none\"\n"),
                ORIGIN,
            ),
            (format!("[shop]\n{own}"), ORIGIN),
            (format!("[admin]\n{own}password = \"x\"\n"), ORIGIN),
            ("[admin]\nkey = \"k\"\n".to_owned(), ORIGIN),
        ] {
            assert!(parse(&text, origin).is_err(), "{text}");
        }
    }
}
