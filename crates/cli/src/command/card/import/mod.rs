//! `cardveil card import`: CSV or JSON lines, streamed, a line at a time in memory and no more than
//! a few batches on their way. A line that is refused is reported by its number and what is wrong
//! with it, never by what it holds; the others go in. Where a line cannot be told from the next,
//! nothing after it is read.

mod lines;
mod progress;
mod row;
mod stop;
mod table;

use std::collections::{HashSet, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use cardveil_core::audit::{Event, Source};
use cardveil_core::card::{Card, CardRef, State};
use cardveil_core::flow::{Fault, NewCard};
use cardveil_core::id::MerchantId;
use cardveil_core::port::{self, Change, Store, Taken};
use cardveil_core::vault;
use cardveil_core::verb::{Changes, Commit};
use clap::ValueEnum;
use serde_json::json;
use tokio::task::JoinHandle;

use self::lines::{LINE_BYTES_MAX, Line, Lines};
use self::progress::Progress;
use self::row::{Members, Refused, Row};
use self::stop::{Place, Stop};
use self::table::Table;
use crate::deployment::{Deployment, operator};
use crate::print::{self, hinted, say};

/// Cards in one commit.
const BATCH: usize = 500;
/// Commits on their way at once.
const IN_FLIGHT: usize = 4;
/// Refused lines, and warnings, that are told one by one when there is no --report; the rest are
/// counted.
const TOLD_MAX: u64 = 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The file, or `-` for standard input
    file: PathBuf,
    /// Of which merchant
    #[arg(long)]
    merchant: MerchantId,
    /// The file's form; by its ending when left out
    #[arg(long, value_enum)]
    form: Option<Form>,
    /// Read the file and say what an import would; write nothing
    #[arg(long)]
    check: bool,
    /// Write all refused lines, and all warnings, there
    #[arg(long)]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// With a header line
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// What is worth a look in a card that was taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Warning {
    Expired,
    Repeated,
}

impl Warning {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "the card is active and has expired",
            Self::Repeated => "the card's number stands in the file before",
        }
    }
}

/// A card on its way.
struct Sent {
    place: Place,
    warnings: Vec<Warning>,
}

/// The cards of a batch and what became of them.
type Running = JoinHandle<port::Result<Vec<Result<(), Taken>>>>;

struct Import<'a> {
    deployment: &'a Deployment,
    merchant: MerchantId,
    source: Source,
    check: bool,
    seen: Seen,
    batch: Vec<(Sent, (Change, Event))>,
    in_flight: VecDeque<(Vec<Sent>, Running)>,
    report: Option<File>,
    progress: Progress,
    tally: Tally,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    added: u64,
    refused: u64,
    expired: u64,
    repeated: u64,
    not_utf8: bool,
}

/// What stood in the file before: eight bytes of each card's number, and where nothing is written,
/// of each name, under a key that this import alone has. A number's index is no measure of it: the
/// key of the index may become another one meanwhile.
#[derive(Default)]
struct Seen {
    numbers: HashSet<u64>,
    names: HashSet<u64>,
    keys: RandomState,
}

impl Seen {
    fn number(&mut self, number: u64) -> bool {
        !self.numbers.insert(number)
    }

    fn name(&mut self, card: &Card) -> bool {
        let no = self.names.insert(self.keys.hash_one(card.no.as_str()));
        let id = self.names.insert(self.keys.hash_one(card.id.as_bytes()));
        !(no && id)
    }
}

/// Runs it.
pub(crate) async fn run(deployment: &Deployment, args: Args) -> anyhow::Result<ExitCode> {
    deployment.find_merchant(&args.merchant).await?;
    let form = args.form.or_else(|| form_of(&args.file)).ok_or_else(|| {
        hinted(
            "the file's ending does not tell its form",
            "give --form csv or --form jsonl",
        )
    })?;
    let (input, size): (Box<dyn Read>, Option<u64>) = if args.file.as_os_str() == "-" {
        (Box::new(std::io::stdin()), None)
    } else {
        let file = File::open(&args.file)
            .with_context(|| format!("cannot open {}", args.file.display()))?;
        let size = file.metadata()?.len();
        (Box::new(file), Some(size))
    };
    let report = args.report.as_deref().map(create_report).transpose()?;
    let progress = Progress::new(size);
    let input = BufReader::with_capacity(256 * 1_024, progress.reads(input));
    let input = text_of(input, form)?;
    let mut import = Import {
        deployment,
        merchant: args.merchant,
        source: operator(),
        check: args.check,
        seen: Seen::default(),
        batch: Vec::with_capacity(BATCH),
        in_flight: VecDeque::new(),
        report,
        progress,
        tally: Tally::default(),
    };
    let read = match form {
        Form::Csv => import.csv(input).await?,
        Form::Jsonl => import.jsonl(input).await?,
    };
    // What came before the place where it stopped is settled and told.
    let ended = import.finish().await?;
    read?;
    Ok(ended)
}

