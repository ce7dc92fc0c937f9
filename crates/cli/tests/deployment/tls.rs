//! A deployment whose listeners speak TLS, from the command line.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::CertificateDer;
use serde_json::json;

use crate::world::{World, binary, said, text};

/// An authority of the test's own, whose certificate is in a file.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pub(crate) file: std::path::PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = folder.join(name);
        let own = params.self_signed(&key).unwrap();
        std::fs::write(&file, own.pem()).unwrap();
        let der = own.der().clone();
        let issuer = Issuer::new(params, key);
        Self { issuer, der, file }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    /// Puts a certificate for loopback and its key where the configuration says.
    pub(crate) fn issue(&self, folder: &Path) {
        let (certificate, key) = self.signed("127.0.0.1");
        put(&folder.join("own.key"), &key);
        put(&folder.join("own.pem"), &certificate);
    }

    /// A certificate for a name, and its key.
    pub(crate) fn signed(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        (signed.pem(), key.serialize_pem())
    }
}

fn put(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A deployment whose client listener speaks TLS.
fn world() -> World {
    let world = World::new(0);
    let config = world.dir.path().join("cardveil.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let at = world.client_at;
    let written = written.replace(
        &format!("origin = \"http://{at}\""),
        &format!("origin = \"https://{at}\""),
    );
    let tls = "\n[tls.client]\ncertificate = \"own.pem\"\nkey = \"own.key\"\n";
    std::fs::write(&config, format!("{written}{tls}")).unwrap();
    world
}

/// A probe by whoever knows this authority only.
fn probe(world: &World, authority: &Authority) -> Output {
    let url = format!("https://{}", world.client_at);
    binary(world.dir.path())
        .args(["probe", &url, "--embed", &world.embed])
        .args(["--origin", "https://shop.example"])
        .env("SSL_CERT_FILE", &authority.file)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap()
}

#[test]
fn a_renewed_certificate_is_shown_after_sighup_and_a_probe_looks_through_tls() {
    let world = world();
    let folder = world.dir.path();
    let (old, new) = (
        Authority::new(folder, "old.pem"),
        Authority::new(folder, "new.pem"),
    );
    old.issue(folder);
    let server = world.serve();
    let looked = probe(&world, &old);
    assert_eq!(looked.status.code(), Some(0), "{}", text(&looked.stdout));
    let looked = probe(&world, &new);
    assert_eq!(looked.status.code(), Some(2), "{}", text(&looked.stdout));
    assert!(
        text(&looked.stderr).contains("invalid peer certificate"),
        "{}",
        text(&looked.stderr)
    );

    new.issue(folder);
    let pid = Pid::from_child(&server.0);
    kill_process(pid, Signal::HUP).unwrap();
    // Nothing tells that a signal was heard but what it does.
    while !probe(&world, &new).status.success() {}
    assert_eq!(probe(&world, &old).status.code(), Some(2));
    drop(server);
    let log = std::fs::read_to_string(world.log()).unwrap();
    assert!(
        log.contains("the listener's certificate was read again"),
        "{log}"
    );
    assert!(!log.contains("PRIVATE KEY"));
}

#[test]
fn what_cannot_be_served_is_told_with_advice_by_serve_and_doctor() {
    let world = world();
    let folder = world.dir.path();
    let authority = Authority::new(folder, "authority.pem");
    let told = |wanted: &str| {
        let run = world.run(&["serve"]);
        assert_eq!(run.status.code(), Some(1));
        let error = text(&run.stderr);
        assert!(
            error.contains(wanted) && error.contains("\"hint\":\""),
            "{error}"
        );
        let doctor = world.run(&["doctor"]);
        assert_eq!(doctor.status.code(), Some(1));
        let found = text(&doctor.stdout);
        assert!(found.contains("MEND  TLS "), "{found}");
        assert!(found.contains(wanted), "{found}");
    };
    told("own.pem: No such file");
    authority.issue(folder);
    let key = KeyPair::generate().unwrap();
    put(&folder.join("own.key"), &key.serialize_pem());
    told("is not that of the certificate");
    authority.issue(folder);
    let doctor = world.run(&["doctor"]);
    let found = text(&doctor.stdout);
    assert!(
        found.contains("ok    TLS, client     good until 4096-01-01"),
        "{found}"
    );
}

/// Any partner's certificate worked with any partner's key, and nothing said so.
#[test]
fn a_new_credential_is_bound_where_certificates_are_demanded() {
    let world = World::new(0);
    let folder = world.dir.path();
    let authority = Authority::new(folder, "partners.pem");
    authority.issue(folder);
    let config = folder.join("cardveil.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let tls = "\n[tls.merchant]\ncertificate = \"own.pem\"\nkey = \"own.key\"\n\
               client_ca = \"partners.pem\"\n";
    std::fs::write(&config, format!("{written}{tls}")).unwrap();
    let named = |known: &str| {
        let doctor = world.run(&["doctor"]);
        text(&doctor.stdout).contains(&format!(
            "{known} works with any partner's client certificate"
        ))
    };
    let before = world.json(&["credential", "list", "--json"]);
    let before = &before[0];
    assert_eq!(before["client_certificates"], json!([]));
    assert!(named(before["id"].as_str().unwrap()));

    let merchant = before["merchant"].as_str().unwrap();
    let add = [
        "credential",
        "add",
        "--merchant",
        merchant,
        "--allow-ip",
        "127.0.0.1",
        "--json",
    ];
    let unbound = world.run(&add);
    assert_eq!(unbound.status.code(), Some(1));
    let error = said(&unbound);
    assert!(
        error.contains("hint: give --client-certificate key:@partner.pem"),
        "{error}"
    );
    let file = folder.join("own.pem").display().to_string();
    let key = format!("key:@{file}");
    let added = world.json(&[&add[..], &["--client-certificate", &key]].concat());
    let id = added["id"].as_str().unwrap();
    let pins = || world.json(&["credential", "show", id, "--json"])["client_certificates"].clone();
    let first = pins()[0].as_str().unwrap().to_owned();
    assert!(first.starts_with("key:") && first.len() == 47, "{first}");
    assert!(!named(id));

    let set = |pins: &[&str]| {
        let flags = pins.iter().flat_map(|pin| ["--client-certificate", pin]);
        let args: Vec<_> = ["credential", "set", id].into_iter().chain(flags).collect();
        let run = world.run(&args);
        assert!(run.status.success(), "{}", text(&run.stderr));
    };
    set(&[&first, "dns:Partner.example"]);
    assert_eq!(pins(), json!([first, "dns:partner.example"]));
    set(&["any"]);
    assert_eq!(pins(), json!([]));
    assert!(named(id));
    let both = format!("{first} dns:partner.example");
    let changes: Vec<_> = world
        .audit()
        .iter()
        .filter(|event| event["target"]["credential"] == *id)
        .flat_map(|event| event["detail"]["changes"].as_array().unwrap().clone())
        .filter(|change| change["field"] == "client_certificates")
        .collect();
    let field = "client_certificates";
    let expected = json!([
        { "field": field, "to": first },
        { "field": field, "from": first, "to": both },
        { "field": field, "from": both },
    ]);
    assert_eq!(json!(changes), expected);
}

#[test]
fn a_live_deployment_does_not_serve_in_the_clear() {
    let dir = crate::world::folder();
    let path = dir.path().to_str().unwrap();
    let run = |args: &[&str]| {
        binary(dir.path())
            .args(args)
            .env("CARDVEIL_LISTEN_MERCHANT", "0.0.0.0:0")
            .output()
            .unwrap()
    };
    let made = binary(dir.path())
        .args(["init", "--dir", path, "--environment", "live"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let served = run(&["serve"]);
    assert_eq!(served.status.code(), Some(1));
    let error = text(&served.stderr);
    assert!(
        error.contains("in the clear for all to reach: merchant"),
        "{error}"
    );
    let found = text(&run(&["doctor"]).stdout);
    assert!(
        found.contains("MEND  listeners       merchant in the clear"),
        "{found}"
    );
}
