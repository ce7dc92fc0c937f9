//! Who calls: each actor knows what it would know, and no more.

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cardveil_core::audit::{Entry, Kind};
use cardveil_core::card::{CardRef, Changed, State, Transition};
use cardveil_core::merchant::{Credential, Embed, Merchant as MerchantRow};
use cardveil_core::mfa::step_at;
use cardveil_core::port::{Audit as _, Change, Registry as _, Selection, Set};
use cardveil_core::token::{TokenHash, Unchecked};
use cardveil_core::verb::{Commit, RaiseEpoch};
use cardveil_seal::holder::Holder;
use cardveil_seal::{Sealed, Secret, totp};
use cardveil_server::ListenerKind;
use cardveil_testkit::sample;
use http::request::Builder;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::world::{Answer, CARD_ID, CLIENT_ORIGIN, HOME, OFFICE, PERSON, World};

pub(crate) fn request(method: Method, path: &str) -> Builder {
    Request::builder().method(method).uri(path)
}

pub(crate) fn get(path: &str) -> Builder {
    request(Method::GET, path)
}

pub(crate) fn empty(builder: Builder) -> Request<Body> {
    builder.body(Body::empty()).unwrap()
}

pub(crate) fn post(path: &str, json: &Value) -> Request<Body> {
    request(Method::POST, path)
        .header("content-type", "application/json")
        .body(Body::from(json.to_string()))
        .unwrap()
}

/// The wish for a session of the published examples' card and person.
pub(crate) fn session_for(factor: &str) -> Value {
    json!({
        "accountId": "F50091", "personId": PERSON, "cardId": CARD_ID,
        "operationName": "VIEW_CARD", "factor": factor,
    })
}

/// Someone on the Internet with nothing.
pub(crate) struct Stranger<'w> {
    world: &'w World,
}

impl<'w> Stranger<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world }
    }

    pub(crate) async fn get(&self, kind: ListenerKind, path: &str) -> Answer {
        self.send(kind, empty(get(path))).await
    }

    pub(crate) async fn send(&self, kind: ListenerKind, request: Request<Body>) -> Answer {
        self.world.ask(kind, HOME, request).await
    }
}

/// A partner's server.
pub(crate) struct Merchant<'w> {
    world: &'w World,
    pub(crate) key: String,
}

impl<'w> Merchant<'w> {
    pub(crate) fn new(world: &'w World, key: &str) -> Self {
        Self {
            world,
            key: key.to_owned(),
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        self.world
            .ask(ListenerKind::Merchant, OFFICE, request)
            .await
    }

    /// A call with this scheme of `Authorization`: `ApiKey` for Equals', `Bearer` for the native
    /// API.
    pub(crate) async fn call(
        &self,
        scheme: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let call = request(method, path).header("Authorization", format!("{scheme} {}", self.key));
        let call = match body {
            None => empty(call),
            Some(body) => call
                .header("content-type", "application/json")
                .body(Body::from(body.to_string()))
                .unwrap(),
        };
        self.send(call).await
    }

    /// A call of the KeySecure dialect, without an Access-Token.
    pub(crate) fn keysecure(&self, path: &str) -> Builder {
        get(path)
            .header("Content-Type", "application/json")
            .header("Api-Key", &self.key)
            .header("Timestamp", self.world.now_ms().to_string())
    }

    /// A call of the KeySecure dialect with a body, logged in, in this language.
    pub(crate) async fn keysecure_post(&self, path: &str, language: &str, body: &Value) -> Answer {
        let access = self.login().await;
        let call = self
            .keysecure(path)
            .method(Method::POST)
            .header("Access-Token", access)
            .header("Language", language)
            .body(Body::from(body.to_string()));
        self.send(call.unwrap()).await
    }

    /// Get Token.
    pub(crate) async fn login(&self) -> String {
        let call = self.keysecure("/open-api/v1/merchant/token");
        let answer = self.send(empty(call)).await.json();
        answer["data"]["access_token"].as_str().unwrap().to_owned()
    }

    /// Issue PCI Client Access Token, with this Access-Token.
    pub(crate) async fn client_token(&self, card_no: &str, access: &str) -> Answer {
        let path = format!("/open-api/v1/merchant/client/{card_no}/token");
        self.send(empty(self.keysecure(&path).header("Access-Token", access)))
            .await
    }

    /// A client token, by logging in and asking.
    pub(crate) async fn token(&self, card_no: &str) -> String {
        let answer = self.client_token(card_no, &self.login().await).await.json();
        let token = &answer["data"]["client_access_token"];
        token
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    /// The Equals dialect's token, with this query.
    pub(crate) async fn access_token(&self, card_id: &str, query: &str) -> Answer {
        let call = get(&format!("/v2/cards/{card_id}/access-token?{query}"))
            .header("Authorization", format!("ApiKey {}", self.key));
        self.send(empty(call)).await
    }

    /// Opens an MFA session in the Equals dialect.
    pub(crate) async fn mfa_session(&self, body: &Value) -> Answer {
        let mut call = post("/v2/mfa/sessions", body);
        let value = format!("ApiKey {}", self.key).parse().unwrap();
        call.headers_mut().insert("authorization", value);
        self.send(call).await
    }

    /// The id of a new session of the published examples' card and person.
    pub(crate) async fn session(&self, factor: &str) -> String {
        let answer = self.mfa_session(&session_for(factor)).await;
        let id = &answer.json()["sessionId"];
        id.as_str()
            .unwrap_or_else(|| panic!("{}", answer.shown()))
            .to_owned()
    }

    /// The access token of the published examples' card with a session and a code.
    pub(crate) async fn asserted(&self, session: &str, code: &str) -> Answer {
        let query = format!("accountId=F50091&sessionId={session}&token={code}");
        self.access_token(CARD_ID, &query).await
    }

    /// A call of the native API.
    pub(crate) async fn native_at(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let call = request(method, path)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.key));
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(call.body(body).unwrap()).await
    }

