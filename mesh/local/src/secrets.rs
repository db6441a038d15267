//! Random secrets of one platform, made at first use and kept in its data directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;
use rand::RngExt as _;

use crate::data_dir::{read_json, write_json};

const FILE: &str = "secrets.json";

/// Twice the 128 bits that are beyond guessing, since it costs nothing.
const SECRET_BYTES: usize = 32;

/// Names and their secrets; every new one is on disk before it is handed out.
#[derive(Debug)]
pub struct Secrets {
    path: PathBuf,
    known: Mutex<BTreeMap<String, String>>,
}

impl Secrets {
    /// Those of a data directory.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE);
        let known = read_json(&path)?.unwrap_or_default();
        Ok(Self {
            path,
            known: Mutex::new(known),
        })
    }

    /// The secret of this name, made now if there is none: lower-case hexadecimal, safe in any URL and shell.
    pub fn get(&self, name: &str) -> Result<String> {
        let mut known = self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(secret) = known.get(name) {
            return Ok(secret.clone());
        }
        let secret = random_hex(SECRET_BYTES);
        known.insert(name.to_owned(), secret.clone());
        write_json(&self.path, &*known)?;
        Ok(secret)
    }
}

/// So many random bytes as hexadecimal.
pub fn random_hex(bytes: usize) -> String {
    let mut raw = vec![0_u8; bytes];
    rand::rng().fill(&mut raw[..]);
    raw.iter().map(|byte| format!("{byte:02x}")).collect()
}
