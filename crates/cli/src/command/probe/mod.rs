//! `cardveil probe`: looks at a live deployment from outside, as a browser would, and tells what is
//! not as it should be (PCI DSS 6.4.3, 11.6.1).
//!
//! It needs no configuration and no secret, so a partner can run it too.

mod checks;
mod look;
mod markup;
mod policy;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use cardveil_core::id::EmbedId;
use cardveil_seal::PublicKey;
use cardveil_server::manifest;
use url::Url;

use self::checks::Expected;
use self::report::Report;
use crate::deployment::config;
use crate::print::{self, hinted};

/// How long all of it may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// It could not look, so it tells nothing about the deployment.
const COULD_NOT_LOOK: u8 = 2;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The client origin, such as `https://cards.example`
    url: String,
    /// An embed of it
    #[arg(long)]
    embed: EmbedId,
    /// An origin that must be able to frame the card; repeat for several
    #[arg(long = "origin", value_parser = origin)]
    origins: Vec<String>,
    /// The key that signs the manifest (`cardveil manifest key`); repeat while it changes
    // One key in 64 begins with a hyphen.
    #[arg(long = "key", value_parser = key, allow_hyphen_values = true)]
    keys: Vec<PublicKey>,
    /// Look over plain HTTP elsewhere than at loopback, too
    #[arg(long)]
    allow_http: bool,
}

fn origin(text: &str) -> Result<String, String> {
    config::origin(text).map_err(|error| error.to_string())
}

fn key(text: &str) -> Result<PublicKey, String> {
    manifest::parse_key(text)
        .ok_or_else(|| "give the 43 characters that `cardveil manifest key` prints".to_owned())
}

/// Runs it: exit code 0 when all is well, 1 with findings, 2 when it could not look.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let looked = tokio::time::timeout(TIMEOUT, look(&args)).await;
    let looked = looked.unwrap_or_else(|_| {
        let what = format!("it took longer than {} s", TIMEOUT.as_secs());
        Err(hinted(what, "look from a machine that is nearer, or later"))
    });
    let report = match looked {
        Ok(report) => report,
        Err(error) => {
            print::error(&error);
            return Ok(ExitCode::from(COULD_NOT_LOOK));
        }
    };
    print::object(&report, Report::print)?;
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

async fn look(args: &Args) -> anyhow::Result<Report> {
    let client_origin = config::origin(args.url.trim_end_matches('/'))?;
    let base = Url::parse(&client_origin)?;
    match base.scheme() {
        "https" => {}
        "http" if args.allow_http || is_loopback(&base) => {}
        _ => {
            return Err(hinted(
                format!("{client_origin} is not https, so nothing that comes from it is certain"),
                "give the https origin; --allow-http looks anyway",
            ));
        }
    }
    let page = args.origins.first().unwrap_or(&client_origin);
    let seen = look::look(&base, &args.embed, page).await?;
    let mut report = Report::new(&client_origin, args.embed.as_str());
    let expected = Expected {
        client_origin: &client_origin,
        embed: args.embed.as_str(),
        origins: &args.origins,
        keys: &args.keys,
    };
    checks::check(&seen, &expected, &mut report);
    Ok(report)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
