//! Where mails lie: one after the other in one file that any mail program reads, written down before they are
//! acknowledged, the newest also in memory.
//!
//! Does not know SMTP or HTTP, nor what a mail says.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::mail::Mail;

/// Mails shown, a few hundred bytes each; older ones are still on disk.
const SHOWN_MAX: usize = 10_000;

/// The mails, in the format mboxrd: a line that begins a mail, and another `>` before lines that look like one.
pub const FILE: &str = "mails.mbox";

/// How a mail begins; its time is in its own headers.
const BEGINS: &[u8] = b"From ";
const TIME: &str = "Thu Jan  1 00:00:00 1970";

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
    desk: Arc<Mutex<Desk>>,
}

struct Desk {
    file: File,
    /// Of the file, in bytes.
    length: u64,
    mood: Mood,
    newest: u64,
    shown: VecDeque<Mail>,
}

impl Office {
    /// Opens a folder, with the mails that are there. Others' mail is nobody's business: the folder is ours alone.
    pub fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(FILE);
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&path)?;
        let mails = fs::read(&path)?;
        let (length, mails) = (mails.len() as u64, mails_in(&mails));
        let newest = mails.len() as u64;
        let shown = (1..).zip(&mails).skip(mails.len().saturating_sub(SHOWN_MAX));
        Ok(Self {
            desk: Arc::new(Mutex::new(Desk {
                file,
                length,
                mood: Mood::Accepting,
                newest,
                shown: shown.map(|(number, mail)| Mail::from_file(number, mail)).collect(),
            })),
        })
    }

    /// Writes a mail down. Blocks: a mail is small, and whoever sends it waits for exactly this. Not synced: a kill loses
    /// nothing, and a power cut may lose what is worth nothing to anybody.
    pub fn take(&self, from: &str, to: &[String], content: &[u8]) -> io::Result<u64> {
        let mut desk = self.desk();
        let number = desk.newest + 1;
        let mail = Mail::to_file(from, to, content);
        let record = record(from, &mail);
        if let Err(err) = desk.file.write_all(&record) {
            // Half of it would swallow the next one.
            desk.file.set_len(desk.length)?;
            return Err(err);
        }
        desk.length += record.len() as u64;
        desk.newest = number;
        desk.shown.push_back(Mail::from_file(number, &mail));
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

    /// A panic elsewhere leaves the desk in order: nothing panics while it is held.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mail as it lies in the file.
fn record(from: &str, mail: &[u8]) -> Vec<u8> {
    let mut record = [BEGINS, from.as_bytes(), b" ", TIME.as_bytes(), b"\n"].concat();
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if looks_like_a_beginning(line) {
            record.push(b'>');
        }
        record.extend_from_slice(line);
    }
    record.extend_from_slice(b"\n");
    record
}

fn mails_in(file: &[u8]) -> Vec<Vec<u8>> {
    let mut mails: Vec<Vec<u8>> = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(BEGINS) {
            mails.push(Vec::new());
        } else if let Some(mail) = mails.last_mut() {
            mail.extend_from_slice(
                line.strip_prefix(b">")
                    .filter(|_| looks_like_a_beginning(line))
                    .unwrap_or(line),
            );
        }
    }
    mails
}

fn looks_like_a_beginning(line: &[u8]) -> bool {
    let quotes = line.iter().take_while(|byte| **byte == b'>').count();
    line[quotes..].starts_with(BEGINS)
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

    #[test]
    fn lines_that_look_like_the_beginning_of_a_mail_are_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let office = Office::open(folder.path()).expect("opens");
        let text = "Subject: a\r\n\r\nFrom here on\r\n>From there\r\n> From nowhere\r\n";
        for _ in 0..2 {
            office
                .take("us@example.org", &[], text.as_bytes())
                .expect("there is room");
        }
        let again = Office::open(folder.path()).expect("opens").mails(None, 0, 10);
        assert_eq!(again, office.mails(None, 0, 10));
        assert_eq!(again.len(), 2);
        assert_eq!(again[1].text, "From here on\n>From there\n> From nowhere");
    }
}
