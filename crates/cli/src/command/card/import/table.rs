//! CSV as programs and spreadsheets write it: separated by commas, semicolons, tabs or bars. Quotes
//! are read as RFC 4180 has them and no other way: a reader that finds a meaning for any of them
//! would take a thousand cards after a stray one for a name.

use std::io::BufRead;

use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::row::{Column, Refused, Row};
use super::stop::{Place, Stop};

/// What separates the fields. No column's name has one of these in it, so the header tells which.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

pub(super) struct Table<R> {
    lines: Lines<R>,
    separator: u8,
    /// `None` is a column without a name, as spreadsheets leave them at the end.
    columns: Vec<Option<Column>>,
    record: Vec<u8>,
}

/// A card's row and where it stands, or why it is none.
type Card = (Place, Result<Row, Refused>);
/// A record's fields, or why they are none.
type Fields = Result<Vec<Vec<u8>>, Refused>;

impl<R: BufRead> Table<R> {
    /// Reads what stands before the first card: `sep=;`, comments, the header line.
    pub(super) fn open(input: R) -> Result<Self, Stop> {
        let mut table = Self {
            lines: Lines::new(input),
            separator: 0,
            columns: Vec::new(),
            record: Vec::with_capacity(LINE_BYTES_MAX),
        };
        loop {
            table.record.clear();
            match table.lines.read(&mut table.record)? {
                Line::End => return Err(Stop::NoHeader),
                Line::TooLong => return Err(table.header_is(&Refused::TooLong)),
                Line::Whole => {}
            }
            match table.record.as_slice() {
                line if line.iter().all(u8::is_ascii_whitespace) => {}
                [b'#', ..] => {}
                [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] => {
                    table.separator = *separator;
                }
                _ => break,
            }
        }
        if table.separator == 0 {
            let mut bytes = table.record.iter();
            let separator = bytes.find(|byte| SEPARATORS.contains(byte));
            table.separator = separator.copied().unwrap_or(b',');
        }
        let (_, fields) = table.finish_record()?;
        let names = fields.map_err(|refused| table.header_is(&refused))?;
        table.columns = columns(&names, table.lines.number())?;
        Ok(table)
    }

    fn header_is(&self, refused: &Refused) -> Stop {
        Stop::Header(self.lines.number(), refused.to_string())
    }

    /// The next card's line, or `None` at the end. Blank lines, and those of separators alone, are
    /// none.
    pub(super) fn next(&mut self) -> Result<Option<Card>, Stop> {
        loop {
            self.record.clear();
            match self.lines.read(&mut self.record)? {
                Line::End => return Ok(None),
                Line::TooLong => {
                    let place = Place::of(self.lines.number());
                    return Ok(Some((place, Err(Refused::TooLong))));
                }
                Line::Whole => {}
            }
            let (place, fields) = self.finish_record()?;
            let row = match fields {
                Ok(fields) if fields.iter().all(|field| is_blank(field)) => continue,
                Ok(fields) => self.row(&fields),
                Err(refused) => Err(refused),
            };
            // A record that does not fit the header because a quote took its lines together is
            // several.
            if place.is_several() && matches!(row, Err(Refused::Fields { .. })) {
                return Err(Stop::OpenQuote(place.first));
            }
            return Ok(Some((place, row)));
        }
    }

    /// The fields of the record that begins with the line at hand. A quoted field may go on for
    /// some lines.
    fn finish_record(&mut self) -> Result<(Place, Fields), Stop> {
        let mut place = Place::of(self.lines.number());
        let mut opened_at = place.first;
        let mut fields_before = 0;
        loop {
            let (fields, open) = split(&self.record, self.separator);
            let fields = match fields {
                // It was opened by a stray quote, and closed by one that was to open something.
                None if place.is_several() => return Err(Stop::OpenQuote(place.first)),
                fields => fields.ok_or(Refused::AfterQuote),
            };
            if !open {
                let fields = match std::str::from_utf8(&self.record) {
                    Ok(text) if text.contains('\0') => Err(Refused::Nul),
                    Ok(_) => fields,
                    Err(_) => Err(Refused::NotUtf8),
                };
                return Ok((place, fields));
            }
            // With another field the quote that was open was closed, and this one opened, on this
            // line.
            let count = fields.as_ref().map_or(0, Vec::len);
            if count > fields_before {
                opened_at = place.last;
            }
            fields_before = count;
            self.record.push(b'\n');
            let read = self.lines.read(&mut self.record)?;
            if read != Line::Whole || self.record.len() > LINE_BYTES_MAX {
                return Err(Stop::OpenQuote(opened_at));
            }
            place.last = self.lines.number();
        }
    }

