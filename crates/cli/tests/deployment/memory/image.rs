//! What a process has in memory, as whoever may look sees it: all of its pages that are there and
//! that the program could have written to, read through `/proc` (`proc(5)`).
//!
//! A server lets nobody look (`PR_SET_DUMPABLE`) but who has `CAP_SYS_PTRACE` over it. Whoever has
//! not starts it in a user namespace of their own, over which they have (`user_namespaces(7)`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use rustix::thread::{CapabilitySet, capabilities};

const PAGE: usize = 4_096;

/// The same command, so started that its process can be read.
pub(crate) fn readable(command: &Command) -> Command {
    let may =
        capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE));
    let mut words = vec![command.get_program()];
    if !may {
        words = ["unshare", "--user", "--map-root-user"]
            .map(OsStr::new)
            .into();
        words.push(command.get_program());
    }
    let mut readable = Command::new(words[0]);
    readable.args(&words[1..]).args(command.get_args());
    readable.current_dir(command.get_current_dir().unwrap());
    for (name, value) in command.get_envs() {
        readable.env(name, value.unwrap());
    }
    readable
}

/// One look at a process.
pub(crate) struct Image(Vec<Piece>);

/// Pages that follow each other.
struct Piece {
    mapping: String,
    start: u64,
    bytes: Vec<u8>,
}

impl Image {
    /// Reads a process while it runs.
    pub(crate) fn of(pid: u32) -> Self {
        let open = |name: &str| {
            File::open(format!("/proc/{pid}/{name}")).unwrap_or_else(|error| {
                panic!(
                    "{name} of the server cannot be read ({error}), so nothing is known of its memory: \
                     it takes CAP_SYS_PTRACE, or user namespaces that everyone may make"
                )
            })
        };
        let (memory, pages) = (open("mem"), open("pagemap"));
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let mut pieces = Vec::new();
        for mapping in maps.lines().filter(|mapping| is_written(mapping)) {
            let (range, _) = mapping.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
            for (start, length) in there(&pages, start, end) {
                let mut bytes = vec![0; length];
                // A mapping can go between two looks.
                if memory.read_exact_at(&mut bytes, start).is_ok() {
                    let mapping = mapping.to_owned();
                    pieces.push(Piece {
                        mapping,
                        start,
                        bytes,
                    });
                }
            }
        }
        Self(pieces)
    }

    /// Where each of these is, if anywhere, with what is around it.
    pub(crate) fn places(&self, needles: &[&[u8]]) -> BTreeMap<usize, Vec<String>> {
        let mut by_begin: BTreeMap<[u8; 2], Vec<usize>> = BTreeMap::new();
        for (index, needle) in needles.iter().enumerate() {
            let begin = needle[..2].try_into().unwrap();
            by_begin.entry(begin).or_default().push(index);
        }
        let mut begins = vec![false; 1 << 16];
        for begin in by_begin.keys() {
            begins[usize::from(u16::from_be_bytes(*begin))] = true;
        }
        let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for piece in &self.0 {
            let mut before = 0_u16;
            for (at, byte) in piece.bytes.iter().enumerate() {
                before = (before << 8) | u16::from(*byte);
                if !begins[usize::from(before)] || at == 0 {
                    continue;
                }
                for index in &by_begin[&before.to_be_bytes()] {
                    if piece.has(needles[*index], at - 1) {
                        let place = piece.around(at - 1, needles[*index].len());
                        found.entry(*index).or_default().push(place);
                    }
                }
            }
        }
        found
    }
}

impl Piece {
    /// Whether it is there. A few digits inside a number, a UUID or an address are there by chance,
    /// as in `"duration_us":8417`.
    fn has(&self, needle: &[u8], at: usize) -> bool {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric();
        let before = at.checked_sub(1).and_then(|at| self.bytes.get(at));
        let after = self.bytes.get(at + needle.len());
        let by_chance = needle.len() <= 6
            && (before.is_some_and(|byte| is_name(byte) || b":.-".contains(byte))
                || after.is_some_and(is_name));
        self.bytes[at..].starts_with(needle) && !by_chance
    }

    fn around(&self, at: usize, length: usize) -> String {
        let from = at.saturating_sub(24);
        let to = (at + length + 24).min(self.bytes.len());
        let place = self.start + u64::try_from(at).unwrap();
        let mapping = self.mapping.split_whitespace().last().unwrap();
        let around = self.bytes[from..to].escape_ascii();
        format!("{place:x} ({mapping}): {around}")
    }
}

/// What a program writes to: not its own code and constants.
fn is_written(mapping: &str) -> bool {
    let mut words = mapping.split_whitespace();
    let (_range, rights) = (words.next(), words.next().unwrap());
    rights.starts_with("rw") && !mapping.ends_with("[vvar]")
}

/// The pages of a mapping that are there, in pieces; bit 63 of each one's entry says so.
fn there(pages: &File, start: u64, end: u64) -> Vec<(u64, usize)> {
    let page = u64::try_from(PAGE).unwrap();
    let count = usize::try_from((end - start) / page).unwrap();
    let mut entries = vec![0; count * 8];
    if pages.read_exact_at(&mut entries, start / page * 8).is_err() {
        return Vec::new();
    }
    let mut pieces: Vec<(u64, usize)> = Vec::new();
    for (entry, at) in entries.chunks(8).zip((start..end).step_by(PAGE)) {
        if entry[7] & 0x80 == 0 {
            continue;
        }
        match pieces.last_mut() {
            Some((from, length)) if *from + u64::try_from(*length).unwrap() == at => {
                *length += PAGE;
            }
            _ => pieces.push((at, PAGE)),
        }
    }
    pieces
}
