//! Credentials that are bound to a client certificate (RFC 8705), with real handshakes.

use std::net::SocketAddr;

use cardveil_core::audit::refused::{Denied, RefusedCalls};
use cardveil_core::audit::{Actor, Kind};
use cardveil_core::merchant::allowlist::Allowlist;
use cardveil_core::merchant::{ClientCertificate, Credential, CredentialState, Pin};
use cardveil_server::ListenerKind;
use cardveil_server::log::{AccessLog, Writer};
use cardveil_server::tls::{Callers, client_certificate};
use rcgen::KeyPair;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::access_log::{Buffer, lines};
use crate::serving::{Served, serve};
use crate::tls::{Authority, Folder, Pair, ask_with, connect, partner, with_partners, world_with};
use crate::world::{KEY, OTHER_KEY, World};

/// A merchant listener that knows its partners' authority, and two partners.
struct Setup {
    world: World,
    served: Served,
    authority: Authority,
    partners: Authority,
    folder: Folder,
    written: (Writer, Buffer),
}

impl Setup {
    async fn that(callers: fn(std::path::PathBuf) -> Callers) -> Self {
        let (authority, partners) = (Authority::new(), Authority::new());
        let folder = Folder::with(&authority.server());
        let files = with_partners(&folder, &partners, callers);
        let buffer = Buffer::default();
        let (writer, log) = AccessLog::start(Box::new(buffer.clone())).unwrap();
        let world = world_with(files, log).await;
        let here = "127.0.0.1/32".parse().unwrap();
        for key in [KEY, OTHER_KEY] {
            let list = Allowlist::of([here], world.clock_now());
            world
                .operator()
                .set_credential(key, |c| c.allowed_ips = list)
                .await;
        }
        let served = serve(&world, ListenerKind::Merchant).await;
        Self {
            world,
            served,
            authority,
            partners,
            folder,
            written: (writer, buffer),
        }
    }

    /// What the operator reads from the file that a partner sent.
    fn read(&self, pair: &Pair) -> ClientCertificate {
        self.folder.write("sent.pem", &pair.certificate, 0o644);
        client_certificate(&self.folder.path("sent.pem")).unwrap()
    }

    async fn bind(&self, key: &str, pins: &[Pin]) {
        let set = |c: &mut Credential| c.client_certificates = pins.into();
        self.world.operator().set_credential(key, set).await;
    }

    /// The codes of three calls with this Api-Key, each in an API of its own.
    async fn call(&self, key: &str, own: Option<&Pair>) -> [String; 3] {
        let now = self.world.now_ms();
        let heads = [
            format!(
                "GET /open-api/v1/merchant/token HTTP/1.1\r\napi-key: {key}\r\ntimestamp: {now}"
            ),
            format!("GET /v2/cards?accountId=F50091 HTTP/1.1\r\nauthorization: ApiKey {key}"),
            format!("GET /v1/cards HTTP/1.1\r\nauthorization: Bearer {key}"),
        ];
        let mut codes = [const { String::new() }; 3];
        for (code, head) in codes.iter_mut().zip(heads) {
            *code = code_of(self.served.at, partner(&self.authority, own), &head).await;
        }
        codes
    }

    /// What is on record of refused calls by now.
    async fn refused(&self) -> Vec<(Actor, RefusedCalls)> {
        self.world.app.record_refused().await;
        let log = cardveil_core::port::Audit::entries(&*self.world.store, 0, 10_000).await;
        let log = log.unwrap().into_iter().map(|entry| entry.event);
        log.filter(|event| event.kind == Kind::AccessRefused)
            .map(|event| (event.actor, *event.detail.refused.unwrap()))
            .collect()
    }
}

