//! TLS to a server, and who is taken for it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use cardveil_core::port::{Admin, Counters, Error, Heard, NodeId, Told};
use cardveil_core::token::Issued;
use cardveil_core::verb::Commit;
use cardveil_seal::SystemEntropy;
use cardveil_store::postgres::{
    AuthoritiesError, Fresh, OpenError, Options, OptionsError, Postgres, Raised, Transport, schema,
};
use cardveil_testkit::ManualClock;
use cardveil_testkit::sample::{self, START};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

use cardveil_store::postgres::survey::{Way, survey};

use crate::cluster::{Cluster, OWNER, SERVER};
use crate::home::with_merchant;

/// The name that the servers of these tests have.
const NAME: &str = "db.test";
const PASSWORD: &str = "of both roles";

/// Who vouches for servers.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// Gives a cluster a certificate.
    fn certify(&self, cluster: &mut Cluster, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        cluster.certify(&signed.pem(), &key.serialize_pem());
    }
}

fn fixed(text: &str) -> Fresh {
    let text = text.as_bytes().to_vec();
    Fresh::new(move || Ok(text.clone()))
}

fn trusting(pem: &str) -> Transport {
    Transport::Tls(fixed(pem))
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

/// A cluster over TCP, where passwords are asked for.
struct Away {
    cluster: Cluster,
    at: Ipv4Addr,
    database: String,
}

impl Away {
    /// Starts it, with a certificate that `certify` gives it.
    fn start(certify: impl FnOnce(&mut Cluster)) -> Self {
        let mut cluster = Cluster::create();
        let at = cluster.listen("host all all 127.0.0.0/8 scram-sha-256");
        certify(&mut cluster);
        cluster.start();
        cluster.add_roles();
        for role in [OWNER, SERVER] {
            let sql = format!("ALTER ROLE {role} PASSWORD '{PASSWORD}'");
            cluster.sql("postgres", &sql);
        }
        let database = cluster.database();
        Self {
            cluster,
            at,
            database,
        }
    }

    /// Whoever has not bound the password to the certificate is not let in by our side.
    fn string(&self, user: &str) -> String {
        let Self { at, database, .. } = self;
        format!("host={NAME} hostaddr={at} user={user} dbname={database} channel_binding=require")
    }

    fn options(&self, user: &str, authority: &Authority) -> Options {
        let options = Options::parse(&self.string(user), trusting(&authority.pem)).unwrap();
        options.with_password(fixed(PASSWORD))
    }

    async fn migrate(&self, authority: &Authority) -> Result<schema::Migrated, OpenError> {
        let owner = self.options(OWNER, authority);
        schema::migrate(&owner, Some(SERVER), START, &SystemEntropy).await
    }

    async fn try_open(
        &self,
        authority: &Authority,
    ) -> Result<(Postgres, Option<Raised>), OpenError> {
        let options = self.options(SERVER, authority);
        let clock = Arc::new(ManualClock::at(START));
        Postgres::open(&options, clock, Arc::new(SystemEntropy)).await
    }

    /// How many connections the server's role has, and how many of them are TLS of these versions.
    fn connections(&self) -> (u32, u32) {
        let sql = "SELECT count(*), count(*) FILTER
                (WHERE ssl AND version IN ('TLSv1.2', 'TLSv1.3') AND bits >= 128)
            FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'cardveil'";
        let said = self.cluster.sql("postgres", sql);
        let (all, encrypted) = said.split_once('|').unwrap();
        (all.parse().unwrap(), encrypted.parse().unwrap())
    }
}

/// A lookup, two writes at once and an exchange of rates: a connection of each kind is used.
async fn use_all(store: &Postgres, n: u8) -> Result<(), Error> {
    let epoch = store.epoch().await?;
    let issues = [n, n + 1].map(|n| store.commit(sample::issue(n, START, epoch)));
    for issued in futures_util::future::join_all(issues).await {
        assert_eq!(issued?, Issued::New);
    }
    let told = Told {
        node: NodeId([1; 16]),
        round: i64::from(n),
        counts: vec![],
    };
    store.exchange(told, &Heard::new()).await?;
    Ok(())
}

#[tokio::test]
async fn all_connections_are_encrypted_and_so_are_those_after_a_crash() {
    let authority = Authority::new();
    let mut away = Away::start(|cluster| authority.certify(cluster, &named(NAME)));
    let migrated = away.migrate(&authority).await.unwrap();
    assert_eq!(migrated.from, 0);
    let (store, raised) = away.try_open(&authority).await.unwrap();
    assert_eq!(raised, None);
    let epoch = with_merchant(&store).await;
    use_all(&store, 1).await.unwrap();
    let (all, encrypted) = away.connections();
    assert!(all >= 3, "a reader, a writer, the exchange: {all}");
    assert_eq!(all, encrypted);
    let found = survey(&away.options(SERVER, &authority)).await.unwrap();
    assert_eq!(found.way, Way::Tls("TLSv1.3".to_owned()));

    away.cluster.kill();
    away.cluster.start();
    use_all(&store, 3).await.unwrap();
    let (all, encrypted) = away.connections();
    assert!(all >= 3, "{all}");
    assert_eq!(all, encrypted);

    // One that comes back without TLS gets no password and no statement.
    away.cluster.kill();
    away.cluster.set("ssl=off");
    away.cluster.start();
    let refused = use_all(&store, 5).await;
    let Err(Error::Unavailable(text)) = refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains("server does not support TLS"), "{text}");
    let refused = store.commit(sample::issue(5, START, epoch)).await;
    let Err(Error::Unavailable(text)) = refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains("server does not support TLS"), "{text}");
    assert_eq!(away.connections(), (0, 0));
    away.cluster.stop();
    away.cluster.set("ssl=on");
    away.cluster.start();
    use_all(&store, 7).await.unwrap();
    let (all, encrypted) = away.connections();
    assert_eq!(all, encrypted);
}

