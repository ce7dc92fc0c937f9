//! All rows that decide, page by page: they get their MACs, move to another key, and are compared
//! with what was written last.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::LazyLock;

use async_trait::async_trait;
use cardveil_core::audit::{Entry, Event, Kind, Target};
use cardveil_core::id::{CardId, CredentialId, EmbedId, MerchantId};
use cardveil_core::port::rows::{Accepted, GuardRows, GuardedPage, Loaded};
use cardveil_core::port::{CheckedPage, Error, Result, RowChecks, RowPlace, ShownRow};
use cardveil_core::text::holds_card_number;
use cardveil_core::vault::{self, RowMacs, tellable};
use serde::Deserialize;

use super::deciding::{Deciding, RowKey, UNVERSIONED, message, note};
use super::lookups::Lookups;
use super::rows::{
    CARD, CLASS_KEY, CREDENTIAL, EMBED, MERCHANT, PERSON, SESSION, SUBSCRIPTION, TOKEN,
};
use super::table::Table;
use super::value::{Lossy, Row, Value, values};
use super::{Loads, Sql, sql_count};
use crate::Store;

/// A kind of rows that decide, without its type.
struct Shape {
    name: &'static str,
    key: usize,
    deciding: Deciding,
    columns: Vec<&'static str>,
    first_page: String,
    next_page: String,
    find: String,
    guard: String,
    under: String,
}

static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let all = [
        shape(&MERCHANT),
        shape(&CREDENTIAL),
        shape(&EMBED),
        shape(&SUBSCRIPTION),
        shape(&PERSON),
        shape(&CLASS_KEY),
        shape(&TOKEN),
        shape(&SESSION),
        shape(&CARD),
    ];
    all.into_iter().flatten().collect()
});

/// Nothing for a kind that does not decide.
fn shape<T>(table: &Table<T>) -> Option<Shape> {
    let deciding = table.deciding?;
    let columns: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
    let (name, select, find) = (table.name, table.select(), table.find());
    let key = columns.iter().take(table.key).copied();
    let key = key.collect::<Vec<_>>().join(", ");
    let places = |from: usize| {
        let places = (from..from + table.key).map(|place| format!("${place}"));
        places.collect::<Vec<_>>().join(", ")
    };
    let limit = table.key + 1;
    let is_it = columns.iter().take(table.key).zip(3..);
    let is_it = is_it.map(|(name, place)| format!("{name} = ${place}"));
    let is_it = is_it.collect::<Vec<_>>().join(" AND ");
    Some(Shape {
        name,
        key: table.key,
        deciding,
        first_page: format!("SELECT {select} FROM {name} ORDER BY {key} LIMIT $1"),
        next_page: format!(
            "SELECT {select} FROM {name} WHERE ({key}) > ({}) ORDER BY {key} LIMIT ${limit}",
            places(1)
        ),
        find,
        guard: format!("UPDATE {name} SET row_version = $1, mac = $2 WHERE {is_it}"),
        under: format!("SELECT 1 FROM {name} WHERE substr(mac, 1, 4) = $1 LIMIT 1"),
        columns,
    })
}

/// A row of a page.
struct Found {
    key: Vec<u8>,
    version: i64,
    mac: Option<Vec<u8>>,
    /// What its MAC is over; of a row without one, at the version that comes with it.
    message: Vec<u8>,
    shown: String,
}

impl Shape {
    fn page(&self, after: Option<&[u8]>, limit: usize) -> (&str, Vec<Value>) {
        match after.and_then(key_values) {
            Some(mut key) => {
                key.push(sql_count(limit).into());
                (&self.next_page, key)
            }
            None => (&self.first_page, values![sql_count(limit)].into()),
        }
    }

    /// What the MAC of a row is over at a version.
    fn said<R: Row>(&self, row: &R, version: i64) -> std::result::Result<Vec<u8>, R::Fault> {
        let of = (self.name, &self.deciding);
        message(of, self.columns.len(), version, |place, out| {
            row.put(place, out)
        })
    }

