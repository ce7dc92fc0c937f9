//! `cardveil audit`: the log, copies of it, and whether they are what was written.

mod sink;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use cardveil_core::audit::chain::{Chained, Finding, Flaw, Link, Seen, Verifier};
use cardveil_core::audit::{Event, Kind, Target, exported};
use cardveil_core::port::RowPlace;
use cardveil_core::verb::{Commit, RecordEvent};
use cardveil_seal::PublicKey;
use cardveil_server::manifest::parse_key;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::deployment::jwk::Jwk;
use crate::deployment::{Deployment, operator};

use self::sink::SinkCommand;
use crate::print::{self, Yes, hinted, say};

/// How many entries are read at a time.
const PAGE: usize = 1_000;

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Show the last entries
    Tail {
        /// How many
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: u32,
    },
    /// Print all entries as JSON lines, which `verify` takes
    Export {
        /// After this place
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
    /// Find an entry that was edited, removed, moved or inserted; exit code 1 when there is one
    Verify(VerifyArgs),
    /// Show a row that was altered as it stands, beside what is on record of it
    Row {
        /// Its table, as the alarm told it
        table: String,
        /// Its key, as the alarm told it
        #[arg(required = true)]
        key: Vec<String>,
    },
    /// Take a row that was altered for right, as it is now: look at it and put it right before
    Accept {
        /// Its table, as the alarm told it
        table: String,
        /// Its key, as the alarm told it
        #[arg(required = true)]
        key: Vec<String>,
        #[command(flatten)]
        yes: Yes,
    },
    /// Where the log is copied to as it grows
    #[command(subcommand)]
    Sink(SinkCommand),
    /// Print the public keys that checkpoints are signed with, the current one first
    Key,
}

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// Verify these exported files, in this order, and not the log itself
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// With --from: the public key of the checkpoints, so that no deployment is needed; repeat for
    /// several
    // One key in 64 begins with a hyphen.
    #[arg(
        long,
        value_name = "KEY",
        value_parser = public_key,
        requires = "from",
        allow_hyphen_values = true
    )]
    key: Vec<PublicKey>,
    /// Also compare the log with this exported file, which shows what was removed at its end;
    /// repeat for several
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    against: Vec<PathBuf>,
    /// Also compare each row that decides with its MAC and its last event, and find rows that are
    /// gone
    #[arg(long, conflicts_with = "from")]
    rows: bool,
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    parse_key(text).ok_or_else(|| "give a key as `cardveil audit key` prints it".to_owned())
}