#[tokio::test]
async fn who_cannot_show_the_right_certificate_is_not_the_server() {
    let authority = Authority::new();
    let mut expired = named(NAME);
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2020, 2, 1);
    let mut early = named(NAME);
    early.not_before = date_time_ymd(4000, 1, 1);
    let mut of_a_caller = named(NAME);
    of_a_caller.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let other = Authority::new();
    let mut away = Away::start(|_| ());
    let text = away.migrate(&authority).await.unwrap_err().to_string();
    assert!(text.contains("server does not support TLS"), "{text}");
    for (issuer, params, why) in [
        (&other, named(NAME), "another authority"),
        (&authority, named("other.test"), "another name"),
        (&authority, expired, "it has expired"),
        (&authority, early, "it is not valid yet"),
        (&authority, of_a_caller, "certificate does not allow"),
    ] {
        away.cluster.stop();
        issuer.certify(&mut away.cluster, &params);
        away.cluster.start();
        let text = away.migrate(&authority).await.unwrap_err().to_string();
        assert!(text.contains("certificate is refused"), "{text}");
        assert!(text.contains(why), "{text}");
        let refused = away.try_open(&authority).await.err().unwrap();
        let OpenError::Database(Error::Unavailable(text)) = refused else {
            panic!("{refused:?}")
        };
        assert!(text.contains(why), "{text}");
    }
}

/// The authorities of a file stand beside each other: that is how one takes the place of another.
#[tokio::test]
async fn any_authority_of_the_file_may_vouch_for_an_address() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut cluster = Cluster::create();
    let at = cluster.listen("hostssl all all 127.0.0.0/8 trust");
    new.certify(&mut cluster, &named(&at.to_string()));
    cluster.start();
    cluster.add_roles();
    let both = format!("{}{}", old.pem, new.pem);
    let string = format!("host={at} user={OWNER} dbname={}", cluster.database());
    let migrate = async |pem: &str| {
        let owner = Options::parse(&string, trusting(pem)).unwrap();
        schema::migrate(&owner, Some(SERVER), START, &SystemEntropy).await
    };
    assert!(migrate(&old.pem).await.is_err());
    assert!(migrate(&both).await.is_ok());
}

