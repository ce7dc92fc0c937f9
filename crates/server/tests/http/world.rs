//! A deployment in memory: the real vault and flows, a store that can fail, a clock to turn by
//! hand, and three listeners that are called without sockets.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::body::Body;
use cardveil_core::Service;
use cardveil_core::audit::Kind;
use cardveil_core::audit::sink::Gate;
use cardveil_core::budget::Budgets;
use cardveil_core::card::{
    CardNumber, CardholderName, Cvv, Environment, Kind as CardKind, Label, Network, State,
};
use cardveil_core::flow::{NewCard, NewCredential, NewKey};
use cardveil_core::id::{CardNo, PersonId};
use cardveil_core::merchant::{Embed, Scope};
use cardveil_core::port::Change;
use cardveil_core::vault::{ClearCard, Vault};
use cardveil_seal::{Entropy, FileRoot, Keyring, Secret, SeededEntropy};
use cardveil_server::log::AccessLog;
use cardveil_server::{
    App, Art, Design, DesignName, Font, FontStyle, Ink, Limits, Listener, ListenerKind, Look, Peer,
    Settings, mount,
};
use cardveil_testkit::{Faulty, ManualClock, Memory, sample};
use http::header::HOST;
use http::{HeaderValue, Request};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::actors::{Cardholder, Merchant, Operator, Stranger};

/// From where merchant 1's servers call.
pub(crate) const OFFICE: &str = "203.0.113.7";
/// From where cardholders call.
pub(crate) const HOME: &str = "198.51.100.20";
/// The Api-Key of merchant 1, which sees all of its cards.
pub(crate) const KEY: &str = "cvk_test_merchant_1_any";
/// Another Api-Key of merchant 1, bound to [`PERSON`].
pub(crate) const OWN_KEY: &str = "cvk_test_merchant_1_own";
/// The Api-Key of merchant 2.
pub(crate) const OTHER_KEY: &str = "cvk_test_merchant_2_any";
/// The published examples' card, of merchant 1 and [`PERSON`].
pub(crate) const CARD_NO: &str = "C202605220001";
/// The published examples' card by its id.
pub(crate) const CARD_ID: &str = "e9293471-5eb3-4dbc-916c-dbaf9e2deefd";
/// Its number.
pub(crate) const PAN: &str = "4111111111111111";
pub(crate) const CVV: &str = "739";
/// A card of merchant 1 and of another person, without a CVV.
pub(crate) const SECOND_NO: &str = "C202605220002";
/// That card by its id.
pub(crate) const SECOND_ID: &str = "11111111-5eb3-4dbc-916c-dbaf9e2deefd";
/// A card of merchant 2.
pub(crate) const FOREIGN_NO: &str = "C202605220003";
/// That card by its id.
pub(crate) const FOREIGN_ID: &str = "22222222-5eb3-4dbc-916c-dbaf9e2deefd";
/// The published examples' person.
pub(crate) const PERSON: &str = "775596ae-2624-40af-a9dc-9756110a4a04";
/// Another person.
pub(crate) const SECOND_PERSON: &str = "875596ae-2624-40af-a9dc-9756110a4a04";
/// The account of all cards.
pub(crate) const ACCOUNT: &str = "F50091";
/// Where browsers find the client listener.
pub(crate) const CLIENT_ORIGIN: &str = "https://cards.example";

/// Chance from a seed, until it is broken: then it panics, as the system's would.
pub(crate) struct Chance {
    seeded: SeededEntropy,
    broken: AtomicBool,
}

impl Chance {
    pub(crate) fn break_it(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    pub(crate) fn mend_it(&self) {
        self.broken.store(false, Ordering::SeqCst);
    }
}

impl Entropy for Chance {
    fn fill(&self, out: &mut [u8]) {
        assert!(!self.broken.load(Ordering::SeqCst), "planted: no entropy");
        self.seeded.fill(out);
    }
}

pub(crate) struct World {
    pub(crate) app: Arc<App>,
    pub(crate) store: Arc<Faulty<Memory>>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) chance: Arc<Chance>,
    pub(crate) listeners: [Listener; 3],
    attempts: AtomicU64,
}

/// The smallest file that begins as WOFF2 does.
pub(crate) const WOFF2: &[u8] = b"wOF2\0\x01\0\0\0\0\0\x0c";

