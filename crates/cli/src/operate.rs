//! What an operator does: merchants, credentials, embeds, tokens, the epoch.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cardveil_core::Time;
use cardveil_core::audit::{Kind, Target};
use cardveil_core::card::Environment;
use cardveil_core::flow::{NewCredential, NewKey};
use cardveil_core::id::{CardId, CardNo, CredentialId, EmbedId, MerchantId, PersonId};
use cardveil_core::merchant::{Credential, CredentialState, Embed, Merchant, MerchantState, Scope};
use cardveil_core::mfa::{MfaPolicy, Policy, Purpose};
use cardveil_core::port::{CardRef, Change, Selection, Taken};
use cardveil_core::token::{ClientToken, TokenHash};
use cardveil_core::wallet::{Bin, Wallet, WalletRules};
use cardveil_seal::SystemEntropy;
use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::json;

use crate::config::{self, Config};
use crate::deployment::{Deployment, create_private_folder, operator};
use crate::print::{self, Format, hinted, say};

#[derive(Args)]
pub(crate) struct InitArgs {
    /// Where to put it
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Which cards it takes: the schemes' test numbers, or everything but those
    #[arg(long, value_enum, default_value = "sandbox")]
    environment: EnvironmentArg,
    /// Keep it in PostgreSQL: a connection string without a password, such as "host=/run/postgresql
    /// user=cardveil dbname=cardveil". `cardveil migrate` makes the schema
    #[arg(long, value_name = "CONNECTION")]
    postgres: Option<String>,
    /// The file with the password for PostgreSQL
    #[arg(long, value_name = "FILE", requires = "postgres")]
    password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum EnvironmentArg {
    Sandbox,
    Live,
}

/// `cardveil init`.
pub(crate) async fn init(args: InitArgs) -> anyhow::Result<()> {
    let environment = match args.environment {
        EnvironmentArg::Sandbox => Environment::Sandbox,
        EnvironmentArg::Live => Environment::Live,
    };
    create_private_folder(&args.dir)?;
    let path = args.dir.join("cardveil.toml");
    let mut fresh = Config::fresh(environment);
    if let Some(connection) = args.postgres {
        fresh.store = config::Store::postgres(connection, args.password_file);
    }
    let text = toml::to_string(&fresh)?;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            hinted(
                format!("cannot create {}: {error}", path.display()),
                "choose an empty folder with --dir; a deployment that is there is never overwritten",
            )
        })?;
    let config = Config::load(&path)?;
    let keys = config.keys.clone();
    let next = if config.store.postgres.is_some() {
        Deployment::create_root(&config)?;
        "migrate --owner ..."
    } else {
        Deployment::create(config).await?;
        "merchant add --name \"...\""
    };
    say(&format!("created {}", path.display()));
    for (_, path) in keys.files() {
        say(&format!("root key: {}", path.display()));
    }
    say("keep a copy of the root key in a safe place, apart from every backup of the database:");
    say("without it no card can ever be opened again.");
    say(&format!(
        "next: cardveil --config {} {next}",
        path.display()
    ));
    Ok(())
}

#[derive(Subcommand)]
pub(crate) enum MerchantCommand {
    /// Add one
    Add {
        /// Its name for people
        #[arg(long)]
        name: String,
        /// Its id; made when left out
        #[arg(long)]
        id: Option<MerchantId>,
        /// Its cardholders may not be shown card data (KeySecure 1013)
        #[arg(long)]
        pci_disabled: bool,
        #[command(flatten)]
        format: Format,
    },
    /// List all
    List(Format),
    /// Show one
    Show {
        id: MerchantId,
        #[command(flatten)]
        format: Format,
    },
    /// Change one
    Set {
        id: MerchantId,
        /// Its name for people
        #[arg(long)]
        name: Option<String>,
        /// Whether it may call
        #[arg(long, value_enum)]
        state: Option<MerchantStateArg>,
        /// Whether its cardholders may be shown card data
        #[arg(long)]
        pci_enabled: Option<bool>,
        #[command(flatten)]
        wallets: WalletArgs,
        /// Whether an operation needs a second factor, such as view-card=required; repeat for several
        #[arg(long = "mfa", value_parser = mfa_policy)]
        mfa: Vec<(Purpose, Policy)>,
    },
}

/// Which of a merchant's cards may go into which wallet.
#[derive(Args)]
pub(crate) struct WalletArgs {
    /// Into which wallets its cards may go, in place of what was set; repeat for several, or none
    #[arg(long = "wallet", value_name = "APPLE_PAY|ANDROID_PAY|SAMSUNG_PAY|none")]
    wallets: Vec<String>,
    /// Only card numbers that begin so, 6 to 8 digits; repeat for several, or all
    #[arg(long = "wallet-bin", value_name = "BIN|all")]
    bins: Vec<String>,
    /// Only cards of this product; repeat for several, or all
    #[arg(long = "wallet-product", value_name = "PRODUCT|all")]
    products: Vec<String>,
}

