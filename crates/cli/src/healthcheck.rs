//! `cardveil healthcheck`: asks the server of this configuration whether it can serve, for images that
//! have no other program which could.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use cardveil_server::fetch::Fetcher;
use http::HeaderMap;
use url::Url;

use crate::config::Config;
use crate::print::hinted;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the admin listener is, when it is not where the configuration says or speaks TLS, such as
    /// `https://node1.example:7430`
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
    let got = fetcher.get(&url.join("/readyz")?, &HeaderMap::new()).await;
    let got = got.map_err(|error| {
        hinted(
            error.to_string(),
            "the server does not run, or listens elsewhere: --url",
        )
    })?;
    match got.status {
        200 => Ok(()),
        status => Err(hinted(
            format!("it is not ready: {status}"),
            "its log says why",
        )),
    }
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
