//! `cardveil credential`.

mod certificate;

use std::path::Path;
use std::time::Duration;

use cardveil_core::Time;
use cardveil_core::audit::{Kind, Target};
use cardveil_core::flow::{NewCredential, NewKey, Rotation};
use cardveil_core::id::{CredentialId, MerchantId, PersonId};
use cardveil_core::merchant::{Credential, CredentialState, Pin, Scope};
use cardveil_core::port::{Change, Set};
use clap::Subcommand;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::json;

use crate::command::{something, time};
use crate::deployment::permitted::PERMITTED;
use crate::deployment::{Deployment, operator};
use crate::deployment::{missing, networks, refused};
use crate::print::{self, hinted, say};

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
        /// What it may do; repeat for several. Left out, it issues tokens and reads:
        /// cards:read:any, or cards:read:own with --person
        #[arg(long = "scope", value_parser = scopes())]
        scopes: Vec<Scope>,
        /// Bind it to one person: it reaches nothing of another
        #[arg(long)]
        person: Option<PersonId>,
        /// Within which networks it may itself add to --allow-ip, with ip-addresses:manage; repeat
        /// for several
        #[arg(long = "ip-ceiling", value_parser = network)]
        ip_ceiling: Vec<IpNet>,
        /// Bind it to a client certificate, without which its Api-Key is as good as unknown:
        /// key:@FILE (the key of the certificate in this PEM file, and so the renewed one),
        /// certificate:@FILE (it alone) or dns:NAME; in place of @FILE a SHA-256. Repeat for
        /// several. Where the merchant listener demands certificates, any says that any partner's
        /// will do
        #[arg(long = "client-certificate", value_name = "PIN|any", value_parser = certificate::pin)]
        client_certificates: Vec<Option<Pin>>,
        /// When it ends (RFC 3339), or never
        #[arg(long, value_name = "TIME|never", value_parser = ending)]
        expires_at: Option<Ending>,
    },
    /// List all
    List,
    /// Show one
    Show { id: CredentialId },
    /// Add one in the place of another, with its rights. Both are good for a while, then the old
    /// one ends
    Rotate {
        id: CredentialId,
        /// How long both are good, such as 24h, 30m or 7d; 0s ends the old one now
        #[arg(long, default_value = "24h", value_parser = span)]
        overlap: Duration,
        /// When the new one ends (RFC 3339), or never; left out, as a new one's, or when the old
        /// one would have
        #[arg(long, value_name = "TIME|never", value_parser = ending)]
        expires_at: Option<Ending>,
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
        /// What it may do, in place of what was set; repeat for several
        #[arg(long = "scope", value_parser = scopes())]
        scopes: Vec<Scope>,
        /// Within which networks it may itself add to --allow-ip, in place of what was set; repeat
        /// for several, or none
        #[arg(long = "ip-ceiling", value_name = "NETWORK|none", value_parser = ceiling)]
        ip_ceiling: Vec<Option<IpNet>>,
        /// To which client certificates it is bound, in place of what was set, as with add: the old
        /// and the new one while a partner moves over; any for none
        #[arg(long = "client-certificate", value_name = "PIN|any", value_parser = certificate::pin)]
        client_certificates: Vec<Option<Pin>>,
        /// When it ends (RFC 3339), or never
        #[arg(long, value_name = "TIME|never", value_parser = ending)]
        expires_at: Option<Ending>,
    },
}

/// Scopes by their names, which `--help` lists with what they are.
fn scopes() -> impl TypedValueParser<Value = Scope> {
    let named = |scope: Scope| PossibleValue::new(scope.as_str()).help(scope.words());
    PossibleValuesParser::new(Scope::ALL.map(named))
        .try_map(|text| Scope::parse(&text).ok_or("there is no such scope"))
}

fn ceiling(text: &str) -> Result<Option<IpNet>, String> {
    match text {
        "none" => Ok(None),
        text => network(text).map(Some),
    }
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    let parsed = text.parse().ok().or_else(one);
    parsed.ok_or_else(|| "give an address or a network such as 10.1.0.0/16".to_owned())
}

/// When a credential ends, if it does.
#[derive(Clone, Copy)]
pub(crate) struct Ending(Option<Time>);

fn ending(text: &str) -> Result<Ending, String> {
    match text {
        "never" => Ok(Ending(None)),
        text => time(text).map(Some).map(Ending),
    }
}

