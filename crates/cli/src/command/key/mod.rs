//! `cardveil key`: the class keys over their lives. No command prints a key.

mod cvk;
mod index;
mod rows;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use cardveil_core::Time;
use cardveil_core::audit::{Kind, Target};
use cardveil_core::clock::Clock as _;
use cardveil_core::flow::{Rewrap, Rewrapped};
use cardveil_core::keys::{self, ClassKey, Retired, Retirement, RootChange, Rotation, State};
use cardveil_core::port::{Class, WrappedKey};
use cardveil_core::verb::Commit;
use cardveil_seal::{DEK_ALGORITHM, Keyring, Root, SystemEntropy};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::deployment::config::{Config, RootKey};
use crate::deployment::roots;
use crate::deployment::{Deployment, operator};
use crate::print::Yes;
use crate::print::{self, hinted, say};

/// How many records share a commit at the most, so that redemptions wait for milliseconds.
const BATCH_MAX: u32 = 500;
/// How many records that do not open are passed over before a person should look.
const STUCK_MAX: usize = 1_000;

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// List the class keys: their states, dates, and how many records are under each
    List,
    /// The cryptographic inventory (PCI DSS 12.3.3, 3.6.1.1)
    Inventory,
    /// Give a class a new key, or all class keys a new root
    Rotate(RotateArgs),
    /// Move records to the active keys of their classes, while servers serve
    Rewrap(RewrapArgs),
    /// Destroy a key that no record is under
    Retire {
        /// Of which class
        #[arg(long, value_parser = class)]
        class: Class,
        /// Which version
        #[arg(long)]
        version: u32,
        #[command(flatten)]
        yes: Yes,
    },
    /// Make the root key that `keys.next_root` names
    CreateRoot {
        /// How many of its shares open it, where it is in shares: at least 2
        #[arg(long)]
        threshold: Option<u8>,
    },
    /// Bring a card verification key here, in components, so that CVVs are derived and not stored
    ImportCvk(cvk::Import),
    /// List the card verification keys: for which cards they are, and their check values
    Cvks,
    /// Split the root key's file into shares, of which some open it
    Split(roots::Split),
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RotateArgs {
    /// The class that gets a new key
    #[arg(long, value_parser = class)]
    class: Option<Class>,
    /// Put all class keys under `keys.next_root`; `keys.root` opens nothing afterwards
    #[arg(long)]
    root: bool,
}

#[derive(Args)]
pub(crate) struct RewrapArgs {
    /// Only records of this class
    #[arg(long, value_parser = class)]
    class: Option<Class>,
    /// Give each record a new key of its own too, and seal its fields anew
    #[arg(long)]
    deks: bool,
    /// At most so many records a second
    #[arg(long, default_value = "2000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    per_second: u32,
}

fn class(name: &str) -> Result<Class, String> {
    Class::from_name(name).ok_or_else(|| {
        let classes = Class::ALL.iter().chain([&Class::Row]);
        let names: Vec<_> = classes.map(|class| class.name()).collect();
        format!("the classes are {}", names.join(", "))
    })
}

/// `cardveil key`.
pub(crate) async fn run(config: &Path, command: KeyCommand) -> anyhow::Result<()> {
    let loaded = Config::load(config)?;
    match &command {
        KeyCommand::CreateRoot { threshold } => return create_root(&loaded, *threshold),
        KeyCommand::Split(to) => return split(&loaded, to),
        KeyCommand::List
        | KeyCommand::Inventory
        | KeyCommand::Rotate(_)
        | KeyCommand::Rewrap(_)
        | KeyCommand::ImportCvk(_)
        | KeyCommand::Cvks
        | KeyCommand::Retire { .. } => {}
    }
    let deployment = Deployment::open(loaded).await?;
    match command {
        KeyCommand::List => list(&deployment).await,
        KeyCommand::Inventory => inventory(&deployment).await,
        KeyCommand::Rotate(args) => match args.class {
            Some(class) => rotate(&deployment, class).await,
            None => rotate_root(&deployment).await,
        },
        KeyCommand::ImportCvk(args) => cvk::import(&deployment, &args).await,
        KeyCommand::Cvks => cvk::list(&deployment),
        KeyCommand::Rewrap(args) => rewrap(&deployment, &args).await,
        KeyCommand::Retire {
            class,
            version,
            yes,
        } => {
            yes.confirm(&format!(
                "Version {version} of the {class} key is destroyed: backups from before its records were \
                 moved do not open without it."
            ))?;
            retire(&deployment, class, version).await
        }
        KeyCommand::CreateRoot { .. } | KeyCommand::Split(_) => Ok(()),
    }
}

