//! Several regions on one machine: a whole platform for each, and one HAProxy in front of all.
//!
//! They share nothing but the machine: each has its own data, people, keys and authority, in a folder of its own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use crate::Progress;
use crate::certificates::{self, certificates_dir, issue};
use crate::data_dir::{DataDir, read_json, write_json};
use crate::edge::{self, REGIONS_MAX};
use crate::platform::{Options, Platform};
use crate::supervise::{Supervisor, Tier};

/// Which regions a data directory has; absent where there is one platform.
const FILE: &str = "regions.json";
/// Where their data are, below it.
const FOLDER: &str = "regions";
/// A name is part of bus subjects and of names in HAProxy's configuration.
const NAME_CHARS_MAX: usize = 20;

/// Platforms that run beside each other. `stop` ends them in order; dropping it kills them.
pub struct Regions {
    data_dir: DataDir,
    platforms: Vec<(String, Platform)>,
    supervisor: Supervisor,
}

/// How a region's people come to it.
#[derive(Debug, Clone, Copy)]
pub struct People {
    /// Where they come from: an address of this machine.
    pub from: Ipv4Addr,
    /// Of which country that makes them.
    pub country: &'static str,
}

/// # Errors
/// When a region cannot be called that.
pub fn parse_name(name: &str) -> Result<String, String> {
    let fits = (1..=NAME_CHARS_MAX).contains(&name.len());
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits && is_plain {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "lower-case letters, digits and dashes, {NAME_CHARS_MAX} at most"
        ))
    }
}

impl Regions {
    /// Starts a platform for each name, one after the other; `options` say how, and where their folder is.
    ///
    /// What was started is stopped again if anything fails.
    pub async fn start(options: &Options, names: &[String]) -> Result<Self> {
        ensure!(
            (1..=REGIONS_MAX).contains(&names.len()),
            "from 1 to {REGIONS_MAX} regions, not {}",
            names.len()
        );
        ensure!(
            names.iter().enumerate().all(|(nth, name)| !names[..nth].contains(name)),
            "two regions cannot have one name"
        );
        let data_dir = DataDir::open(&options.data_dir, options.fresh).await?;
        write_json(&data_dir.path().join(FILE), &names)?;
        let supervisor = Supervisor::new(data_dir.path(), options.launcher.clone())?;
        let mut regions = Self {
            data_dir,
            platforms: Vec::new(),
            supervisor,
        };
        for name in names {
            match Platform::start(regions.options(options, name)).await {
                Ok(platform) => regions.platforms.push((name.clone(), platform)),
                Err(err) => {
                    regions.stop().await;
                    return Err(err.context(format!("region {name}")));
                }
            }
        }
        Ok(regions)
    }

    fn options(&self, options: &Options, name: &str) -> Options {
        let (progress, of) = (options.progress.clone(), name.to_owned());
        Options {
            data_dir: self.data_dir.path().join(FOLDER).join(name),
            region: name.to_owned(),
            progress: Arc::new(move |step| progress(&format!("region {of}: {step}"))),
            ..options.clone()
        }
    }

    /// The regions with their people, the first one first.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Platform, People)> {
        let numbered = self.platforms.iter().enumerate();
        numbered.map(|(nth, (name, platform))| {
            let (from, country) = edge::people_of(nth);
            (name.as_str(), platform, People { from, country })
        })
    }

    /// Starts Envoy in front of each and HAProxy in front of all; where people come in then.
    pub async fn start_edge(&self, progress: &Progress) -> Result<String> {
        let executables = edge::executables(progress).await?;
        progress("starting HAProxy and Envoy");
        let mut ingresses = Vec::new();
        for (name, platform) in &self.platforms {
            let ingress = platform.start_ingress(&executables).await;
            ingresses.push(ingress.with_context(|| format!("region {name}"))?);
        }
        // What everyone sees is no region's.
        issue(self.data_dir.path(), [certificates::HAPROXY])?;
        let door = edge::start_door(self.data_dir.path(), &ingresses, &self.supervisor, &executables).await?;
        Ok(format!("https://{door}"))
    }

    /// The certificate to trust for it.
    pub fn ca_cert(&self) -> PathBuf {
        let certs = certificates_dir(self.data_dir.path());
        certs.join(certificates::HAPROXY).join("ca.crt")
    }

    /// The folder with everything in it.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Stops the door, then the regions together, and leaves no process behind.
    pub async fn stop(self) {
        self.supervisor.stop(Tier::Service).await;
        let platforms = self.platforms.into_iter().map(|(_, platform)| platform.stop());
        futures::future::join_all(platforms).await;
    }
}

/// The folders of all regions of a data directory that has any, for people.
pub(crate) fn folders(data_dir: &Path) -> Result<Option<String>> {
    let names: Option<Vec<String>> = read_json(&data_dir.join(FILE))?;
    Ok(names.map(|names| {
        let folders = names
            .iter()
            .map(|name| data_dir.join(FOLDER).join(name).display().to_string());
        folders.collect::<Vec<_>>().join(", ")
    }))
}

/// The data directory that has this one as a region's.
pub(crate) fn above(data_dir: &Path) -> Option<&Path> {
    let folder = data_dir.parent()?;
    folder.ends_with(FOLDER).then(|| folder.parent()).flatten()
}

/// One platform starts where there were several. Their data stay.
pub(crate) fn forget(data_dir: &Path) -> Result<()> {
    match fs::remove_file(data_dir.join(FILE)) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(err.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