    /// What people may see of its columns: nobody's card number, whoever wrote it there.
    fn columns_of<R: Row>(&self, row: &R) -> Vec<(&'static str, Option<String>)> {
        let told = |place| {
            if let Ok(Some(bytes)) = row.get::<Option<Vec<u8>>>(place) {
                // Sealed, a hash or a key; what is so long is an id.
                if bytes.len() != 16 {
                    return Some(format!("{} bytes", bytes.len()));
                }
            }
            let told = row.told(place)?;
            // One time in ten passes for a card number, and one id in two hundred.
            let is_time = told.parse().is_ok_and(|ms| TIMES.contains(&ms));
            let is_ours = is_time || told.parse::<CardId>().is_ok();
            Some(match told.char_indices().nth(SHOWN_MAX) {
                _ if !is_ours && holds_card_number(&told) => "?".to_owned(),
                Some((end, _)) => format!("{}...", told.get(..end).unwrap_or_default()),
                None => told,
            })
        };
        let columns = self.columns.iter().enumerate();
        columns.map(|(place, name)| (*name, told(place))).collect()
    }

    fn read<R: Row>(&self, row: &R) -> std::result::Result<Found, R::Fault> {
        let at = self.columns.len();
        let version = row.get::<Option<i64>>(at)?.unwrap_or(UNVERSIONED);
        let mut key = Vec::new();
        for place in 0..self.key {
            row.put(place, &mut key)?;
        }
        let shown = (0..self.key).map(|place| row.shown(place));
        let mac: Option<_> = row.get(at + 1)?;
        let guarded = if mac.is_some() { version } else { version + 1 };
        Ok(Found {
            key,
            version,
            mac,
            message: self.said(row, guarded)?,
            shown: shown.collect::<Vec<_>>().join(" "),
        })
    }
}

/// The kind of a table, and a key of it, from how people are told them.
fn asked_for(table: &str, key: &str) -> Option<(&'static Shape, Vec<Value>)> {
    let shape = SHAPES.iter().find(|shape| shape.name == table)?;
    let values: Vec<_> = key.split(' ').map(key_value).collect();
    (values.len() == shape.key).then_some((shape, values))
}

/// How a MAC says a key.
fn said_key(values: &[Value]) -> Vec<u8> {
    let mut key = Vec::new();
    for value in values {
        value.put(&mut key);
    }
    key
}

/// A part of a key, from how people are told it.
fn key_value(shown: &str) -> Value {
    if let Ok(number) = shown.parse::<i64>() {
        return number.into();
    }
    match shown.parse::<CardId>() {
        Ok(id) => id.as_bytes().into(),
        Err(_) => shown.into(),
    }
}

/// The values of a key, from how a MAC says them.
fn key_values(mut key: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    while let Some((kind, rest)) = key.split_first() {
        let (number, rest) = rest.split_first_chunk()?;
        if *kind == b'i' {
            values.push(Value::Int(i64::from_be_bytes(*number)));
            key = rest;
            continue;
        }
        let length = usize::try_from(u64::from_be_bytes(*number)).ok()?;
        let (bytes, rest) = rest.split_at_checked(length)?;
        values.push(match kind {
            b't' => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
            _ => Value::Bytes(bytes.to_vec()),
        });
        key = rest;
    }
    Some(values)
}

/// The place behind a page: in the same kind, at the next, or nowhere.
fn behind(kind: usize, kinds: usize, last: Option<Vec<u8>>, is_full: bool) -> Option<RowPlace> {
    match last.filter(|_| is_full) {
        Some(last) => Some(RowPlace {
            kind,
            after: Some(last),
        }),
        None if kind + 1 < kinds => Some(RowPlace {
            kind: kind + 1,
            after: None,
        }),
        None => None,
    }
}

