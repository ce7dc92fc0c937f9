//! `cardveil demo`: everything at once, with the schemes' test cards and a shop page to click.
//!
//! Its credentials are fixed and public, so it listens on loopback alone and `serve` refuses a
//! database that holds them.

mod design;
mod merchants;
mod samples;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use cardveil_core::card::{Card, Environment};
use cardveil_core::id::MerchantId;
use cardveil_core::port::{CardFilter, Paging};
use cardveil_example_shop::{Programme, Shop, ShopCard};
use cardveil_server::manifest;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::deployment::config::{self, Config, Limits, RootKey};
use crate::deployment::demo::{API_KEY, EQUALS_API_KEY, MFA_EQUALS_API_KEY};
use crate::deployment::{Deployment, create_private_folder};
use crate::print::{self, hinted, say};
use crate::running::log;
use crate::running::{Running, StopSignal};

const MERCHANT: &str = "mer_demo";
const EMBED: &str = "emb_demo";
/// The phone app's id: an embed that no page may frame.
const APP: &str = "emb_demo_app";
const API_SECRET: &str = "demo-secret-everyone-knows-this!";
const EQUALS_API_SECRET: &str = "demo-secret-everyone-knows-that!";
const MFA_MERCHANT: &str = "mer_demo_mfa";
const MFA_EMBED: &str = "emb_demo_mfa";
const MFA_APP: &str = "emb_demo_mfa_app";
const MFA_API_SECRET: &str = "demo-secret-everyone-knows-mfa!!";
const MFA_CARD: &str = "c0ffee00-0000-4000-8000-000000000101";
const MFA_TOTP: &[u8; 20] = b"everyone knows this!";
/// The same in Base32, as apps take it.
const MFA_TOTP_SECRET: &str = "MV3GK4TZN5XGKIDLNZXXO4ZAORUGS4ZB";
const ACCOUNT: &str = "F50091";
const PERSON: &str = "775596ae-2624-40af-a9dc-9756110a4a04";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep the data there and start from it again; a temporary folder when left out
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The shop's port; the listeners are 10, 20 and 30 above it
    #[arg(long, default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1..=65_505))]
    port_base: u16,
    /// Another origin whose pages may frame cards; repeat for several
    #[arg(long = "allow-origin")]
    allow_origin: Vec<String>,
    /// Allow parts without looks, as `cardveil embed set --transparent true` does
    #[arg(long)]
    transparent: bool,
    /// Keep to the limits that a real deployment has
    #[arg(long)]
    strict: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Ready {
    merchant_url: String,
    client_url: String,
    admin_url: String,
    shop_url: String,
    api_key: &'static str,
    api_secret: &'static str,
    equals_api_key: &'static str,
    embed: &'static str,
    cards: Vec<ReadyCard>,
    /// A second merchant, whose policy requires MFA for showing a card.
    mfa: ReadyMfa,
    /// What signs the manifest of its scripts.
    manifest_key: String,
}

#[derive(Serialize)]
struct ReadyMfa {
    equals_api_key: &'static str,
    embed: &'static str,
    /// Its `card_id`.
    card: &'static str,
    account_id: &'static str,
    person_id: &'static str,
    /// Base32.
    totp_secret: &'static str,
}

#[derive(Serialize)]
struct ReadyCard {
    card_no: String,
    card_id: String,
    account_id: String,
    person_id: String,
    last_four: String,
    state: &'static str,
}

/// Runs it until SIGINT or SIGTERM.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("cardveil-demo-")
                .tempdir()?,
        ),
    };
    let dir = match (&args.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().to_path_buf(),
        (None, None) => anyhow::bail!("no folder"),
    };
    create_private_folder(&dir)?;
    let base = args.port_base;
    let shop_url = format!("http://localhost:{base}");
    let mut config = config(&dir, base, args.strict);
    config.designs.push(design::write(&dir)?);
    let deployment = Deployment::create(config).await?;
    let mut origins = vec![shop_url.clone()];
    for origin in &args.allow_origin {
        origins.push(config::embed_origin(origin)?);
    }
    let pages = merchants::Pages {
        origins: &origins,
        transparent: args.transparent,
    };
    merchants::fill(&deployment, &pages).await?;
    let ready = ready(&deployment, shop_url).await?;
    let shop = shop(&deployment, &ready).await?;
    let mut shop_listeners = vec![bind(SocketAddr::from(([127, 0, 0, 1], base))).await?];
    // `localhost` may mean either; where there is no IPv6, it means the other.
    if let Ok(v6) = TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, base))).await {
        shop_listeners.push(v6);
    }
    let mut signal = StopSignal::listen()?;
    // What fails before is told as to people, who try it out.
    let telling = tokio::spawn(log::start("warn").tell_repeated());
    let running = Running::start(deployment).await?;
    let shops: Vec<_> = shop_listeners
        .into_iter()
        .map(|tcp| tokio::spawn(shop.clone().serve(tcp)))
        .collect();
    print::object(&ready, |ready| {
        greet(ready, &dir, temporary.is_some());
        Ok(())
    })?;
    signal.received().await;
    for shop in shops {
        shop.abort();
    }
    telling.abort();
    running.stop().await
}