/// One card from standard input, as JSON.
pub(crate) fn one_from_stdin(
    deployment: &Deployment,
    merchant: &MerchantId,
) -> anyhow::Result<NewCard> {
    let mut text = Vec::new();
    std::io::stdin()
        .lock()
        .take(LINE_BYTES_MAX as u64)
        .read_to_end(&mut text)?;
    let text = text.strip_prefix(lines::MARK).unwrap_or(&text);
    let members: Members = serde_json::from_slice(text).map_err(|_| {
        hinted(
            "standard input is not a card as a JSON object",
            "`cardveil help import` says what its members are",
        )
    })?;
    Ok(row::card(deployment, merchant, &members.row()?)?)
}

/// A new file: one that is there, or a link, may be anybody's.
fn create_report(path: &Path) -> anyhow::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map_err(|error| {
        let hint = "give --report the name of a file that is not there yet";
        hinted(format!("cannot create {}: {error}", path.display()), hint)
    })
}

fn form_of(path: &Path) -> Option<Form> {
    match path.extension()?.to_str()? {
        "csv" | "tsv" => Some(Form::Csv),
        "jsonl" | "ndjson" => Some(Form::Jsonl),
        _ => None,
    }
}

/// The input, unless its first bytes tell that it is something else.
fn text_of(mut input: impl BufRead, form: Form) -> Result<impl BufRead, Stop> {
    let mut head = Vec::with_capacity(4);
    input.by_ref().take(4).read_to_end(&mut head)?;
    if let Some((what, hint)) = lines::foreign(&head) {
        return Err(Stop::Foreign(what, hint));
    }
    let begin = head.strip_prefix(lines::MARK).unwrap_or(&head);
    if form == Form::Jsonl && begin.trim_ascii_start().starts_with(b"[") {
        return Err(Stop::NotLines(1));
    }
    Ok(Cursor::new(head).chain(input))
}

