//! The memory of a server that serves (P3): two seconds after its last answer, with all connections
//! open, no clear card data, PIN, code, token, key or secret of a caller is in it.

mod image;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cardveil_seal::hpke::holder::Holder;
use cardveil_seal::{Key, Secret, contract_ecb};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use self::image::{Image, readable};
use crate::cluster::Cluster;
use crate::http::{Answer, Connection};
use crate::mfa::code;
use crate::published::now_ms;
use crate::tls::Authority;
use crate::world::{Server, World, binary, opened, string, text};

/// How long after the last answer something may still be there.
const SOON: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);
const JSON: (&str, &str) = ("content-type", "application/json");

/// Of two persons: one with an authenticator app, one whose codes are delivered.
const WITH_APP: &str = "775596ae-2624-40af-a9dc-9756110a4a04";
const WITHOUT: &str = "0b0f0f5e-6a52-4c7e-9c55-3f2c4d4c9a17";
const PAN: &str = "378282246310005";
const CVV: &str = "8417";
const NAME: &str = "MEMORIA SOUGHTFOR";
const SIX: &str = "739046";
const FOUR: &str = "8350";

#[test]
fn nothing_is_left_in_memory() {
    let world = World::new(0);
    Scene::new(&world, None).play();
}

#[test]
fn nothing_is_left_in_memory_under_tls() {
    let world = World::new(0);
    let tls = under_tls(&world);
    Scene::new(&world, Some(&tls)).play();
}

#[test]
fn nothing_is_left_in_memory_over_postgresql() {
    let world = World::in_postgres(Cluster::shared(), 0);
    let tls = under_tls(&world);
    Scene::new(&world, Some(&tls)).play();
}

struct Sought {
    what: &'static str,
    bytes: Vec<u8>,
}

/// A server with its callers, who note what must be forgotten.
struct Scene<'w> {
    world: &'w World,
    server: Server,
    tls: Option<&'w Arc<ClientConfig>>,
    api_key: String,
    api_secret: String,
    sought: Vec<Sought>,
}

impl<'w> Scene<'w> {
    fn new(world: &'w World, tls: Option<&'w Arc<ClientConfig>>) -> Self {
        let id = world.merchant.as_str();
        let may = ["--export", "--read-pins", "--set-pins"].map(|flag| [flag, "true"]);
        let set = world.run(&[&["merchant", "set", id][..], may.as_flattened()].concat());
        assert!(set.status.success(), "{set:?}");
        let scopes = [
            "cards:read:any",
            "cards:export",
            "pins:read",
            "pins:set",
            "mfa:manage",
        ];
        let scopes = scopes.map(|scope| ["--scope", scope]);
        let add = [
            "credential",
            "add",
            "--merchant",
            id,
            "--allow-ip",
            "127.0.0.1/32",
            "--json",
        ];
        let keys = world.json(&[&add[..], scopes.as_flattened()].concat());
        let server = world.start(readable(binary(world.dir.path()).arg("serve")));
        let mut scene = Self {
            world,
            server,
            tls,
            api_key: string(&keys, "/api_key"),
            api_secret: string(&keys, "/api_secret"),
            sought: Vec::new(),
        };
        for (what, text) in [
            ("PAN", PAN),
            ("CVV", CVV),
            ("name", NAME),
            ("PIN", SIX),
            ("PIN", FOUR),
        ] {
            scene.seek(what, text);
        }
        scene.seek("Api-Key", &scene.api_key.clone());
        scene.seek("apiSecret", &scene.api_secret.clone());
        scene
    }