    fn row(&self, fields: &[Vec<u8>]) -> Result<Row, Refused> {
        let (named, beyond) = fields
            .split_at_checked(self.columns.len())
            .unwrap_or((fields, &[]));
        let surplus = beyond.iter().any(|field| !is_blank(field));
        if named.len() < self.columns.len() || surplus {
            return Err(Refused::Fields {
                line: fields.len(),
                header: self.columns.len(),
            });
        }
        let mut row = Row::new();
        for (column, field) in self.columns.iter().zip(named) {
            match column {
                Some(column) => {
                    let text = std::str::from_utf8(field).map_err(|_| Refused::NotUtf8)?;
                    row.insert(*column, text.to_owned());
                }
                None if is_blank(field) => {}
                None => return Err(Refused::NoColumn),
            }
        }
        Ok(row)
    }
}

fn is_blank(field: &[u8]) -> bool {
    field.iter().all(u8::is_ascii_whitespace)
}

fn columns(names: &[Vec<u8>], line: u64) -> Result<Vec<Option<Column>>, Stop> {
    let mut columns = Vec::with_capacity(names.len());
    for (place, name) in (1..).zip(names) {
        let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
        let column = Column::parse(&name);
        if column.is_none() && !name.is_empty() {
            return Err(Stop::UnknownColumn(line, place));
        }
        if let Some(column) = column
            && columns.contains(&Some(column))
        {
            let wrong = format!("it has the column {} twice", column.as_str());
            return Err(Stop::Header(line, wrong));
        }
        columns.push(column);
    }
    let missing = Column::REQUIRED
        .iter()
        .find(|column| !columns.contains(&Some(**column)));
    match missing {
        Some(column) => Err(Stop::NoColumn(line, *column)),
        None => Ok(columns),
    }
}