/// A class key, for people and for programs.
#[derive(Serialize)]
struct Listed {
    class: &'static str,
    version: u32,
    state: &'static str,
    created_at: Option<String>,
    retiring_since: Option<String>,
    retired_at: Option<String>,
    /// Which root it opens under.
    root: Option<String>,
    /// How many records are under it; none where records do not say.
    records: Option<u64>,
}

async fn listed(deployment: &Deployment) -> anyhow::Result<Vec<Listed>> {
    let keys = deployment.store.class_keys().await?;
    let uses = deployment.store.key_uses().await?;
    let roots = roots::open(&deployment.config.keys)?;
    let environment = deployment.config.environment.as_str();
    let text = |at: Option<Time>| at.map(|at| at.to_string());
    let one = |row: &ClassKey| {
        let WrappedKey { class, version, .. } = row.key;
        let (retiring_since, retired_at) = row.state.dates();
        let is_it = |u: &&keys::Use| (u.class, u.version) == (class, version);
        let records = uses.iter().find(is_it).map_or(0, |u| u.records);
        let opens = |root: &&dyn Root| row.key.opens_under(*root, environment);
        Listed {
            class: class.name(),
            version,
            state: row.state.as_str(),
            created_at: text(row.created_at),
            retiring_since: text(retiring_since),
            retired_at: text(retired_at),
            root: roots.iter().find(opens).map(Root::name),
            records: (class.wraps() || class == Class::Index).then_some(records),
        }
    };
    Ok(keys.iter().map(one).collect())
}

async fn list(deployment: &Deployment) -> anyhow::Result<()> {
    let listed = listed(deployment).await?;
    let columns = [
        "class",
        "version",
        "state",
        "records",
        "created_at",
        "retiring_since",
        "retired_at",
        "root",
    ];
    print::list(&listed, &columns)
}

/// Generated from what is in use, so that it cannot say otherwise.
async fn inventory(deployment: &Deployment) -> anyhow::Result<()> {
    let roots = roots::open(&deployment.config.keys)?;
    let mut rows = Vec::new();
    for (root, state) in roots.iter().zip(["active", "next"]) {
        rows.push(json!({
            "key": "root", "version": null, "state": state, "algorithm": "AES-256-GCM",
            "strength_bits": 256, "purpose": "wraps the class keys and nothing else",
            "place": "outside the database", "provider": root.name(),
            "created_at": null, "retiring_since": null, "retired_at": null, "records": null,
        }));
    }
    for key in listed(deployment).await? {
        let (algorithm, bits, purpose) = class(key.class).map_err(anyhow::Error::msg)?.inventory();
        let place = match key.retired_at {
            Some(_) => "nowhere: it was destroyed",
            None => "the database, wrapped by the root key",
        };
        rows.push(json!({
            "key": key.class, "version": key.version, "state": key.state, "algorithm": algorithm,
            "strength_bits": bits, "purpose": purpose,
            "place": place, "provider": key.root,
            "created_at": key.created_at, "retiring_since": key.retiring_since,
            "retired_at": key.retired_at, "records": key.records,
        }));
    }
    rows.push(json!({
        "key": "record", "version": null, "state": "active", "algorithm": DEK_ALGORITHM,
        "strength_bits": 256, "purpose": "seals the fields of one record; one for each record and class",
        "place": "the record, wrapped by its class key", "provider": null,
        "created_at": null, "retiring_since": null, "retired_at": null, "records": null,
    }));
    let inventory = json!({
        "environment": deployment.config.environment.as_str(),
        "random": "AWS-LC", "keys": rows,
    });
    let columns = [
        "key",
        "version",
        "state",
        "algorithm",
        "strength_bits",
        "provider",
        "created_at",
        "place",
        "purpose",
    ];
    print::object(&inventory, |_| print::table(&rows, &columns))
}

async fn rotate(deployment: &Deployment, class: Class) -> anyhow::Result<()> {
    refuse_cvk(class)?;
    if class == Class::Index {
        index::refuse_rotation(deployment).await?;
    }
    let environment = deployment.config.environment.as_str();
    let roots = roots::open(&deployment.config.keys)?;
    let wrapped = deployment.store.wrapped_keys().await?;
    let keyring = Keyring::open(&roots, environment, &wrapped)?;
    // A change of root that is under way is not undone: the new key goes where the others are.
    let key = keyring.rotate(roots.of(&wrapped, environment), class, &SystemEntropy)?;
    let version = key.version;
    let rotation = Rotation::new(wrapped, key, deployment.service.now(), &operator());
    if !deployment.store.commit(rotation).await? {
        return Err(hinted(
            "the class keys have changed meanwhile, and nothing was done",
            "look at `cardveil key list`",
        ));
    }
    say(&format!("the {class} key is at version {version}"));
    if is_moved_from(class) {
        say("next: cardveil key rewrap");
    }
    print::done(&json!({ "class": class.name(), "version": version }))
}