/// A number and its unit, up to 90 days.
fn span(text: &str) -> Result<Duration, String> {
    let unit = |end: char| match end {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    };
    let parsed = text.char_indices().next_back().and_then(|(at, end)| {
        let count: u64 = text.get(..at)?.parse().ok()?;
        count.checked_mul(unit(end)?)
    });
    parsed
        .filter(|secs| *secs <= 90 * 86_400)
        .map(Duration::from_secs)
        .ok_or_else(|| "give a number and s, m, h or d, up to 90d, such as 24h".to_owned())
}

/// A credential as it may be shown: without its hash and its sealed secret.
#[derive(Serialize)]
struct CredentialView<'a> {
    id: &'a CredentialId,
    merchant: &'a MerchantId,
    state: CredentialState,
    allowed_ips: Vec<IpNet>,
    ip_ceiling: Option<&'a [IpNet]>,
    client_certificates: &'a [Pin],
    scopes: &'a [Scope],
    inherited: bool,
    person: Option<PersonId>,
    expires_at: Option<String>,
    created_at: String,
    /// Within some minutes.
    last_used_at: Option<String>,
}

impl<'a> CredentialView<'a> {
    fn of(credential: &'a Credential, last_used_at: Option<Time>) -> Self {
        Self {
            id: &credential.id,
            merchant: &credential.merchant,
            state: credential.state,
            allowed_ips: credential.allowed_ips.nets(),
            ip_ceiling: credential.ip_ceiling.as_deref(),
            client_certificates: &credential.client_certificates,
            scopes: &credential.scopes,
            inherited: credential.inherited,
            person: credential.person,
            expires_at: credential.expires_at.map(|time| time.to_string()),
            created_at: credential.created_at.to_string(),
            last_used_at: last_used_at.map(|time| time.to_string()),
        }
    }
}

/// `cardveil credential`.
pub(crate) async fn run(config: &Path, command: CredentialCommand) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    match command {
        CredentialCommand::Add {
            merchant,
            allow_ip,
            scopes,
            person,
            ip_ceiling,
            client_certificates,
            expires_at,
        } => {
            let scopes = given_or_least(scopes, person);
            make_sense(&scopes, person, Some(&ip_ceiling))?;
            let partners = deployment.config.tls.partners();
            let client_certificates = certificate::of_new(client_certificates, partners)?;
            deployment.tell_of_permissions(&merchant, &scopes).await?;
            let by_default = deployment.default_end();
            let new = NewCredential {
                merchant,
                allowed_ips: allow_ip,
                ip_ceiling,
                client_certificates,
                scopes,
                person,
                expires_at: expires_at.map_or(by_default, |ending| ending.0),
                keys: None,
            };
            let added = deployment.service.add_credential(new, &operator()).await?;
            let (credential, keys) = added.map_err(refused)?;
            deployment.tell_of_networks(&credential);
            show_keys(&credential.id, &keys)
        }
        CredentialCommand::List => list(&deployment).await,
        CredentialCommand::Show { id } => show(&deployment, &id).await,
        CredentialCommand::Rotate {
            id,
            overlap,
            expires_at,
        } => {
            let rotation = (overlap, expires_at);
            rotate(&deployment, &id, rotation).await
        }
        CredentialCommand::Set {
            id,
            enabled,
            allow_ip,
            scopes,
            ip_ceiling,
            client_certificates,
            expires_at,
        } => {
            let pins = client_certificates.len();
            let lists = allow_ip.len() + scopes.len() + ip_ceiling.len() + pins;
            something(enabled.is_some() || lists > 0 || expires_at.is_some())?;
            let was = deployment.find_credential(&id).await?;
            let mut credential = was.clone();
            credential.state = match enabled {
                None => credential.state,
                Some(true) => CredentialState::Enabled,
                Some(false) => CredentialState::Disabled,
            };
            if !allow_ip.is_empty() {
                let now = deployment.service.now();
                credential.allowed_ips = credential.allowed_ips.replaced(allow_ip, now);
            }
            credential.expires_at = expires_at.map_or(credential.expires_at, |ending| ending.0);
            if !ip_ceiling.is_empty() {
                credential.ip_ceiling = Some(ip_ceiling.into_iter().flatten().collect());
            }
            if !client_certificates.is_empty() {
                let partners = deployment.config.tls.partners();
                credential.client_certificates =
                    certificate::chosen(client_certificates, partners)?;
            }
            if !scopes.is_empty() {
                let ceiling = credential.ip_ceiling.as_deref();
                make_sense(&scopes, credential.person, ceiling)?;
                deployment
                    .tell_of_permissions(&credential.merchant, &scopes)
                    .await?;
                credential.scopes = scopes;
                credential.inherited = false;
            }
            save(&deployment, was, credential).await
        }
    }
}