impl<B: Sql> GuardRows for Loads<'_, B> {
    fn guard_rows(&self, at: &RowPlace, limit: usize) -> Loaded<GuardedPage> {
        let mut page = GuardedPage::default();
        let Some(shape) = SHAPES.get(at.kind) else {
            return Ok(page);
        };
        let macs = self.macs();
        let Some(current) = macs.version() else {
            return Ok(page);
        };
        page.kind = shape.name;
        if shape.deciding.keeps.is_brief() {
            self.send_tokens().map_err(Into::into)?;
        }
        let (sql, values) = shape.page(at.after.as_deref(), limit);
        let held: &'static str = held(sql);
        let found = self.all(held, values, |row| shape.read(row))?;
        let last = found.last().map(|row| row.key.clone());
        page.next = behind(at.kind, SHAPES.len(), last, found.len() == limit);
        let bare = found.iter().filter(|row| row.mac.is_none());
        let bare: Vec<_> = bare.map(|row| (shape.name, row.key.clone())).collect();
        // Whoever took a MAC away is not given another.
        let had_one = if bare.is_empty() {
            LastChanges::default()
        } else {
            self.0.last_changes(&bare).map_err(Into::into)?
        };
        let judged = found.iter().map(|row| {
            let lost_it = row.mac.is_none() && had_one.contains_key(&row.key);
            if lost_it {
                note(macs, shape.name, &row.shown);
                return Some(false);
            }
            is_right(macs, shape, row)
        });
        // No MAC is given to what nobody has checked.
        let Some(judged) = judged.collect::<Option<Vec<_>>>() else {
            let closed = "a row is under a key that is not open here";
            return Err(Error::Unavailable(closed.into()).into());
        };
        for (row, is_right) in found.into_iter().zip(judged) {
            if !is_right {
                page.altered += 1;
                continue;
            }
            let is_current = |mac: &Vec<u8>| mac.starts_with(&current.to_be_bytes());
            let version = match &row.mac {
                Some(mac) if is_current(mac) => continue,
                Some(_) => {
                    page.moved += 1;
                    row.version
                }
                None => {
                    page.given += 1;
                    let key = (shape.name, row.key.clone());
                    self.versions().saw(key.clone(), row.version);
                    self.versions().advance(key, shape.deciding.keeps, 1)
                }
            };
            let unavailable = |error: vault::Error| Error::Unavailable(error.to_string());
            let mac = macs.make(&row.message).map_err(unavailable)?;
            let mut values: Vec<_> = values![version, mac].into();
            values.extend(key_values(&row.key).unwrap_or_default());
            self.send(&shape.guard, values)?;
        }
        Ok(page)
    }

    fn accept_row(&self, table: &str, key: &str) -> Loaded<Option<Accepted>> {
        let asked = asked_for(table, key);
        let Some((shape, values)) = asked.filter(|(shape, _)| !shape.deciding.keeps.is_brief())
        else {
            return Ok(None);
        };
        let row: RowKey = (shape.name, said_key(&values));
        let last = self.0.last_changes(std::slice::from_ref(&row));
        let last = last.map_err(Into::into)?.remove(&row.1);
        let (version, was_gone) = last.unwrap_or((UNVERSIONED, false));
        let step = self.versions().step(shape.deciding.keeps);
        let found = self.first(&shape.find, values, |found| {
            Ok((shape.read(found)?, shape.said(found, version + step)?))
        })?;
        self.versions().saw(row.clone(), version);
        let Some((found, message)) = found else {
            let is_known = version > UNVERSIONED && !was_gone;
            if is_known {
                self.versions().goes(row);
            }
            return Ok(is_known.then_some(Accepted::AsGone));
        };
        let version = self.versions().advance(row, shape.deciding.keeps, step);
        let unavailable = |error: vault::Error| Error::Unavailable(error.to_string());
        let mac = self.macs().make(&message).map_err(unavailable)?;
        let mut values: Vec<_> = values![version, mac].into();
        values.extend(key_values(&found.key).unwrap_or_default());
        self.send(&shape.guard, values)?;
        Ok(Some(Accepted::AsItIs))
    }

    fn has_guarded(&self, version: u32) -> Loaded<bool> {
        for shape in SHAPES
            .iter()
            .filter(|shape| !shape.deciding.keeps.is_brief())
        {
            let under = values![version.to_be_bytes()];
            if self.first(&shape.under, under, |_| Ok(()))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a row is what was written, as far as its MAC tells. `None`: the key that it is under is
/// not open here.
fn is_right(macs: &RowMacs, shape: &Shape, row: &Found) -> Option<bool> {
    let is_right = macs.check(&row.message, row.mac.as_deref());
    if is_right == Some(false) {
        note(macs, shape.name, &row.shown);
    }
    is_right
}

/// The statement of a page with its rows held, made once.
fn held(page: &str) -> &'static str {
    static HELD: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
        let pages = SHAPES
            .iter()
            .flat_map(|shape| [&shape.first_page, &shape.next_page]);
        let held = |page: &String| (page.clone(), format!("{page} FOR UPDATE"));
        pages.map(held).collect()
    });
    HELD.get(page).map_or("", String::as_str)
}

