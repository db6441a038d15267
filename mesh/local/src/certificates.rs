//! The certificates of a platform, or of the door in front of several: issued at its start, and replaced while it runs.
//!
//! Writes files and looks at what is shown for them. Processes read theirs again by themselves; HAProxy alone has to be told.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::join_all;
use jiff::Timestamp;
use mesh_identity::ca::{self, Authority, LEAF_VALID_FOR};
use mesh_identity::{CERTIFICATES_READ_EVERY, Client, Mesh, Upstream};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::time::Instant;

use crate::Progress;
use crate::regions;
use crate::services::{COMMAND_LINE, SERVICES};
use crate::supervise::read_processes;

/// The folder of the authority, and of the one that follows it until it has.
const AUTHORITY: &str = "authority";
const NEXT: &str = "authority-next";

/// Identities that only a chain has.
pub(crate) const HAPROXY: &str = "haproxy";
pub(crate) const INGRESS: &str = "ingress";

/// A process that has not read its files again by then does not get round to it.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is asked; each time costs it a handshake.
const READ_POLL: Duration = Duration::from_millis(250);
/// Whoever cannot be asked (clients of the public door) reads as often as the others, and once may have gone wrong.
const READ_BY_ALL: Duration = CERTIFICATES_READ_EVERY.saturating_mul(2);
/// HAProxy answers at once, or not at all.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a party shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Whose it is.
    pub name: String,
    /// The key of the authority that issued it, in short.
    pub authority: String,
    /// Until when it is good.
    pub until: Timestamp,
}

/// The authority's certificate of a data directory.
pub(crate) fn ca_cert(data_dir: &Path) -> PathBuf {
    certificates_dir(data_dir).join("gateway/ca.crt")
}

/// The folder with one folder of certificates per service.
pub(crate) fn certificates_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("certs")
}

/// Fresh certificates for these names, by the authority of a data directory, which is made if there is none.
pub(crate) fn issue<'a>(data_dir: &Path, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let folder = certificates_dir(data_dir);
    let authority = Authority::load_or_create(&folder.join(AUTHORITY))?;
    for name in names {
        authority.write_bundle(&folder, name)?;
    }
    Ok(())
}

/// All of a data directory, by name.
///
/// # Errors
/// When a file cannot be read.
pub fn list(data_dir: &Path) -> Result<Vec<Certificate>> {
    let folder = certificates_dir(data_dir);
    let described = |name: String| {
        let ca::Described { authority, until, .. } = ca::describe(&folder.join(&name))?;
        Ok(Certificate { name, authority, until })
    };
    bundles(&folder)?.into_iter().map(described).collect()
}

/// Gives everybody a new certificate of the same authority.
///
/// # Errors
/// When somebody does not show the new one in time, or another rotation is under way.
pub async fn rotate(data_dir: &Path, progress: &Progress) -> Result<()> {
    let rotation = Rotation::begin(data_dir, progress)?;
    progress("new certificates by the same authority");
    rotation
        .replace_leaves(&Authority::load(&rotation.folder.join(AUTHORITY))?)
        .await?;
    rotation.new_leaves_are_shown().await
}

