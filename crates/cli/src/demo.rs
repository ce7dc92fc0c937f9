//! `cardveil demo`: everything at once, with the schemes' test cards and a shop page to click.
//!
//! Its credentials are fixed and public, so it listens on loopback alone and `serve` refuses a
//! database that holds them.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use cardveil_core::Service;
use cardveil_core::audit::{Kind as EventKind, Source, Target};
use cardveil_core::card::{
    Card, CardNumber, CardholderName, Cvv, Environment, Expiry, Kind, Label, State,
};
use cardveil_core::flow::{NewCard, NewCredential, NewKey};
use cardveil_core::id::{AccountId, CardId, CardNo, EmbedId, MerchantId, PersonId};
use cardveil_core::merchant::{Embed, Merchant, MerchantState, Scope};
use cardveil_core::mfa::{MfaPolicy, Policy, step_at};
use cardveil_core::port::{Admin as _, CardFilter, Cards as _, Change, Paging, Registry as _};
use cardveil_core::vault::ClearCard;
use cardveil_core::wallet::WalletRules;
use cardveil_example_shop::{Shop, ShopCard};
use cardveil_seal::{Secret, totp};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::config::{self, Config, Limits};
use crate::deployment::{Deployment, create_private_folder};
use crate::print::{self, hinted, say};
use crate::serve::{Running, StopSignal};

const MERCHANT: &str = "mer_demo";
const EMBED: &str = "emb_demo";
const API_KEY: &str = "cvk_test_demo-keysecure-everyone-knows-this-key";
const API_SECRET: &str = "demo-secret-everyone-knows-this!";
const EQUALS_API_KEY: &str = "cvk_test_demo-equals-everyone-knows-this-key";
const EQUALS_API_SECRET: &str = "demo-secret-everyone-knows-that!";
const MFA_MERCHANT: &str = "mer_demo_mfa";
const MFA_EMBED: &str = "emb_demo_mfa";
const MFA_EQUALS_API_KEY: &str = "cvk_test_demo-mfa-everyone-knows-this-key";
const MFA_API_SECRET: &str = "demo-secret-everyone-knows-mfa!!";
const MFA_CARD: &str = "c0ffee00-0000-4000-8000-000000000101";
const MFA_TOTP: &[u8; 20] = b"everyone knows this!";
/// The same in Base32, as apps take it.
const MFA_TOTP_SECRET: &str = "MV3GK4TZN5XGKIDLNZXXO4ZAORUGS4ZB";
const ACCOUNT: &str = "F50091";
const PERSON: &str = "775596ae-2624-40af-a9dc-9756110a4a04";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one line of JSON when ready
    #[arg(long)]
    json: bool,
    /// Keep the data there and start from it again; a temporary folder when left out
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The shop's port; the listeners are 10, 20 and 30 above it
    #[arg(long, default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1..=65_505))]
    port_base: u16,
    /// Another origin whose pages may frame cards; repeat for several
    #[arg(long = "allow-origin")]
    allow_origin: Vec<String>,
    /// Keep to the limits that a real deployment has
    #[arg(long)]
    strict: bool,
}

/// A card of the demo.
struct Sample {
    no: &'static str,
    id: &'static str,
    pan: &'static str,
    cvv: Option<&'static str>,
    expiry: &'static str,
    kind: Kind,
    state: State,
    label: &'static str,
}