impl Import<'_> {
    async fn csv(&mut self, input: impl BufRead) -> anyhow::Result<Result<(), Stop>> {
        let mut table = Table::open(input)?;
        loop {
            match table.next() {
                Ok(Some((place, row))) => self.take(place, row).await?,
                Ok(None) => return Ok(Ok(())),
                Err(stop) => return Ok(Err(stop)),
            }
        }
    }

    async fn jsonl(&mut self, input: impl BufRead) -> anyhow::Result<Result<(), Stop>> {
        let mut lines = Lines::new(input);
        let mut line = Vec::with_capacity(LINE_BYTES_MAX);
        let mut is_first = true;
        loop {
            line.clear();
            let read = match lines.read(&mut line) {
                Ok(Line::End) => return Ok(Ok(())),
                Ok(read) => read,
                Err(error) => return Ok(Err(error.into())),
            };
            let row = match (read, std::str::from_utf8(&line)) {
                (Line::TooLong, _) => Err(Refused::TooLong),
                (_, Err(_)) => Err(Refused::NotUtf8),
                (_, Ok(text)) if text.trim_ascii().is_empty() => continue,
                (_, Ok(text)) => match serde_json::from_str::<Members>(text) {
                    Ok(members) => members.row(),
                    Err(error) if is_first && error.is_eof() => {
                        return Ok(Err(Stop::NotLines(lines.number())));
                    }
                    Err(_) => Err(Refused::NotAnObject),
                },
            };
            is_first = false;
            self.take(Place::of(lines.number()), row).await?;
        }
    }

    /// One line: sealed and put into the batch, or refused.
    async fn take(&mut self, place: Place, row: Result<Row, Refused>) -> anyhow::Result<()> {
        let new = row.and_then(|row| row::card(self.deployment, &self.merchant, &row));
        match new {
            Err(refused) => self.refuse(place, &refused)?,
            Ok(new) => self.seal(place, new)?,
        }
        if self.batch.len() >= BATCH {
            self.send().await?;
        }
        Ok(())
    }

    fn seal(&mut self, place: Place, new: NewCard) -> anyhow::Result<()> {
        let now = self.deployment.service.now();
        let expired = new.state == State::Active && new.clear.expiry.ends_at() <= now;
        let number = self.seen.keys.hash_one(new.clear.number.expose());
        let change = match self.deployment.service.card_change(new, &self.source) {
            Ok(Ok(change)) => change,
            Ok(Err(number)) => return self.refuse(place, &number.into()),
            Err(Fault::Vault(vault::Error::Card(invalid))) => {
                return self.refuse(place, &invalid.into());
            }
            Err(fault) => return Err(fault.into()),
        };
        let mut warnings = Vec::new();
        if expired {
            warnings.push(Warning::Expired);
        }
        if let Change::AddCard(card) = &change.0 {
            if self.check && self.seen.name(card) {
                return self.refuse(place, &Refused::Taken(Taken::Exists));
            }
            if self.seen.number(number) {
                warnings.push(Warning::Repeated);
            }
        }
        self.batch.push((Sent { place, warnings }, change));
        Ok(())
    }

    /// Sends the batch to be committed, and waits for the oldest when enough are on their way.
    async fn send(&mut self) -> anyhow::Result<()> {
        let (sent, changes) = std::mem::take(&mut self.batch).into_iter().unzip();
        let store = Arc::clone(&self.deployment.store);
        let check = self.check;
        let commit = tokio::spawn(async move {
            if check {
                would_be_taken(&*store, changes).await
            } else {
                store.commit(Changes(changes)).await
            }
        });
        self.in_flight.push_back((sent, commit));
        while self.in_flight.len() > IN_FLIGHT {
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> anyhow::Result<()> {
        let Some((sent, commit)) = self.in_flight.pop_front() else {
            return Ok(());
        };
        // What a panic says is left out: it may be of a card.
        let committed = commit.await.map_err(|_| anyhow!("a commit panicked"))??;
        for (sent, result) in sent.into_iter().zip(committed) {
            match result {
                Ok(()) => {
                    self.tally.added += 1;
                    self.warn(&sent)?;
                }
                Err(taken) => self.refuse(sent.place, &Refused::Taken(taken))?,
            }
        }
        let lines = self.tally.added + self.tally.refused;
        self.progress.tell(&self.tally.words(self.check), lines);
        Ok(())
    }

    fn warn(&mut self, sent: &Sent) -> anyhow::Result<()> {
        for warning in &sent.warnings {
            match warning {
                Warning::Expired => self.tally.expired += 1,
                Warning::Repeated => self.tally.repeated += 1,
            }
            let line = format!("{}: warning: {}", sent.place, warning.as_str());
            self.tell(&line, self.tally.warnings())?;
        }
        Ok(())
    }

    fn refuse(&mut self, place: Place, refused: &Refused) -> anyhow::Result<()> {
        self.tally.refused += 1;
        self.tally.not_utf8 |= matches!(refused, Refused::NotUtf8);
        self.tell(&format!("{place}: {refused}"), self.tally.refused)
    }

    /// The so many-th line of its kind.
    fn tell(&mut self, line: &str, count: u64) -> anyhow::Result<()> {
        if let Some(report) = &mut self.report {
            writeln!(report, "{line}")?;
        } else if count <= TOLD_MAX {
            self.progress.say(line);
        }
        Ok(())
    }

    async fn finish(mut self) -> anyhow::Result<ExitCode> {
        if !self.batch.is_empty() {
            self.send().await?;
        }
        while !self.in_flight.is_empty() {
            self.settle().await?;
        }
        self.progress.end();
        let tally = self.tally;
        let more = [tally.refused, tally.warnings()].map(|told| told.saturating_sub(TOLD_MAX));
        if self.report.is_none() && more != [0, 0] {
            let [refused, warned] = more;
            say(&format!(
                "... and {} more; --report FILE lists all",
                refused + warned
            ));
        }
        if tally.not_utf8 {
            say(
                "hint: the file is in an encoding of its own: iconv -f WINDOWS-1252 -t UTF-8, or as its \
                 program exports it, makes it UTF-8",
            );
        }
        let (added, refused) = if self.check {
            ("would_add", "would_refuse")
        } else {
            ("added", "refused")
        };
        let told = json!({
            added: tally.added,
            refused: tally.refused,
            "expired": tally.expired,
            "repeated": tally.repeated,
        });
        print::object(&told, |_| print::line(&tally.words(self.check)))?;
        Ok(if tally.refused == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(3)
        })
    }
}

impl Tally {
    const fn warnings(&self) -> u64 {
        self.expired + self.repeated
    }

    fn words(&self, check: bool) -> String {
        let (add, refuse) = if check {
            ("would add", "refuse")
        } else {
            ("added", "refused")
        };
        let mut words = format!("{add} {}, {refuse} {}", self.added, self.refused);
        let warnings = [
            (self.expired, "active but expired"),
            (self.repeated, "of a number that stands in the file before"),
        ];
        for (count, what) in warnings.into_iter().filter(|(count, _)| *count > 0) {
            // Writing to a string does not fail.
            let _ = write!(words, ", {count} {what}");
        }
        words
    }
}

/// What `change` would say of these cards.
async fn would_be_taken(
    store: &dyn Store,
    changes: Vec<(Change, Event)>,
) -> port::Result<Vec<Result<(), Taken>>> {
    let mut results = Vec::with_capacity(changes.len());
    for (change, _) in changes {
        let mut exists = false;
        if let Change::AddCard(card) = change {
            let names = [CardRef::No(card.no.clone()), CardRef::Id(card.id)];
            for name in names {
                exists |= store.card(&card.merchant, &name).await?.is_some();
            }
        }
        results.push(if exists { Err(Taken::Exists) } else { Ok(()) });
    }
    Ok(results)
}