/// Puts a new authority in the place of the old one, in an order in which everybody trusts everybody at any moment:
/// first both are trusted, then the new one's certificates are shown, then it alone is trusted. No step begins before
/// each process is seen to have taken the last one.
///
/// # Errors
/// When somebody does not take a step in time, or another rotation is under way. Everybody still trusts everybody
/// then, and asking again goes on with it.
pub async fn rotate_authority(data_dir: &Path, progress: &Progress) -> Result<()> {
    let rotation = Rotation::begin(data_dir, progress)?;
    let (current, next) = (rotation.folder.join(AUTHORITY), rotation.folder.join(NEXT));
    let old = Authority::load(&current)?;
    let new = Authority::load_or_create(&next)?;
    let probes = Probes::open(&rotation.folder)?;

    rotation
        .trust("1 of 3: trusting both authorities", &[&old, &new])
        .await?;
    let with_new = probes.showing(&new, &[&old, &new])?;
    rotation
        .all("trust the new authority", async |party| {
            with_new.of(party).meet(&party.at).await.is_ok()
        })
        .await?;

    (rotation.progress)("2 of 3: new certificates by the new authority");
    rotation.replace_leaves(&new).await?;
    rotation.new_leaves_are_shown().await?;

    // A start of the platform issues everything anew, so it may come in between.
    let gone = rotation.folder.join("authority-old");
    fs::rename(&current, &gone)?;
    fs::rename(&next, &current)?;
    fs::remove_dir_all(&gone)?;
    rotation
        .trust("3 of 3: trusting the new authority alone", &[&new])
        .await?;
    let with_old = probes.showing(&old, &[&new])?;
    rotation
        .all("refuse the old authority", async |party| {
            with_old.of(party).meet(&party.at).await.is_err()
        })
        .await
}

/// A platform whose certificates are being replaced; a lock keeps a second rotation out.
struct Rotation<'a> {
    folder: PathBuf,
    /// Who has certificates.
    names: Vec<String>,
    /// Who shows them.
    parties: Vec<Party>,
    haproxy: Option<Haproxy>,
    progress: &'a Progress,
    _lock: File,
}

/// A process that shows a certificate to its peers.
struct Party {
    /// Who may ask it.
    asked_by: &'static str,
    at: Upstream,
}