async fn save(
    deployment: &Deployment,
    was: Credential,
    credential: Credential,
) -> anyhow::Result<()> {
    let target = Target {
        credential: Some(credential.id.clone()),
        ..Target::default()
    };
    deployment.tell_of_networks(&credential);
    let change = Change::SetCredential(Set::boxed(was, credential.clone()));
    deployment
        .change(
            change,
            Kind::CredentialChanged,
            Some(&credential.merchant),
            target,
        )
        .await?;
    let uses = deployment.store.last_uses().await?;
    let last_used_at = uses.get(&credential.id).copied();
    print::done(&CredentialView::of(&credential, last_used_at))
}

async fn show(deployment: &Deployment, id: &CredentialId) -> anyhow::Result<()> {
    let known = deployment.find_credential(id).await?;
    let last_used_at = deployment.store.last_uses().await?.get(id).copied();
    print::fields(&CredentialView::of(&known, last_used_at))
}

async fn list(deployment: &Deployment) -> anyhow::Result<()> {
    let credentials = deployment.store.credentials().await?;
    deployment.tell_left_out();
    let uses = deployment.store.last_uses().await?;
    let view = |known| CredentialView::of(known, uses.get(&known.id).copied());
    let views: Vec<_> = credentials.iter().map(view).collect();
    print::list(
        &views,
        &[
            "id",
            "merchant",
            "state",
            "allowed_ips",
            "client_certificates",
            "scopes",
            "expires_at",
            "last_used_at",
        ],
    )
}

async fn rotate(
    deployment: &Deployment,
    id: &CredentialId,
    (overlap, expires_at): (Duration, Option<Ending>),
) -> anyhow::Result<()> {
    let before = deployment.find_credential(id).await?;
    if before.usable(deployment.service.now()).is_err() {
        return Err(hinted(
            "it is not in use, so there is nothing to rotate",
            "`cardveil credential add` makes another",
        ));
    }
    let by_default = deployment.default_end().or(before.expires_at);
    let rotation = Rotation {
        overlap,
        expires_at: expires_at.map_or(by_default, |ending| ending.0),
    };
    let rotated = deployment
        .service
        .rotate_credential(&before, rotation, &operator())
        .await?
        .map_err(refused)?;
    match rotated.before_ends {
        Ok(ends) => say(&format!("{id} ends at {ends}")),
        Err(_) => say(&format!(
            "{id} was changed meanwhile and goes on: end it with `cardveil credential set {id} \
             --expires-at ...`"
        )),
    }
    show_keys(&rotated.credential.id, &rotated.keys)
}

/// Those that were asked for, or the least.
fn given_or_least(scopes: Vec<Scope>, person: Option<PersonId>) -> Vec<Scope> {
    match (scopes.is_empty(), person) {
        (false, _) => scopes,
        (true, None) => vec![Scope::CardsReadAny],
        (true, Some(_)) => vec![Scope::CardsReadOwn],
    }
}

/// Scopes that could never do anything are a slip.
fn make_sense(
    scopes: &[Scope],
    person: Option<PersonId>,
    ceiling: Option<&[IpNet]>,
) -> anyhow::Result<()> {
    if person.is_none()
        && let Some(own) = scopes.iter().find(|scope| scope.is_own())
    {
        let what = format!("{} is of one person's cards", own.as_str());
        return Err(hinted(what, "give --person"));
    }
    if person.is_some()
        && let Some(all) = scopes.iter().find(|scope| scope.is_of_all())
    {
        let what = format!(
            "{} is of all persons, and this credential is of one",
            all.as_str()
        );
        return Err(hinted(what, "give cards:read:own and cards:write:own"));
    }
    if scopes.contains(&Scope::IpAddressesManage) && ceiling.is_none_or(<[_]>::is_empty) {
        return Err(hinted(
            "ip-addresses:manage without networks that it may add",
            "give --ip-ceiling 203.0.113.0/24, as wide as you would let the merchant call from",
        ));
    }
    Ok(())
}