    /// The native token.
    pub(crate) async fn native(&self, body: &Value) -> Answer {
        self.send(self.native_call(body)).await
    }

    /// The native token with an `Idempotency-Key`.
    pub(crate) async fn native_named(&self, name: &str, body: &Value) -> Answer {
        let mut call = self.native_call(body);
        call.headers_mut()
            .insert("idempotency-key", name.parse().unwrap());
        self.send(call).await
    }

    fn native_call(&self, body: &Value) -> Request<Body> {
        let mut call = post("/v1/client-tokens", body);
        let value = format!("Bearer {}", self.key).parse().unwrap();
        call.headers_mut().insert("authorization", value);
        call
    }
}

/// A person's phone with an authenticator app.
pub(crate) struct Phone<'w> {
    world: &'w World,
    secret: Secret,
}

impl<'w> Phone<'w> {
    /// Enrolled at merchant 1 and confirmed, in the step before the present one.
    pub(crate) async fn of(world: &'w World, person: &str) -> Self {
        let phone = Self {
            world,
            secret: Secret::new(b"12345678901234567890".to_vec()),
        };
        let (merchant, person) = (sample::merchant(1), person.parse().unwrap());
        let source = sample::operator();
        let service = &world.app.service;
        let secret = Secret::new(phone.secret.expose().to_vec());
        let enrolled = service
            .enrol(&merchant, person, Some(secret), &source)
            .await;
        assert!(enrolled.unwrap().is_ok());
        let code = Secret::new(phone.code(-1).into_bytes());
        let confirmed = service.confirm(&merchant.id, person, &code, &source).await;
        assert_eq!(confirmed.unwrap(), Ok(()));
        phone
    }

    /// The phone that is given this secret.
    pub(crate) fn with(world: &'w World, secret: &[u8]) -> Self {
        Self {
            world,
            secret: Secret::new(secret.to_vec()),
        }
    }

    /// The code of a step, counted from the present one.
    pub(crate) fn code(&self, step: i64) -> String {
        let now = step_at(self.world.app.service.now());
        let code = totp::code(&self.secret, now.checked_add_signed(step).unwrap());
        String::from_utf8(code.expose().to_vec()).unwrap()
    }

    /// A code that is none of those which are good now.
    pub(crate) fn wrong(&self) -> String {
        let good: Vec<_> = (-1..=1).map(|step| self.code(step)).collect();
        let mut codes = (0..10).map(|n| format!("{n:06}"));
        codes.find(|code| !good.contains(code)).unwrap()
    }
}

/// A cardholder's browser: a token, and a key that was made for it.
pub(crate) struct Cardholder<'w> {
    world: &'w World,
    pub(crate) holder: Holder,
    pub(crate) token: String,
    pub(crate) embed: String,
}

impl<'w> Cardholder<'w> {
    pub(crate) fn with(world: &'w World, token: String) -> Self {
        Self {
            world,
            holder: Holder::generate().unwrap(),
            token,
            embed: "emb_1".to_owned(),
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let key = self.holder.key();
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "x": encode(key.x()), "y": encode(key.y())})
    }

    pub(crate) fn thumbprint(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.holder.key().thumbprint())
    }

    pub(crate) fn ask_for(&self, fields: &[&str]) -> Value {
        json!({
            "token": self.token,
            "embed": self.embed,
            "key": self.jwk(),
            "fields": fields,
            "attempt": self.world.attempt(),
        })
    }

    pub(crate) async fn redeem(&self, fields: &[&str]) -> Answer {
        self.send(&self.ask_for(fields)).await
    }

    pub(crate) async fn send(&self, body: &Value) -> Answer {
        self.send_as_frame(post("/client/v1/redeem", body)).await
    }

    /// Sends it as a browser does from our own frame.
    pub(crate) async fn send_as_frame(&self, mut request: Request<Body>) -> Answer {
        let headers = request.headers_mut();
        headers.insert("origin", CLIENT_ORIGIN.parse().unwrap());
        headers.insert("sec-fetch-site", "same-origin".parse().unwrap());
        self.world.ask(ListenerKind::Client, HOME, request).await
    }

    pub(crate) async fn report(&self, body: &Value) -> Answer {
        self.send_as_frame(post("/client/v1/events", body)).await
    }

    /// The header that the answer is sealed with.
    pub(crate) fn header(answer: &Answer) -> Value {
        let answer = answer.json();
        serde_json::from_slice(&decode(&answer["header"])).unwrap()
    }

    /// Opens the sealed fields.
    pub(crate) fn open(&self, answer: &Answer) -> Value {
        assert_eq!(answer.status, 200, "{}", answer.shown());
        let answer = answer.json();
        let sealed = Sealed {
            enc: decode(&answer["sealed"]["enc"]),
            ciphertext: decode(&answer["sealed"]["ciphertext"]),
        };
        let aad = decode(&answer["header"]);
        let opened = self.holder.open(&sealed, b"cardveil/redeem/v1", &aad);
        serde_json::from_slice(opened.unwrap().expose()).unwrap()
    }
}

