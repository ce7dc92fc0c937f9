//! A file's physical lines, as an editor counts them: each ends in LF, CRLF or CR. No more than one
//! is in memory, and none that is longer than a card.

use std::io::{self, BufRead};

/// A line longer than this is no card.
pub(super) const LINE_BYTES_MAX: usize = 8 * 1_024;

/// U+FEFF in UTF-8. At the start of a line it is an encoding's mark, wherever files were put
/// together.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole,
    /// Skipped to its end.
    TooLong,
    /// There are no more.
    End,
}

pub(super) struct Lines<R> {
    input: R,
    number: u64,
    /// A line feed that comes next is the end of the line before.
    after_return: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(input: R) -> Self {
        Self {
            input,
            number: 0,
            after_return: false,
        }
    }

    /// The number of the line that was read last.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line behind what `line` holds, without its end.
    pub(super) fn read(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        let start = line.len();
        let mut too_long = false;
        let mut begun = false;
        loop {
            let mut bytes = self.input.fill_buf()?;
            if std::mem::take(&mut self.after_return) && bytes.first() == Some(&b'\n') {
                self.input.consume(1);
                continue;
            }
            let ended = bytes.is_empty();
            if ended && !begun {
                return Ok(Line::End);
            }
            begun = true;
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            self.after_return = end.is_some_and(|end| bytes.get(end) == Some(&b'\r'));
            let taken = end.map_or(bytes.len(), |end| end + 1);
            bytes = bytes.get(..end.unwrap_or(taken)).unwrap_or_default();
            too_long |= line.len() - start + bytes.len() > LINE_BYTES_MAX + MARK.len();
            if !too_long {
                line.extend_from_slice(bytes);
            }
            self.input.consume(taken);
            if end.is_some() || ended {
                break;
            }
        }
        self.number += 1;
        if line.get(start..).is_some_and(|line| line.starts_with(MARK)) {
            line.drain(start..start + MARK.len());
        }
        if too_long || line.len() - start > LINE_BYTES_MAX {
            line.truncate(start);
            return Ok(Line::TooLong);
        }
        Ok(Line::Whole)
    }
}

/// What a file is by its first four bytes, when it is no text in UTF-8; and how to make it so.
pub(super) fn foreign(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let utf_16 = "convert it: iconv -f UTF-16 -t UTF-8";
    Some(match *head {
        [0xff, 0xfe, 0, 0] | [0, 0, 0xfe, 0xff] => {
            ("UTF-32, not UTF-8", "convert it: iconv -f UTF-32 -t UTF-8")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("UTF-16, not UTF-8", utf_16),
        [1..=0x7f, 0, 1..=0x7f, 0] => (
            "UTF-16, not UTF-8",
            "convert it: iconv -f UTF-16LE -t UTF-8",
        ),
        [0, 1..=0x7f, 0, 1..=0x7f] => (
            "UTF-16, not UTF-8",
            "convert it: iconv -f UTF-16BE -t UTF-8",
        ),
        [b'P', b'K', 3, 4] => (
            "a ZIP archive, as spreadsheets (.xlsx, .ods) are",
            "save the sheet as CSV in UTF-8, with the numbers' columns as text",
        ),
        [0xd0, 0xcf, 0x11, 0xe0] => (
            "a spreadsheet (.xls)",
            "save the sheet as CSV in UTF-8, with the numbers' columns as text",
        ),
        [0x1f, 0x8b, ..] => (
            "compressed by gzip",
            "gzip -dc FILE | cardveil card import - --form csv --merchant ID",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(text: &[u8], buffer: usize) -> Vec<(u64, Line, String)> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, text));
        let mut all = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = lines.read(&mut line).unwrap();
            if read == Line::End {
                return all;
            }
            all.push((lines.number(), read, String::from_utf8(line).unwrap()));
        }
    }

    #[test]
    fn lines_end_in_lf_crlf_or_cr_and_all_of_them_count() {
        let text = b"a\n\nb\r\n\r\nc\rd\r\re";
        for buffer in 1..20 {
            let lines = read(text, buffer);
            let expected = ["a", "", "b", "", "c", "d", "", "e"];
            assert_eq!(
                lines,
                (1..)
                    .zip(expected)
                    .map(|(number, line)| (number, Line::Whole, line.to_owned()))
                    .collect::<Vec<_>>(),
                "{buffer}"
            );
        }
        assert_eq!(read(b"", 8), []);
        assert_eq!(read(b"a\r\n", 8).len(), 1);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_counted() {
        let longest = "x".repeat(LINE_BYTES_MAX);
        let text = format!("\u{feff}{longest}\n{longest}y\r\nend\n");
        for buffer in [7, 1_000_000] {
            let lines = read(text.as_bytes(), buffer);
            assert_eq!(lines[0], (1, Line::Whole, longest.clone()));
            assert_eq!(lines[1], (2, Line::TooLong, String::new()));
            assert_eq!(lines[2], (3, Line::Whole, "end".to_owned()));
        }
    }

    #[test]
    fn a_mark_at_the_start_of_a_line_is_no_part_of_it() {
        let text = "\u{feff}a\n\u{feff}b\n\u{feff}\n";
        let lines: Vec<_> = read(text.as_bytes(), 2)
            .into_iter()
            .map(|(_, _, line)| line)
            .collect();
        assert_eq!(lines, ["a", "b", ""]);
    }

    #[test]
    fn files_of_other_kinds_are_known_by_their_first_bytes() {
        let utf_16 =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        for (head, what) in [
            (utf_16("\u{feff}card"), "UTF-16"),
            (utf_16("card"), "UTF-16"),
            (b"\0c\0a".to_vec(), "UTF-16"),
            (b"\xff\xfe\0\0".to_vec(), "UTF-32"),
            (b"PK\x03\x04".to_vec(), ".xlsx"),
            (b"\x1f\x8b\x08\x00".to_vec(), "gzip"),
        ] {
            let told = foreign(head.get(..4).unwrap()).unwrap().0;
            assert!(told.contains(what), "{told}");
        }
        for text in ["card", "{\"ca", "", "a", "a,\u{e9}"] {
            assert_eq!(foreign(text.as_bytes()), None);
        }
    }
}