    /// The server waits ten seconds for a request, so that no command is run between those of one
    /// connection.
    fn play(mut self) {
        assert_eq!(self.found(), [""; 0], "it was there before it came");
        self.cards_are_added();
        let [physical, virtual_one] = ["C0", "C1"].map(|no| self.card_id(no));
        let messages = self.webhook();
        let mut first = self.connection(self.world.merchant_at);
        self.a_planted_copy_is_found(&mut first);
        let mut tokens = vec![self.keysecure(&mut first)];
        tokens.push(self.pin_set_and_told(&mut first, &physical));
        self.app_enrolled(&mut first);
        self.set_factor("in-frame");
        let [mut merchant, mut client] =
            [self.world.merchant_at, self.world.client_at].map(|at| self.connection(at));
        self.code_in_the_frame(&mut merchant, &mut client, &messages);
        self.set_factor("required");
        let mut second = self.connection(self.world.merchant_at);
        tokens.push(self.delivered_code(&mut second, &virtual_one, &messages));
        let mut client = self.connection(self.world.client_at);
        for token in tokens {
            self.redeemed(&mut client, &token);
        }
        // What is promised is a time, so the test waits for it.
        std::thread::sleep(SOON);
        let found = self.found();
        assert!(found.is_empty(), "{}", found.join("\n"));
        for mut still_open in [second, client] {
            assert!(still_open.send("GET", "/", &[], "").is_some());
        }
    }

    fn connection(&self, at: SocketAddr) -> Connection {
        match self.tls {
            None => Connection::open(at).unwrap(),
            Some(config) => over_tls(at, config),
        }
    }

    fn seek(&mut self, what: &'static str, text: &str) {
        let bytes = text.as_bytes().to_vec();
        self.sought.push(Sought { what, bytes });
    }

    /// What of all that is sought is in memory, and where. Of a long text each twelve characters
    /// count.
    fn found(&self) -> Vec<String> {
        let pieces = self.sought.iter().flat_map(|sought| {
            let parts: Vec<_> = match sought.bytes.len() {
                ..=24 => vec![&sought.bytes[..]],
                _ => sought.bytes.chunks_exact(12).collect(),
            };
            parts.into_iter().map(|part| (sought.what, part))
        });
        let (what, needles): (Vec<_>, Vec<_>) = pieces.unzip();
        let image = Image::of(self.server.0.id());
        let places = image.places(&needles);
        places
            .iter()
            .flat_map(|(index, places)| places.iter().map(|place| (what[*index], place)))
            .map(|(what, place)| format!("{what} at {place}"))
            .collect()
    }

    /// Half of a request, which waits for the other half, is in memory and is found; and it is not
    /// when the request is over.
    fn a_planted_copy_is_found(&self, merchant: &mut Connection) {
        let authorization = format!("authorization: Bearer {}\r\n", self.api_key);
        let head = format!("GET /v1/cards HTTP/1.1\r\nhost: localhost\r\n{authorization}");
        merchant.write(head.as_bytes()).unwrap();
        // Nothing tells that the server has read it.
        while self.found().is_empty() {}
        merchant.write(b"content-length: 0\r\n\r\n").unwrap();
        assert_eq!(merchant.read().unwrap().status, 200);
    }

    /// By commands, while the server serves.
    fn cards_are_added(&self) {
        let card = |no: &str, person: &str, kind: &str| {
            json!({
                "card_no": no, "account_id": "F50091", "person_id": person, "type": kind,
                "pan": PAN, "expiry": "12/2030", "cvv": CVV, "name": NAME,
            })
        };
        let lines = [
            card("C0", WITH_APP, "physical"),
            card("C1", WITHOUT, "virtual"),
        ];
        let lines = lines.map(|line| line.to_string()).join("\n");
        let imported = self.world.import("jsonl", &lines);
        assert!(imported.status.success(), "{}", text(&imported.stderr));
        let added = self.world.feed(
            &["card", "add", "--merchant", &self.world.merchant],
            &card("C2", WITHOUT, "virtual").to_string(),
        );
        assert!(added.status.success(), "{}", text(&added.stderr));
    }