/// `cardveil audit`.
pub(crate) async fn run(config: &Path, command: AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Tail { lines } => {
            let (deployment, last) = open(config).await?;
            let after = last.saturating_sub(i64::from(lines));
            show(&deployment, after, last).await?;
        }
        AuditCommand::Export { after } => {
            let (deployment, last) = open(config).await?;
            entries(&deployment, after, last, print::record).await?;
        }
        AuditCommand::Sink(command) => sink::run(config, command).await?,
        AuditCommand::Verify(args) => return verify(config, args).await,
        AuditCommand::Row { table, key } => {
            let deployment = Deployment::load(config).await?;
            record_read(&deployment).await?;
            let row = shown(&deployment, &table, &key.join(" ")).await?;
            print::fields(&row)?;
        }
        AuditCommand::Accept { table, key, yes } => {
            let key = key.join(" ");
            let deployment = Deployment::load(config).await?;
            let row = shown(&deployment, &table, &key).await?;
            for (name, value) in &row {
                say(&format!("{name}  {}", print::compact(value)));
            }
            // From then on lists would show it.
            if let Some((name, _)) = row.iter().find(|(_, value)| *value == "?") {
                return Err(hinted(
                    format!("a card number may stand in {name}, so the row is not taken"),
                    "put that column right in the database first",
                ));
            }
            yes.confirm(&format!(
                "From now on {table} {key} counts as it is in the database, whoever wrote it."
            ))?;
            accept(&deployment, &table, &key).await?;
        }
        AuditCommand::Key => {
            let deployment = Deployment::load(config).await?;
            let keys = deployment.service.vault().audit_keys()?;
            let keys: Vec<_> = keys.iter().map(Jwk::of).collect();
            print::lines(&keys, Jwk::print)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(table: &str, key: &str) -> anyhow::Error {
    hinted(
        format!("nothing is known of a row {table} {key}"),
        "give table and key as `cardveil audit verify --rows` tells them",
    )
}

/// What stands in a row's columns, and what is on record of it.
async fn shown(
    deployment: &Deployment,
    table: &str,
    key: &str,
) -> anyhow::Result<Map<String, Value>> {
    let row = deployment.store.show_row(table, key).await?;
    let row = row.filter(|row| row.version.is_some() || row.last.is_some());
    let row = row.ok_or_else(|| unknown(table, key))?;
    let columns = row.columns.into_iter();
    let mut fields: Map<_, _> = columns
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let mac = match (row.version, row.is_right) {
        (None, _) => "the row is gone",
        (_, Some(true)) => "right",
        (_, Some(false)) => "not right",
        (_, None) => "under a key that is not open here",
    };
    fields.insert("mac".into(), mac.into());
    fields.insert("row_version".into(), row.version.into());
    fields.insert(
        "version_on_record".into(),
        row.last.map(|(version, _)| version).into(),
    );
    let went = row.last.is_some_and(|(_, is_gone)| is_gone);
    fields.insert("went_on_record".into(), went.into());
    Ok(fields)
}

async fn accept(deployment: &Deployment, table: &str, key: &str) -> anyhow::Result<()> {
    let by = operator();
    let accepted = deployment.service.accept_row(table, key, &by).await?;
    let how = accepted.ok_or_else(|| unknown(table, key))?.as_str();
    say(&format!("{table} {key} is taken {how}"));
    print::done(&json!({ "table": table, "key": key, "taken": how }))
}

/// Opens the log, and the place of its last entry.
async fn open(config: &Path) -> anyhow::Result<(Deployment, i64)> {
    let deployment = Deployment::load(config).await?;
    let last = deployment.store.last_entry().await?;
    record_read(&deployment).await?;
    Ok((deployment, last))
}

/// Reading the log is on record too (PCI DSS 10.2.1.3).
async fn record_read(deployment: &Deployment) -> anyhow::Result<()> {
    let target = Target {
        resource: Some("audit log".into()),
        ..Target::default()
    };
    let event = operator().event(deployment.service.now(), Kind::AuditRead, None, target);
    Ok(deployment.store.commit(RecordEvent(event)).await?)
}

async fn show(deployment: &Deployment, after: i64, last: i64) -> anyhow::Result<()> {
    let mut shown = print::List::new();
    entries(deployment, after, last, |record| {
        shown.add(record, |record| print::line(&audit_line(record)))
    })
    .await?;
    shown.end(|| Ok(()))
}

async fn entries(
    deployment: &Deployment,
    mut after: i64,
    last: i64,
    mut each: impl FnMut(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    loop {
        let entries = deployment.store.chained(after, PAGE).await?;
        for entry in entries.iter().filter(|entry| entry.seq <= last) {
            each(&exported(entry))?;
        }
        match entries.last() {
            Some(entry) if entry.seq < last => after = entry.seq,
            Some(_) | None => return Ok(()),
        }
    }
}

/// `place  time  kind  outcome  who  what`, and what was erased of it.
fn audit_line(record: &Value) -> String {
    let part = |name: &str| record.get(name).map(print::compact).unwrap_or_default();
    let erased = match part("erased") {
        none if none.is_empty() => none,
        erased => format!(" erased: {erased}"),
    };
    format!(
        "{:>8}  {}  {:<20}  {:<7}  {}  {} {}{erased}",
        part("seq"),
        part("at"),
        part("kind"),
        part("outcome"),
        part("actor"),
        part("target"),
        part("detail"),
    )
}

/// What was looked at, and what was found.
#[derive(Default, Serialize)]
struct Report {
    ok: bool,
    entries: u64,
    doubles: u64,
    /// Entries that have lost personal values that they were written with.
    erased: u64,
    last_seq: Option<i64>,
    chains: Vec<ChainReport>,
    compared: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<RowsReport>,
    /// The first that is wrong with what was looked at, and the first in which it is not what a
    /// copy says.
    findings: Vec<Told>,
}

/// What was found of the rows that decide.
#[derive(Serialize)]
struct RowsReport {
    checked: usize,
    /// From when on one without is refused.
    all_have_a_mac: bool,
    /// Those that are not what was written last, or are gone.
    altered: Vec<String>,
    /// Entries of the log whose row's version the database does not know any more.
    versions_lost: Vec<i64>,
}

impl RowsReport {
    fn print(&self) -> anyhow::Result<()> {
        for row in &self.altered {
            print::line(&format!("row {row}: not what was written last"))?;
        }
        for seq in &self.versions_lost {
            print::line(&format!(
                "entry {seq}: what it says of its row's version was taken away"
            ))?;
        }
        let rows = self.checked;
        print::line(&if self.all_have_a_mac {
            format!("rows: {rows} compared")
        } else {
            format!("rows: {rows} compared; not all have a MAC yet")
        })
    }
}

#[derive(Serialize)]
struct ChainReport {
    first: u64,
    #[serde(flatten)]
    last: Link,
    signed_place: Option<u64>,
    signed_at: Option<String>,
    unsigned: u64,
}

impl From<&Seen> for ChainReport {
    fn from(seen: &Seen) -> Self {
        Self {
            first: seen.first,
            last: seen.last,
            signed_place: seen.signed.map(|signed| signed.place),
            signed_at: seen.signed.map(|signed| signed.at.to_string()),
            unsigned: seen.unsigned(),
        }
    }
}

/// A finding with its words.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    finding: Finding,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

impl Told {
    fn new(finding: Finding, file: Option<&Path>) -> Self {
        Self {
            finding,
            message: finding.flaw.to_string(),
            file: file.map(Path::to_owned),
        }
    }
}

async fn verify(config: &Path, args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let (report, all) = if args.from.is_empty() {
        verify_log(config, &args).await?
    } else {
        let keys = if args.key.is_empty() {
            let here = "without --key, the keys are those of the deployment here";
            Deployment::load(config)
                .await
                .context(here)?
                .service
                .vault()
                .audit_keys()?
        } else {
            args.key
        };
        (verify_files(&args.from, keys)?, Ok(()))
    };
    print::object(&report, print_report)?;
    all?;
    Ok(ExitCode::from(u8::from(!report.ok)))
}

/// All rows that decide, compared with what is on record of them.
async fn verify_rows(
    deployment: &Deployment,
    versions_lost: Vec<i64>,
) -> anyhow::Result<RowsReport> {
    let macs = deployment.store.row_macs();
    let (mut checked, mut altered) = (0, BTreeSet::new());
    let mut next = Some(RowPlace::default());
    while let Some(place) = next {
        let page = deployment.service.check_rows(&place, PAGE).await?;
        checked += page.checked;
        altered.extend(page.altered);
        next = page.next;
    }
    altered.extend(macs.all_altered());
    Ok(RowsReport {
        checked,
        all_have_a_mac: macs.are_complete(),
        versions_lost,
        altered: altered
            .into_iter()
            .map(|(table, row)| format!("{table} {row}"))
            .collect(),
    })
}

/// What was found; and why a copy could not be read, where the log itself is not what was written.
async fn verify_log(
    config: &Path,
    args: &VerifyArgs,
) -> anyhow::Result<(Report, anyhow::Result<()>)> {
    let (deployment, _) = open(config).await?;
    let keys = deployment.service.vault().audit_keys()?;
    let mut verifier = Verifier::whole(keys.clone());
    let mut finding = None;
    let mut forgotten = Vec::new();
    // Whoever puts an entry before the first one is found too.
    let mut after = i64::MIN;
    // Of what comes meanwhile it is not asked.
    let end = deployment.store.last_entry().await?;
    let persons = if args.rows {
        deployment.store.person_versions().await?
    } else {
        HashSet::new()
    };
    while finding.is_none() {
        let entries = deployment.store.chained(after, PAGE).await?;
        let Some(last) = entries.last() else { break };
        after = last.seq;
        finding = look(&mut verifier, &entries, None);
        // What was altered cannot be asked for its row.
        if args.rows && finding.is_none() {
            let page = (last.seq, entries.len());
            forgotten.extend(versions_lost(&deployment, (end, &persons), page).await?);
        }
    }
    let mut findings = Vec::from_iter(finding);
    let (mut compared, mut all) = (0, Ok(()));
    for copy in &args.against {
        match compare(&deployment, copy, &keys, &mut compared).await {
            Ok(None) => continue,
            Ok(Some(finding)) => findings.push(finding),
            Err(error) if findings.is_empty() => return Err(error),
            Err(error) => all = Err(error),
        }
        break;
    }
    let mut report = report(&verifier, compared, findings);
    if args.rows {
        let rows = verify_rows(&deployment, forgotten).await?;
        report.ok &= rows.altered.is_empty() && rows.versions_lost.is_empty();
        report.rows = Some(rows);
    }
    Ok((report, all))
}

/// The places of those of a page's entries whose row's version the store does not know any more.
async fn versions_lost(
    deployment: &Deployment,
    (end, persons): (i64, &HashSet<(i64, u64)>),
    (last, count): (i64, usize),
) -> anyhow::Result<Vec<i64>> {
    let before = last.saturating_sub(i64::try_from(count).unwrap_or(i64::MAX));
    let mut forgotten = Vec::new();
    for entry in deployment.store.entries(before, count).await? {
        if entry.seq > last {
            break;
        }
        let is_known = entry.seq <= end && is_of_person(&entry.event);
        let version = entry.event.target.version.filter(|_| is_known);
        let is_kept = match version {
            Some(version) => persons.contains(&(entry.seq, version)),
            None => deployment.store.keeps_version_of(&entry).await?,
        };
        if !is_kept {
            forgotten.push(entry.seq);
        }
    }
    Ok(forgotten)
}

/// Whether the version that an entry tells is of a person's row. Those from before may tell a
/// session's, which counted by one.
fn is_of_person(event: &Event) -> bool {
    const OF_A_SESSION: u64 = 1_000;
    let of_person_alone = matches!(
        event.kind,
        Kind::MfaEnrolled | Kind::MfaConfirmed | Kind::MfaRemoved | Kind::MfaReset
    );
    let is_mfa = event.kind.as_str().starts_with("mfa.");
    of_person_alone || (is_mfa && event.target.version > Some(OF_A_SESSION))
}

/// The first entry of a copy that is not in the log, or not right of itself; counts those that are.
async fn compare(
    deployment: &Deployment,
    copy: &Path,
    keys: &[PublicKey],
    compared: &mut u64,
) -> anyhow::Result<Option<Told>> {
    let mut rows = Rows::new(deployment);
    let mut part = Verifier::part(keys.to_vec());
    for entry in entries_of(copy)? {
        let entry = match entry? {
            Ok(entry) => entry,
            Err(finding) => return Ok(Some(Told::new(finding, Some(copy)))),
        };
        let doubles = part.doubles();
        let of_itself = look(&mut part, std::slice::from_ref(&entry), Some(copy));
        if of_itself.is_some() {
            return Ok(of_itself);
        }
        if part.doubles() > doubles {
            continue;
        }
        if let Some(finding) = rows.compare(&entry).await? {
            return Ok(Some(Told::new(finding, Some(copy))));
        }
        *compared += 1;
    }
    Ok(None)
}

fn verify_files(files: &[PathBuf], keys: Vec<PublicKey>) -> anyhow::Result<Report> {
    let mut verifier = Verifier::part(keys);
    for file in files {
        for entry in entries_of(file)? {
            let found = match entry? {
                Ok(entry) => look(&mut verifier, &[entry], Some(file)),
                Err(finding) => Some(Told::new(finding, Some(file))),
            };
            if found.is_some() {
                return Ok(report(&verifier, 0, Vec::from_iter(found)));
            }
        }
    }
    Ok(report(&verifier, 0, Vec::new()))
}

fn look(verifier: &mut Verifier, entries: &[Chained], file: Option<&Path>) -> Option<Told> {
    let found = entries.iter().find_map(|entry| verifier.look(entry).err());
    found.map(|finding| Told::new(finding, file))
}

fn report(verifier: &Verifier, compared: u64, findings: Vec<Told>) -> Report {
    Report {
        ok: findings.is_empty(),
        entries: verifier.count(),
        doubles: verifier.doubles(),
        erased: verifier.erased(),
        last_seq: verifier.last_seq(),
        chains: verifier.chains().map(ChainReport::from).collect(),
        compared,
        rows: None,
        findings,
    }
}

fn print_report(report: &Report) -> anyhow::Result<()> {
    for chain in &report.chains {
        print::line(&format!(
            "chain {}: places {} to {}, hash {}",
            chain.last.chain, chain.first, chain.last.place, chain.last.hash
        ))?;
        print::line(&match (&chain.signed_at, chain.signed_place) {
            (Some(at), Some(place)) => format!(
                "  signed to place {place} at {at}; {} since then",
                chain.unsigned
            ),
            _ => "  not signed: whoever can write to it can have made it anew".to_owned(),
        })?;
    }
    for told in &report.findings {
        let file = told.file.as_ref();
        let place = file.map_or_else(String::new, |file| format!(" of {}", file.display()));
        print::line(&format!(
            "NOT WHAT WAS WRITTEN: entry {}{place}: {}",
            told.finding.seq, told.message
        ))?;
    }
    if report.erased > 0 {
        print::line(&format!(
            "{} entries have lost personal values that they were written with",
            report.erased
        ))?;
    }
    if let Some(rows) = &report.rows {
        rows.print()?;
    }
    if !report.ok {
        return Ok(());
    }
    print::line(&if report.compared > 0 {
        format!(
            "ok: {} entries, and {} of copies are in it",
            report.entries, report.compared
        )
    } else if report.doubles > 0 {
        format!(
            "ok: {} entries, {} of them more than once",
            report.entries, report.doubles
        )
    } else {
        format!("ok: {} entries", report.entries)
    })
}

/// A line of an export.
#[derive(Deserialize)]
struct Line {
    seq: i64,
    #[serde(flatten)]
    link: Link,
    stored: String,
    personal: Option<String>,
}

/// The entries of an exported file: an error when it is none, a finding where a line says something
/// else than what it has stored.
fn entries_of(
    path: &Path,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Result<Chained, Finding>>>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = (1_u64..).zip(BufReader::new(file).lines());
    // Some syslog receivers keep the line feed at a message's end, and write one of their own.
    let said = lines.filter(|(_, line)| !line.as_ref().is_ok_and(String::is_empty));
    Ok(said.map(move |(number, line)| {
        let at = || format!("{}, line {number}", path.display());
        let line = line.with_context(at)?;
        let record: Value = serde_json::from_str(&line).map_err(|_| no_export(&at()))?;
        let parsed: Line = serde_json::from_value(record.clone()).map_err(|_| no_export(&at()))?;
        let entry = Chained {
            seq: parsed.seq,
            link: parsed.link,
            stored: parsed.stored,
            personal: parsed.personal,
        };
        if exported(&entry) == record {
            Ok(Ok(entry))
        } else {
            let (seq, flaw) = (entry.seq, Flaw::Edited);
            Ok(Err(Finding { seq, flaw }))
        }
    }))
}

fn no_export(at: &str) -> anyhow::Error {
    hinted(
        format!("{at} is no entry with its place in the chain"),
        "give what `cardveil audit export` of this version or a later one has printed, whole",
    )
}

/// The log's entries beside those of a copy.
struct Rows<'a> {
    deployment: &'a Deployment,
    page: VecDeque<Chained>,
}

impl<'a> Rows<'a> {
    const fn new(deployment: &'a Deployment) -> Self {
        Self {
            deployment,
            page: VecDeque::new(),
        }
    }

    /// Whether the log has this entry of a copy. The copy's entries come in their order.
    async fn compare(&mut self, copy: &Chained) -> anyhow::Result<Option<Finding>> {
        while self.page.front().is_some_and(|entry| entry.seq < copy.seq) {
            self.page.pop_front();
        }
        if self.page.is_empty() {
            let after = copy.seq.saturating_sub(1);
            self.page = self.deployment.store.chained(after, PAGE).await?.into();
        }
        let flaw = match self.page.front() {
            Some(entry) if entry.is_same(copy) => return Ok(None),
            Some(entry) if entry.seq == copy.seq => Flaw::Different,
            Some(_) | None => Flaw::Removed,
        };
        Ok(Some(Finding {
            seq: copy.seq,
            flaw,
        }))
    }
}