/// How many characters of a column people are shown.
const SHOWN_MAX: usize = 500;
/// Times in milliseconds, from 2001 to 2065: no card number has so many digits and begins so.
const TIMES: Range<i64> = 1_000_000_000_000..3_000_000_000_000;

/// To see whether a row is there costs a quarter of what it costs to compare it.
const CHANGES_A_ROW: usize = 4;
/// How often a row that does not fit is looked at again: it may have been changed in between.
const LOOKS: usize = 3;

#[async_trait]
impl<D: Lookups> RowChecks for Store<D> {
    async fn check_rows(&self, at: &RowPlace, limit: usize) -> Result<CheckedPage> {
        match SHAPES.get(at.kind) {
            // Each is checked whenever it is used, and there may be very many.
            Some(shape) if shape.deciding.keeps.is_brief() => Ok(CheckedPage {
                checked: 0,
                altered: Vec::new(),
                next: behind(at.kind, SHAPES.len() + 1, None, false),
            }),
            Some(shape) => check_page(&self.0, shape, at, limit).await,
            None => check_changes(&self.0, at, limit).await,
        }
    }

    async fn show_row(&self, table: &str, key: &str) -> Result<Option<ShownRow>> {
        let Some((shape, values)) = asked_for(table, key) else {
            return Ok(None);
        };
        let key = said_key(&values);
        let of = vec![(shape.name, key.clone())];
        let last = self.0.last_changes(of).await?.remove(&key);
        let read = |row: &D::Row<'_>| Ok((shape.columns_of(row), shape.read(row)?));
        let found = self.0.first(&shape.find, values, read).await?;
        Ok(Some(match found {
            None => ShownRow {
                last: last.map(|last| (last.version, last.is_gone)),
                ..ShownRow::default()
            },
            Some((columns, row)) => ShownRow {
                columns,
                is_right: is_right(self.macs(), shape, &row),
                version: Some(row.version),
                last: last.map(|last| (last.version, last.is_gone)),
            },
        }))
    }

    async fn keeps_version_of(&self, entry: &Entry) -> Result<bool> {
        const SQL: &str = "SELECT 1 FROM row_change
             WHERE kind = $1 AND key = $2 AND version = $3 AND seq = $4";
        let Event {
            kind,
            merchant,
            target,
            ..
        } = &entry.event;
        let row = row_of(*kind, merchant.as_ref(), target);
        let (Some((kind, key)), Some(version)) = (row, target.version) else {
            return Ok(true);
        };
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        let values = values![kind, key, version, entry.seq];
        let found = self.first(SQL, values, |_| Ok(())).await?;
        Ok(found.is_some())
    }

    async fn person_versions(&self) -> Result<HashSet<(i64, u64)>> {
        const SQL: &str = "SELECT seq, version FROM row_change WHERE kind = $1";
        let read = |row: &D::Row<'_>| Ok((row.get(0)?, row.get::<i64>(1)?.unsigned_abs()));
        let found = self.walk(SQL, values![PERSON.name], read).await?;
        Ok(found.into_iter().collect())
    }