    /// A login, a client token, `private/info` and a PIN; the client token.
    fn keysecure(&mut self, merchant: &mut Connection) -> String {
        let (key, now) = (self.api_key.clone(), now_ms());
        let plain = [("api-key", key.as_str()), ("timestamp", now.as_str()), JSON];
        let path = "/open-api/v1/merchant/token";
        let login = merchant.send("GET", path, &plain, "").unwrap().json();
        let access = string(&login, "/data/access_token");
        self.seek("Access-Token", &access);
        let headers = [plain[0], plain[1], ("access-token", access.as_str()), JSON];

        let path = "/open-api/v1/merchant/client/C0/token";
        let issued = merchant.send("GET", path, &headers, "").unwrap();
        let token = self.token(&issued, "/data/client_access_token");

        let path = "/open-api/v1/card/C0/private/info";
        let told = merchant.send("GET", path, &headers, "").unwrap();
        let sealed = BASE64_STANDARD.decode(string(&told.json(), "/data"));
        let key = Key::from_slice(self.api_secret.as_bytes()).unwrap();
        let clear = contract_ecb::decrypt_unauthenticated(&key, &sealed.unwrap()).unwrap();
        assert!(text(clear.expose()).contains(PAN));

        let pin = Secret::new(SIX.as_bytes().to_vec());
        let sealed = contract_ecb::encrypt_unauthenticated(&key, &pin).unwrap();
        let body = json!({"card_no": "C0", "pin": BASE64_STANDARD.encode(sealed)}).to_string();
        let path = "/open-api/v1/card/pin/set";
        let set = merchant.send("POST", path, &headers, &body).unwrap();
        assert_eq!(set.json()["code"], 0, "{}", set.body);
        token
    }

    /// The client token of an answer.
    fn token(&mut self, answer: &Answer, place: &str) -> String {
        let token = string(&answer.json(), place);
        self.seek("client token", &token);
        token
    }

    fn equals(&self, merchant: &mut Connection, method: &str, path: &str, body: &str) -> Answer {
        let authorization = format!("ApiKey {}", self.api_key);
        let headers = [("authorization", authorization.as_str()), JSON];
        merchant.send(method, path, &headers, body).unwrap()
    }

    fn native(&self, merchant: &mut Connection, method: &str, path: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {}", self.api_key);
        let headers = [("authorization", authorization.as_str()), JSON];
        merchant
            .send(method, path, &headers, &body.to_string())
            .unwrap()
    }

    fn card_id(&self, no: &str) -> String {
        let args = [
            "card",
            "show",
            no,
            "--merchant",
            &self.world.merchant,
            "--json",
        ];
        string(&self.world.json(&args), "/card_id")
    }

    /// Equals' PIN calls, and a client token of the native API.
    fn pin_set_and_told(&mut self, merchant: &mut Connection, card: &str) -> String {
        let path = format!(
            "/v2/cards/{card}/pin?accountId=F50091&personId={WITH_APP}&cardholderVerificationMethod=OTP"
        );
        let set = self.equals(merchant, "PUT", &path, &json!({ "pin": FOUR }).to_string());
        assert_eq!(set.json()["pin"], FOUR, "{}", set.body);
        let told = self.equals(merchant, "GET", &path, "");
        assert_eq!(told.json()["pin"], FOUR, "{}", told.body);
        let issued = self.native(
            merchant,
            "POST",
            "/v1/client-tokens",
            &json!({"card_no": "C2"}),
        );
        self.token(&issued, "/token")
    }

    /// The app's secret is shown, and its code confirms it.
    fn app_enrolled(&mut self, merchant: &mut Connection) {
        let path = format!("/v1/people/{WITH_APP}/totp");
        let enrolled = self.native(merchant, "PUT", &path, &Value::Null).json();
        let secret = string(&enrolled, "/secret");
        self.seek("app's secret", &secret);
        let code = code(&secret);
        self.seek("code of the app", &code);
        let path = format!("{path}/confirm");
        let confirmed = self.native(merchant, "POST", &path, &json!({ "code": code }));
        assert_eq!(confirmed.status, 204, "{}", confirmed.body);
    }

    /// Where codes go.
    fn webhook(&mut self) -> Receiver<Value> {
        let merchant = &self.world.merchant;
        let (url, messages) = receiver();
        let mut add = vec!["webhook", "add", "--merchant", merchant, "--url", &url];
        add.extend(["--topic", "mfa.code", "--json"]);
        let added = self.world.json(&add);
        self.seek("webhook's secret", &string(&added, "/secret"));
        messages
    }