pub(crate) fn decode(text: &Value) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD
        .decode(text.as_str().unwrap())
        .unwrap()
}

/// Someone who has got hold of a cardholder's token, but not of the key.
pub(crate) struct Thief<'w>(Cardholder<'w>);

impl<'w> Thief<'w> {
    pub(crate) fn with(world: &'w World, token: &str) -> Self {
        Self(Cardholder::with(world, token.to_owned()))
    }

    pub(crate) async fn redeem(&self, fields: &[&str]) -> Answer {
        self.0.redeem(fields).await
    }

    /// Whether this thief could read a card in the answer.
    pub(crate) fn reads(&self, answer: &Answer) -> bool {
        answer.status == 200 && self.0.open(answer).is_object()
    }
}

/// A person with the command line.
pub(crate) struct Operator<'w> {
    world: &'w World,
}

impl<'w> Operator<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world }
    }

    pub(crate) async fn change(&self, change: Change, kind: Kind) {
        let event = sample::event(kind, self.world.app.service.now());
        let changed = self.world.app.service.change(change, event).await.unwrap();
        assert_eq!(changed, Ok(()));
    }

    pub(crate) async fn set_card(&self, id: &str, state: State) {
        let transition = Transition {
            merchant: sample::merchant(1).id,
            card: CardRef::Id(id.parse().unwrap()),
            to: state,
            from: None,
            reason: None,
            at: self.world.app.service.now(),
            source: sample::operator(),
        };
        let changed = self.world.store.commit(transition).await.unwrap();
        assert!(
            matches!(changed, Changed::Done(_) | Changed::Already(_)),
            "{changed:?}"
        );
    }

    pub(crate) async fn set_merchant(&self, n: u8, set: impl FnOnce(&mut MerchantRow)) {
        let was = self.world.store.merchant(&sample::merchant(n).id).await;
        let was = was.unwrap().unwrap();
        let mut to = sample::merchant(n);
        set(&mut to);
        let change = Change::SetMerchant(Set::boxed(was, to));
        self.change(change, Kind::MerchantChanged).await;
    }

    pub(crate) async fn set_embed(&self, n: u8, set: impl FnOnce(&mut Embed)) {
        let was = self.world.store.embed(&sample::embed(n).id).await;
        let was = was.unwrap().unwrap();
        let mut to = sample::embed(n);
        set(&mut to);
        let change = Change::SetEmbed(Set::boxed(was, to));
        self.change(change, Kind::EmbedChanged).await;
    }

    pub(crate) async fn set_credential(&self, key: &str, set: impl FnOnce(&mut Credential)) {
        let found = self
            .world
            .app
            .service
            .admission(key)
            .await
            .unwrap()
            .unwrap();
        let was = found.credential;
        let mut to = was.clone();
        set(&mut to);
        let change = Change::SetCredential(Set::boxed(was, to));
        self.change(change, Kind::CredentialChanged).await;
    }

    pub(crate) async fn raise_epoch(&self) {
        let event = sample::event(Kind::EpochRaised, self.world.app.service.now());
        self.world.store.commit(RaiseEpoch(event)).await.unwrap();
    }

    pub(crate) async fn revoke(&self, token: &str) {
        let selection = Selection::Hash(hash(token));
        let service = &self.world.app.service;
        let revoked = service.revoke(&selection, &sample::operator()).await;
        assert_eq!(revoked.unwrap(), 1);
    }

    pub(crate) async fn log(&self) -> Vec<Entry> {
        self.world.store.entries(0, usize::MAX).await.unwrap()
    }

    pub(crate) async fn logged(&self, kind: Kind) -> Vec<Entry> {
        let mut log = self.log().await;
        log.retain(|entry| entry.event.kind == kind);
        log
    }
}

/// A token's name in the audit log.
pub(crate) fn hash(token: &str) -> TokenHash {
    let token = Unchecked::parse(token, cardveil_core::card::Environment::Sandbox);
    token.unwrap().key().hash
}