async fn rotate_root(deployment: &Deployment) -> anyhow::Result<()> {
    let environment = deployment.config.environment.as_str();
    let roots = roots::open(&deployment.config.keys)?;
    let next = roots.next().ok_or_else(|| {
        hinted(
            "no root key is named that could take the place of keys.root",
            "name it as keys.next_root, make it with `cardveil key create-root`, and restart all servers",
        )
    })?;
    let from = deployment.store.wrapped_keys().await?;
    if from.iter().all(|key| key.opens_under(next, environment)) {
        say(&format!("all class keys are under {} already", next.name()));
        return print::done(&json!({ "root": next.name(), "moved": 0 }));
    }
    let to = from
        .iter()
        .map(|key| key.rewrap(&roots, next, environment, &SystemEntropy))
        .collect::<Result<Vec<_>, _>>()?;
    let target = Target {
        resource: Some("root key".into()),
        ..Target::default()
    };
    let now = deployment.service.now();
    let mut event = operator().event(now, Kind::KeysRootChanged, None, target);
    event.detail.from = Some(roots.of(&from, environment).name().into());
    event.detail.to = Some(next.name().into());
    let count = to.len();
    if !deployment
        .store
        .commit(RootChange { from, to, event })
        .await?
    {
        return Err(hinted(
            "the class keys have changed meanwhile, and nothing was done",
            "run it again",
        ));
    }
    say(&format!("{count} class keys are under {}", next.name()));
    say(
        "next: give keys.root the value of keys.next_root, take that out, restart all servers, and",
    );
    say(
        "take the root key of before off every node. It opens nothing any more but backups that were",
    );
    say(
        "made under it: keep one copy apart from them for as long as you keep those, then destroy it",
    );
    print::done(&json!({ "root": next.name(), "moved": count }))
}

fn split(config: &Config, to: &roots::Split) -> anyhow::Result<()> {
    let name = roots::split(config, to)?;
    say(&format!("made the shares of {name}"));
    say("next: give each to its holder, name them as keys.root = { shares = [...] }, restart, and");
    say("destroy the root key's file with its copies: it opens everything on its own");
    print::done(&json!({ "root": name }))
}

fn create_root(config: &Config, threshold: Option<u8>) -> anyhow::Result<()> {
    let next = config.keys.next_root.as_ref().ok_or_else(|| {
        hinted(
            "keys.next_root is not set",
            "set it to where the new root key is to be; `cardveil init` makes the first one",
        )
    })?;
    let root = roots::create(next, threshold)?;
    roots::refuse_beside_data(config)?;
    say(&format!("made {}", root.name()));
    say(match next {
        RootKey::File(_) => {
            "keep a copy of it in a safe place, apart from every backup of the database"
        }
        RootKey::Shares { .. } => "give each share to its holder: enough of them are the root key",
        RootKey::Module { .. } => "back the token up with its maker's tools: it is the root key",
    });
    print::done(&json!({ "root": root.name() }))
}

/// Whether what is under a key of the class is moved to the next, and does not go by itself.
fn is_moved_from(class: Class) -> bool {
    class.wraps() || matches!(class, Class::Index | Class::Row)
}

/// What a rewrap has done with one version.
#[derive(Serialize)]
struct Report {
    class: &'static str,
    from: u32,
    to: u32,
    moved: u64,
    stuck: usize,
}

async fn rewrap(deployment: &Deployment, args: &RewrapArgs) -> anyhow::Result<()> {
    let keys = deployment.store.class_keys().await?;
    let is_due = |key: &&ClassKey| {
        let class = key.key.class;
        is_moved_from(class)
            && matches!(key.state, State::Retiring { .. })
            && args.class.is_none_or(|asked| asked == class)
    };
    let uses = deployment.store.key_uses().await?;
    let mut reports = Vec::new();
    for key in keys.iter().filter(is_due) {
        let WrappedKey { class, version, .. } = key.key;
        if class == Class::Row {
            reports.push(rows::rewrap(deployment, version, args.per_second).await?);
            continue;
        }
        if class == Class::Index {
            reports.push(index::rewrap(deployment, version, args.per_second).await?);
            continue;
        }
        let is_it = |u: &&keys::Use| (u.class, u.version) == (class, version);
        let total = uses.iter().find(is_it).map_or(0, |u| u.records);
        reports.push(rewrap_one(deployment, args, (class, version), total).await?);
    }
    if reports.is_empty() {
        say("no key is retiring: nothing to move (`cardveil key rotate` makes a new one)");
    }
    print::lines(&reports, |_| Ok(()))?;
    let stuck: usize = reports.iter().map(|report| report.stuck).sum();
    if stuck > 0 {
        return Err(hinted(
            format!("{stuck} records do not open and were left as they are"),
            "they were altered or moved: see vault.tampered in `cardveil audit export`",
        ));
    }
    Ok(())
}