    fn set_factor(&self, policy: &str) {
        let merchant = &self.world.merchant;
        let policy = format!("view-card={policy}");
        let set = ["merchant", "set", merchant, "--mfa", &policy];
        let set = self.world.run(&set);
        assert!(set.status.success(), "{}", text(&set.stderr));
    }

    /// A code goes by webhook and comes back in an address, as the contract has it; for a client
    /// token.
    fn delivered_code(
        &mut self,
        merchant: &mut Connection,
        card: &str,
        messages: &Receiver<Value>,
    ) -> String {
        let body = json!({
            "accountId": "F50091", "personId": WITHOUT, "cardId": card,
            "operationName": "VIEW_CARD", "factor": "OTP",
        });
        let session = self.equals(merchant, "POST", "/v2/mfa/sessions", &body.to_string());
        let session = string(&session.json(), "/sessionId");
        let message = messages.recv_timeout(PATIENCE).unwrap();
        let code = string(&message, "/data/code");
        self.seek("delivered code", &code);
        let path = format!(
            "/v2/cards/{card}/access-token?accountId=F50091&sessionId={session}&token={code}"
        );
        let issued = self.equals(merchant, "GET", &path, "");
        self.token(&issued, "/token")
    }

    /// A code goes by webhook and comes back with the redemption, as frames have it.
    fn code_in_the_frame(
        &mut self,
        merchant: &mut Connection,
        client: &mut Connection,
        messages: &Receiver<Value>,
    ) {
        let body = json!({"card_no": "C1"});
        let issued = self.native(merchant, "POST", "/v1/client-tokens", &body);
        let token = self.token(&issued, "/token");
        let holder = Holder::generate().unwrap();
        let challenge = "00000000-0000-4000-8000-000000000002";
        let asked = json!({ "challenge": challenge, "factor": "OTP" });
        let of = (token.as_str(), &holder);
        let told = self.world.ask(client, "challenge", of, asked).unwrap();
        assert_eq!(told.status, 200, "{}", told.body);
        let message = messages.recv_timeout(PATIENCE).unwrap();
        let code = string(&message, "/data/code");
        self.seek("code in the frame", &code);
        let asked = json!({
            "fields": ["pan"], "attempt": challenge,
            "factor": { "challenge": challenge, "code": code },
        });
        let answer = self.world.ask(client, "redeem", of, asked).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(opened(&answer, &holder)["pan"], PAN);
    }

    /// All of the card.
    fn redeemed(&self, client: &mut Connection, token: &str) {
        let holder = Holder::generate().unwrap();
        let fields = ["pan", "expiry", "cvv", "name"];
        let answer = self.world.redeem(client, token, &holder, &fields).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(opened(&answer, &holder)["pan"], PAN);
    }
}

/// Has both listeners speak TLS; how to speak it with them.
fn under_tls(world: &World) -> Arc<ClientConfig> {
    let authority = Authority::new(world.dir.path(), "authority.pem");
    authority.issue(world.dir.path());
    let config = world.dir.path().join("cardveil.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let at = world.client_at;
    let written = written.replace(
        &format!("origin = \"http://{at}\""),
        &format!("origin = \"https://{at}\""),
    );
    let listeners = ["merchant", "client"].map(|listener| {
        format!("\n[tls.{listener}]\ncertificate = \"own.pem\"\nkey = \"own.key\"\n")
    });
    std::fs::write(&config, format!("{written}{}", listeners.concat())).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    Arc::new(config.with_no_client_auth())
}

fn over_tls(at: SocketAddr, config: &Arc<ClientConfig>) -> Connection {
    let name = ServerName::from(at.ip());
    let session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let tcp = TcpStream::connect(at).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    Connection::over(StreamOwned::new(session, tcp))
}

/// A receiver of one message after the other, and where it is.
fn receiver() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    let (tell, messages) = channel();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut reader = BufReader::new(connection.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim_end().is_empty() {
                    break;
                }
                let line = line.to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim_end().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            if tell.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, messages)
}