fn config(dir: &std::path::Path, base: u16, strict: bool) -> Config {
    let local = |offset: u16| SocketAddr::from(([127, 0, 0, 1], base + offset));
    let mut config = Config::fresh(Environment::Sandbox);
    config.store.database = dir.join("data/cardveil.db");
    config.store.fence = dir.join("fence/cardveil.fence");
    config.keys.root = RootKey::File(dir.join("keys/root.key"));
    config.listen.merchant = local(10);
    config.listen.client = local(20);
    config.listen.admin = local(30);
    config.client.origin = format!("http://127.0.0.1:{}", base + 20);
    // Its receivers are beside it.
    config.webhooks.allow_private = true;
    config.issuer.store_cvv_reason = Some("the demo shows how a CVV is released".to_owned());
    if !strict {
        config.limits = Limits {
            credential_per_second: 0,
            client_per_minute: 0,
            refused_per_minute: 0,
            network_per_minute: 0,
            all_per_minute: 0,
            public_per_minute: 0,
            address_connections: 0,
            proxy_connections: 0,
        };
        config.budgets.card_most = 0;
        config.budgets.person_most = 0;
    }
    config
}

async fn all_cards(deployment: &Deployment, filter: &CardFilter) -> anyhow::Result<Vec<Card>> {
    let paging = Paging {
        limit: 1_000,
        ..Paging::default()
    };
    Ok(deployment.store.list_cards(filter, paging).await?.cards)
}

async fn ready(deployment: &Deployment, shop_url: String) -> anyhow::Result<Ready> {
    let listen = &deployment.config.listen;
    // Those of the merchant whose key is `api_key`; the other's card is `mfa.card`.
    let filter = CardFilter {
        merchant: Some(MerchantId::parse(MERCHANT)?),
        ..CardFilter::default()
    };
    let cards = all_cards(deployment, &filter).await?;
    Ok(Ready {
        merchant_url: format!("http://{}", listen.merchant),
        client_url: deployment.config.client.origin.clone(),
        admin_url: format!("http://{}", listen.admin),
        shop_url,
        api_key: API_KEY,
        api_secret: API_SECRET,
        equals_api_key: EQUALS_API_KEY,
        embed: EMBED,
        cards: cards
            .iter()
            .map(|card| ReadyCard {
                card_no: card.no.to_string(),
                card_id: card.id.to_string(),
                account_id: card.account.to_string(),
                person_id: card.person.to_string(),
                last_four: card.last_four.as_str().to_owned(),
                state: card.state.as_str(),
            })
            .collect(),
        mfa: ReadyMfa {
            equals_api_key: MFA_EQUALS_API_KEY,
            embed: MFA_EMBED,
            card: MFA_CARD,
            account_id: ACCOUNT,
            person_id: PERSON,
            totp_secret: MFA_TOTP_SECRET,
        },
        manifest_key: manifest::key_text(&deployment.service.vault().manifest_key()?),
    })
}

async fn shop(deployment: &Deployment, ready: &Ready) -> anyhow::Result<Shop> {
    let open = Programme {
        embed: EMBED.to_owned(),
        app: Some(APP.to_owned()),
        keysecure_key: API_KEY.to_owned(),
        equals_api_key: EQUALS_API_KEY.to_owned(),
        totp_secret: None,
        cards: shop_cards(deployment, MERCHANT).await?,
    };
    let protected = Programme {
        embed: MFA_EMBED.to_owned(),
        app: Some(MFA_APP.to_owned()),
        keysecure_key: MFA_EQUALS_API_KEY.to_owned(),
        equals_api_key: MFA_EQUALS_API_KEY.to_owned(),
        totp_secret: Some(MFA_TOTP_SECRET.to_owned()),
        cards: shop_cards(deployment, MFA_MERCHANT).await?,
    };
    Ok(Shop::new(cardveil_example_shop::Settings {
        merchant_url: ready.merchant_url.clone(),
        client_url: ready.client_url.clone(),
        programmes: vec![open, protected],
    }))
}

async fn shop_cards(deployment: &Deployment, merchant: &str) -> anyhow::Result<Vec<ShopCard>> {
    let filter = CardFilter {
        merchant: Some(MerchantId::parse(merchant)?),
        ..CardFilter::default()
    };
    let cards = all_cards(deployment, &filter).await?;
    let of = |card: &Card| ShopCard {
        card_no: card.no.to_string(),
        card_id: card.id.to_string(),
        account_id: card.account.to_string(),
        person_id: card.person.to_string(),
        last_four: card.last_four.as_str().to_owned(),
        network: card.network.as_str().to_owned(),
        state: card.state.as_str().to_owned(),
        kind: card.kind.as_str().to_owned(),
        label: card.label.clone(),
    };
    Ok(cards.iter().map(of).collect())
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        hinted(
            format!("cannot listen on {address}: {error}"),
            "another demo may be running: end it, or give --port-base",
        )
    })
}

fn greet(ready: &Ready, dir: &std::path::Path, temporary: bool) {
    let kept = if temporary {
        "gone when it ends"
    } else {
        "kept"
    };
    let text = format!(
        "\n  Cardveil demo\n\n  Open   {}   and show a card\n\n  \
         merchant API   {}\n  client API     {}\n  admin          {}\n  data           {} ({kept})\n\n  \
         Api-Key        {}\n  Equals key     {}\n\n  Test cards and public keys: never for real cards. Ctrl-C ends it.\n",
        ready.shop_url,
        ready.merchant_url,
        ready.client_url,
        ready.admin_url,
        dir.display(),
        ready.api_key,
        ready.equals_api_key,
    );
    text.lines().for_each(say);
}