impl WalletArgs {
    fn is_given(&self) -> bool {
        !(self.wallets.is_empty() && self.bins.is_empty() && self.products.is_empty())
    }

    fn apply(self, rules: &mut WalletRules) -> anyhow::Result<()> {
        match self.wallets.as_slice() {
            [] => {}
            [none] if none == "none" => rules.wallets.clear(),
            names => {
                let parsed = names.iter().map(|name| Wallet::parse(name));
                let parsed: Option<Vec<_>> = parsed.collect();
                let mut wallets = parsed.ok_or_else(|| {
                    let names = "APPLE_PAY, ANDROID_PAY, SAMSUNG_PAY or none";
                    hinted("--wallet names no wallet", format!("give {names}"))
                })?;
                wallets.sort_unstable();
                wallets.dedup();
                rules.wallets = wallets;
            }
        }
        match self.bins.as_slice() {
            [] => {}
            [all] if all == "all" => rules.bins = None,
            bins => {
                let parsed: Result<_, _> = bins.iter().map(|bin| Bin::parse(bin)).collect();
                rules.bins = Some(parsed.map_err(|error| {
                    hinted(error.to_string(), "give --wallet-bin 411111, or all")
                })?);
            }
        }
        match self.products.as_slice() {
            [] => {}
            [all] if all == "all" => rules.products = None,
            products => rules.products = Some(products.to_vec()),
        }
        Ok(())
    }
}

/// `view-card=required`.
fn mfa_policy(text: &str) -> Result<(Purpose, Policy), String> {
    let parsed = text.split_once('=').and_then(|(operation, policy)| {
        let operation = match operation {
            "view-card" => Purpose::ViewCard,
            "add-card-to-wallet" => Purpose::AddCardToWallet,
            "view-pin" => Purpose::ViewPin,
            "set-pin" => Purpose::SetPin,
            _ => return None,
        };
        Some((operation, Policy::parse(policy)?))
    });
    parsed.ok_or_else(|| {
        "give view-card, add-card-to-wallet, view-pin or set-pin, = and off, delegated or required"
            .to_owned()
    })
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum MerchantStateArg {
    Active,
    Suspended,
    Closed,
}

/// `cardveil merchant`.
pub(crate) async fn merchant(config: &Path, command: MerchantCommand) -> anyhow::Result<()> {
    let house = Deployment::load(config).await?;
    match command {
        MerchantCommand::Add {
            name,
            id,
            pci_disabled,
            format,
        } => {
            let id = id.unwrap_or_else(|| MerchantId::generate(&SystemEntropy));
            let merchant = Merchant {
                id,
                name,
                state: MerchantState::Active,
                pci_enabled: !pci_disabled,
                wallets: WalletRules::default(),
                mfa: MfaPolicy::default(),
                created_at: house.service.now(),
            };
            let change = Change::AddMerchant(merchant.clone());
            house
                .change(
                    change,
                    Kind::MerchantAdded,
                    Some(&merchant.id),
                    Target::default(),
                )
                .await?;
            show_one(&merchant, format)
        }
        MerchantCommand::List(format) => show_all(
            &house.store.merchants().await?,
            format,
            &["id", "name", "state", "pci_enabled"],
        ),
        MerchantCommand::Show { id, format } => show_one(&house.find_merchant(&id).await?, format),
        MerchantCommand::Set {
            id,
            name,
            state,
            pci_enabled,
            wallets,
            mfa,
        } => {
            let plain = name.is_some() || state.is_some() || pci_enabled.is_some();
            something(plain || wallets.is_given() || !mfa.is_empty())?;
            let mut merchant = house.find_merchant(&id).await?;
            merchant.name = name.unwrap_or(merchant.name);
            merchant.pci_enabled = pci_enabled.unwrap_or(merchant.pci_enabled);
            for (operation, policy) in mfa {
                merchant.mfa.set(operation, policy);
            }
            merchant.state = match state {
                None => merchant.state,
                Some(MerchantStateArg::Active) => MerchantState::Active,
                Some(MerchantStateArg::Suspended) => MerchantState::Suspended,
                Some(MerchantStateArg::Closed) => MerchantState::Closed,
            };
            wallets.apply(&mut merchant.wallets)?;
            let change = Change::SetMerchant(merchant);
            house
                .change(change, Kind::MerchantChanged, Some(&id), Target::default())
                .await
        }
    }
}

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
            let mut credential = house.find_credential(&id).await?;
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
            let change = Change::SetCredential(credential);
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
    print::line(&format!(
        "credential  {id}\nApi-Key     {api_key}\napiSecret   {api_secret}"
    ))
}