impl<'a> Rotation<'a> {
    fn begin(data_dir: &Path, progress: &'a Progress) -> Result<Self> {
        let folder = certificates_dir(data_dir);
        let lock = File::create(folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .context("another rotation of certificates is under way here")?;
        let mut parties = Vec::new();
        for process in read_processes(data_dir)? {
            let (asked_by, identity) = match process.name.as_str() {
                "envoy" => (HAPROXY, INGRESS),
                name if SERVICES.iter().any(|service| service.name == name) => (COMMAND_LINE, name),
                _ => continue,
            };
            parties.push(Party {
                asked_by,
                at: Upstream::new(identity, process.address.to_string()),
            });
        }
        Ok(Self {
            names: bundles(&folder)?,
            folder,
            parties,
            haproxy: Haproxy::of(data_dir)?,
            progress,
            _lock: lock,
        })
    }

    async fn trust(&self, step: &str, authorities: &[&Authority]) -> Result<()> {
        (self.progress)(step);
        for name in &self.names {
            ca::write_trusted(&self.folder.join(name), authorities)?;
        }
        self.reload_haproxy().await
    }

    async fn replace_leaves(&self, authority: &Authority) -> Result<()> {
        for name in &self.names {
            authority
                .issue(name, &[], LEAF_VALID_FOR)?
                .write(&self.folder.join(name))?;
        }
        self.reload_haproxy().await
    }

    async fn new_leaves_are_shown(&self) -> Result<()> {
        let clients = Probes::of(&self.folder, &self.names)?;
        let mut expected = BTreeMap::new();
        for name in &self.names {
            expected.insert(name.as_str(), ca::describe(&self.folder.join(name))?.der);
        }
        self.all("show its new certificate", async |party| {
            let shown = clients.of(party).meet(&party.at).await;
            shown.is_ok_and(|shown| expected.get(party.at.service.as_str()) == Some(&shown))
        })
        .await
    }

    /// Waits until it holds for everyone who can be asked, and as long as the others may take.
    async fn all(&self, what: &str, holds: impl AsyncFn(&Party) -> bool) -> Result<()> {
        let started = Instant::now();
        let mut waiting: Vec<&Party> = self.parties.iter().collect();
        loop {
            let mut answers = join_all(waiting.iter().map(|party| holds(party))).await.into_iter();
            waiting.retain(|_| answers.next() != Some(true));
            if waiting.is_empty() {
                break;
            }
            let names: Vec<&str> = waiting.iter().map(|party| party.at.service.as_str()).collect();
            let names = names.join(", ");
            ensure!(
                started.elapsed() < READ_TIMEOUT,
                "{names} did not {what} in {READ_TIMEOUT:?}; everybody still trusts everybody, and asking again goes on"
            );
            tokio::time::sleep(READ_POLL).await;
        }
        tokio::time::sleep_until(started + READ_BY_ALL).await;
        Ok(())
    }

    /// It reads its files at its start alone, so another one starts in its place, with its ports; the old one ends what
    /// it has begun. Telling it piece by piece over its socket would do, if 2.6 did not crash over it.
    async fn reload_haproxy(&self) -> Result<()> {
        let Some(Haproxy { pid, socket }) = &self.haproxy else {
            return Ok(());
        };
        let before = worker(socket)?;
        kill_process(*pid, Signal::USR2)?;
        let started = Instant::now();
        // While the one follows the other nobody may be there to answer.
        while worker(socket).map_or(true, |now| now == before) {
            ensure!(
                started.elapsed() < READ_TIMEOUT,
                "HAProxy did not read its files again in {READ_TIMEOUT:?}; its log says why"
            );
            tokio::time::sleep(READ_POLL).await;
        }
        Ok(())
    }
}

/// Clients that try what the others take.
struct Probes(PathBuf);

/// By who may ask.
struct Clients(BTreeMap<&'static str, Client>);

impl Probes {
    fn open(folder: &Path) -> Result<Self> {
        let folder = folder.join("probes");
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    fn showing(&self, authority: &Authority, trusted: &[&Authority]) -> Result<Clients> {
        let names = [COMMAND_LINE, HAPROXY];
        for name in names {
            let bundle = self.0.join(name);
            ca::write_trusted(&bundle, trusted)?;
            authority.issue(name, &[], LEAF_VALID_FOR)?.write(&bundle)?;
        }
        Self::of(&self.0, &names.map(str::to_owned))
    }

    /// With the certificates that there are.
    fn of(folder: &Path, names: &[String]) -> Result<Clients> {
        let mut clients = BTreeMap::new();
        for name in [COMMAND_LINE, HAPROXY] {
            if names.iter().any(|known| known == name) {
                clients.insert(name, Mesh::load(&folder.join(name), name)?.client());
            }
        }
        Ok(Clients(clients))
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        // They are good for weeks, and nobody is to find them.
        if let Err(err) = fs::remove_dir_all(&self.0) {
            tracing::warn!(error = %err, "certificates of a rotation are left over");
        }
    }
}

impl Clients {
    fn of(&self, party: &Party) -> &Client {
        self.0
            .get(party.asked_by)
            .expect("whoever runs Envoy has issued HAProxy's certificate")
    }
}

/// The names of all folders that hold a certificate, sorted.
fn bundles(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        if entry.path().join("tls.crt").exists()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The HAProxy that runs in front of a platform, or of several.
struct Haproxy {
    pid: Pid,
    /// Where it listens to its administrator.
    socket: PathBuf,
}

impl Haproxy {
    fn of(own: &Path) -> Result<Option<Self>> {
        for data_dir in [Some(own), regions::above(own)].into_iter().flatten() {
            let processes = read_processes(data_dir)?;
            let found = processes.iter().find(|process| process.name == "haproxy");
            if let Some(pid) = found.and_then(|process| Pid::from_raw(process.pid)) {
                let socket = data_dir.join("haproxy/admin.sock");
                return Ok(Some(Self { pid, socket }));
            }
        }
        Ok(None)
    }
}

/// Which of HAProxy's processes answers.
fn worker(socket: &Path) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TELL_TIMEOUT))?;
    stream.write_all(b"show info\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    let pid = said.lines().find(|line| line.starts_with("Pid:"));
    Ok(pid.context("HAProxy does not say who it is")?.to_owned())
}