pub(crate) fn font(name: &str, weight: Option<&str>, style: FontStyle) -> Font {
    Font::new(name, weight, style, WOFF2.to_vec()).unwrap()
}

/// A design of a smallest file for each picture, with a mark of Visa.
pub(crate) fn design(name: &str, products: &[&str]) -> Design {
    let art = |bytes: &[u8]| Art::new(bytes.to_vec()).unwrap();
    let look = |ink: &str, background: &[u8]| Look {
        ink: Ink::parse(ink).unwrap(),
        background: art(background),
        logo: Some(art(b"\xff\xd8\xff")),
        mark: Some(art(b"<svg id=\"mark\">")),
    };
    Design {
        name: DesignName::parse(name).unwrap(),
        products: products.iter().map(|&product| product.to_owned()).collect(),
        network: Some(Network::Visa),
        light: look("#1d2b3a", b"<svg>"),
        dark: Look {
            logo: None,
            mark: None,
            ..look("#f4efe6", b"\x89PNG\r\n\x1a\n")
        },
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        client_origin: CLIENT_ORIGIN.to_owned(),
        trusted_proxies: vec![],
        proxy_protocol: vec![],
        behind_proxies: vec![],
        idle_secs: 75,
        log_probes: true,
        timestamp_future_tolerance_ms: 0,
        private_webhooks: false,
        fonts: vec![],
        designs: vec![],
        tls: cardveil_server::tls::Listeners::default(),
        limits: Limits::none(),
    }
}

