//! `cardveil card import`: CSV or JSON lines, streamed, a line at a time in memory and no more than a
//! few batches on their way. A line that is refused is reported by its number and what is wrong with
//! it, never by what it holds; the others go in.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use cardveil_core::audit::{Event, Source};
use cardveil_core::card::{
    CardNumber, CardholderName, Cvv, Expiry, InvalidCard, InvalidText, Kind, Label, State,
    is_unique_no, is_word,
};
use cardveil_core::flow::{Fault, NewCard};
use cardveil_core::id::{AccountId, CardId, CardNo, MerchantId, PersonId};
use cardveil_core::port::{Change, Taken};
use cardveil_core::text::CardNumberIn;
use cardveil_core::vault::{self, ClearCard};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::deployment::{Deployment, operator};
use crate::print::{self, Format, hinted, say};

/// Cards in one commit.
const BATCH: usize = 500;
/// Commits on their way at once.
const IN_FLIGHT: usize = 4;
/// A line longer than this is no card.
const LINE_BYTES_MAX: usize = 8 * 1_024;
/// Refused lines that are told one by one when there is no --report; the rest are counted.
const TOLD_MAX: usize = 20;

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
    /// Write all refused lines there
    #[arg(long)]
    report: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// With a header line
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// A line of either form. Left out: `card_id` is made, `type` is virtual, `state` is active.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    card_no: String,
    #[serde(default)]
    card_id: Option<String>,
    account_id: String,
    person_id: String,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    state: Option<String>,
    pan: String,
    expiry: String,
    #[serde(default)]
    cvv: Option<String>,
    name: String,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    product: Option<String>,
    #[serde(default)]
    card_unique_no: Option<String>,
    #[serde(default)]
    cardholder_no: Option<String>,
}

/// Why a line is refused, in words that repeat nothing of it.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Form(&'static str),
    #[error("{0}: {1}")]
    Field(&'static str, &'static str),
    #[error("{0}: {1}")]
    Text(&'static str, InvalidText),
    #[error(transparent)]
    Card(#[from] InvalidCard),
    #[error(transparent)]
    Number(#[from] CardNumberIn),
    #[error("{0}")]
    Taken(Taken),
    #[error(
        "cvv: this deployment stores none; set issuer.store_cvv_reason to record why it should"
    )]
    NoIssuerMode,
    #[error("cvv: a card verification key gives this card's (`cardveil key cvks`); leave it out")]
    CvvDerived,
}

/// What is on its way: the lines of a batch and their commit.
type Commit = JoinHandle<cardveil_core::port::Result<Vec<Result<(), Taken>>>>;

struct Import<'a> {
    house: &'a Deployment,
    merchant: MerchantId,
    source: Source,
    batch: Vec<(u64, (Change, Event))>,
    in_flight: VecDeque<(Vec<u64>, Commit)>,
    report: Option<File>,
    bar: ProgressBar,
    added: u64,
    refused: u64,
}

/// Runs it.
pub(crate) async fn run(house: &Deployment, args: Args) -> anyhow::Result<ExitCode> {
    house.find_merchant(&args.merchant).await?;
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
    let bar = progress(size);
    let input = BufReader::with_capacity(256 * 1_024, bar.wrap_read(input));
    let mut import = Import {
        house,
        merchant: args.merchant,
        source: operator(),
        batch: Vec::with_capacity(BATCH),
        in_flight: VecDeque::new(),
        report,
        bar,
        added: 0,
        refused: 0,
    };
    match form {
        Form::Csv => import.csv(input).await?,
        Form::Jsonl => import.jsonl(input).await?,
    }
    import.finish(args.format).await
}

/// One card from standard input, as JSON.
pub(crate) fn one_from_stdin(house: &Deployment, merchant: &MerchantId) -> anyhow::Result<NewCard> {
    let mut text = Vec::new();
    std::io::stdin()
        .lock()
        .take(LINE_BYTES_MAX as u64)
        .read_to_end(&mut text)?;
    let row = serde_json::from_slice(&text).map_err(|_| {
        hinted(
            "standard input is not a card as a JSON object",
            "see docs/import.md for its members",
        )
    })?;
    Ok(card(house, merchant, &row)?)
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
        "csv" => Some(Form::Csv),
        "jsonl" | "ndjson" => Some(Form::Jsonl),
        _ => None,
    }
}

