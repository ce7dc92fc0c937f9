//! `cardveil key import-cvk` and `key cvks`: card verification keys, by which CVVs are derived and
//! not stored. No command prints a key or a component.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use cardveil_core::keys::{Rotation, next_cvk};
use cardveil_core::verb::Commit;
use cardveil_seal::{CvkParts, ExpiryOrder, Keyring, Secret, SystemEntropy};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use crate::deployment::roots;
use crate::deployment::{Deployment, operator};
use crate::print::{self, hinted, say};

/// More than a component with blanks has.
const LINE_MAX: usize = 256;

#[derive(Args)]
pub(crate) struct Import {
    /// For cards whose numbers begin with these digits; without it, for all that no other key is
    /// for
    #[arg(long, default_value = "")]
    prefix: String,
    /// How the programme writes the expiry that goes into a CVV: yymm or mmyy
    #[arg(long, value_parser = order)]
    expiry: ExpiryOrder,
    /// How many components there are, one a line on the standard input: 2 or 3
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u8).range(2..=3))]
    components: u8,
    /// The key check value that must come out: 6 hex digits
    #[arg(long)]
    kcv: Option<String>,
}

fn order(text: &str) -> Result<ExpiryOrder, String> {
    ExpiryOrder::parse(text).ok_or_else(|| "the orders are yymm, mmyy".to_owned())
}

fn hex(check_value: [u8; 3]) -> String {
    let [a, b, c] = check_value;
    format!("{a:02X}{b:02X}{c:02X}")
}

/// Puts a key together from components that different people enter, and seals it under the root.
pub(crate) async fn import(deployment: &Deployment, args: &Import) -> anyhow::Result<()> {
    let mut components = Vec::new();
    for n in 1..=args.components {
        let component = component(n, args.components)?;
        let check_value = hex(component.check_value()?);
        say(&format!("component {n}: key check value {check_value}"));
        components.push(component);
    }
    let hint = "nothing was kept: have the custodians compare the key check values, and begin anew";
    let key = CvkParts::combine(&components).map_err(|error| hinted(error.to_string(), hint))?;
    let check_value = key.check_value()?;
    let kcv = hex(check_value);
    if let Some(expected) = &args.kcv
        && !expected.eq_ignore_ascii_case(&kcv)
    {
        let what = format!("the components give a key with the check value {kcv}");
        return Err(hinted(what, hint));
    }
    let environment = deployment.config.environment.as_str();
    let roots = roots::open(&deployment.config.keys)?;
    let wrapped = deployment.store.wrapped_keys().await?;
    let all = deployment.store.class_keys().await?;
    let keyring = Keyring::open(&roots, environment, &wrapped)?;
    let version = next_cvk(all.iter().map(|key| &key.key))
        .ok_or_else(|| anyhow::anyhow!("there are too many card verification keys"))?;
    let root = roots.of(&wrapped, environment);
    let place = (args.prefix.as_str(), args.expiry);
    let key = keyring
        .import_cvk(root, (version, &key), place, &SystemEntropy)?
        .map_err(|error| hinted(error.to_string(), "give another --prefix"))?;
    let rotation = Rotation::imported(wrapped, key, deployment.service.now(), &operator());
    if !deployment.store.commit(rotation).await? {
        return Err(hinted(
            "the class keys have changed meanwhile, and nothing was kept",
            "look at `cardveil key cvks`, and run it again",
        ));
    }
    say(&format!("cvk {version}: key check value {kcv}"));
    say("cards that are imported without a CVV from now on get theirs from it");
    print::done(&view(version, &args.prefix, args.expiry, check_value))
}

fn view(version: u32, prefix: &str, order: ExpiryOrder, check_value: [u8; 3]) -> Value {
    json!({
        "cvk": version, "prefix": prefix, "expiry": order.as_str(), "kcv": hex(check_value),
    })
}

/// Lists them.
pub(crate) fn list(deployment: &Deployment) -> anyhow::Result<()> {
    let cvks = deployment.service.vault().cvks();
    let views: Vec<_> = cvks
        .iter()
        .map(|cvk| view(cvk.version, &cvk.prefix, cvk.order, cvk.check_value))
        .collect();
    print::list(&views, &["cvk", "prefix", "expiry", "kcv"])
}

/// One line of the standard input; at a terminal, asked for and not shown.
fn component(n: u8, of: u8) -> anyhow::Result<CvkParts> {
    let stdin = std::io::stdin();
    let _quiet = if stdin.is_terminal() {
        say(&format!(
            "component {n} of {of}, from its custodian alone: 32 hex digits"
        ));
        Some(Quiet::new()?)
    } else {
        None
    };
    // Of a size that is not outgrown: a buffer that grows leaves a copy behind.
    let mut line = Vec::with_capacity(LINE_MAX);
    let most = u64::try_from(LINE_MAX).unwrap_or(u64::MAX);
    stdin.lock().take(most).read_until(b'\n', &mut line)?;
    let line = Secret::new(line);
    CvkParts::parse(line.expose()).map_err(|error| {
        hinted(
            format!("component {n}: {error}"),
            "nothing was kept: begin anew",
        )
    })
}

/// A terminal that does not show what is typed, until it is dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> anyhow::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // There is nothing to do about it, and `reset` helps.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}
