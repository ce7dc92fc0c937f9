//! The fence: a small file, kept apart from the database, that remembers how far the database had
//! come. A database that is behind its fence has gone back in time.
//!
//! **Invariant:** what stands in the fence is never ahead of what is committed in the database of
//! that id, so that no alarm is false. Every process takes the file's lock to read or write it.
//!
//! A write reaches the system's page cache before the commit is answered, so it survives the death
//! of the process; it is synced about once a second.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use cardveil_core::token::Epoch;

const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How often, and with which pause, opening tries for the lock: ten seconds in all.
const LOCK_TRIES: u32 = 1_000;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// More than any fence is long; what is longer is none.
const READ_MAX: usize = 256;
const MAGIC: &str = "cardveil-fence-1";

/// How far a database had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) database_id: [u8; 16],
    /// The last place in the audit log.
    pub(super) generation: i64,
    pub(super) epoch: Epoch,
}

/// What a fence said when it was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There was none.
    Missing,
    /// There is one that no Cardveil wrote, or half of one.
    Unreadable,
    Mark(Mark),
}

/// The open file, and what is to be done to it.
pub(super) struct Fence {
    file: File,
    /// What it wrote last, with its line: that need not be parsed when it is read again.
    written: Option<(Mark, String)>,
    wanted: Option<Mark>,
    synced_at: Instant,
    unsynced: bool,
}

impl Fence {
    /// Opens it, or makes an empty one (0600), and keeps its lock until [`Fence::release`].
    pub(super) fn open_locked(path: &Path) -> io::Result<(Self, Found)> {
        let existed = path.try_exists()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        if !existed && let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            File::open(folder)?.sync_all()?;
        }
        lock(&file)?;
        let found = read(&file, None)?;
        let fence = Self {
            file,
            written: None,
            wanted: None,
            synced_at: monotonic_now(),
            unsynced: false,
        };
        Ok((fence, found))
    }

    /// What it says now, without its lock and without making one.
    pub(super) fn peek(path: &Path) -> io::Result<Found> {
        match File::open(path) {
            Ok(file) => read(&file, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Missing),
            Err(error) => Err(error),
        }
    }

    /// Writes the first mark after opening, synced and in place of all that was there, and gives
    /// the lock back.
    pub(super) fn release(&mut self, mark: Mark) -> io::Result<()> {
        let length = self.write(mark)?;
        self.file.set_len(length as u64)?;
        self.file.sync_data()?;
        self.file.unlock()
    }

    /// Takes down how far the database has come, after its commit and before the answer.
    ///
    /// Another process that holds the lock this moment is not waited for: the fence may stay behind
    /// for a batch, and [`Fence::catch_up`] is called before the next.
    pub(super) fn advance(&mut self, mark: Mark) -> io::Result<()> {
        self.wanted = Some(mark);
        self.catch_up()
    }

    /// Writes what could not be written so far, and syncs when it is time.
    pub(super) fn catch_up(&mut self) -> io::Result<()> {
        if let Some(mark) = self.wanted {
            match self.file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let written = self.write_if_newer(mark);
            self.file.unlock()?;
            written?;
            self.wanted = None;
            self.unsynced = true;
        }
        if self.unsynced && monotonic_now().duration_since(self.synced_at) >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Whether something is still to be written or synced.
    pub(super) const fn is_behind(&self) -> bool {
        self.wanted.is_some() || self.unsynced
    }

    /// Makes it durable now.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsynced = false;
        self.synced_at = monotonic_now();
        Ok(())
    }

    /// Works with another handle from here on; gives back the one before.
    #[cfg(test)]
    pub(super) const fn swap(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    /// What it says of a database that it is behind this, if it does: a copy was put in its place
    /// while it was open, or its epoch was set back.
    ///
    /// Call it in a transaction that writes, which no other process ends meanwhile. Where the
    /// database has the higher epoch, another process has noticed before.
    pub(super) fn ahead_of(&self, mark: Mark) -> io::Result<Option<Mark>> {
        Ok(match self.read()? {
            Found::Mark(there)
                if there.database_id == mark.database_id
                    && (there.epoch > mark.epoch
                        || (there.epoch == mark.epoch && there.generation > mark.generation)) =>
            {
                Some(there)
            }
            Found::Mark(_) | Found::Missing | Found::Unreadable => None,
        })
    }

    /// Another process may have come further, and must not be set back. An epoch that was raised
    /// over a restored copy is further than all that was before.
    fn write_if_newer(&mut self, mark: Mark) -> io::Result<()> {
        let place = |mark: Mark| (mark.epoch, mark.generation);
        match self.read()? {
            Found::Mark(there)
                if there.database_id == mark.database_id && place(there) > place(mark) =>
            {
                Ok(())
            }
            Found::Mark(_) | Found::Missing | Found::Unreadable => self.write(mark).map(drop),
        }
    }

    fn read(&self) -> io::Result<Found> {
        read(&self.file, self.written.as_ref())
    }

    /// One write of fewer bytes than a sector, so that lost power leaves the old or the new. Tells
    /// how many there are.
    fn write(&mut self, mark: Mark) -> io::Result<usize> {
        let line = mark.to_line();
        self.file.write_all_at(line.as_bytes(), 0)?;
        let length = line.len();
        self.written = Some((mark, line));
        Ok(length)
    }
}

