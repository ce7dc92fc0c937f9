//! A log with group commit, as the durable bare endpoint needs: who waits for its entry waits for
//! the sync that all entries of that moment share.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use anyhow::Context as _;
use tokio::sync::oneshot;

/// What a token's row and its audit entry take, about.
const ENTRY_BYTES: usize = 500;
/// It is written over and over: a file that grows would sync its length too.
const FILE_BYTES: usize = 64 << 20;

/// The way to the thread that writes.
#[derive(Clone)]
pub(crate) struct Log(mpsc::Sender<oneshot::Sender<()>>);

impl Log {
    /// Makes the file, and starts the thread.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path)?;
        file.write_all_at(&vec![0; FILE_BYTES], 0)?;
        file.sync_all()?;
        let (send, waiting) = mpsc::channel();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write(&file, &waiting))?;
        Ok(Self(send))
    }

    /// Appends an entry; returns when it is on the disk.
    pub(crate) async fn append(&self) -> anyhow::Result<()> {
        let (done, is_done) = oneshot::channel();
        self.0.send(done).ok().context("the log has ended")?;
        is_done.await.context("the log cannot be written")
    }
}

/// Writes what waits with one sync, and answers. An error ends it, which all who wait learn.
fn write(file: &File, waiting: &mpsc::Receiver<oneshot::Sender<()>>) {
    let mut end = 0;
    while let Ok(first) = waiting.recv() {
        let group: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let entries = vec![1; group.len() * ENTRY_BYTES];
        if end + entries.len() > FILE_BYTES {
            end = 0;
        }
        let written = u64::try_from(end).map_err(std::io::Error::other);
        let written = written.and_then(|end| file.write_all_at(&entries, end));
        if written.and_then(|()| file.sync_data()).is_err() {
            return;
        }
        end += entries.len();
        for done in group {
            // Whoever has gone need not know.
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_entry_is_in_the_file_when_it_is_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = Log::open(&path).unwrap();
        for entries in 1..=3 {
            log.append().await.unwrap();
            let written = std::fs::read(&path).unwrap();
            let end = written.iter().position(|byte| *byte == 0);
            assert_eq!(end, Some(entries * ENTRY_BYTES));
        }
    }
}