/// A server's listeners, whose request ids come of the same chance.
fn listeners(app: &Arc<App>, seed: u64) -> [Listener; ListenerKind::ALL.len()] {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
    ListenerKind::ALL.map(|kind| mount::listener(app, kind, Arc::clone(&entropy)))
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(settings(), AccessLog::none()).await
    }

    pub(crate) async fn with(settings: Settings, log: AccessLog) -> Self {
        Self::with_budgets(settings, log, Budgets::default()).await
    }

    pub(crate) async fn with_budgets(settings: Settings, log: AccessLog, budgets: Budgets) -> Self {
        Self::with_all(settings, log, budgets, Gate::open()).await
    }

    /// With a gate that is closed until somebody holds it open.
    pub(crate) async fn with_gate() -> Self {
        let (log, budgets) = (AccessLog::none(), Budgets::default());
        Self::with_all(settings(), log, budgets, Gate::kept()).await
    }

    async fn with_all(settings: Settings, log: AccessLog, budgets: Budgets, gate: Gate) -> Self {
        let chance = Arc::new(Chance {
            seeded: SeededEntropy::new(7),
            broken: AtomicBool::new(false),
        });
        let folder = tempfile::tempdir().unwrap();
        // Of a seed of their own, so that a new class changes no value that a test knows.
        let keys = SeededEntropy::new(8);
        let root = FileRoot::create(&folder.path().join("root.key"), &keys).unwrap();
        let wrapped = Keyring::generate(&root, "sandbox", &keys).unwrap();
        let keyring = Keyring::open(&root, "sandbox", &wrapped).unwrap();
        let vault = Vault::new(keyring, Environment::Sandbox, Arc::clone(&chance) as _);
        let store = Arc::new(Faulty::new(Memory::default()));
        let clock = Arc::new(ManualClock::at(sample::START));
        let service = Service::new(
            Arc::clone(&store) as _,
            Arc::new(vault),
            Arc::clone(&clock) as _,
            Arc::clone(&chance) as _,
        )
        .with_budgets(budgets)
        .with_gate(gate);
        let app = App::new(service, settings, log);
        let world = Self {
            listeners: listeners(&app, 1),
            app,
            store,
            clock,
            chance,
            attempts: AtomicU64::new(0),
        };
        world.furnish().await;
        world
    }

    /// Another server on the same store, with the same limits.
    pub(crate) fn beside(&self) -> Self {
        let (service, settings) = (self.app.service.clone(), self.app.settings.clone());
        let app = App::new(service, settings, AccessLog::none());
        Self {
            listeners: listeners(&app, 2),
            app,
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            chance: Arc::clone(&self.chance),
            attempts: AtomicU64::new(0),
        }
    }

    async fn furnish(&self) {
        let operator = self.operator();
        for n in [1, 2] {
            let merchant = sample::merchant(n);
            operator
                .change(Change::AddMerchant(merchant), Kind::MerchantAdded)
                .await;
            operator
                .change(Change::AddEmbed(sample::embed(n)), Kind::EmbedAdded)
                .await;
        }
        self.add_credential(1, KEY, Scope::CardsReadAny, None).await;
        self.add_credential(1, OWN_KEY, Scope::CardsReadOwn, Some(PERSON))
            .await;
        self.add_credential(2, OTHER_KEY, Scope::CardsReadAny, None)
            .await;
        self.add_card(1, (CARD_NO, CARD_ID), PERSON, (PAN, Some(CVV)))
            .await;
        self.add_card(
            1,
            (SECOND_NO, SECOND_ID),
            SECOND_PERSON,
            ("5555555555554444", None),
        )
        .await;
        self.add_card(
            2,
            (FOREIGN_NO, FOREIGN_ID),
            PERSON,
            ("378282246310005", Some("7394")),
        )
        .await;
    }

    pub(crate) async fn add_credential(
        &self,
        merchant: u8,
        key: &str,
        scope: Scope,
        person: Option<&str>,
    ) {
        let secret = Secret::new(vec![b's'; 32]);
        self.add_credential_of(merchant, key, (scope, person), secret)
            .await;
    }

    /// A credential that sees all of the merchant's cards, with this apiSecret.
    pub(crate) async fn add_credential_with_secret(
        &self,
        merchant: u8,
        key: &str,
        secret: [u8; 32],
    ) {
        let secret = Secret::new(secret.to_vec());
        self.add_credential_of(merchant, key, (Scope::CardsReadAny, None), secret)
            .await;
    }

    async fn add_credential_of(
        &self,
        merchant: u8,
        key: &str,
        (scope, person): (Scope, Option<&str>),
        secret: Secret,
    ) {
        let new = NewCredential {
            merchant: sample::merchant(merchant).id,
            allowed_ips: vec!["203.0.113.7/32".parse().unwrap()],
            ip_ceiling: ["0.0.0.0/0", "::/0"]
                .map(|net| net.parse().unwrap())
                .to_vec(),
            client_certificates: vec![],
            scopes: vec![scope],
            person: person.map(|person| PersonId::parse(person).unwrap()),
            expires_at: None,
            keys: Some(NewKey {
                api_key: Secret::new(key.into()),
                api_secret: secret,
            }),
        };
        let added = self
            .app
            .service
            .add_credential(new, &sample::operator())
            .await
            .unwrap();
        assert!(added.is_ok());
    }

    async fn add_card(
        &self,
        merchant: u8,
        names: (&str, &str),
        person: &str,
        values: (&str, Option<&str>),
    ) {
        self.add(new_card(merchant, names, person, values)).await;
    }

    /// Adds a card of merchant 1 and [`PERSON`] that is of this kind and in this state, and tells
    /// its two names.
    pub(crate) async fn card_in(&self, n: u8, kind: CardKind, state: State) -> (String, String) {
        let (no, id) = (
            format!("C{n}"),
            format!("{n:08x}-0000-4000-8000-000000000000"),
        );
        self.add(NewCard {
            kind,
            state,
            ..new_card(1, (&no, &id), PERSON, (PAN, Some(CVV)))
        })
        .await;
        (no, id)
    }

    pub(crate) async fn add(&self, new: NewCard) {
        let change = self
            .app
            .service
            .card_change(new, &sample::operator())
            .unwrap()
            .unwrap();
        let added = self.app.service.change(change.0, change.1).await.unwrap();
        assert!(added.is_ok());
    }

    pub(crate) fn clock_now(&self) -> cardveil_core::Time {
        self.app.service.now()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.app.service.now().millis()
    }

    /// An attempt id that was not used yet.
    pub(crate) fn attempt(&self) -> String {
        let count = self.attempts.fetch_add(1, Ordering::Relaxed);
        format!("00000000-0000-4000-8000-{count:012x}")
    }

    pub(crate) async fn ask(
        &self,
        kind: ListenerKind,
        from: &str,
        mut request: Request<Body>,
    ) -> Answer {
        let peer = Peer::At(from.parse().unwrap());
        // As HTTP/1.1 has it.
        let host = HeaderValue::from_static("localhost");
        request.headers_mut().entry(HOST).or_insert(host);
        let [merchant, client, admin] = &self.listeners;
        let listener = match kind {
            ListenerKind::Merchant => merchant,
            ListenerKind::Client => client,
            ListenerKind::Admin => admin,
        };
        let (parts, body) = listener.answer(peer, None, request).await.into_parts();
        let mut headers: Vec<_> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        headers.sort();
        Answer {
            status: parts.status.as_u16(),
            headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    pub(crate) fn merchant(&self) -> Merchant<'_> {
        Merchant::new(self, KEY)
    }

    pub(crate) fn stranger(&self) -> Stranger<'_> {
        Stranger::new(self)
    }

    pub(crate) fn operator(&self) -> Operator<'_> {
        Operator::new(self)
    }

    /// A cardholder of the published examples' card with a fresh token.
    pub(crate) async fn cardholder(&self) -> Cardholder<'_> {
        Cardholder::with(self, self.merchant().token(CARD_NO).await)
    }

    /// The value of a counter at `/metrics`.
    pub(crate) async fn counted(&self, name: &str) -> u64 {
        let answer = self.stranger().get(ListenerKind::Admin, "/metrics").await;
        let line = answer
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    }
}

