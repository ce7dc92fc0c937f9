//! `cardveil healthcheck`: asks the server of this configuration whether it can serve, for images
//! that have no other program which could.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use cardveil_server::fetch::{Failed, Fetcher, Got};
use http::HeaderMap;
use url::Url;

use crate::deployment::config::Config;
use crate::print::{self, hinted};

/// The server answers within two seconds, whatever its store does; and whoever asked for this check
/// waits five.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the admin listener is, when it is not where the configuration says or speaks TLS, such
    /// as `https://node1.example:7430`
    #[arg(long)]
    url: Option<Url>,
}

/// Runs it: exit code 0 when it is ready.
pub(crate) async fn run(config: &Path, args: Args) -> anyhow::Result<()> {
    let url = match args.url {
        Some(url) => url,
        None => admin(&Config::load(config)?)?,
    };
    let fetcher = Fetcher::new()?;
    let (ready, headers) = (url.join("/readyz")?, HeaderMap::new());
    let asked = tokio::time::timeout(ANSWER_WITHIN, fetcher.get(&ready, &headers));
    judge(asked.await.unwrap_or(Err(Failed::TimedOut)))?;
    print::done(&serde_json::json!({ "ready": true }))
}

/// Whether it is ready; and if not, whether it says so, is stuck, or does not run.
fn judge(got: Result<Got, Failed>) -> anyhow::Result<()> {
    let not_ready = match got {
        Ok(got) if got.status == 200 => return Ok(()),
        Ok(got) => {
            let problem: serde_json::Value = serde_json::from_slice(&got.body).unwrap_or_default();
            let code = problem.get("code").and_then(|code| code.as_str());
            let (status, code) = (got.status, code.unwrap_or("no code"));
            if status != 503 {
                return Err(hinted(
                    format!(
                        "what answers is not the admin listener of this server: {status} {code}"
                    ),
                    "another program or another listener has this port: --url",
                ));
            }
            hinted(
                format!("it runs and is not ready: {status} {code}"),
                "its log says why; `stopping` is meant so, `unavailable` is of the database, and `store_locked` of \
                 another program that holds its file",
            )
        }
        Err(Failed::TimedOut) => hinted(
            format!(
                "it is stalled: it does not answer within {} s",
                ANSWER_WITHIN.as_secs()
            ),
            "is its machine out of processor time or memory, or was it stopped (SIGSTOP)? Start it anew",
        ),
        Err(error @ Failed::Unreachable(_)) => hinted(
            format!("it does not run: {error}"),
            "start it; or it listens elsewhere: --url",
        ),
        Err(error @ (Failed::Url | Failed::Tls(_) | Failed::Broken(_) | Failed::Body)) => hinted(
            format!("what answers is not this server: {error}"),
            "it speaks TLS, or another program has its port: --url",
        ),
    };
    Err(not_ready)
}

fn admin(config: &Config) -> anyhow::Result<Url> {
    if config.tls.admin.is_some() {
        return Err(hinted(
            "the admin listener speaks TLS",
            "give --url with the name in its certificate",
        ));
    }
    let mut at = config.listen.admin;
    // Where it listens everywhere, loopback is somewhere.
    match at.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => at.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => at.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    Ok(Url::parse(&format!("http://{at}/"))?)
}

#[cfg(test)]
mod tests {
    use cardveil_core::card::Environment;

    use super::*;

    #[test]
    fn it_asks_where_the_admin_listener_is() {
        let mut config = Config::fresh(Environment::Sandbox);
        for (listen, expected) in [
            ("127.0.0.1:7430", "http://127.0.0.1:7430/"),
            ("0.0.0.0:7430", "http://127.0.0.1:7430/"),
            ("[::]:9", "http://[::1]:9/"),
            ("10.1.2.3:7430", "http://10.1.2.3:7430/"),
        ] {
            config.listen.admin = listen.parse().unwrap();
            assert_eq!(admin(&config).unwrap().as_str(), expected);
        }
    }
}
