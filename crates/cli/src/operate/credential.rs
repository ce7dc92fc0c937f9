//! `cardveil credential`.

use std::path::Path;

use cardveil_core::Time;
use cardveil_core::audit::{Kind, Target};
use cardveil_core::flow::{NewCredential, NewKey};
use cardveil_core::id::{CredentialId, MerchantId, PersonId};
use cardveil_core::merchant::{Credential, CredentialState, Scope};
use cardveil_core::port::{Change, Set};
use clap::Subcommand;
use ipnet::IpNet;
use serde::Serialize;
use serde_json::json;

use super::{missing, refused, show_all, show_one, something};
use crate::deployment::{Deployment, operator};
use crate::print::{self, Format, hinted, say};

#[derive(Subcommand)]
pub(crate) enum CredentialCommand {
    /// Add one; its Api-Key and secret are shown this once
    Add {
        /// Of which merchant
        #[arg(long)]
        merchant: MerchantId,
        /// From where calls may come; repeat for several
        #[arg(long = "allow-ip", required = true, value_parser = network)]
        allow_ip: Vec<IpNet>,
        /// What it may do; repeat for several
        #[arg(long = "scope", value_parser = scope, default_value = "cards:read:any")]
        scopes: Vec<Scope>,
        /// Bind it to one person, for cards:read:own and cards:write:own
        #[arg(long)]
        person: Option<PersonId>,
        /// When it ends (RFC 3339)
        #[arg(long, value_parser = time)]
        expires_at: Option<Time>,
        #[command(flatten)]
        format: Format,
    },
    /// List all
    List(Format),
    /// Show one
    Show {
        id: CredentialId,
        #[command(flatten)]
        format: Format,
    },
    /// Change one
    Set {
        id: CredentialId,
        /// Put it into or out of use
        #[arg(long)]
        enabled: Option<bool>,
        /// From where calls may come, in place of what was set; repeat for several
        #[arg(long = "allow-ip", value_parser = network)]
        allow_ip: Vec<IpNet>,
        /// When it ends (RFC 3339)
        #[arg(long, value_parser = time)]
        expires_at: Option<Time>,
    },
}

fn scope(text: &str) -> Result<Scope, String> {
    let names = Scope::ALL.map(Scope::as_str).join(", ");
    Scope::parse(text).ok_or_else(|| format!("give one of {names}"))
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    let parsed = text.parse().ok().or_else(one);
    parsed.ok_or_else(|| "give an address or a network such as 10.1.0.0/16".to_owned())
}

pub(crate) fn time(text: &str) -> Result<Time, String> {
    Time::parse_rfc3339(text).ok_or_else(|| "give a time such as 2027-01-01T00:00:00Z".to_owned())
}

/// A credential as it may be shown: without its hash and its sealed secret.
#[derive(Serialize)]
struct CredentialView<'a> {
    id: &'a CredentialId,
    merchant: &'a MerchantId,
    state: CredentialState,
    allowed_ips: Vec<IpNet>,
    scopes: &'a [Scope],
    person: Option<PersonId>,
    expires_at: Option<String>,
    created_at: String,
}

impl<'a> From<&'a Credential> for CredentialView<'a> {
    fn from(credential: &'a Credential) -> Self {
        Self {
            id: &credential.id,
            merchant: &credential.merchant,
            state: credential.state,
            allowed_ips: credential.allowed_ips.nets(),
            scopes: &credential.scopes,
            person: credential.person,
            expires_at: credential.expires_at.map(|time| time.to_string()),
            created_at: credential.created_at.to_string(),
        }
    }
}

/// `cardveil credential`.
pub(crate) async fn credential(config: &Path, command: CredentialCommand) -> anyhow::Result<()> {
    let house = Deployment::load(config).await?;
    match command {
        CredentialCommand::Add {
            merchant,
            allow_ip,
            scopes,
            person,
            expires_at,
            format,
        } => {
            let own = [Scope::CardsReadOwn, Scope::CardsWriteOwn];
            if person.is_none() && scopes.iter().any(|scope| own.contains(scope)) {
                return Err(hinted(
                    "cards:read:own and cards:write:own are of one person's cards",
                    "give --person",
                ));
            }
            let new = NewCredential {
                merchant,
                allowed_ips: allow_ip,
                scopes,
                person,
                expires_at,
                keys: None,
            };
            let added = house.service.add_credential(new, &operator()).await?;
            let (credential, keys) = added.map_err(refused)?;
            show_keys(&credential.id, &keys, format)
        }
        CredentialCommand::List(format) => {
            let credentials = house.store.credentials().await?;
            let views: Vec<_> = credentials.iter().map(CredentialView::from).collect();
            show_all(
                &views,
                format,
                &[
                    "id",
                    "merchant",
                    "state",
                    "allowed_ips",
                    "scopes",
                    "expires_at",
                ],
            )
        }
        CredentialCommand::Show { id, format } => show_one(
            &CredentialView::from(&house.find_credential(&id).await?),
            format,
        ),
        CredentialCommand::Set {
            id,
            enabled,
            allow_ip,
            expires_at,
        } => {
            something(enabled.is_some() || !allow_ip.is_empty() || expires_at.is_some())?;
            let was = house.find_credential(&id).await?;
            let mut credential = was.clone();
            credential.state = match enabled {
                None => credential.state,
                Some(true) => CredentialState::Enabled,
                Some(false) => CredentialState::Disabled,
            };
            if !allow_ip.is_empty() {
                let now = house.service.now();
                credential.allowed_ips = credential.allowed_ips.replaced(allow_ip, now);
            }
            credential.expires_at = expires_at.or(credential.expires_at);
            let merchant = credential.merchant.clone();
            let target = Target {
                credential: Some(id),
                ..Target::default()
            };
            let change = Change::SetCredential(Set::boxed(was, credential));
            house
                .change(change, Kind::CredentialChanged, Some(&merchant), target)
                .await
        }
    }
}

/// The one time that the keys are seen.
fn show_keys(id: &CredentialId, keys: &NewKey, format: Format) -> anyhow::Result<()> {
    let text =
        |secret: &cardveil_seal::Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let (api_key, api_secret) = (text(&keys.api_key), text(&keys.api_secret));
    if format.json {
        return print::json(&json!({ "id": id, "api_key": api_key, "api_secret": api_secret }));
    }
    say("these are shown this once; keep them where the merchant's server reads its secrets");
    print::line(&format!("credential  {id}"))?;
    print::line(&format!("Api-Key     {api_key}"))?;
    print::line(&format!("apiSecret   {api_secret}"))
}

impl Deployment {
    async fn find_credential(&self, id: &CredentialId) -> anyhow::Result<Credential> {
        let all = self.store.credentials().await?;
        all.into_iter()
            .find(|known| known.id == *id)
            .ok_or_else(|| missing("credential"))
    }
}