    async fn unguarded_rows(&self) -> Result<u64> {
        let mut count = 0;
        for shape in &*SHAPES {
            let sql: &'static str = unguarded(shape.name);
            let found = self.walk(sql, [], |row| row.get::<i64>(0)).await?;
            count += found.first().copied().unwrap_or_default().unsigned_abs();
        }
        Ok(count)
    }
}

/// The row that an event with a version is of, where its version is kept.
fn row_of(kind: Kind, merchant: Option<&MerchantId>, target: &Target) -> Option<RowKey> {
    let row = |table: &'static str, id: Value| {
        let mut key = Vec::new();
        id.put(&mut key);
        (table, key)
    };
    let of = subject(kind);
    let text = |table, id: Option<&str>| id.map(|id| row(table, id.into()));
    match of {
        "card" | "pin" => target.card.map(|id| row(CARD.name, id.as_bytes().into())),
        "credential" => text(
            CREDENTIAL.name,
            target.credential.as_ref().map(CredentialId::as_str),
        ),
        "embed" => text(EMBED.name, target.embed.as_ref().map(EmbedId::as_str)),
        "merchant" => text(MERCHANT.name, merchant.map(MerchantId::as_str)),
        "webhook" => {
            let id = target.subscription;
            id.map(|id| row(SUBSCRIPTION.name, id.as_bytes().into()))
        }
        _ if kind == Kind::RowsAccepted => {
            let told = target.resource.as_deref()?.strip_prefix("row: ")?;
            let (table, key) = told.split_once(' ')?;
            let (shape, values) = asked_for(table, key)?;
            Some((shape.name, said_key(&values)))
        }
        _ => None,
    }
}

/// What an event is of: the first word of its name.
fn subject(kind: Kind) -> &'static str {
    let name = kind.as_str();
    name.split_once('.').map_or(name, |(of, _)| of)
}

/// What an entry of the log says of the rows that were changed with it.
#[derive(Deserialize)]
struct Told {
    kind: Kind,
    #[serde(default)]
    merchant: Option<MerchantId>,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    detail: ToldDetail,
}

#[derive(Default, Deserialize)]
struct ToldDetail {
    to: Option<String>,
}

impl Told {
    /// Whether it says that a row got this version with it, or went. An entry names the row that it
    /// is of; those that are of many name none, and say of which kind they are.
    fn says(&self, (table, key): (&str, &[u8]), version: i64, is_gone: bool) -> bool {
        let is_its_version = self.target.version == Some(version.unsigned_abs());
        if let Some((its_table, its_key)) = row_of(self.kind, self.merchant.as_ref(), &self.target)
        {
            let is_it = its_table == table && its_key == key;
            return is_it && is_its_version && self.tells_whether_it_went(is_gone);
        }
        if self.kind == Kind::RowsGuarded {
            return version == UNVERSIONED + 1 && !is_gone;
        }
        let are_its = match subject(self.kind) {
            // The secrets of authenticator apps move with records.
            "keys" if table == PERSON.name => self.kind == Kind::KeysRewrapped,
            "keys" | "rows" => table == CLASS_KEY.name,
            "mfa" => table == PERSON.name,
            _ => false,
        };
        are_its && !is_gone && (is_its_version || self.target.version.is_none())
    }

    fn tells_whether_it_went(&self, is_gone: bool) -> bool {
        if self.kind == Kind::RowsAccepted {
            let went = |to: &String| to == Accepted::AsGone.as_str();
            // Entries from before do not say it.
            return self.detail.to.as_ref().is_none_or(|to| went(to) == is_gone);
        }
        is_gone == matches!(self.kind, Kind::CardRemoved | Kind::WebhookRemoved)
    }
}

fn unguarded(kind: &str) -> &'static str {
    static COUNTS: LazyLock<HashMap<&'static str, String>> = LazyLock::new(|| {
        let count = |shape: &Shape| {
            let name = shape.name;
            (
                name,
                format!("SELECT count(*) FROM {name} WHERE mac IS NULL"),
            )
        };
        SHAPES.iter().map(count).collect()
    });
    COUNTS.get(kind).map_or("", String::as_str)
}