/// The authority of the server's certificate is another one now, and no node is restarted for it.
#[tokio::test]
async fn an_authority_that_took_anothers_place_is_read_at_the_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut away = Away::start(|cluster| old.certify(cluster, &named(NAME)));
    away.migrate(&old).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &old.pem).unwrap();
    let path = file.path().to_owned();
    let read = Fresh::new(move || std::fs::read(&path).map_err(|error| error.to_string()));
    let options = Options::parse(&away.string(SERVER), Transport::Tls(read)).unwrap();
    let options = options.with_password(fixed(PASSWORD));
    let clock = Arc::new(ManualClock::at(START));
    let (store, _) = Postgres::open(&options, clock, Arc::new(SystemEntropy))
        .await
        .unwrap();
    with_merchant(&store).await;
    away.cluster.stop();
    new.certify(&mut away.cluster, &named(NAME));
    away.cluster.start();
    assert!(use_all(&store, 1).await.is_err());
    std::fs::write(file.path(), &new.pem).unwrap();
    use_all(&store, 1).await.unwrap();
}

fn refused(string: &str, transport: Transport) -> String {
    let string = format!("{string} user=u dbname=d");
    match Options::parse(&string, transport) {
        Ok(_) => panic!("{string} is taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_leaves_the_machine_in_the_clear_is_refused() {
    for inside in [
        "host=/run/postgresql",
        "host=localhost",
        "host=127.0.0.1",
        "host=127.9.9.9",
        "host=::1",
        "host=::ffff:127.0.0.1",
        "host=db.example hostaddr=127.0.0.1",
        "hostaddr=127.0.0.1",
        "host=/run/postgresql,localhost",
        "host=localhost sslmode=disable",
    ] {
        let string = format!("{inside} user=u dbname=d");
        let parsed = Options::parse(&string, Transport::Local);
        assert!(parsed.is_ok(), "{inside}");
    }
    for (outside, named) in [
        ("host=db.example", "db.example"),
        ("host=10.0.0.1", "10.0.0.1"),
        ("host=2001:db8::1", "2001:db8::1"),
        ("host=localhost.example", "localhost.example"),
        ("host=localhost hostaddr=10.0.0.1", "10.0.0.1"),
        ("host=/run/postgresql,db.example", "db.example"),
        ("host=localhost,0.0.0.0", "0.0.0.0"),
        ("host=db.example sslmode=disable", "db.example"),
        ("host=db.example sslmode=prefer", "db.example"),
    ] {
        let why = refused(outside, Transport::Local);
        let wanted = format!("{named} is not on this machine");
        assert!(why.starts_with(&wanted), "{outside}: {why}");
        let string = format!("{outside} user=u dbname=d");
        assert!(Options::parse(&string, Transport::Plain).is_ok());
    }
}

#[test]
fn what_is_said_of_tls_is_consistent() {
    let authority = Authority::new();
    let tls = trusting(&authority.pem);
    for right in [
        "host=db",
        "host=db sslmode=require",
        "host=a,b hostaddr=10.0.0.1,10.0.0.2",
    ] {
        let string = format!("{right} user=u dbname=d");
        assert!(Options::parse(&string, tls.clone()).is_ok(), "{right}");
    }
    for (string, transport) in [
        ("host=localhost sslmode=require", Transport::Local),
        ("host=db sslmode=require", Transport::Plain),
        ("host=db sslmode=disable", tls.clone()),
    ] {
        let why = refused(string, transport);
        assert!(why.starts_with("it has sslmode="), "{why}");
    }
    let why = refused("hostaddr=10.0.0.1", tls.clone());
    assert_eq!(why, "it names no host");
    for socket in ["host=/run/postgresql", "host=db,/run/postgresql"] {
        let why = refused(socket, tls.clone());
        assert!(why.starts_with("it names a unix socket"), "{why}");
    }
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let second = format!("{}{broken}", authority.pem);
    let key = KeyPair::generate().unwrap().serialize_pem();
    let parse = |pem: &str| {
        let parsed = Options::parse("host=db user=u dbname=d", trusting(pem));
        match parsed {
            Err(OptionsError::Authorities(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(parse(""), AuthoritiesError::None));
    assert!(matches!(parse(&key), AuthoritiesError::None));
    assert!(matches!(parse(broken), AuthoritiesError::Unreadable(1)));
    assert!(matches!(parse(&second), AuthoritiesError::Unreadable(2)));
}
