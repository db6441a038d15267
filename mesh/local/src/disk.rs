//! Small disks for the servers that keep data on one, so that a disk can be full without the machine's being.
//!
//! Memory, mounted in a namespace of this process and its children: whatever happens, nothing is left of it when they
//! have ended. Only root on Linux may do so. Redis keeps nothing on disk.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::supervise::User;

/// Who has one.
pub const ON_DISK: [&str; 2] = ["postgres", "nats"];

const MIB: u64 = 1024 * 1024;

/// Eight databases, their log, and what some twenty towns leave.
pub(crate) const POSTGRES_BYTES: u64 = 1024 * MIB;

/// What the streams of some twenty towns take, several times over.
pub(crate) const NATS_BYTES: u64 = 256 * MIB;

/// Says that the namespace is there.
const ENTERED: &str = "TIFFIN_OWN_MOUNTS";

/// Becomes the same program again, with mounts of its own, unless it is already. Returns whether it may mount at all.
///
/// # Errors
/// When it should have become that, and could not.
pub fn enter_namespace() -> Result<bool> {
    if std::env::var_os(ENTERED).is_some() {
        return Ok(true);
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--"]);
        command
    };
    let tried = unshare()
        .arg("true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        return Ok(false);
    }
    let failure = unshare()
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(ENTERED, "yes")
        .exec();
    Err(failure).context("cannot run again with mounts of its own")
}

/// Puts a disk of so many bytes in the place of an empty folder; whoever owns that owns the disk.
pub(crate) fn mount(folder: &Path, bytes: u64, user: Option<User>) -> Result<()> {
    let owner = user.map_or_else(String::new, |user| format!(",uid={},gid={}", user.uid, user.gid));
    let options = format!("size={bytes},mode=0700{owner}");
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder);
    succeeds(&mut command)
}

/// Takes it away again; nobody may be using it.
pub(crate) fn unmount(folder: &Path) -> Result<()> {
    // The database's folder may be a link.
    succeeds(Command::new("umount").arg(folder.canonicalize()?))
}

fn succeeds(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// A small disk without any room, until this is dropped.
#[derive(Debug)]
pub struct Full {
    folder: PathBuf,
    ballast: PathBuf,
}

impl Full {
    /// Fills the disk that is mounted there.
    ///
    /// # Errors
    /// When none is: the machine's own is not filled.
    pub fn fill(folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize()?;
        ensure!(
            is_mounted(&folder)?,
            "{} is on no disk of its own, which only root may mount",
            folder.display()
        );
        let this = Self {
            ballast: folder.join("ballast"),
            folder,
        };
        this.top_up()?;
        Ok(this)
    }

    /// Takes what was freed since.
    ///
    /// # Errors
    /// When the system refuses for another reason than that there is nothing.
    pub fn top_up(&self) -> Result<()> {
        let free = statvfs(&self.folder)?;
        let free_bytes = free.f_bavail * free.f_frsize;
        if free_bytes == 0 {
            return Ok(());
        }
        let ballast = File::options().create(true).append(true).open(&self.ballast)?;
        match fallocate(&ballast, FallocateFlags::empty(), ballast.metadata()?.len(), free_bytes) {
            // Somebody was faster.
            Ok(()) | Err(rustix::io::Errno::NOSPC) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        if let Err(err) = fs::remove_file(&self.ballast) {
            tracing::error!(error = %err, "a disk stays full");
        }
    }
}

fn is_mounted(folder: &Path) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let folder = folder.to_str().context("a path in UTF-8")?;
    Ok(mounts.lines().any(|line| line.split(' ').nth(1) == Some(folder)))
}