/// The first one is the card of both seeds' examples.
const SAMPLES: [Sample; 12] = [
    sample(
        1,
        "e9293471-5eb3-4dbc-916c-dbaf9e2deefd",
        "4111111111111111",
        "123",
        State::Active,
        "Everyday",
    ),
    sample(
        2,
        "c0ffee00-0000-4000-8000-000000000002",
        "5555555555554444",
        "456",
        State::Active,
        "Travel",
    ),
    sample(
        3,
        "c0ffee00-0000-4000-8000-000000000003",
        "378282246310005",
        "7890",
        State::Active,
        "Business",
    ),
    sample(
        4,
        "c0ffee00-0000-4000-8000-000000000004",
        "6011111111111117",
        "135",
        State::Active,
        "Groceries",
    ),
    sample(
        5,
        "c0ffee00-0000-4000-8000-000000000005",
        "3530111333300000",
        "246",
        State::Active,
        "Japan trip",
    ),
    sample(
        6,
        "c0ffee00-0000-4000-8000-000000000006",
        "30569309025904",
        "357",
        State::Active,
        "Dining",
    ),
    sample(
        7,
        "c0ffee00-0000-4000-8000-000000000007",
        "6205500000000000004",
        "468",
        State::Active,
        "Shanghai office",
    ),
    sample(
        8,
        "c0ffee00-0000-4000-8000-000000000008",
        "4242424242424242",
        "579",
        State::Unactivated,
        "New, not shown yet",
    ),
    Sample {
        kind: Kind::Physical,
        ..sample(
            9,
            "c0ffee00-0000-4000-8000-000000000009",
            "4000056655665556",
            "680",
            State::Suspended,
            "Frozen",
        )
    },
    sample(
        10,
        "c0ffee00-0000-4000-8000-000000000010",
        "5105105105105100",
        "791",
        State::Terminated,
        "Closed",
    ),
    Sample {
        kind: Kind::Physical,
        cvv: None,
        ..sample(
            11,
            "c0ffee00-0000-4000-8000-000000000011",
            "2223003122003222",
            "",
            State::Active,
            "Without a CVV on file",
        )
    },
    Sample {
        kind: Kind::Physical,
        ..sample(
            12,
            "c0ffee00-0000-4000-8000-000000000012",
            "4012888888881881",
            "802",
            State::Pending,
            "Being made",
        )
    },
];

const NUMBERS: [&str; 12] = [
    "C202605220001",
    "C202605220002",
    "C202605220003",
    "C202605220004",
    "C202605220005",
    "C202605220006",
    "C202605220007",
    "C202605220008",
    "C202605220009",
    "C202605220010",
    "C202605220011",
    "C202605220012",
];

const fn sample(
    n: usize,
    id: &'static str,
    pan: &'static str,
    cvv: &'static str,
    state: State,
    label: &'static str,
) -> Sample {
    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated by the compiler, which checks it"
    )]
    let no = NUMBERS[n - 1];
    Sample {
        no,
        id,
        pan,
        cvv: Some(cvv),
        expiry: "12/2030",
        kind: Kind::Virtual,
        state,
        label,
    }
}

/// What `--json` prints (DESIGN section 8).
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
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter("warn")
        .init();
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
    let config = config(&dir, base, args.strict);
    let house = Deployment::create(config).await?;
    let mut origins = vec![shop_url.clone()];
    for origin in &args.allow_origin {
        origins.push(config::origin(origin)?);
    }
    fill(&house, origins.clone()).await?;
    fill_mfa(&house, origins).await?;
    let ready = ready(&house, shop_url).await?;
    let shop = shop(&house, &ready).await?;
    let mut shop_listeners = vec![bind(SocketAddr::from(([127, 0, 0, 1], base))).await?];
    // `localhost` may mean either; where there is no IPv6, it means the other.
    if let Ok(v6) = TcpListener::bind(SocketAddr::from((Ipv6Addr::LOCALHOST, base))).await {
        shop_listeners.push(v6);
    }
    let signal = StopSignal::listen()?;
    let running = Running::start(house).await?;
    let shops: Vec<_> = shop_listeners
        .into_iter()
        .map(|tcp| tokio::spawn(shop.clone().serve(tcp)))
        .collect();
    if args.json {
        print::json(&ready)?;
    } else {
        greet(&ready, &dir, temporary.is_some());
    }
    signal.received().await;
    for shop in shops {
        shop.abort();
    }
    running.stop().await
}

/// Whether a database holds the demo's credentials.
pub(crate) async fn credentials_present(service: &Service) -> anyhow::Result<bool> {
    for key in [API_KEY, EQUALS_API_KEY, MFA_EQUALS_API_KEY] {
        if service.admission(key).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn config(dir: &std::path::Path, base: u16, strict: bool) -> Config {
    let local = |offset: u16| SocketAddr::from(([127, 0, 0, 1], base + offset));
    let mut config = Config::fresh(Environment::Sandbox);
    config.store.database = dir.join("data/cardveil.db");
    config.store.fence = dir.join("fence/cardveil.fence");
    config.keys.root = dir.join("keys/root.key");
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
        };
        config.budgets.card_most = 0;
        config.budgets.person_most = 0;
    }
    config
}