/// Registers an app of merchant 1: an embed that no page frames.
pub(crate) async fn app(world: &World) -> String {
    let app = Embed {
        id: "emb_app".parse().unwrap(),
        origins: vec![],
        ..sample::embed(1)
    };
    let change = Change::AddEmbed(app);
    world.operator().change(change, Kind::EmbedAdded).await;
    "emb_app".to_owned()
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.shown()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} is there once");
        value
    }

    /// The status and the `code` of the body.
    pub(crate) fn code(&self) -> (u16, String) {
        let code = &self.json()["code"];
        let code = code
            .as_str()
            .map_or_else(|| code.to_string(), str::to_owned);
        (self.status, code)
    }

    /// The `code` of the body, if it is JSON and has one.
    pub(crate) fn json_code(&self) -> Option<String> {
        let body = serde_json::from_slice::<Value>(&self.body).ok()?;
        body.get("code").map(|_| self.code().1)
    }

    /// What must be the same in all refusals: everything but the request's id.
    pub(crate) fn without_id(&self) -> Self {
        let mut same = self.clone();
        same.headers.retain(|(name, _)| name != "x-request-id");
        assert_eq!(same.headers.len() + 1, self.headers.len());
        same
    }

    /// The whole answer as text, its request id hidden once its form is checked.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("{}\n", self.status);
        for (name, value) in &self.headers {
            let value = if name == "x-request-id" {
                assert!(value.len() == 16 && value.bytes().all(|b| b.is_ascii_hexdigit()));
                "[request id]"
            } else {
                value
            };
            writeln!(text, "{name}: {value}").unwrap();
        }
        text.push('\n');
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(mut json) => {
                // The order of members depends on what else is in the build.
                json.sort_all_objects();
                text.push_str(&serde_json::to_string_pretty(&json).unwrap());
            }
            Err(_) => text.push_str(self.text()),
        }
        text
    }
}

/// An active physical card of [`ACCOUNT`].
pub(crate) fn new_card(
    merchant: u8,
    (no, id): (&str, &str),
    person: &str,
    (number, cvv): (&str, Option<&str>),
) -> NewCard {
    let number = CardNumber::parse(number).unwrap();
    NewCard {
        id: Some(id.parse().unwrap()),
        no: CardNo::parse(no).unwrap(),
        merchant: sample::merchant(merchant).id,
        account: ACCOUNT.parse().unwrap(),
        person: person.parse().unwrap(),
        kind: CardKind::Physical,
        label: Label::parse("A card").unwrap(),
        clear: ClearCard {
            cvv: cvv.map(|cvv| Cvv::parse(cvv, number.network()).unwrap()),
            name: CardholderName::parse("A \"CARDHOLDER\"").unwrap(),
            number,
            ..sample::clear_card()
        },
        ..sample::new_card(1)
    }
}
