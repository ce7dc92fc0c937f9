//! `cardveil doctor`: checks a deployment and says what to mend.

mod embeds;
mod permissions;
mod postgres;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use cardveil_core::audit::Topic;
use cardveil_core::card::Environment;
use cardveil_core::clock::{Clock as _, SystemClock, Time};
use cardveil_core::hook::Subscription;
use cardveil_core::merchant::Merchant;
use cardveil_core::mfa::{Factor, Policy, Purpose};
use cardveil_server::ListenerKind;
use serde::Serialize;

use crate::deployment::Deployment;
use crate::deployment::config::{self, Config};
use crate::deployment::demo;
use crate::deployment::networks;
use crate::deployment::process::{self, OpenFiles, Swap};
use crate::deployment::sinks;
use crate::deployment::trust;
use crate::print;

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    what: &'static str,
    ok: bool,
    /// What was found; what to do about it when it is not well.
    found: String,
}

fn check(what: &'static str, ok: bool, found: impl Into<String>) -> Check {
    Check {
        what,
        ok,
        found: found.into(),
    }
}

/// An error and what to do about it.
fn words(error: anyhow::Error, file: &Path) -> String {
    let error = config::located(error, file);
    match print::hint(&error) {
        Some(hint) => format!("{error:#}: {hint}"),
        None => format!("{error:#}"),
    }
}

/// Runs it: exit code 0 when all is well, 1 otherwise.
pub(crate) async fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let mut checks = Vec::new();
    match Config::load(file) {
        Ok(loaded) => {
            checks.push(check("configuration", true, file.display().to_string()));
            settings(&loaded, &mut checks);
            others(file, &loaded, &mut checks);
            tls(file, &loaded, SystemClock.now(), &mut checks);
            memory(&loaded, &mut checks);
            open_files(&loaded, &mut checks);
            framing(&loaded, &mut checks);
            postgres::look(file, &loaded.store, &mut checks).await;
            inside(file, loaded, &mut checks).await;
        }
        Err(error) => checks.push(check("configuration", false, words(error, file))),
    }
    let well = checks.iter().all(|check| check.ok);
    print::lines(&checks, |check| {
        let mark = if check.ok { "ok  " } else { "MEND" };
        print::line(&format!("{mark}  {:<15} {}", check.what, check.found))
    })?;
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// What the configuration alone tells.
fn settings(config: &Config, checks: &mut Vec<Check>) {
    for (what, path) in [
        ("database", &config.store.database),
        ("fence", &config.store.fence),
    ]
    .into_iter()
    .chain(config.keys.files())
    .filter(|(_, path)| !path.as_os_str().is_empty())
    {
        let found = match std::fs::metadata(path) {
            Ok(meta) if !cardveil_seal::is_exposed(&meta) => {
                check(what, true, path.display().to_string())
            }
            Ok(_) => check(
                what,
                false,
                format!("others can read {0}: chmod 600 {0}", path.display()),
            ),
            // Enough of them are there, or the deployment would not have opened.
            Err(_) if config.keys.is_share(path) => {
                check(what, true, format!("{} is not here", path.display()))
            }
            Err(error) => check(what, false, format!("{}: {error}", path.display())),
        };
        checks.push(found);
    }
    let origin = &config.client.origin;
    let safe = origin.starts_with("https://")
        || (config.environment == Environment::Sandbox && config.listen.client.ip().is_loopback());
    let advice = format!(
        "{origin} is not https: give [tls.client], or a TLS proxy in front, and name its origin"
    );
    checks.push(check(
        "client origin",
        safe,
        if safe { origin.clone() } else { advice },
    ));
    let admin = config.listen.admin;
    let kept = admin.ip().is_loopback();
    let advice = format!("{admin} has no credentials: listen on loopback or behind a firewall");
    checks.push(check(
        "admin listener",
        kept,
        if kept { admin.to_string() } else { advice },
    ));
}

/// What nobody can see from here.
fn framing(config: &Config, checks: &mut Vec<Check>) {
    for name in config.audit.framing_assumed() {
        checks.push(check(
            "audit framing",
            true,
            format!(
                "{name} is taken to count lengths, and one that knows lines alone may keep nothing: look at \
                 what it kept, then say framing = \"octet_counting\" or \"newline\""
            ),
        ));
    }
}