/// A page of a kind: each row's MAC, and its version, which is that of its last change on record.
async fn check_page<D: Lookups>(
    database: &D,
    shape: &'static Shape,
    at: &RowPlace,
    limit: usize,
) -> Result<CheckedPage> {
    let (sql, values) = shape.page(at.after.as_deref(), limit);
    let found = database.all(sql, values, |row| shape.read(row)).await?;
    let last = found.last().map(|row| row.key.clone());
    let mut page = CheckedPage {
        checked: found.len(),
        altered: Vec::new(),
        next: behind(at.kind, SHAPES.len() + 1, last, found.len() == limit),
    };
    let mut unsure = Vec::new();
    for row in found {
        match is_right(database.macs(), shape, &row) {
            Some(true) => unsure.push(row),
            Some(false) => page.altered.push((shape.name, tellable(row.shown))),
            None => {}
        }
    }
    for look in 0..LOOKS {
        let keys = unsure.iter().map(|row| (shape.name, row.key.clone()));
        let last = database.last_changes(keys.collect()).await?;
        let is_last = |row: &Found| match last.get(&row.key) {
            Some(last) => last.version == row.version && last.is_told && !last.is_gone,
            // One from before MACs has no version on record.
            None => row.version == UNVERSIONED,
        };
        for row in unsure.extract_if(.., |row| is_last(row)) {
            if database.macs().keeps_any_back() {
                database.macs().let_go(shape.name, &row.shown);
            }
        }
        if unsure.is_empty() || look + 1 == LOOKS {
            break;
        }
        let mut again = Vec::new();
        for row in &unsure {
            let key = key_values(&row.key).unwrap_or_default();
            again.extend(
                database
                    .first(&shape.find, key, |row| shape.read(row))
                    .await?,
            );
        }
        unsure = again;
    }
    for row in &unsure {
        note(database.macs(), shape.name, &row.shown);
        // A key opens nothing that was not sealed under it, and without it nothing opens.
        if shape.name != CLASS_KEY.name {
            database.macs().keep_back(shape.name, row.shown.clone());
        }
    }
    let altered = unsure.into_iter();
    page.altered
        .extend(altered.map(|row| (shape.name, tellable(row.shown))));
    Ok(page)
}

/// A page of what is on record of rows: each is there, or its last change is that it went.
async fn check_changes<D: Lookups>(
    database: &D,
    at: &RowPlace,
    limit: usize,
) -> Result<CheckedPage> {
    // There are few rows but cards. The key of one is its id, behind a letter and a length.
    const PAGE: &str = "SELECT kind, key,
             kind = 'card' AND EXISTS (SELECT 1 FROM card WHERE id = substr(key, 10))
         FROM (SELECT kind, key FROM row_change WHERE (kind, key) > ($1, $2) AND kind <> 'token'
             GROUP BY kind, key ORDER BY kind, key LIMIT $3) AS page
         ORDER BY kind, key";
    let limit = limit * CHANGES_A_ROW;
    let after = at.after.as_deref().and_then(|after| {
        let mut values = key_values(after)?;
        (values.len() == 2).then(|| {
            values.push(sql_count(limit).into());
            values
        })
    });
    let values = after.unwrap_or_else(|| values!["", Vec::new(), sql_count(limit)].into());
    let read = |row: &D::Row<'_>| {
        Ok((
            row.get::<String>(0)?,
            row.get::<Vec<u8>>(1)?,
            row.get::<bool>(2)?,
        ))
    };
    let found = database.all(PAGE, values, read).await?;
    let last = found.last().map(|(kind, key, _)| {
        let mut place = Vec::new();
        Value::from(kind).put(&mut place);
        Value::from(key).put(&mut place);
        place
    });
    let mut page = CheckedPage {
        checked: found.len(),
        altered: Vec::new(),
        next: behind(at.kind, at.kind + 1, last, found.len() == limit),
    };
    for (kind, key, is_there) in found {
        let Some(shape) = SHAPES.iter().find(|shape| shape.name == kind) else {
            continue;
        };
        let values = key_values(&key).unwrap_or_default();
        // No program of ours keeps changes of a key of another form.
        let is_ours = values.len() == shape.key;
        if !is_ours || !(is_there || is_as_recorded(database, shape, (&key, &values)).await?) {
            let shown: Vec<_> = values.iter().map(Value::shown).collect();
            let shown = shown.join(" ");
            note(database.macs(), shape.name, &shown);
            page.altered.push((shape.name, tellable(shown)));
        }
    }
    Ok(page)
}

