//! What this process wrote last, so that news is folded onto it without asking Redis.
//!
//! Trusted by nobody: a write states the edition and the version that it was folded from, and the
//! function in Redis refuses what does not follow.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::view::AnyDoc;

/// Half of what is remembered of one view, counted as JSON, about which it also takes as structs. Documents differ in
/// size a hundredfold, so a number of them would bound nothing. With four views in a service of 64 MiB it is small, and
/// still some five hundred orders: most events of an order come within the second.
const HALF_BYTES: usize = 1024 * 1024;

/// A document as this process wrote it.
pub(crate) struct Remembered {
    pub edition: Arc<str>,
    pub version: u64,
    pub doc: AnyDoc,
    /// Its length as JSON.
    pub bytes: usize,
}

/// Of one view. When a half is full, the older half is forgotten. A document is taken out, not copied, and put back when
/// it is written: whatever else becomes of a write, it is read again.
#[derive(Default)]
pub(crate) struct Memory {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    edition: Option<Arc<str>>,
    young: HashMap<String, Remembered>,
    young_bytes: usize,
    old: HashMap<String, Remembered>,
}

impl Memory {
    /// The current edition when it was last looked at; `None` if it is none that this build writes.
    pub fn edition(&self) -> Option<Arc<str>> {
        self.locked().edition.clone()
    }

    pub fn note_edition(&self, edition: Option<Arc<str>>) {
        self.locked().edition = edition;
    }

    pub fn take(&self, stream: &str) -> Option<Remembered> {
        let mut inside = self.locked();
        if let Some(young) = inside.young.remove(stream) {
            inside.young_bytes -= young.weight(stream);
            return Some(young);
        }
        inside.old.remove(stream)
    }

    pub fn put(&self, stream: String, written: Remembered) {
        let mut inside = self.locked();
        inside.young_bytes += written.weight(&stream);
        if let Some(former) = inside.young.get(&stream) {
            inside.young_bytes -= former.weight(&stream);
        }
        inside.old.remove(&stream);
        inside.young.insert(stream, written);
        if inside.young_bytes >= HALF_BYTES {
            inside.young_bytes = 0;
            inside.old = mem::take(&mut inside.young);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn weight(&self, stream: &str) -> usize {
        stream.len() + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_bytes(version: u64, bytes: usize) -> Remembered {
        Remembered {
            edition: "order.1.1".into(),
            version,
            doc: Box::new(()),
            bytes,
        }
    }

    #[test]
    fn what_was_written_long_ago_is_forgotten_first() {
        let memory = Memory::default();
        for version in 1..=5 {
            memory.put(format!("ord_{version}"), of_bytes(version, HALF_BYTES / 2));
        }
        let known = (1..=5).filter_map(|version| memory.take(&format!("ord_{version}")));
        assert_eq!(known.map(|one| one.version).collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn a_stream_is_remembered_once_however_often_it_is_written() {
        let memory = Memory::default();
        memory.put("ord_0".into(), of_bytes(1, HALF_BYTES / 2));
        for version in 1..=100 {
            memory.put("ord_1".into(), of_bytes(version, HALF_BYTES / 4));
        }
        assert_eq!(memory.take("ord_1").map(|one| one.version), Some(100));
        assert!(memory.take("ord_1").is_none());
        assert!(memory.take("ord_0").is_some());
    }
}