impl Mark {
    /// The fields have a fixed width, so that a new line covers the old one whole.
    fn to_line(self) -> String {
        let id = u128::from_be_bytes(self.database_id);
        let (generation, epoch) = (self.generation, self.epoch.0);
        let body = format!("{MAGIC} {id:032x} {generation:020} {epoch:010}");
        let crc = crc32fast::hash(body.as_bytes());
        format!("{body} {crc:08x}\n")
    }

    /// Only the exact line that [`Mark::to_line`] writes is one.
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split([' ', '\n']).skip(1);
        let mark = Self {
            database_id: u128::from_str_radix(parts.next()?, 16).ok()?.to_be_bytes(),
            generation: parts.next()?.parse().ok()?,
            epoch: Epoch(parts.next()?.parse().ok()?),
        };
        (mark.to_line() == line).then_some(mark)
    }
}

fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "another process does not let go of its lock",
    ))
}

fn read(file: &File, written: Option<&(Mark, String)>) -> io::Result<Found> {
    let mut bytes = [0; READ_MAX];
    let length = file.read_at(&mut bytes, 0)?;
    if let Some((mark, line)) = written
        && bytes.get(..length) == Some(line.as_bytes())
    {
        return Ok(Found::Mark(*mark));
    }
    let line = bytes
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    Ok(match line.map(|line| (line, Mark::parse(line))) {
        Some(("", _)) => Found::Missing,
        Some((_, Some(mark))) => Found::Mark(mark),
        Some((_, None)) | None => Found::Unreadable,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "it paces the syncs; no rule of the domain and no answer depends on it"
)]
fn monotonic_now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        database_id: [0xab; 16],
        generation: 42,
        epoch: Epoch(7),
    };

    #[test]
    fn the_line_is_pinned_and_no_other_is_read() {
        let line = "cardveil-fence-1 abababababababababababababababab 00000000000000000042 \
                    0000000007 ";
        let text = MARK.to_line();
        assert!(text.starts_with(line), "{text}");
        assert_eq!(text.len(), line.len() + 9);
        assert_eq!(Mark::parse(&text), Some(MARK));
        for place in 0..text.len() {
            let mut torn = text.clone().into_bytes();
            torn[place] ^= 1;
            let torn = String::from_utf8(torn).unwrap();
            assert_eq!(Mark::parse(&torn), None, "{torn}");
            assert_eq!(Mark::parse(&text[..place]), None, "cut at {place}");
        }
    }

    #[test]
    fn it_never_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        let (mut ahead, found) = Fence::open_locked(&path).unwrap();
        assert_eq!(found, Found::Missing);
        ahead.release(MARK).unwrap();
        let (mut behind, found) = Fence::open_locked(&path).unwrap();
        assert_eq!(found, Found::Mark(MARK));
        behind.release(MARK).unwrap();
        let further = Mark {
            generation: 44,
            ..MARK
        };
        ahead.advance(further).unwrap();
        behind
            .advance(Mark {
                generation: 43,
                ..MARK
            })
            .unwrap();
        assert_eq!(ahead.read().unwrap(), Found::Mark(further));
    }

    #[test]
    fn a_held_lock_is_not_waited_for_and_made_up_for_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        let (mut fence, _) = Fence::open_locked(&path).unwrap();
        fence.release(MARK).unwrap();
        let (mut other, _) = Fence::open_locked(&path).unwrap();
        let next = Mark {
            generation: 43,
            ..MARK
        };
        fence.advance(next).unwrap();
        assert!(fence.is_behind());
        assert_eq!(fence.read().unwrap(), Found::Mark(MARK));
        other.release(MARK).unwrap();
        fence.catch_up().unwrap();
        assert_eq!(fence.read().unwrap(), Found::Mark(next));
    }
}