/// The fields, `None` when something stands between a closing quote and the end of its field; and
/// whether a quote is open at the end of the record.
fn split(record: &[u8], separator: u8) -> (Option<Vec<Vec<u8>>>, bool) {
    let mut fields = Vec::new();
    let mut field = Vec::new();
    let mut state = Quote::None;
    let mut well_formed = true;
    let mut bytes = record.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match state {
            Quote::Open if byte == b'"' && bytes.next_if_eq(&b'"').is_some() => field.push(byte),
            Quote::Open if byte == b'"' => state = Quote::Closed,
            Quote::None | Quote::Closed if byte == separator => {
                fields.push(std::mem::take(&mut field));
                state = Quote::None;
            }
            Quote::None if byte == b'"' && is_blank(&field) => {
                field.clear();
                state = Quote::Open;
            }
            Quote::None | Quote::Open => field.push(byte),
            Quote::Closed => well_formed &= byte == b' ' || byte == b'\t',
        }
    }
    fields.push(field);
    (well_formed.then_some(fields), state == Quote::Open)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Open,
    Closed,
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn fields(record: &str) -> Option<Vec<String>> {
        let (fields, open) = split(record.as_bytes(), b',');
        assert!(!open, "{record}");
        let text = |field| String::from_utf8(field).unwrap();
        fields.map(|fields| fields.into_iter().map(text).collect())
    }

    #[test]
    fn quotes_mean_what_rfc_4180_says_and_nothing_else() {
        for (record, expected) in [
            ("a,b", &["a", "b"][..]),
            ("", &[""]),
            ("a,,", &["a", "", ""]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#""a ""b"" c","""""#, &[r#"a "b" c"#, "\""]),
            (r#"a, "b,c" ,d"#, &["a", "b,c", "d"]),
            (r#"5" nails,b"#, &["5\" nails", "b"]),
            ("\"a\nb\",c", &["a\nb", "c"]),
            (r#""",b"#, &["", "b"]),
        ] {
            assert_eq!(fields(record).unwrap(), expected, "{record}");
        }
        for wrong in [r#""JOHN "JOHNNY" DOE",b"#, r#""a"b,c"#, r#""a" "b""#] {
            assert_eq!(fields(wrong), None, "{wrong}");
        }
        for open in ["\"a,b", "a,\"", "\"\"\"", "\"a\"\",b"] {
            assert!(split(open.as_bytes(), b',').1, "{open}");
        }
    }

    proptest! {
        /// Whatever a writer of CSV makes of fields is read as those fields.
        #[test]
        fn what_was_written_is_read(
            written in prop::collection::vec("[ -~éж\t\n\"\",;|]{0,12}", 1..8),
            separator in select(SEPARATORS.to_vec()),
            style in select(vec![csv::QuoteStyle::Necessary, csv::QuoteStyle::Always]),
        ) {
            let mut writer = csv::WriterBuilder::new()
                .delimiter(separator)
                .quote_style(style)
                .from_writer(Vec::new());
            writer.write_record(&written).unwrap();
            let record = writer.into_inner().unwrap();
            let record = record.strip_suffix(b"\n").unwrap();
            let (fields, open) = split(record, separator);
            prop_assert!(!open);
            let fields: Vec<_> = fields.unwrap().into_iter().map(String::from_utf8).collect();
            prop_assert_eq!(fields, written.into_iter().map(Ok).collect::<Vec<_>>());
        }
    }

    const HEADER: &str = "card_no,account_id,person_id,pan,expiry,name\n";

    fn stops_at(text: &str) -> Option<u64> {
        let mut table = Table::open(text.as_bytes()).unwrap();
        loop {
            match table.next() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(Stop::OpenQuote(line)) => return Some(line),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_quote_that_takes_lines_together_stops_at_the_line_where_it_opened_rust_csv_289() {
        let good = "K,F,P,4,12/30,A C\n";
        for (lines, line) in [
            // Never closed; closed by the end of another field; by the start of one.
            (&["K,F,P,4,12/30,\"A C\n", good, good][..], Some(3)),
            (
                &["K,F,P,4,12/30,\"A C\n", good, "K,F,P,4,12/30,A\",C\n"],
                Some(3),
            ),
            (
                &["K,F,P,4,12/30,\"A C\n", "K,F,P,4,12/30,\"B, C\"\n"],
                Some(3),
            ),
            // After a field that does go over lines.
            (&["K,F,\"P\nQ\",4,12/30,\"A C\n", good], Some(4)),
            // Fields that go over lines, and a quote inside one.
            (&["K,F,P,4,12/30,\"A\r\nC\"\n", good], None),
            (&["K,F,P,4,12/30,5\" C\n", good], None),
        ] {
            let text = format!("{HEADER}{good}{}", lines.concat());
            assert_eq!(stops_at(&text), line, "{text}");
        }
    }

    #[test]
    fn no_more_is_read_after_a_stray_quote_than_a_card_may_have_rust_csv_289() {
        struct Endless(u64);
        impl Read for Endless {
            fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
                self.0 += 1;
                to.fill(b'\n');
                Ok(to.len())
            }
        }
        let start = format!("{HEADER}K,F,P,4,12/30,\"A C\n");
        let mut endless = Endless(0);
        let input = start.as_bytes().chain(&mut endless);
        let mut table = Table::open(BufReader::with_capacity(1_024, input)).unwrap();
        assert!(matches!(table.next(), Err(Stop::OpenQuote(2))));
        assert!(table.record.len() <= LINE_BYTES_MAX + 1);
        drop(table);
        assert!(endless.0 <= 9, "{} KiB", endless.0);
    }
}
