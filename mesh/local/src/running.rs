//! A platform as other commands find it: through its data directory, without having started it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use mesh_runtime::Clock;

use crate::certificates::{ca_cert, certificates_dir};
use crate::clock::KeptClock;
use crate::data_dir::{is_live, read_json, write_json};
use crate::environment::{OPERATOR_EMAIL, failpoints_dir, sandbox_dir};
use crate::ports::Ports;
use crate::regions;
use crate::restart;
use crate::secrets::Secrets;
use crate::servers::{Nats, Postgres, Redis};
use crate::services::Service;
use crate::supervise::{Process, read_processes};

/// A platform that is up, with every access its owner has.
#[derive(Debug)]
pub struct Running {
    data_dir: PathBuf,
    processes: Vec<Process>,
    public: SocketAddr,
    region: String,
    secrets: Secrets,
    clock: Clock,
}

const REGION_FILE: &str = "region.json";

/// Notes what the region of a platform is called.
pub(crate) fn name_region(data_dir: &Path, region: &str) -> Result<()> {
    write_json(&data_dir.join(REGION_FILE), &region)
}

/// The folder of what is up there: a platform, or the door in front of several.
///
/// # Errors
/// When nothing is.
pub fn live(data_dir: &Path) -> Result<PathBuf> {
    if !is_live(data_dir) {
        bail!(
            "no platform is up in {}; start one with `tiffin up`",
            data_dir.display()
        );
    }
    Ok(data_dir.canonicalize()?)
}

impl Running {
    /// The platform of a data directory; fails if none is up there.
    pub fn find(data_dir: &Path) -> Result<Self> {
        let data_dir = live(data_dir)?;
        if let Some(folders) = regions::folders(&data_dir)? {
            bail!(
                "there are several platforms in {}: name one of {folders}",
                data_dir.display()
            );
        }
        let processes = read_processes(&data_dir)?;
        let ports: BTreeMap<String, u16> = read_json(&Ports::file(&data_dir))?.unwrap_or_default();
        let starting = "the platform is still starting";
        let public = ports.get("public").context(starting)?;
        Ok(Self {
            public: (std::net::Ipv4Addr::LOCALHOST, *public).into(),
            region: read_json(&data_dir.join(REGION_FILE))?.context(starting)?,
            secrets: Secrets::open(&data_dir)?,
            clock: KeptClock::find(&data_dir)?.context(starting)?,
            processes,
            data_dir,
        })
    }

    /// Its folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where the public API is.
    pub fn public_url(&self) -> String {
        format!("https://{}", self.public)
    }

    /// The certificate to trust for it.
    pub fn ca_cert(&self) -> PathBuf {
        ca_cert(&self.data_dir)
    }

    /// The certificates of one service, to call others in its name.
    pub fn certificates(&self, service: &str) -> PathBuf {
        certificates_dir(&self.data_dir).join(service)
    }

    /// What its region is called.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The business clock of its services.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What ran when we looked.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// One process as it is now; its pid changes when it is started again.
    pub fn process(&self, name: &str) -> Result<Process> {
        let processes = read_processes(&self.data_dir)?;
        let found = processes.into_iter().find(|process| process.name == name);
        found.with_context(|| format!("no process {name} in {}", self.data_dir.display()))
    }

    /// Restarts one service without a request that fails; returns when its successor works alone.
    ///
    /// # Errors
    /// When there is no such service, or its successor does not get ready: the one before works on then.
    pub async fn restart(&self, service: &str) -> Result<()> {
        restart::ask(&self.data_dir, service)
            .await
            .with_context(|| format!("cannot restart {service}"))
    }

    /// E-mail and password of the first operator.
    pub fn operator(&self) -> Result<(&'static str, String)> {
        Ok((OPERATOR_EMAIL, self.secrets.get("operator")?))
    }

    /// The database server, as its superuser.
    pub fn postgres(&self) -> Result<Postgres> {
        Ok(Postgres::at(
            self.process("postgres")?.address,
            self.secrets.get("postgres")?,
        ))
    }

    /// A URL for everything in a master's database.
    pub fn database_url(&self, master: &Service) -> Result<String> {
        Ok(self.postgres()?.superuser_url(&master.database()))
    }

    /// Redis, as its administrator.
    pub fn redis(&self) -> Result<Redis> {
        Ok(Redis::at(self.process("redis")?.address, self.secrets.get("redis")?))
    }

    /// The bus, as its administrator.
    pub fn nats(&self) -> Result<Nats> {
        Ok(Nats::at(self.process("nats")?.address, self.secrets.get("nats")?))
    }

    /// The folder in which a service looks whether it is to die somewhere, if it was built for that.
    pub fn failpoints(&self, service: &str) -> PathBuf {
        failpoints_dir(&self.data_dir, service)
    }

    /// The folder in which a server keeps its data.
    pub fn data_of(&self, server: &str) -> PathBuf {
        self.data_dir.join(server)
    }

    /// The folder in which the payment provider keeps its ledger.
    pub fn sandbox_ledger(&self) -> PathBuf {
        sandbox_dir(&self.data_dir, "sandbox-payments")
    }

    /// The key to ask the payment provider with.
    pub fn payments_key(&self) -> Result<String> {
        self.secrets.get("payments/key")
    }
}