/// Who else may change what the deployment is made of, and what was loosened.
fn others(file: &Path, config: &Config, checks: &mut Vec<Check>) {
    let untrusted = trust::untrusted(file, config);
    if untrusted.is_empty() {
        checks.push(check("files", true, "nobody else can change them"));
    }
    for one in untrusted {
        checks.push(check("files", false, format!("{}: {one}", one.of)));
    }
    if !config.numbering.own.is_empty() {
        let fields: Vec<_> = config
            .numbering
            .own
            .iter()
            .map(|field| field.as_str())
            .collect();
        let found = format!(
            "{} may hold what looks like a card number (numbering.own), in the clear",
            fields.join(", ")
        );
        checks.push(check("numbering", true, found));
    }
}

/// How long before its end a certificate should have been renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(14 * 86_400);

/// What listeners show to the network.
fn tls(file: &Path, config: &Config, now: Time, checks: &mut Vec<Check>) {
    let exposed = config.exposed_listeners();
    let found = if exposed.is_empty() {
        "none in the clear for all to reach".to_owned()
    } else {
        format!(
            "{} in the clear: give [tls.*] or network.trusted_proxies; serve refuses to start",
            exposed.join(", ")
        )
    };
    checks.push(check("listeners", exposed.is_empty(), found));
    let listeners = match config.tls.load(now) {
        Ok(listeners) => listeners,
        Err(error) => {
            checks.push(check("TLS", false, words(error, file)));
            return;
        }
    };
    for (what, kind) in [
        ("TLS, merchant", ListenerKind::Merchant),
        ("TLS, client", ListenerKind::Client),
        ("TLS, admin", ListenerKind::Admin),
    ] {
        let Some(tls) = listeners.of(kind) else {
            continue;
        };
        let expires = tls.expires();
        let well = now.plus(RENEW_BEFORE) < expires;
        let advice = if well { "" } else { ": renew it now" };
        checks.push(check(what, well, format!("good until {expires}{advice}")));
    }
}

/// Where memory could go.
fn memory(config: &Config, checks: &mut Vec<Check>) {
    let (well, found) = match process::swap() {
        Swap::Locked => (true, "is locked by serve, with the limit that holds here"),
        Swap::NoneThere => (true, "there is no swap"),
        Swap::Possible => (
            config.environment == Environment::Sandbox,
            "could go to swap: LimitMEMLOCK=infinity in the service's unit (look from within it), or \
             switch swap off",
        ),
    };
    checks.push(check("memory", well, found));
}

/// How many connections there may be, as far as that goes without a look into the service's unit.
fn open_files(config: &Config, checks: &mut Vec<Check>) {
    let files = process::raise_open_files();
    let most = files
        .most
        .map_or_else(|| "any number".to_owned(), |most| most.to_string());
    let (well, found) = if files.are_few() {
        let enough = OpenFiles::enough();
        (
            config.environment == Environment::Sandbox,
            format!(
                "{most} may be open, and full listeners hold {enough}: LimitNOFILE= in the service's unit, or \
                 the container's ulimits (look from within it)"
            ),
        )
    } else {
        (true, format!("{most} may be open"))
    };
    checks.push(check("open files", well, found));
}

/// Merchants whose delivered codes count where a cardholder has an app: a deployment from before
/// the policy named factors has it so.
fn fallbacks(merchants: &[Merchant], checks: &mut Vec<Check>) {
    let weak = |merchant: &&Merchant| merchant.mfa.factors.fallback.iter().next().is_some();
    for merchant in merchants.iter().filter(weak) {
        let id = &merchant.id;
        let found = format!(
            "{id} takes a delivered code in place of an authenticator app: unless that is meant, \
             cardveil merchant set {id} --fallback none"
        );
        checks.push(check("second factors", true, found));
    }
}

/// Merchants whose frames may ask for a code that nobody delivers.
fn undelivered(merchants: &[Merchant], subscriptions: &[Subscription], checks: &mut Vec<Check>) {
    let asks = |merchant: &&Merchant| {
        let frames = [Purpose::ViewCard, Purpose::AddCardToWallet];
        let in_frame = frames.map(|purpose| merchant.mfa.of(purpose) == Policy::InFrame);
        in_frame.contains(&true) && merchant.mfa.factors.accepts.contains(Factor::Otp)
    };
    for merchant in merchants.iter().filter(asks) {
        let id = &merchant.id;
        let delivers = |it: &Subscription| {
            it.merchant == *id && it.enabled && it.topics.contains(&Topic::MfaCode)
        };
        if !subscriptions.iter().any(delivers) {
            let found = format!(
                "{id} has its frames ask whoever has no authenticator app for a code that nobody \
                 delivers: cardveil webhook add --merchant {id} --topic mfa.code, or cardveil \
                 merchant set {id} --factor totp"
            );
            checks.push(check("second factors", true, found));
        }
    }
}