/// The one time that the keys are seen.
fn show_keys(id: &CredentialId, keys: &NewKey) -> anyhow::Result<()> {
    let text =
        |secret: &cardveil_seal::Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let (api_key, api_secret) = (text(&keys.api_key), text(&keys.api_secret));
    let told = json!({ "id": id, "api_key": api_key, "api_secret": api_secret });
    print::object(&told, |_| {
        say("these are shown this once; keep them where the merchant's server reads its secrets");
        print::line(&format!("credential  {id}"))?;
        print::line(&format!("Api-Key     {api_key}"))?;
        print::line(&format!("apiSecret   {api_secret}"))
    })
}

impl Deployment {
    /// When a new credential ends where nobody says.
    fn default_end(&self) -> Option<Time> {
        let lifetime = self.config.credentials.lifetime();
        lifetime.map(|lifetime| self.service.now().plus(lifetime))
    }

    /// What is given to the credential and not to its merchant does nothing yet.
    async fn tell_of_permissions(
        &self,
        merchant: &MerchantId,
        scopes: &[Scope],
    ) -> anyhow::Result<()> {
        let Some(merchant) = self.store.merchant(merchant).await? else {
            return Ok(());
        };
        for (scope, need, flag) in PERMITTED {
            if scopes.contains(&scope) && !merchant.permits(need) {
                let scope = scope.as_str();
                say(&format!(
                    "{scope} does nothing until its merchant may: cardveil merchant set {} {flag} true",
                    merchant.id
                ));
            }
        }
        Ok(())
    }

    /// Says which of its networks let in more than was meant.
    fn tell_of_networks(&self, credential: &Credential) {
        for found in networks::wide(credential, &self.config.network.trusted_proxies) {
            say(&format!("note: {found}"));
        }
    }

    async fn find_credential(&self, id: &CredentialId) -> anyhow::Result<Credential> {
        let all = self.store.credentials().await?;
        self.tell_left_out();
        all.into_iter()
            .find(|known| known.id == *id)
            .ok_or_else(|| missing("credential"))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    #[test]
    fn a_span_is_a_number_and_its_unit() {
        for (text, secs) in [("24h", 86_400), ("30m", 1_800), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(span(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for text in [
            "",
            "h",
            "24",
            "-1h",
            "91d",
            "1w",
            "24 h",
            "٣h",
            "18446744073709551615d",
        ] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_help_lists_every_scope_and_a_slip_is_refused() {
        let command = CredentialCommand::augment_subcommands(Command::new("credential"));
        for verb in ["add", "set"] {
            let mut verb = command.find_subcommand(verb).unwrap().clone();
            let help = verb.render_long_help().to_string();
            for scope in Scope::ALL {
                assert!(
                    help.contains(scope.as_str()) && help.contains(scope.words()),
                    "{help}"
                );
            }
        }
        let parse = |scope: &str| {
            let args = ["credential", "set", "crd_1", "--scope", scope];
            let matches = command.clone().try_get_matches_from(args);
            matches.and_then(|matches| CredentialCommand::from_arg_matches(&matches))
        };
        assert!(parse("cards:export").is_ok() && parse("cards:exports").is_err());
    }

    #[test]
    fn scopes_that_could_never_do_anything_are_refused() {
        let person = PersonId::parse("775596ae-2624-40af-a9dc-9756110a4a04").unwrap();
        let net: IpNet = "203.0.113.0/24".parse().unwrap();
        let wrong =
            |scopes: &[Scope], person, ceiling| make_sense(scopes, person, ceiling).is_err();
        assert!(!wrong(&[Scope::CardsReadAny], None, None));
        assert!(wrong(&[Scope::CardsReadOwn], None, None));
        assert!(!wrong(
            &[Scope::CardsReadOwn, Scope::PinsSet],
            Some(person),
            None
        ));
        for scope in Scope::ALL.into_iter().filter(|scope| scope.is_of_all()) {
            assert!(wrong(&[scope], Some(person), None), "{scope:?}");
        }
        for ceiling in [None, Some(&[][..])] {
            assert!(wrong(&[Scope::IpAddressesManage], None, ceiling));
        }
        assert!(!wrong(&[Scope::IpAddressesManage], None, Some(&[net])));
    }
}