#[derive(Subcommand)]
pub(crate) enum EmbedCommand {
    /// Add one
    Add {
        /// Of which merchant
        #[arg(long)]
        merchant: MerchantId,
        /// An origin whose pages may frame cards, exact; repeat for several; none for a native app
        #[arg(long = "origin")]
        origins: Vec<String>,
        /// Allow the CVV to be copied
        #[arg(long)]
        copy_cvv: bool,
        #[command(flatten)]
        format: Format,
    },
    /// List all
    List(Format),
    /// Show one
    Show {
        id: EmbedId,
        #[command(flatten)]
        format: Format,
    },
    /// Change one
    Set {
        id: EmbedId,
        /// Put it into or out of use
        #[arg(long)]
        enabled: Option<bool>,
        /// Origins in place of those that were set; repeat for several
        #[arg(long = "origin")]
        origins: Vec<String>,
        /// Whether the CVV may be copied
        #[arg(long)]
        copy_cvv: Option<bool>,
    },
}

/// `cardveil embed`.
pub(crate) async fn embed(config: &Path, command: EmbedCommand) -> anyhow::Result<()> {
    let house = Deployment::load(config).await?;
    let checked = |origins: Vec<String>| {
        origins
            .iter()
            .map(|origin| config::origin(origin))
            .collect::<anyhow::Result<Vec<_>>>()
    };
    match command {
        EmbedCommand::Add {
            merchant,
            origins,
            copy_cvv,
            format,
        } => {
            let embed = Embed {
                id: EmbedId::generate(&SystemEntropy),
                merchant: merchant.clone(),
                origins: checked(origins)?,
                copy_cvv,
                enabled: true,
                created_at: house.service.now(),
            };
            let target = Target {
                embed: Some(embed.id.clone()),
                ..Target::default()
            };
            let change = Change::AddEmbed(embed.clone());
            house
                .change(change, Kind::EmbedAdded, Some(&merchant), target)
                .await?;
            show_one(&embed, format)
        }
        EmbedCommand::List(format) => show_all(
            &house.store.embeds().await?,
            format,
            &["id", "merchant", "origins", "enabled"],
        ),
        EmbedCommand::Show { id, format } => show_one(&house.find_embed(&id).await?, format),
        EmbedCommand::Set {
            id,
            enabled,
            origins,
            copy_cvv,
        } => {
            something(enabled.is_some() || !origins.is_empty() || copy_cvv.is_some())?;
            let mut embed = house.find_embed(&id).await?;
            embed.enabled = enabled.unwrap_or(embed.enabled);
            embed.copy_cvv = copy_cvv.unwrap_or(embed.copy_cvv);
            if !origins.is_empty() {
                embed.origins = checked(origins)?;
            }
            let merchant = embed.merchant.clone();
            let target = Target {
                embed: Some(id),
                ..Target::default()
            };
            house
                .change(
                    Change::SetEmbed(embed),
                    Kind::EmbedChanged,
                    Some(&merchant),
                    target,
                )
                .await
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Revoke tokens: no key gets anything for them any more
    Revoke(RevokeArgs),
}

#[derive(Args)]
#[group(id = "which", required = true, multiple = false, args = ["sha256", "stdin", "card_id", "merchant"])]
pub(crate) struct RevokeArgs {
    /// The one with this SHA-256 (base64url, as audit records show it)
    #[arg(long)]
    sha256: Option<String>,
    /// The one that is read from standard input
    #[arg(long)]
    stdin: bool,
    /// All of the card with this id
    #[arg(long)]
    card_id: Option<CardId>,
    /// All of this merchant
    #[arg(long)]
    merchant: Option<MerchantId>,
    /// Of the merchant, only those of the card with this order number
    #[arg(long, requires = "merchant")]
    card_no: Option<CardNo>,
    #[command(flatten)]
    format: Format,
}

/// `cardveil token`.
pub(crate) async fn token(config: &Path, command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::Revoke(args) = command;
    let house = Deployment::load(config).await?;
    let json = args.format.json;
    let selection = house.selection(args).await?;
    let revoked = house
        .store
        .revoke(selection, house.service.now(), operator())
        .await?;
    if json {
        print::json(&json!({ "revoked": revoked }))
    } else {
        print::line(&format!("revoked {revoked}"))
    }
}

#[derive(Subcommand)]
pub(crate) enum EpochCommand {
    /// Show it
    Show,
    /// Raise it: every token and login issued before is refused from now on
    Raise,
}

/// `cardveil epoch`.
pub(crate) async fn epoch(config: &Path, command: EpochCommand) -> anyhow::Result<()> {
    let house = Deployment::load(config).await?;
    let epoch = match command {
        EpochCommand::Show => house.store.epoch().await?,
        EpochCommand::Raise => {
            let target = Target {
                resource: Some("epoch".into()),
                ..Target::default()
            };
            let event = operator().event(house.service.now(), Kind::EpochRaised, None, target);
            house.store.raise_epoch(event).await?
        }
    };
    print::line(&epoch.0.to_string())
}

impl Deployment {
    pub(crate) async fn change(
        &self,
        change: Change,
        kind: Kind,
        merchant: Option<&MerchantId>,
        target: Target,
    ) -> anyhow::Result<()> {
        let target = if target == Target::default() {
            Target {
                resource: merchant.map(|id| id.to_string().into()),
                ..target
            }
        } else {
            target
        };
        let event = operator().event(self.service.now(), kind, merchant.cloned(), target);
        self.service.change(change, event).await?.map_err(refused)
    }

    /// Which tokens are meant; what does not exist is an error, so that nothing seems revoked.
    async fn selection(&self, args: RevokeArgs) -> anyhow::Result<Selection> {
        if let Some(text) = args.sha256 {
            let hash = TokenHash::parse(&text).ok_or_else(|| {
                hinted(
                    "--sha256 is not 32 bytes in base64url",
                    "copy it from `cardveil audit tail`",
                )
            })?;
            return Ok(Selection::Hash(hash));
        }
        if args.stdin {
            let mut text = String::new();
            std::io::stdin().lock().read_line(&mut text)?;
            let token = ClientToken::parse(text.trim(), self.config.environment)?;
            return Ok(Selection::Hash(token.key().hash));
        }
        if let Some(id) = args.card_id {
            return Ok(Selection::Card(id));
        }
        let merchant = args.merchant.context("name the tokens")?;
        self.find_merchant(&merchant).await?;
        match args.card_no {
            Some(no) => {
                let card = self.store.card(&merchant, &CardRef::No(no)).await?;
                Ok(Selection::Card(card.ok_or_else(|| missing("card"))?.id))
            }
            None => Ok(Selection::Merchant(merchant)),
        }
    }

    pub(crate) async fn find_merchant(&self, id: &MerchantId) -> anyhow::Result<Merchant> {
        self.store
            .merchant(id)
            .await?
            .ok_or_else(|| missing("merchant"))
    }

    async fn find_credential(&self, id: &CredentialId) -> anyhow::Result<Credential> {
        let all = self.store.credentials().await?;
        all.into_iter()
            .find(|known| known.id == *id)
            .ok_or_else(|| missing("credential"))
    }

    async fn find_embed(&self, id: &EmbedId) -> anyhow::Result<Embed> {
        self.store.embed(id).await?.ok_or_else(|| missing("embed"))
    }
}

fn something(to_change: bool) -> anyhow::Result<()> {
    if to_change {
        return Ok(());
    }
    Err(hinted(
        "there is nothing to change",
        "`--help` lists what can be",
    ))
}

pub(crate) fn missing(what: &str) -> anyhow::Error {
    hinted(
        format!("there is no such {what}"),
        format!("`cardveil {what} list` shows what there is"),
    )
}

pub(crate) fn refused(taken: Taken) -> anyhow::Error {
    match taken {
        Taken::Exists => hinted("it exists already", "choose another id"),
        Taken::Full => hinted(taken.to_string(), "remove one first"),
        Taken::NoMerchant => hinted(
            "there is no such merchant",
            "`cardveil merchant list` shows what there is",
        ),
    }
}

/// One value: as JSON, or a line a field.
pub(crate) fn show_one<T: Serialize>(value: &T, format: Format) -> anyhow::Result<()> {
    let value = readable(serde_json::to_value(value)?);
    if format.json {
        return print::json(&value);
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        print::line(&format!("{name:<12} {}", compact(value)))?;
    }
    Ok(())
}

/// Values: a JSON array, or a table of some of their fields.
pub(crate) fn show_all<T: Serialize>(
    values: &[T],
    format: Format,
    columns: &[&str],
) -> anyhow::Result<()> {
    let mut readables = Vec::new();
    for value in values {
        readables.push(readable(serde_json::to_value(value)?));
    }
    if format.json {
        return print::json(&readables);
    }
    let mut rows = Vec::new();
    for value in readables {
        let cell = |column: &&str| value.get(column).map(compact).unwrap_or_default();
        rows.push(columns.iter().map(cell).collect());
    }
    print::table(columns, &rows)
}

/// Times as people and other programs read them (RFC 3339); records keep milliseconds.
pub(crate) fn readable(mut value: serde_json::Value) -> serde_json::Value {
    for name in ["at", "created_at", "expires_at"] {
        if let Some(time) = value.get_mut(name)
            && let Some(millis) = time.as_i64()
        {
            *time = Time::from_millis(millis).to_string().into();
        }
    }
    value
}

pub(crate) fn compact(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(compact).collect::<Vec<_>>().join(" "),
        serde_json::Value::Null => String::new(),
        serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Object(_) => value.to_string(),
    }
}