async fn rewrap_one(
    deployment: &Deployment,
    args: &RewrapArgs,
    (class, version): (Class, u32),
    total: u64,
) -> anyhow::Result<Report> {
    let to = deployment.service.vault().sealing_version(class)?;
    let what = format!("{class} {version} -> {to}");
    let mut pace = Pace::new(args.per_second);
    let (mut moved, mut stuck) = (0_u64, Vec::new());
    loop {
        let asked = Rewrap {
            class,
            version,
            stuck: &stuck,
            limit: usize::try_from(pace.batch()).context("a batch")?,
            anew: args.deks,
        };
        let done = deployment.service.rewrap(asked, &operator()).await?;
        let Rewrapped {
            found,
            moved: now,
            stuck: left,
        } = done;
        moved += u64::try_from(now).context("a count")?;
        stuck.extend(left);
        if found == 0 || stuck.len() > STUCK_MAX {
            break;
        }
        if pace.may_tell() {
            say(&format!("{what}: {moved} of {total} records moved"));
        }
        pace.keep().await;
    }
    say(&format!("{what}: done, {moved} records moved"));
    let class = class.name();
    let from = version;
    Ok(Report {
        class,
        from,
        to,
        moved,
        stuck: stuck.len(),
    })
}

/// So many records a second at the most, in batches, and a line each second at the most.
struct Pace {
    batch: u32,
    each: Duration,
    due: Instant,
    told: Option<Instant>,
}

impl Pace {
    fn new(per_second: u32) -> Self {
        // A tenth of a second's worth, so that it goes evenly.
        let batch = (per_second / 10).clamp(1, BATCH_MAX);
        Self {
            batch,
            each: Duration::from_secs(1) * batch / per_second,
            due: Instant::now(),
            told: None,
        }
    }

    const fn batch(&self) -> u32 {
        self.batch
    }

    fn may_tell(&mut self) -> bool {
        let now = Instant::now();
        let may = self
            .told
            .is_none_or(|told| now.duration_since(told) >= Duration::from_secs(1));
        if may {
            self.told = Some(now);
        }
        may
    }

    /// Waits for the batch's own time. What took longer is not made up for.
    async fn keep(&mut self) {
        let now = Instant::now();
        self.due = (self.due + self.each).max(now);
        tokio::time::sleep_until(self.due).await;
    }
}

/// Card verification keys are the card programme's, and each card names its own.
fn refuse_cvk(class: Class) -> anyhow::Result<()> {
    if class != Class::Cvk {
        return Ok(());
    }
    Err(hinted(
        "a card verification key is neither rotated nor retired: cards keep the value printed on them",
        "bring the next one with `cardveil key import-cvk`: new cards get theirs from it",
    ))
}

async fn retire(deployment: &Deployment, class: Class, version: u32) -> anyhow::Result<()> {
    refuse_cvk(class)?;
    if class == Class::Audit {
        return Err(hinted(
            "an audit key is not retired: without it what it has signed could not be verified any more",
            "the audit log is never pruned, so leave the key as it is; `cardveil key rotate` has a new one sign",
        ));
    }
    loop {
        let retirement = Retirement {
            class,
            version,
            at: deployment.service.now(),
            source: operator(),
        };
        match deployment.store.commit(retirement).await? {
            Retired::Done => {
                say(&format!(
                    "version {version} of the {class} key is destroyed"
                ));
                let state = "retired";
                return print::done(
                    &json!({ "class": class.name(), "version": version, "state": state }),
                );
            }
            Retired::NotBefore(ready) => {
                let now = cardveil_core::clock::SystemClock.now();
                let left = u64::try_from(ready.millis() - now.millis()).unwrap_or_default();
                let left = Duration::from_millis(left);
                if left > keys::NOTICE {
                    let what = format!("what was made under it may be good until {ready}");
                    return Err(hinted(what, "try again then"));
                }
                say("waiting until all servers have noticed its rotation");
                tokio::time::sleep(left).await;
            }
            Retired::Unknown => {
                return Err(hinted(
                    format!("there is no version {version} of the {class} key to be retired"),
                    "look at `cardveil key list`",
                ));
            }
            Retired::Active => {
                return Err(hinted(
                    format!("version {version} of the {class} key is the one that seals"),
                    format!("make another one first: cardveil key rotate --class {class}"),
                ));
            }
            Retired::InUse => {
                return Err(hinted(
                    format!("records are under version {version} of the {class} key"),
                    "move them first: cardveil key rewrap",
                ));
            }
        }
    }
}
