//! The file the ledger lives in: one JSON line per record, only ever appended, durable before it is answered.
//! It does not know what a record means.
//!
//! A line without its line feed at the end of the file was being written when the process died.
//! Nobody was told about it, so it is cut off; an unreadable line anywhere else is damage and stops the start.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::ledger::Record;

const FILE_NAME: &str = "journal.jsonl";

/// Why the journal cannot be used; in each case the start must fail.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} belongs to another running process")]
    InUse { path: PathBuf },
    #[error("{path} is damaged at line {line}: {source}")]
    Damaged {
        path: PathBuf,
        line: usize,
        source: serde_json::Error,
    },
}

/// The open file, locked for this process.
pub struct Journal {
    file: File,
    /// Lines of the current batch; the allocation is reused.
    batch: Vec<u8>,
}

impl Journal {
    /// Opens or creates the journal in `dir`, for this process alone, and hands every record to `take`.
    pub fn open(dir: &Path, mut take: impl FnMut(Record)) -> Result<Journal, OpenError> {
        let path = dir.join(FILE_NAME);
        let io = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(dir).map_err(io)?;
        let options = OpenOptions::new().read(true).append(true).create(true).clone();
        let mut file = private(options).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        // A new file is only durable once its directory entry is.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;

        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(io)?;
        let whole = content.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        for (index, line) in content[..whole].split_inclusive(|&byte| byte == b'\n').enumerate() {
            let record = serde_json::from_slice(line).map_err(|source| OpenError::Damaged {
                path: path.clone(),
                line: index + 1,
                source,
            })?;
            take(record);
        }
        if whole < content.len() {
            tracing::warn!(bytes = content.len() - whole, "journal ended in a torn line, cut off");
            file.set_len(whole as u64).map_err(io)?;
        }
        file.seek(SeekFrom::End(0)).map_err(io)?;
        // What a killed predecessor wrote but never synced is about to be answered from.
        file.sync_all().map_err(io)?;
        Ok(Journal {
            file,
            batch: Vec::new(),
        })
    }

    /// Adds a record to the current batch. Not durable before [`Journal::commit`].
    pub fn push(&mut self, record: &Record) {
        serde_json::to_writer(&mut self.batch, record).expect("a record has only string keys");
        self.batch.push(b'\n');
    }

    /// Makes the batch durable with one write and one sync.
    ///
    /// After an error the file's state is unknown: the caller must stop answering and end the process.
    pub fn commit(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.batch)?;
        self.file.sync_data()?;
        self.batch.clear();
        Ok(())
    }
}

#[cfg(unix)]
fn private(mut options: OpenOptions) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
    options
}

#[cfg(not(unix))]
fn private(options: OpenOptions) -> OpenOptions {
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(n: usize) -> Record {
        Record::Delivered {
            event: format!("evt_{n}"),
        }
    }

    fn write(dir: &Path, records: impl IntoIterator<Item = Record>) {
        let mut journal = Journal::open(dir, drop).unwrap();
        records.into_iter().for_each(|record| journal.push(&record));
        journal.commit().unwrap();
    }

    fn read(dir: &Path) -> Result<Vec<Record>, OpenError> {
        let mut records = Vec::new();
        Journal::open(dir, |record| records.push(record)).map(|_| records)
    }

    fn append(dir: &Path, bytes: &[u8]) {
        let mut file = OpenOptions::new().append(true).open(dir.join(FILE_NAME)).unwrap();
        file.write_all(bytes).unwrap();
    }

    #[test]
    fn committed_records_are_read_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), (0..3).map(delivered));
        write(dir.path(), (3..5).map(delivered));
        assert_eq!(read(dir.path()).unwrap(), (0..5).map(delivered).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_last_line_is_cut_off_at_every_length_and_the_next_one_is_whole() {
        let line = serde_json::to_vec(&delivered(1)).unwrap();
        for length in 1..=line.len() {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), [delivered(0)]);
            append(dir.path(), &line[..length]);
            write(dir.path(), [delivered(2)]);
            assert_eq!(read(dir.path()).unwrap(), [delivered(0), delivered(2)]);
        }
    }

    #[test]
    fn damage_before_the_end_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), [delivered(0)]);
        append(dir.path(), b"{\"delivered\":{\"ev\n");
        append(dir.path(), b"{\"delivered\":{\"event\":\"evt_1\"}}\n");
        assert!(matches!(read(dir.path()), Err(OpenError::Damaged { line: 2, .. })));
    }

    #[test]
    fn a_journal_has_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Journal::open(dir.path(), drop).unwrap();
        assert!(matches!(read(dir.path()), Err(OpenError::InUse { .. })));
    }
}