fn progress(size: Option<u64>) -> ProgressBar {
    if !print::is_watched() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}  {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    match size {
        Some(size) => ProgressBar::new(size).with_style(style),
        None => ProgressBar::new_spinner(),
    }
}

impl Import<'_> {
    async fn csv(&mut self, input: impl Read) -> anyhow::Result<()> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
        let headers = reader.byte_headers().context("the header line")?.clone();
        check_headers(&headers)?;
        let mut record = csv::ByteRecord::new();
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(error) if matches!(error.kind(), csv::ErrorKind::Io(_)) => {
                    return Err(anyhow::anyhow!("the file could not be read to its end"));
                }
                // The error's own words quote the line.
                Err(_) => anyhow::bail!("the file is not CSV"),
            }
            let line = record.position().map_or(0, csv::Position::line);
            let row = if record.as_slice().len() > LINE_BYTES_MAX {
                Err(Refused::Form("the line is too long"))
            } else if record.len() != headers.len() {
                Err(Refused::Form(
                    "the line does not have as many fields as the header",
                ))
            } else {
                record
                    .deserialize::<Row>(Some(&headers))
                    .map_err(|_| Refused::Form(ROW_FORM))
            };
            self.take(line, row).await?;
        }
    }

    async fn jsonl(&mut self, mut input: impl BufRead) -> anyhow::Result<()> {
        let mut line = Vec::with_capacity(LINE_BYTES_MAX);
        for number in 1.. {
            line.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.len() > LINE_BYTES_MAX {
                input.skip_until(b'\n')?;
                self.take(number, Err(Refused::Form("the line is too long")))
                    .await?;
                continue;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let row = serde_json::from_slice(&line).map_err(|_| Refused::Form(ROW_FORM));
            self.take(number, row).await?;
        }
        Ok(())
    }

    /// One line: sealed and put into the batch, or refused.
    async fn take(&mut self, line: u64, row: Result<Row, Refused>) -> anyhow::Result<()> {
        let new = row.and_then(|row| card(self.house, &self.merchant, &row));
        let change = match new {
            Err(refused) => Err(refused),
            Ok(new) => match self.house.service.card_change(new, &self.source) {
                Ok(change) => change.map_err(Refused::from),
                Err(Fault::Vault(vault::Error::Card(invalid))) => Err(invalid.into()),
                Err(fault) => return Err(fault.into()),
            },
        };
        match change {
            Ok(change) => self.batch.push((line, change)),
            Err(refused) => self.refuse(line, &refused)?,
        }
        if self.batch.len() >= BATCH {
            self.send().await?;
        }
        Ok(())
    }

    /// Sends the batch to be committed, and waits for the oldest when enough are on their way.
    async fn send(&mut self) -> anyhow::Result<()> {
        let (lines, changes) = std::mem::take(&mut self.batch).into_iter().unzip();
        let store = Arc::clone(&self.house.store);
        let commit = tokio::spawn(async move { store.change(changes).await });
        self.in_flight.push_back((lines, commit));
        while self.in_flight.len() > IN_FLIGHT {
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> anyhow::Result<()> {
        let Some((lines, commit)) = self.in_flight.pop_front() else {
            return Ok(());
        };
        // What a panic says is left out: it may be of a card.
        let committed = commit.await.map_err(|_| anyhow!("a commit panicked"))??;
        for (line, result) in lines.into_iter().zip(committed) {
            match result {
                Ok(()) => self.added += 1,
                Err(taken) => self.refuse(line, &Refused::Taken(taken))?,
            }
        }
        self.bar
            .set_message(format!("{} added, {} refused", self.added, self.refused));
        Ok(())
    }

    fn refuse(&mut self, line: u64, refused: &Refused) -> anyhow::Result<()> {
        self.refused += 1;
        if let Some(report) = &mut self.report {
            writeln!(report, "line {line}: {refused}")?;
        } else if self.refused <= TOLD_MAX as u64 {
            self.bar.suspend(|| say(&format!("line {line}: {refused}")));
        }
        Ok(())
    }

    async fn finish(mut self, format: Format) -> anyhow::Result<ExitCode> {
        if !self.batch.is_empty() {
            self.send().await?;
        }
        while !self.in_flight.is_empty() {
            self.settle().await?;
        }
        self.bar.finish_and_clear();
        if self.report.is_none() && self.refused > TOLD_MAX as u64 {
            say(&format!(
                "... and {} more; --report FILE lists all",
                self.refused - TOLD_MAX as u64
            ));
        }
        if format.json {
            print::json(&json!({ "added": self.added, "refused": self.refused }))?;
        } else {
            print::line(&format!("added {}, refused {}", self.added, self.refused))?;
        }
        Ok(if self.refused == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(3)
        })
    }
}

const COLUMNS: [&str; 14] = [
    "card_no",
    "account_id",
    "person_id",
    "pan",
    "expiry",
    "name",
    "card_id",
    "type",
    "state",
    "cvv",
    "label",
    "product",
    "card_unique_no",
    "cardholder_no",
];
/// The first of [`COLUMNS`] must be there.
const REQUIRED: usize = 6;

/// A wrong header is told once, by name, and not once a line.
fn check_headers(headers: &csv::ByteRecord) -> anyhow::Result<()> {
    let known = |header: &[u8]| COLUMNS.iter().any(|column| column.as_bytes() == header);
    if let Some(place) = headers.iter().position(|header| !known(header)) {
        return Err(hinted(
            format!("column {} of the header line is not known", place + 1),
            format!("the columns are {}", COLUMNS.join(", ")),
        ));
    }
    for column in COLUMNS.iter().take(REQUIRED) {
        if !headers.iter().any(|header| header == column.as_bytes()) {
            return Err(hinted(
                format!("the header line has no column {column}"),
                format!(
                    "the required columns are {}",
                    COLUMNS[..REQUIRED].join(", ")
                ),
            ));
        }
    }
    Ok(())
}

const ROW_FORM: &str = "a member is missing, unknown or of the wrong type";

/// The domain's card of a line.
fn card(house: &Deployment, merchant: &MerchantId, row: &Row) -> Result<NewCard, Refused> {
    let word = "must be 1 to 64 letters, digits, _ or -";
    let uuid = "must be a UUID";
    let number = CardNumber::parse(&row.pan)?;
    let network = number.network();
    let cvv = given(row.cvv.as_ref())
        .map(|text| Cvv::parse(text, network))
        .transpose()?;
    if cvv.is_some() && house.service.vault().derives(&number) {
        return Err(Refused::CvvDerived);
    }
    if cvv.is_some() && house.config.issuer.store_cvv_reason.is_none() {
        return Err(Refused::NoIssuerMode);
    }
    let id = given(row.card_id.as_ref()).map(CardId::parse).transpose();
    let kind = given(row.r#type.as_ref()).map_or(Some(Kind::Virtual), Kind::parse);
    let state = given(row.state.as_ref()).map_or(Some(State::Active), State::parse);
    let label = Label::parse(given(row.label.as_ref()).unwrap_or_default())
        .map_err(|invalid| Refused::Text("label", invalid))?;
    let optional = |name, text: Option<&String>, fits: fn(&str) -> bool, what| match given(text) {
        Some(text) if !fits(text) => Err(Refused::Field(name, what)),
        text => Ok(text.map(str::to_owned)),
    };
    Ok(NewCard {
        id: id.map_err(|_| Refused::Field("card_id", uuid))?,
        no: CardNo::parse(&row.card_no).map_err(|_| Refused::Field("card_no", word))?,
        merchant: merchant.clone(),
        account: AccountId::parse(&row.account_id)
            .map_err(|_| Refused::Field("account_id", word))?,
        person: PersonId::parse(&row.person_id).map_err(|_| Refused::Field("person_id", uuid))?,
        kind: kind.ok_or(Refused::Field("type", "must be virtual or physical"))?,
        state: state.ok_or(Refused::Field("state", "must be a card's state"))?,
        label,
        product: optional("product", row.product.as_ref(), is_word, word)?,
        unique_no: optional(
            "card_unique_no",
            row.card_unique_no.as_ref(),
            is_unique_no,
            "must be 1 to 64 printable ASCII characters without a space",
        )?,
        holder_no: optional("cardholder_no", row.cardholder_no.as_ref(), is_word, word)?,
        clear: ClearCard {
            number,
            expiry: Expiry::parse(&row.expiry)?,
            name: CardholderName::parse(&row.name)?,
            cvv,
        },
    })
}

/// CSV has no null: an empty field is one that was left out.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}
