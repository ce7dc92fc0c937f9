//! A card as a line of a file has it, and what is wrong with one.

use std::collections::BTreeMap;
use std::fmt;

use cardveil_core::card::{
    Attributes, CardNumber, CardholderName, Cvv, Expiry, InvalidCard, InvalidText, Kind, Label,
    State, is_unique_no, is_word,
};
use cardveil_core::flow::NewCard;
use cardveil_core::id::{AccountId, CardId, CardNo, MerchantId, PersonId};
use cardveil_core::port::Taken;
use cardveil_core::text::CardNumberIn;
use cardveil_core::vault::ClearCard;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::deployment::Deployment;

cardveil_core::named! {
    /// A column of a table, or a member of an object.
    pub(super) enum Column {
        CardNo = "card_no",
        AccountId = "account_id",
        PersonId = "person_id",
        Pan = "pan",
        Expiry = "expiry",
        Name = "name",
        CardId = "card_id",
        Type = "type",
        State = "state",
        Cvv = "cvv",
        Label = "label",
        Product = "product",
        CardUniqueNo = "card_unique_no",
        CardholderNo = "cardholder_no",
    }
}

impl Column {
    /// They must be there.
    pub(super) const REQUIRED: [Self; 6] = [
        Self::CardNo,
        Self::AccountId,
        Self::PersonId,
        Self::Pan,
        Self::Expiry,
        Self::Name,
    ];
    pub(super) fn names(columns: &[Self]) -> String {
        let names: Vec<_> = columns.iter().map(|column| column.as_str()).collect();
        names.join(", ")
    }
}

/// The texts of a line. What is left out is not in it, or empty: CSV has no null.
pub(super) type Row = BTreeMap<Column, String>;

/// Why a line is refused, in words that repeat nothing of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("it is too long for a card")]
    TooLong,
    #[error("it is not UTF-8; perhaps Latin-1 or Windows-1252")]
    NotUtf8,
    #[error("it holds NUL bytes")]
    Nul,
    #[error("it has {line} fields, and the header line has {header}")]
    Fields { line: usize, header: usize },
    #[error("it has a value in a column that has no name")]
    NoColumn,
    #[error("text follows a closing quote; a quote inside a quoted field is doubled")]
    AfterQuote,
    #[error("it is not a JSON object")]
    NotAnObject,
    #[error("its member {0} is not known")]
    UnknownMember(usize),
    #[error("{0}: is there twice")]
    Twice(&'static str),
    #[error("{0}: must be a text, in quotes")]
    NotText(&'static str),
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

/// An object's members in their order, those that stand twice too.
pub(super) struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Collect)
    }
}

impl Members {
    pub(super) fn row(self) -> Result<Row, Refused> {
        let mut row = Row::new();
        for (place, (name, value)) in (1..).zip(self.0) {
            let column = Column::parse(&name).ok_or(Refused::UnknownMember(place))?;
            let text = match value {
                Value::String(text) => text,
                Value::Null => String::new(),
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    return Err(Refused::NotText(column.as_str()));
                }
            };
            if row.insert(column, text).is_some() {
                return Err(Refused::Twice(column.as_str()));
            }
        }
        let missing = Column::REQUIRED
            .iter()
            .find(|column| !row.contains_key(column));
        match missing {
            Some(column) => Err(Refused::Field(column.as_str(), "is missing")),
            None => Ok(row),
        }
    }
}

/// The domain's card of a line. White space around a value is no part of it, and names of types and
/// states may be in capitals.
pub(super) fn card(
    deployment: &Deployment,
    merchant: &MerchantId,
    row: &Row,
) -> Result<NewCard, Refused> {
    let text = |column| row.get(&column).map_or("", |text| text.trim());
    let given = |column| Some(text(column)).filter(|text| !text.is_empty());
    let wrong = |column: Column, what| Refused::Field(column.as_str(), what);
    let optional = |column, fits: fn(&str) -> bool, what| match given(column) {
        Some(text) if !fits(text) => Err(wrong(column, what)),
        text => Ok(text.map(str::to_owned)),
    };
    let number = pan(text(Column::Pan))?;
    let network = number.network();
    let cvv = given(Column::Cvv)
        .map(|text| Cvv::parse(text, network))
        .transpose()?;
    if cvv.is_some() && deployment.service.vault().derives(&number) {
        return Err(Refused::CvvDerived);
    }
    if cvv.is_some() && deployment.config.issuer.store_cvv_reason.is_none() {
        return Err(Refused::NoIssuerMode);
    }
    let kind = given(Column::Type).map_or(Some(Kind::Virtual), |name| {
        Kind::parse(&name.to_ascii_lowercase())
    });
    let state = given(Column::State).map_or(Some(State::Active), |name| {
        State::parse(&name.to_ascii_lowercase())
    });
    Ok(NewCard {
        id: given(Column::CardId)
            .map(CardId::parse)
            .transpose()
            .map_err(|_| wrong(Column::CardId, UUID))?,
        no: CardNo::parse(text(Column::CardNo)).map_err(|_| wrong(Column::CardNo, WORD))?,
        merchant: merchant.clone(),
        account: AccountId::parse(text(Column::AccountId))
            .map_err(|_| wrong(Column::AccountId, WORD))?,
        person: PersonId::parse(text(Column::PersonId))
            .map_err(|_| wrong(Column::PersonId, UUID))?,
        kind: kind.ok_or_else(|| wrong(Column::Type, "must be virtual or physical"))?,
        state: state.ok_or_else(|| wrong(Column::State, "must be a card's state"))?,
        label: Label::parse(text(Column::Label))
            .map_err(|invalid| Refused::Text(Column::Label.as_str(), invalid))?,
        attributes: Attributes {
            product: optional(Column::Product, is_word, WORD)?,
            unique_no: optional(
                Column::CardUniqueNo,
                is_unique_no,
                "must be 1 to 64 printable ASCII characters without a space",
            )?,
            holder_no: optional(Column::CardholderNo, is_word, WORD)?,
        },
        clear: ClearCard {
            number,
            expiry: Expiry::parse(text(Column::Expiry))?,
            name: CardholderName::parse(text(Column::Name))?,
            cvv,
        },
    })
}

const WORD: &str = "must be 1 to 64 letters, digits, _ or -";
const UUID: &str = "must be a UUID of 36 characters";

/// As people group it; a number that a spreadsheet rounded is told as what it is.
fn pan(text: &str) -> Result<CardNumber, Refused> {
    let groups = text.split([' ', '-', '\u{a0}']);
    let digits: String = groups.collect();
    let rounded = ["E+", "e+"];
    if rounded.iter().any(|mark| digits.contains(mark)) {
        let what = "a spreadsheet has rounded it; export the column as text";
        return Err(Refused::Field(Column::Pan.as_str(), what));
    }
    Ok(CardNumber::parse(&digits)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of columns in `docs/operate/import.md`: the same columns in the same order, and
    /// which must be there.
    #[test]
    fn the_page_names_every_column_and_which_are_required() {
        let page = include_str!("../../../../../../docs/operate/import.md");
        let table = page.split_once("| column | | form |\n").unwrap().1;
        let rows: Vec<Vec<_>> = table
            .lines()
            .skip(1)
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let documented: Vec<_> = rows.iter().map(|row| row[1].trim_matches('`')).collect();
        assert_eq!(documented, Column::ALL.map(Column::as_str));
        let required = rows.iter().filter(|row| row[2] == "required");
        let required: Vec<_> = required.map(|row| row[1].trim_matches('`')).collect();
        assert_eq!(required, Column::REQUIRED.map(Column::as_str));
    }
}