async fn is_as_recorded<D: Lookups>(
    database: &D,
    shape: &'static Shape,
    (key, values): (&[u8], &[Value]),
) -> Result<bool> {
    for _ in 0..LOOKS {
        // Of one that is there, whoever goes through the rows compares the version.
        let found = database.first(&shape.find, values, |_| Ok(())).await?;
        if found.is_some() {
            return Ok(true);
        }
        let row = vec![(shape.name, key.to_vec())];
        let last = database.last_changes(row).await?;
        let went = |last: &Recorded| last.is_gone && last.is_told;
        if last.get(key).is_some_and(went) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The last changes on record of rows, by their keys: the version, and whether the row went.
pub(crate) type LastChanges = HashMap<Vec<u8>, (i64, bool)>;
/// One of them.
pub(crate) type LastChange = (Vec<u8>, (i64, bool));

/// The same as it is compared with the log.
pub(crate) struct Recorded {
    pub(crate) version: i64,
    pub(crate) is_gone: bool,
    /// Whether the entry of the log that it came with says so.
    pub(crate) is_told: bool,
}

/// What finds them in PostgreSQL.
pub(crate) const LAST_CHANGES: &str = "SELECT last.key, last.version, last.gone
     FROM unnest($1::text[], $2::bytea[]) AS wanted (kind, key) CROSS JOIN LATERAL
         (SELECT * FROM row_change WHERE row_change.kind = wanted.kind
             AND row_change.key = wanted.key ORDER BY version DESC LIMIT 1) AS last";
/// The same of one row.
pub(crate) const LAST_CHANGE: &str = "SELECT key, version, gone FROM row_change
     WHERE kind = $1 AND key = $2 ORDER BY version DESC LIMIT 1";
/// The same with the entries of the log that they came with.
pub(crate) const RECORDED_CHANGES: &str =
    "SELECT last.key, last.version, last.gone, last.kind, audit.event
     FROM unnest($1::text[], $2::bytea[]) AS wanted (kind, key) CROSS JOIN LATERAL
         (SELECT * FROM row_change WHERE row_change.kind = wanted.kind
             AND row_change.key = wanted.key ORDER BY version DESC LIMIT 1) AS last
         LEFT JOIN audit ON audit.seq = last.seq";
/// The same of one row.
pub(crate) const RECORDED_CHANGE: &str = "SELECT key, version, gone, kind, audit.event
     FROM row_change LEFT JOIN audit ON audit.seq = row_change.seq
     WHERE kind = $1 AND key = $2 ORDER BY version DESC LIMIT 1";

pub(crate) fn last_change<R: Row>(row: &R) -> std::result::Result<LastChange, R::Fault> {
    Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
}

pub(crate) fn recorded<R: Row>(row: &R) -> std::result::Result<(Vec<u8>, Recorded), R::Fault> {
    let (key, (version, is_gone)) = last_change(row)?;
    let Lossy(table) = row.get(3)?;
    // An entry that cannot be read says nothing.
    let told = row.get(4).ok().flatten();
    let told: Option<Told> = told.and_then(|Lossy(entry)| serde_json::from_str(&entry).ok());
    let is_told = told.is_some_and(|told| told.says((&table, &key), version, is_gone));
    let recorded = Recorded {
        version,
        is_gone,
        is_told,
    };
    Ok((key, recorded))
}

/// What [`LAST_CHANGES`] takes.
pub(crate) fn wanted_changes(rows: &[RowKey]) -> [Value; 2] {
    let kinds = rows.iter().map(|(kind, _)| *kind).collect();
    [kinds, rows.iter().map(|(_, key)| key).collect()]
}