/// Whether the rows that decide have MACs, and are what was written.
async fn rows(deployment: &Deployment) -> anyhow::Result<Check> {
    let what = "rows that decide";
    let left = deployment.store.unguarded_rows().await?;
    Ok(match deployment.service.row_macs() {
        (_, true) => check(
            what,
            left == 0,
            match left {
                0 => "all have a MAC; `cardveil audit verify --rows` checks each".to_owned(),
                left => format!("{left} have lost their MAC: cardveil audit verify --rows"),
            },
        ),
        (Some(_), false) => check(
            what,
            true,
            format!("{left} have no MAC yet: a server that runs gives them one"),
        ),
        (None, false) => check(
            what,
            true,
            "none has a MAC yet: on PostgreSQL they wait for `cardveil migrate --finish`",
        ),
    })
}

/// What shows when it is opened.
async fn inside(file: &Path, config: Config, checks: &mut Vec<Check>) {
    let deployment = match Deployment::open(config).await {
        Ok(deployment) => deployment,
        Err(error) => {
            checks.push(check("opening", false, words(error, file)));
            return;
        }
    };
    let found = async {
        let keys = deployment.store.wrapped_keys().await?.len();
        let epoch = deployment.store.epoch().await?.0;
        if let Some(ahead) = deployment.service.compare_clocks().await? {
            let found = format!("{ahead} of the database's");
            checks.push(check("clock", !ahead.is_told(), found));
        }
        checks.push(rows(&deployment).await?);
        let merchants = deployment.store.merchants().await?;
        let credentials = deployment.store.credentials().await?;
        fallbacks(&merchants, checks);
        let subscriptions = deployment.store.subscriptions(None).await?;
        undelivered(&merchants, &subscriptions, checks);
        let embeds = deployment.store.embeds().await?;
        embeds::look(&embeds, checks);
        let demo = demo::credentials_present(&deployment.service).await?;
        let sinks = sinks::listed(&deployment).await?;
        for sink in sinks {
            checks.push(check(
                "audit sink",
                !sink.full && sink.error.is_none(),
                sink.words(),
            ));
        }
        anyhow::Ok((keys, epoch, merchants, credentials, embeds, demo))
    };
    match found.await {
        Ok((keys, epoch, merchants, credentials, embeds, demo)) => {
            checks.push(check("class keys", keys > 0, format!("{keys} open")));
            checks.push(check("epoch", true, epoch.to_string()));
            for (what, count, next) in [
                (
                    "merchants",
                    merchants.len(),
                    "cardveil merchant add --name ...",
                ),
                (
                    "credentials",
                    credentials.len(),
                    "cardveil credential add --merchant ... --allow-ip ...",
                ),
                (
                    "embeds",
                    embeds.len(),
                    "cardveil embed add --merchant ... --origin https://...",
                ),
            ] {
                let found = if count > 0 {
                    count.to_string()
                } else {
                    format!("none: {next}")
                };
                checks.push(check(what, count > 0, found));
            }
            let found = if demo {
                "the demo's are in it: everyone knows them"
            } else {
                "none"
            };
            checks.push(check("demo keys", !demo, found));
            let now = deployment.service.now();
            let proxies = &deployment.config.network.trusted_proxies;
            let partners = deployment.config.tls.partners();
            permissions::look(&merchants, &credentials, (partners, now), checks);
            let in_use = credentials.iter().filter(|known| known.usable(now).is_ok());
            let wide = in_use.flat_map(|known| networks::wide(known, proxies));
            let wide: Vec<_> = wide
                .map(|found| check("allow-lists", false, found))
                .collect();
            if wide.is_empty() {
                let found = "none is wide, and no trusted proxy is in one";
                checks.push(check("allow-lists", true, found));
            }
            checks.extend(wide);
        }
        Err(error) => checks.push(check("reading", false, words(error, file))),
    }
}
