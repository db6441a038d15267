//! The folder that holds everything of one local platform, and the lock that keeps a second one out of it.
//!
//! Does not know what the files in it mean, except for its own marker and lock.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Says that a folder is ours, so that `--fresh` never empties somebody's home.
const MARKER: &str = ".tiffin-data";
const LOCK: &str = "lock";

/// Children of a platform that was killed get their signal at once; this is how long they may take to end.
const PREDECESSORS_TIMEOUT: Duration = Duration::from_secs(15);

/// A child that was just forked shares the lock of the process that made it, until it becomes another program: somebody
/// who stopped a platform and starts it again must not take that for a platform.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is looked whether they have; a look costs a few small reads.
const PREDECESSORS_POLL: Duration = Duration::from_millis(50);

/// A data directory that this process holds the lock of, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if needed and locks it; `fresh` empties it first.
    ///
    /// Fails if another platform is alive in it, or if it has files but is not a data directory.
    pub async fn open(path: &Path, fresh: bool) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let path = path.canonicalize()?;
        let ours = path.join(MARKER).exists();
        if !ours && fs::read_dir(&path)?.next().is_some() {
            bail!(
                "{} has files in it but is not a data directory of tiffin; name an empty or a new one",
                path.display()
            );
        }
        // Others may pass through (the database server runs as another user), but not look around.
        fs::set_permissions(&path, Permissions::from_mode(0o711))?;
        fs::write(path.join(MARKER), "a local platform of tiffin lives here\n")?;
        let lock = lock(&path).await?;
        await_predecessors(&path).await?;
        if fresh {
            empty(&path)?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// Where it is, canonical.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a platform is alive in this folder.
pub fn is_live(path: &Path) -> bool {
    let Ok(file) = File::open(path.join(LOCK)) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

/// Replaces a file as a whole, readable by its owner alone; a reader sees the old or the new content.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .with_context(|| format!("cannot write {}", new.display()))?;
    file.write_all(content)?;
    fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a value as JSON, readable by its owner alone.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write_private(path, &text)
}

/// Reads a JSON file; `None` if there is none.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .with_context(|| format!("{} is not what was written to it", path.display())),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err).with_context(|| format!("cannot read {}", path.display())),
    }
}

async fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join(LOCK))?;
    let started = Instant::now();
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if started.elapsed() > LOCK_TIMEOUT {
            bail!(
                "another platform is running in {}; stop it first, or name another --data-dir",
                path.display()
            );
        }
        tokio::time::sleep(PREDECESSORS_POLL).await;
    }
    Ok(file)
}

fn empty(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if [MARKER, LOCK].iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        let place = entry.path();
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            // The database server's folder may live elsewhere, see `servers::postgres`.
            let target = fs::read_link(&place)?;
            if target.join(MARKER).exists() {
                fs::remove_dir_all(&target)?;
            }
            fs::remove_file(&place)?;
        } else if kind.is_dir() {
            empty_regions(&place)?;
            fs::remove_dir_all(&place)?;
        } else {
            fs::remove_file(&place)?;
        }
    }
    Ok(())
}

/// Other platforms may lie in it, and have something elsewhere, too.
fn empty_regions(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let place = entry?.path();
        if place.join(MARKER).exists() {
            if is_live(&place) {
                bail!("another platform is running in {}; stop it first", place.display());
            }
            empty(&place)?;
        }
    }
    Ok(())
}

/// Marks a folder outside of the data directory as belonging to it, so that `--fresh` may remove it.
pub(crate) fn mark(path: &Path) -> Result<()> {
    Ok(fs::write(path.join(MARKER), "part of a local platform of tiffin\n")?)
}

/// Waits until the processes of a platform that was killed have ended, since two servers on one store would ruin it.
///
/// Only where `/proc` tells whose command line names this folder; elsewhere the servers' own locks have to do.
async fn await_predecessors(path: &Path) -> Result<()> {
    let started = Instant::now();
    loop {
        let alive: Vec<i32> = crate::supervise::read_processes(path)?
            .into_iter()
            .filter(|process| names(process.pid, path))
            .map(|process| process.pid)
            .collect();
        if alive.is_empty() {
            return Ok(());
        }
        if started.elapsed() > PREDECESSORS_TIMEOUT {
            bail!(
                "processes {alive:?} of an earlier platform are still running in {}",
                path.display()
            );
        }
        tokio::time::sleep(PREDECESSORS_POLL).await;
    }
}

fn names(pid: i32, path: &Path) -> bool {
    if i32::try_from(std::process::id()) == Ok(pid) {
        return false;
    }
    let Some(path) = path.to_str() else {
        return false;
    };
    ["cmdline", "environ"].iter().any(|file| {
        fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(path))
    })
}
