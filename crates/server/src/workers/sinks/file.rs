//! A sink that is a file: one entry a line, in the form of `cardveil audit export`.
//!
//! An entry counts as taken once the file is synced. The file is opened anew when it was renamed,
//! so that it can be rotated. Whoever feeds it holds a lock on it.
//!
//! **Invariant:** what is in the file before a piece is whole lines, all synced: what a crash or a
//! full disk left half is cut off before anything is added.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cardveil_core::audit::chain::{Chained, Hash};
use serde::Deserialize;

use super::{Held, Output, Stuck, text_of};

/// Others may not write to it, and only its group may read it.
const MODE_REFUSED: u32 = 0o037;
/// More than two entries ever have.
const TAIL_BYTES: u64 = 1 << 20;

/// A file that takes entries.
pub(super) struct FileOutput {
    path: PathBuf,
    open: Arc<Mutex<Option<Open>>>,
}

struct Open {
    file: File,
    /// Device and inode.
    id: (u64, u64),
    /// Up to here it is synced.
    synced: u64,
    /// What came after that could not be synced or written, and is to be cut off.
    broken: bool,
    /// Its last entry.
    held: Option<Held>,
}

/// The members of a line that tell which entry it is.
#[derive(Deserialize)]
struct Line {
    seq: i64,
    hash: Hash,
}

impl FileOutput {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: Arc::default(),
        }
    }

    /// Files block, so this is not done on the runtime's own threads.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path, &mut Option<Open>) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Stuck> {
        let (path, open) = (self.path.clone(), Arc::clone(&self.open));
        let work = move || {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            work(&path, &mut open).map_err(|error| Stuck(format!("{}: {error}", path.display())))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| Err(Stuck("writing it panicked".to_owned())))
    }
}

#[async_trait]
impl Output for FileOutput {
    async fn ready(&mut self) -> Result<Option<Held>, Stuck> {
        self.with(ready).await
    }

    async fn take(&mut self, entries: Arc<Vec<Chained>>) -> Result<(), Stuck> {
        self.with(move |_, open| append(open, &entries)).await
    }

    fn close(&mut self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn ready(path: &Path, open: &mut Option<Open>) -> io::Result<Option<Held>> {
    if let Some(known) = open {
        if known.broken {
            known.file.set_len(known.synced)?;
            known.file.sync_all()?;
            known.broken = false;
        }
        let same = std::fs::metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == known.id);
        if same {
            return Ok(known.held);
        }
        *open = None;
    }
    let opened = open.insert(Open::at(path)?);
    Ok(opened.held)
}

fn append(open: &mut Option<Open>, entries: &[Chained]) -> io::Result<()> {
    let Some(open) = open else {
        return Err(io::Error::other("it is not open"));
    };
    let mut text = String::new();
    for entry in entries {
        text.push_str(&text_of(entry));
        text.push('\n');
    }
    open.broken = true;
    open.file.write_all(text.as_bytes())?;
    open.file.sync_all()?;
    open.synced = open.file.metadata()?.len();
    open.broken = false;
    open.held = entries.last().map(|entry| Held {
        seq: entry.seq,
        hash: entry.link.hash,
    });
    Ok(())
}

impl Open {
    /// Opens or makes it, takes the lock, and cuts off a line that is not whole.
    fn at(path: &Path) -> io::Result<Self> {
        let there = path.try_exists()?;
        // Not before: opening a pipe would wait for a reader.
        if there && !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("another process writes to it"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let meta = file.metadata()?;
        if meta.mode() & MODE_REFUSED != 0 {
            return Err(io::Error::other(
                "others can read or change it: chmod 600, or 640",
            ));
        }
        let (length, held) = whole_lines(&mut file, meta.len())?;
        if length < meta.len() {
            file.set_len(length)?;
        }
        file.sync_all()?;
        if !there && let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            File::open(folder)?.sync_all()?;
        }
        Ok(Self {
            id: (meta.dev(), meta.ino()),
            synced: length,
            broken: false,
            held,
            file,
        })
    }
}

/// Up to where the file is whole lines, and its last one.
fn whole_lines(file: &mut File, length: u64) -> io::Result<(u64, Option<Held>)> {
    let not_ours = || {
        let what = "what is in it was not written by this sink: give it another file";
        io::Error::new(ErrorKind::InvalidData, what)
    };
    let from = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let end = tail.iter().rposition(|byte| *byte == b'\n');
    let (whole, torn) = match end {
        Some(end) => tail.split_at_checked(end.saturating_add(1)),
        None => tail.split_at_checked(0),
    }
    .unwrap_or_default();
    // A torn line is the beginning of one of ours: anything else is somebody's file.
    if torn.first().is_some_and(|byte| *byte != b'{') {
        return Err(not_ours());
    }
    if whole.is_empty() {
        return if from == 0 {
            Ok((0, None))
        } else {
            Err(not_ours())
        };
    }
    let body = whole.strip_suffix(b"\n").unwrap_or(whole);
    let last = body.rsplit(|byte| *byte == b'\n').next().unwrap_or(body);
    let line: Line = serde_json::from_slice(last).map_err(|_| not_ours())?;
    let kept = length.saturating_sub(u64::try_from(torn.len()).unwrap_or(0));
    let Line { seq, hash } = line;
    Ok((kept, Some(Held { seq, hash })))
}

#[cfg(test)]
mod tests {
    use cardveil_core::audit::chain::Link;
    use cardveil_core::id::ChainId;

    use super::*;

    fn entries(count: i64) -> Vec<Chained> {
        let mut link = Link::start(ChainId::from_bytes([1; 16]));
        let one = |seq| {
            let stored = format!("{{\"at\":{seq}}}");
            link = link.next(stored.as_bytes());
            Chained {
                seq,
                link,
                stored,
                personal: None,
            }
        };
        (1..=count).map(one).collect()
    }

    /// `/dev/full` answers a write as a full disk does.
    #[test]
    fn a_full_disk_is_an_error_and_what_it_left_half_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let mut open = None;
        assert_eq!(ready(&path, &mut open).unwrap(), None);
        append(&mut open, &entries(3)).unwrap();
        let whole = std::fs::read(&path).unwrap();

        let known = open.as_mut().unwrap();
        let full = File::options().append(true).open("/dev/full").unwrap();
        let own = std::mem::replace(&mut known.file, full);
        let error = append(&mut open, &entries(5)[3..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        // Some of it was written before the disk was full.
        let known = open.as_mut().unwrap();
        known.file = own;
        known.file.write_all(b"{\"at\":4}\n{\"at").unwrap();
        let held = ready(&path, &mut open).unwrap().unwrap();
        assert_eq!((held.seq, held.hash), (3, entries(3)[2].link.hash));
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        append(&mut open, &entries(5)[3..]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = entries(5).iter().map(text_of).collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn a_file_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (mut first, mut second) = (None, None);
        ready(&path, &mut first).unwrap();
        let error = ready(&path, &mut second).unwrap_err();
        assert!(error.to_string().contains("another process"));
        drop(first);
        ready(&path, &mut second).unwrap();
    }
}
