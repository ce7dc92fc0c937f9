//! `cardveil serve`: what must be well before a deployment serves, and what its log says first.

use std::path::Path;

use crate::deployment::config::Config;
use crate::deployment::process::{self, OpenFiles, Swap};
use crate::deployment::{Deployment, demo, networks};
use crate::print::hinted;
use crate::running::{Running, StopSignal, log};

/// `cardveil serve`.
pub(crate) async fn run(config: &Path) -> anyhow::Result<()> {
    let log = log::start("info");
    let telling = tokio::spawn(log.clone().tell_repeated());
    let ended = serve(config).await;
    telling.abort();
    log.tell_rest();
    ended
}

async fn serve(config: &Path) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    if demo::credentials_present(&deployment.service).await? {
        return Err(hinted(
            "this database holds the demo's credentials, which everyone knows",
            "make a deployment of your own with `cardveil init`",
        ));
    }
    refuse_exposed(&deployment.config)?;
    tell_of_networks(&deployment).await?;
    refuse_clock_apart(&deployment).await?;
    let mut stop = StopSignal::listen()?;
    lock_memory();
    tell_of_open_files();
    tell_of_framing(&deployment.config);
    let running = Running::start(deployment).await?;
    process::notify("READY=1");
    running.tell_start().await;
    stop.received().await;
    process::notify("STOPPING=1");
    running.drain(&mut stop).await;
    running.stop().await
}

fn lock_memory() {
    match process::lock_memory() {
        Swap::Locked => tracing::info!("memory is locked, so nothing of it goes to swap"),
        Swap::NoneThere => tracing::info!("memory is not locked, and there is no swap"),
        Swap::Possible => tracing::warn!(
            hint = "LimitMEMLOCK=infinity in the service's unit, or switch swap off",
            "memory is not locked, so keys and card data could be written to swap"
        ),
    }
}

fn tell_of_open_files() {
    let files = process::raise_open_files();
    if files.are_few() {
        tracing::warn!(
            most = files.most,
            enough = OpenFiles::enough(),
            hint = "LimitNOFILE= in the service's unit, or ulimits of the container",
            "few files may be open, so callers are turned away before the listeners are full"
        );
    }
}

/// Says what nobody can see from here.
fn tell_of_framing(config: &Config) {
    for name in config.audit.framing_assumed() {
        tracing::warn!(
            sink.name = name.as_str(),
            hint = "look at what it kept, then say framing = \"octet_counting\" or \"newline\"",
            "a syslog receiver is taken to count lengths: one that knows lines alone may keep nothing"
        );
    }
}

/// Says once that credentials may be called from further away than was meant.
async fn tell_of_networks(deployment: &Deployment) -> anyhow::Result<()> {
    let (now, proxies) = (
        deployment.service.now(),
        &deployment.config.network.trusted_proxies,
    );
    let credentials = deployment.store.credentials().await?;
    let in_use = credentials.iter().filter(|known| known.usable(now).is_ok());
    let networks = in_use
        .map(|known| networks::wide(known, proxies).len())
        .sum::<usize>();
    if networks > 0 {
        tracing::warn!(
            networks,
            hint = "cardveil doctor names them",
            "networks from which credentials may call are wide, or have a trusted proxy in them"
        );
    }
    Ok(())
}

/// A node whose clock is far from its peers' would refuse their tokens.
async fn refuse_clock_apart(deployment: &Deployment) -> anyhow::Result<()> {
    match deployment.service.compare_clocks().await? {
        Some(ahead) if ahead.is_too_far() => Err(hinted(
            format!("the clock is {ahead} of the database's"),
            "have both keep time by NTP (timedatectl, chronyc tracking)",
        )),
        _ => Ok(()),
    }
}

/// A live deployment shows no token and no card to the network.
fn refuse_exposed(config: &Config) -> anyhow::Result<()> {
    let exposed = config.exposed_listeners();
    if exposed.is_empty() {
        return Ok(());
    }
    Err(hinted(
        format!(
            "live, and in the clear for all to reach: {}",
            exposed.join(", ")
        ),
        "give it a certificate ([tls.merchant], [tls.client]), listen on loopback, or name the proxy \
         that ends TLS before it in network.trusted_proxies",
    ))
}