/// One call on a connection of its own: the code of the dialect or problem; `200` of an answer
/// without.
async fn code_of(at: SocketAddr, config: tokio_rustls::rustls::ClientConfig, head: &str) -> String {
    let mut stream = connect(at, config).await.unwrap();
    let request = format!("{head}\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let code = &body["code"];
    if code.is_null() {
        head.split(' ').nth(1).unwrap().to_owned()
    } else {
        code.to_string().replace('"', "")
    }
}

const ADMITTED: [&str; 3] = ["0", "200", "200"];
const UNKNOWN: [&str; 3] = ["1008", "credential_refused", "credential_refused"];

#[tokio::test]
async fn any_partners_certificate_worked_with_any_partners_key() {
    let setup = Setup::that(Callers::MustShow).await;
    let [first, second] = [KEY, OTHER_KEY].map(|_| setup.partners.partner());
    // Before anybody is bound, as it was.
    assert_eq!(setup.call(KEY, Some(&second)).await, ADMITTED);
    setup.bind(KEY, &[Pin::Key(setup.read(&first).key)]).await;
    let second_alone = Pin::Certificate(setup.read(&second).hash);
    setup.bind(OTHER_KEY, &[second_alone]).await;
    assert_eq!(setup.call(KEY, Some(&first)).await, ADMITTED);
    assert_eq!(setup.call(OTHER_KEY, Some(&second)).await, ADMITTED);
    assert_eq!(setup.call(KEY, Some(&second)).await, UNKNOWN);
    assert_eq!(setup.call(OTHER_KEY, Some(&first)).await, UNKNOWN);
    // The key that nobody has is answered alike.
    assert_eq!(setup.call("cvk_test_nobodys", Some(&first)).await, UNKNOWN);
}

#[tokio::test]
async fn without_a_certificate_a_bound_credential_is_as_good_as_unknown() {
    let setup = Setup::that(Callers::MayShow).await;
    let own = setup.partners.partner();
    setup.bind(KEY, &[Pin::Key(setup.read(&own).key)]).await;
    assert_eq!(setup.call(KEY, None).await, UNKNOWN);
    assert_eq!(setup.call(KEY, Some(&own)).await, ADMITTED);
    // Others come without, while they move over.
    assert_eq!(setup.call(OTHER_KEY, None).await, ADMITTED);
    // Whoever has no certificate is not told that the key is out of use, either.
    let disable = |c: &mut Credential| c.state = CredentialState::Disabled;
    setup.world.operator().set_credential(KEY, disable).await;
    assert_eq!(setup.call(KEY, None).await, UNKNOWN);
    assert_eq!(setup.call(KEY, Some(&own)).await[0], "1010");
}

#[tokio::test]
async fn a_header_is_no_certificate() {
    let setup = Setup::that(Callers::MayShow).await;
    let own = setup.partners.partner();
    let shown = setup.read(&own);
    setup.bind(KEY, &[Pin::Key(shown.key)]).await;
    let pem = own.certificate.replace('\n', "%0A");
    for header in [
        format!("x-client-cert: {pem}"),
        format!(
            "x-forwarded-client-cert: Hash={};Cert=\"{pem}\"",
            shown.hash
        ),
        format!("client-cert: :{pem}:"),
        "x-ssl-client-verify: SUCCESS".to_owned(),
    ] {
        let head = format!("GET /v1/cards HTTP/1.1\r\nauthorization: Bearer {KEY}\r\n{header}");
        let config = partner(&setup.authority, None);
        let code = code_of(setup.served.at, config, &head).await;
        assert_eq!(code, "credential_refused", "{header}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_of_the_same_key_goes_on() {
    let setup = Setup::that(Callers::MustShow).await;
    let key = KeyPair::generate().unwrap();
    let names = ["api.partner.example"];
    let [before, renewed] = [&key, &key].map(|key| setup.partners.partner_of(key, &names));
    let (before_read, renewed_read) = (setup.read(&before), setup.read(&renewed));
    assert_ne!(before_read.hash, renewed_read.hash);
    for (pins, admits_renewed) in [
        (vec![Pin::Key(before_read.key)], true),
        (vec![Pin::Dns("api.partner.example".to_owned())], true),
        (vec![Pin::Certificate(before_read.hash)], false),
        // Both, until the partner has moved over.
        (
            vec![
                Pin::Certificate(before_read.hash),
                Pin::Certificate(renewed_read.hash),
            ],
            true,
        ),
    ] {
        setup.bind(KEY, &pins).await;
        assert_eq!(setup.call(KEY, Some(&before)).await, ADMITTED, "{pins:?}");
        let expected = if admits_renewed { ADMITTED } else { UNKNOWN };
        assert_eq!(setup.call(KEY, Some(&renewed)).await, expected, "{pins:?}");
    }
    let other = setup.partners.partner_of(&key, &["partner.example"]);
    setup
        .bind(KEY, &[Pin::Dns("api.partner.example".to_owned())])
        .await;
    assert_eq!(setup.call(KEY, Some(&other)).await, UNKNOWN);
}

#[tokio::test]
async fn a_binding_holds_for_connections_that_are_open() {
    let setup = Setup::that(Callers::MustShow).await;
    let [own, others] = [KEY, OTHER_KEY].map(|_| setup.partners.partner());
    let config = partner(&setup.authority, Some(&others));
    let mut open = connect(setup.served.at, config).await.unwrap();
    let key = format!("authorization: Bearer {KEY}\r\n");
    let mut statuses = Vec::new();
    for pins in [vec![], vec![Pin::Key(setup.read(&own).key)]] {
        setup.bind(KEY, &pins).await;
        statuses.push(ask_with(&mut open, &key).await.unwrap());
    }
    assert_eq!(statuses, ["HTTP/1.1 200 OK", "HTTP/1.1 403 Forbidden"]);
}

#[tokio::test]
async fn a_refusal_is_on_record_with_the_certificate_that_was_shown() {
    let setup = Setup::that(Callers::MayShow).await;
    let [own, others] = [KEY, OTHER_KEY].map(|_| setup.partners.partner());
    setup.bind(KEY, &[Pin::Key(setup.read(&own).key)]).await;
    setup.call(KEY, Some(&others)).await;
    setup.call(KEY, None).await;
    let refused = setup.refused().await;
    let shown = setup.read(&others).hash;
    let mut told = Vec::new();
    for (actor, calls) in &refused {
        assert!(matches!(actor, Actor::Credential(_)), "{actor:?}");
        assert_eq!(calls.cause, Some(Denied::Certificate));
        told.push((calls.certificate, calls.calls));
    }
    told.sort_unstable();
    // KeySecure, Equals and native are records of their own.
    let expected = [(None, 1), (Some(shown), 1)].map(|row| [row; 3]).concat();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn the_access_log_says_which_certificate_was_shown() {
    let setup = Setup::that(Callers::MayShow).await;
    let own = setup.partners.partner();
    let shown = setup.read(&own).hash.to_string();
    setup.call(KEY, Some(&own)).await;
    setup.call("cvk_test_nobodys", Some(&own)).await;
    setup.call(KEY, None).await;
    let Setup { written, world, .. } = setup;
    drop(world);
    let (writer, buffer) = written;
    drop(writer);
    let told: Vec<_> = lines(&buffer.text())
        .iter()
        .map(|line| line.get("caller.certificate").cloned())
        .collect();
    let expected = [vec![Some(shown.into()); 6], vec![None; 3]].concat();
    assert_eq!(told, expected);
}
