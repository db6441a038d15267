//! Where mails lie: one file each, written down before they are acknowledged, the newest also in memory.
//!
//! Does not know SMTP or HTTP, nor what a mail says.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::mail::Mail;

/// Mails shown, a few hundred bytes each; older ones are still on disk.
const SHOWN_MAX: usize = 10_000;

/// What ends the name of a mail's file.
const ENDING: &str = "eml";

/// How the stand-in treats recipients that are not magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    /// Takes every mail.
    Accepting,
    /// Refuses every recipient for good.
    Refusing,
    /// Asks to come again later.
    PuttingOff,
    /// Falls silent when the mail is to come.
    Stalling,
}

/// The mails and the mood. Clones share both.
#[derive(Clone)]
pub struct Office {
    folder: Arc<PathBuf>,
    desk: Arc<Mutex<Desk>>,
}

struct Desk {
    mood: Mood,
    newest: u64,
    shown: VecDeque<Mail>,
}

impl Office {
    /// Opens a folder, with the mails that are there. Others' mail is nobody's business: the folder is ours alone.
    pub fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut files: Vec<(u64, PathBuf)> = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .filter_map(|path| Some((number_of(&path)?, path)))
            .collect();
        files.sort_unstable();
        let newest = files.last().map_or(0, |(number, _)| *number);
        let shown = files
            .iter()
            .skip(files.len().saturating_sub(SHOWN_MAX))
            .map(|(number, path)| Ok(Mail::from_file(*number, &fs::read(path)?)))
            .collect::<io::Result<VecDeque<_>>>()?;
        Ok(Self {
            folder: Arc::new(folder.to_owned()),
            desk: Arc::new(Mutex::new(Desk {
                mood: Mood::Accepting,
                newest,
                shown,
            })),
        })
    }

    /// Writes a mail down. Blocks: a mail is small, and whoever sends it waits for exactly this. Not synced: a kill loses
    /// nothing, and a power cut may lose what is worth nothing to anybody.
    pub fn take(&self, from: &str, to: &[String], content: &[u8]) -> io::Result<u64> {
        let mut desk = self.desk();
        let number = desk.newest + 1;
        let file = Mail::to_file(from, to, content);
        let (draft, path) = (self.path(number, "part"), self.path(number, ENDING));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut draft_file = options.open(&draft)?;
        draft_file.write_all(&file)?;
        // A half-written file is never taken for a mail.
        fs::rename(draft, path)?;
        desk.newest = number;
        desk.shown.push_back(Mail::from_file(number, &file));
        if desk.shown.len() > SHOWN_MAX {
            desk.shown.pop_front();
        }
        Ok(number)
    }

    /// Up to `limit` mails after a number, to one recipient or to anybody, oldest first.
    pub fn mails(&self, to: Option<&str>, after: u64, limit: usize) -> Vec<Mail> {
        let desk = self.desk();
        let wanted = desk.shown.iter().filter(|mail| {
            mail.number > after && to.is_none_or(|to| mail.to.iter().any(|one| one.eq_ignore_ascii_case(to)))
        });
        wanted.take(limit).cloned().collect()
    }

    pub fn mood(&self) -> Mood {
        self.desk().mood
    }

    pub fn set_mood(&self, mood: Mood) {
        self.desk().mood = mood;
    }

    fn path(&self, number: u64, ending: &str) -> PathBuf {
        self.folder.join(format!("{number:06}.{ending}"))
    }

    /// A panic elsewhere leaves the desk in order: nothing panics while it is held.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number_of(path: &Path) -> Option<u64> {
    if path.extension()? != ENDING {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opening_finds_the_mails_and_goes_on_counting() {
        let folder = tempfile::tempdir().expect("a folder");
        let to = vec!["anna@example.org".to_owned()];
        let office = Office::open(folder.path()).expect("opens");
        assert_eq!(
            office.take("us@example.org", &to, b"Subject: a\r\n\r\none\r\n").ok(),
            Some(1)
        );
        let again = Office::open(folder.path()).expect("opens");
        assert_eq!(again.mails(None, 0, 10), office.mails(None, 0, 10));
        assert_eq!(
            again.take("us@example.org", &to, b"Subject: b\r\n\r\ntwo\r\n").ok(),
            Some(2)
        );
        let newer: Vec<String> = again
            .mails(Some("Anna@example.org"), 1, 10)
            .into_iter()
            .map(|mail| mail.text)
            .collect();
        assert_eq!(newer, ["two"]);
        assert_eq!(again.mails(Some("boris@example.org"), 0, 10), []);
    }
}