/// Adds what is not there yet.
async fn fill(house: &Deployment, origins: Vec<String>) -> anyhow::Result<()> {
    let source = Source::server();
    let now = house.service.now();
    let merchant_id = MerchantId::parse(MERCHANT)?;
    let embed_id = EmbedId::parse(EMBED)?;
    let embed = Embed {
        id: embed_id.clone(),
        merchant: merchant_id.clone(),
        origins,
        copy_cvv: false,
        enabled: true,
        created_at: now,
    };
    let target = Target {
        embed: Some(embed_id.clone()),
        ..Target::default()
    };
    let event = |kind| source.event(now, kind, Some(merchant_id.clone()), target.clone());
    if house.store.embed(&embed_id).await?.is_some() {
        let change = (Change::SetEmbed(embed), event(EventKind::EmbedChanged));
        all_done(house.store.change(vec![change]).await?)?;
        return Ok(());
    }
    let merchant = Merchant {
        id: merchant_id.clone(),
        name: "Saltmarsh".to_owned(),
        state: MerchantState::Active,
        pci_enabled: true,
        wallets: WalletRules::all(),
        mfa: MfaPolicy::default(),
        created_at: now,
    };
    let mut changes = vec![
        (
            Change::AddMerchant(merchant),
            event(EventKind::MerchantAdded),
        ),
        (Change::AddEmbed(embed), event(EventKind::EmbedAdded)),
    ];
    for sample in &SAMPLES {
        changes.push(
            house
                .service
                .card_change(sample.card(&merchant_id)?, &source)?,
        );
    }
    all_done(house.store.change(changes).await?)?;
    for (api_key, api_secret) in [(API_KEY, API_SECRET), (EQUALS_API_KEY, EQUALS_API_SECRET)] {
        let new = NewCredential {
            merchant: merchant_id.clone(),
            allowed_ips: vec!["127.0.0.1/32".parse()?],
            scopes: vec![
                Scope::CardsReadAny,
                Scope::CardsWriteAny,
                Scope::WebhooksManage,
                Scope::IpAddressesManage,
                Scope::MfaManage,
            ],
            person: None,
            expires_at: None,
            keys: Some(NewKey {
                api_key: Secret::new(api_key.into()),
                api_secret: Secret::new(api_secret.into()),
            }),
        };
        house.service.add_credential(new, &source).await??;
    }
    Ok(())
}

/// The second merchant: one card, and a cardholder whose authenticator app's secret is public.
async fn fill_mfa(house: &Deployment, origins: Vec<String>) -> anyhow::Result<()> {
    let source = Source::server();
    let now = house.service.now();
    let merchant = Merchant {
        id: MerchantId::parse(MFA_MERCHANT)?,
        name: "Saltmarsh Private".to_owned(),
        state: MerchantState::Active,
        pci_enabled: true,
        wallets: WalletRules::all(),
        mfa: MfaPolicy {
            view_card: Policy::Required,
            ..MfaPolicy::default()
        },
        created_at: now,
    };
    let embed = Embed {
        id: EmbedId::parse(MFA_EMBED)?,
        merchant: merchant.id.clone(),
        origins,
        copy_cvv: false,
        enabled: true,
        created_at: now,
    };
    let target = Target {
        embed: Some(embed.id.clone()),
        ..Target::default()
    };
    let event = |kind| source.event(now, kind, Some(merchant.id.clone()), target.clone());
    if house.store.embed(&embed.id).await?.is_some() {
        let change = (Change::SetEmbed(embed), event(EventKind::EmbedChanged));
        return Ok(all_done(house.store.change(vec![change]).await?)?);
    }
    let card = Sample {
        no: "C202605220101",
        ..sample(
            1,
            MFA_CARD,
            "4012888888881881",
            "913",
            State::Active,
            "Private",
        )
    };
    let changes = vec![
        (
            Change::AddMerchant(merchant.clone()),
            event(EventKind::MerchantAdded),
        ),
        (Change::AddEmbed(embed), event(EventKind::EmbedAdded)),
        house
            .service
            .card_change(card.card(&merchant.id)?, &source)?,
    ];
    all_done(house.store.change(changes).await?)?;
    let new = NewCredential {
        merchant: merchant.id.clone(),
        allowed_ips: vec!["127.0.0.1/32".parse()?],
        scopes: vec![Scope::CardsReadAny, Scope::CardsWriteAny, Scope::MfaManage],
        person: None,
        expires_at: None,
        keys: Some(NewKey {
            api_key: Secret::new(MFA_EQUALS_API_KEY.into()),
            api_secret: Secret::new(MFA_API_SECRET.into()),
        }),
    };
    house.service.add_credential(new, &source).await??;
    enrol(house, &merchant).await
}

/// Confirmed by the code of the step before, so that the present one is still good.
async fn enrol(house: &Deployment, merchant: &Merchant) -> anyhow::Result<()> {
    let source = Source::server();
    let person = PersonId::parse(PERSON)?;
    let secret = || Secret::new(MFA_TOTP.to_vec());
    let enrolled = house
        .service
        .enrol(merchant, person, Some(secret()), &source)
        .await?;
    let before = step_at(house.service.now()).saturating_sub(1);
    let code = totp::code(&secret(), before);
    let confirmed = house
        .service
        .confirm(&merchant.id, person, &code, &source)
        .await?;
    anyhow::ensure!(
        enrolled.is_ok() && confirmed.is_ok(),
        "the demo's authenticator app could not be enrolled"
    );
    Ok(())
}

fn all_done(
    results: Vec<Result<(), cardveil_core::port::Taken>>,
) -> Result<(), cardveil_core::port::Taken> {
    results.into_iter().collect()
}

impl Sample {
    fn card(&self, merchant: &MerchantId) -> anyhow::Result<NewCard> {
        let number = CardNumber::parse(self.pan)?;
        let network = number.network();
        Ok(NewCard {
            id: Some(CardId::parse(self.id)?),
            no: CardNo::parse(self.no)?,
            merchant: merchant.clone(),
            account: AccountId::parse(ACCOUNT)?,
            person: PersonId::parse(PERSON)?,
            kind: self.kind,
            state: self.state,
            label: Label::parse(self.label)?,
            product: None,
            unique_no: None,
            holder_no: None,
            clear: ClearCard {
                number,
                expiry: Expiry::parse(self.expiry)?,
                name: CardholderName::parse("A CARDHOLDER")?,
                cvv: self.cvv.map(|cvv| Cvv::parse(cvv, network)).transpose()?,
            },
        })
    }
}

async fn all_cards(house: &Deployment, filter: &CardFilter) -> anyhow::Result<Vec<Card>> {
    let paging = Paging {
        limit: 1_000,
        ..Paging::default()
    };
    Ok(house.store.list_cards(filter, paging).await?.cards)
}

async fn ready(house: &Deployment, shop_url: String) -> anyhow::Result<Ready> {
    let listen = &house.config.listen;
    // Those of the merchant whose key is `api_key`; the other's card is `mfa.card`.
    let filter = CardFilter {
        merchant: Some(MerchantId::parse(MERCHANT)?),
        ..CardFilter::default()
    };
    let cards = all_cards(house, &filter).await?;
    Ok(Ready {
        merchant_url: format!("http://{}", listen.merchant),
        client_url: house.config.client.origin.clone(),
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
    })
}

async fn shop(house: &Deployment, ready: &Ready) -> anyhow::Result<Shop> {
    let filter = CardFilter {
        merchant: Some(MerchantId::parse(MERCHANT)?),
        ..Default::default()
    };
    let cards = all_cards(house, &filter).await?;
    let cards = cards
        .iter()
        .map(|card| ShopCard {
            card_no: card.no.to_string(),
            card_id: card.id.to_string(),
            account_id: card.account.to_string(),
            last_four: card.last_four.as_str().to_owned(),
            network: card.network.as_str().to_owned(),
            state: card.state.as_str().to_owned(),
            kind: card.kind.as_str().to_owned(),
            label: card.label.clone(),
        })
        .collect();
    Ok(Shop::new(cardveil_example_shop::Settings {
        merchant_url: ready.merchant_url.clone(),
        client_url: ready.client_url.clone(),
        embed: ready.embed.to_owned(),
        api_key: ready.api_key.to_owned(),
        equals_api_key: ready.equals_api_key.to_owned(),
        cards,
    }))
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
    say(&format!(
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
    ));
}
