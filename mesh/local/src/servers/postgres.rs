//! The database server: made at first start, run as another user when we are root, one database and two roles per master.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{Options, await_ready, no_env};
use crate::data_dir::{mark, write_private};
use crate::disk;
use crate::exec::Launcher;
use crate::install::Executables;
use crate::secrets::{Secrets, random_hex};
use crate::supervise::{Spec, Supervisor, Tier, User, run_once};

const NAME: &str = "postgres";
const SUPERUSER: &str = "postgres";

/// Where the folder goes when the user who runs the server cannot enter the data directory.
const ELSEWHERE: &str = "/var/tmp";

/// A running database server.
#[derive(Debug, Clone)]
pub struct Postgres {
    address: SocketAddr,
    password: String,
}

/// A database and the two roles that may use it.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its name, which is also that of its serving role.
    pub name: String,
    /// As the role `<name>`, which serves.
    pub url: String,
    /// As the role `<name>_owner`, which migrates.
    pub owner_url: String,
}

impl Postgres {
    /// The one that runs at an address and knows this password.
    pub(crate) fn at(address: SocketAddr, password: String) -> Self {
        Self { address, password }
    }

    pub(super) async fn start(
        data_dir: &Path,
        executables: &Executables,
        options: &Options,
        supervisor: &Supervisor,
        address: SocketAddr,
        secrets: &Secrets,
    ) -> Result<Self> {
        let user = run_as()?;
        let folder = folder(data_dir, user)?;
        if options.small_disks {
            disk::mount(&folder, disk::POSTGRES_BYTES, user)?;
        }
        let data = folder.join("data");
        let this = Self {
            address,
            password: secrets.get("postgres")?,
        };
        if !data.exists() {
            this.init(executables, &folder, &data, user).await?;
        }
        remove_stale_lock(&data);
        supervisor
            .start(Spec {
                name: NAME.to_owned(),
                tier: Tier::Server,
                program: executables.postgres.clone(),
                args: arguments(&data, address, options).into_iter().map(Into::into).collect(),
                env: no_env(),
                current_dir: folder,
                user,
                niceness: 0,
                // A fast shutdown: sessions are ended, the log is closed.
                stop_signal: Signal::INT,
                address,
                held: Vec::new(),
                admin: None,
            })
            .await?;
        await_ready(NAME, supervisor, || this.is_ours(&data)).await?;
        Ok(this)
    }

    /// A URL for everything in one database; for setting up, verifying and breaking it on purpose, never for a service.
    pub fn superuser_url(&self, database: &str) -> String {
        self.url(SUPERUSER, &self.password, database)
    }

    /// The URL of a role in a database.
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!(
            "postgres://{role}:{password}@{}/{database}?sslmode=disable",
            self.address
        )
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a database with its two roles, or only sets the passwords of what is there already.
    ///
    /// The name and the passwords must be safe inside SQL quotes.
    pub async fn database(&self, name: &str, password: &str, owner_password: &str) -> Result<Database> {
        let owner = format!("{name}_owner");
        let mut admin = PgConnection::connect(&self.superuser_url("postgres")).await?;
        for (role, password) in [(name, password), (&owner, owner_password)] {
            ensure_role(&mut admin, role, password).await?;
        }
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut admin)
            .await?;
        if !exists {
            admin
                .execute(AssertSqlSafe(format!(r#"CREATE DATABASE "{name}" OWNER "{owner}""#)))
                .await?;
        }
        admin
            .execute(AssertSqlSafe(format!(r#"REVOKE ALL ON DATABASE "{name}" FROM PUBLIC"#)))
            .await?;
        admin
            .execute(AssertSqlSafe(format!(
                r#"GRANT CONNECT ON DATABASE "{name}" TO "{name}""#
            )))
            .await?;
        admin.close().await?;
        Ok(Database {
            name: name.to_owned(),
            url: self.url(name, password, name),
            owner_url: self.url(&owner, owner_password, name),
        })
    }

    /// Drops a database and its roles, whoever is connected.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let mut admin = PgConnection::connect(&self.superuser_url("postgres")).await?;
        for statement in [
            format!(r#"DROP DATABASE IF EXISTS "{name}" WITH (FORCE)"#),
            format!(r#"DROP ROLE IF EXISTS "{name}""#),
            format!(r#"DROP ROLE IF EXISTS "{name}_owner""#),
        ] {
            admin.execute(AssertSqlSafe(statement)).await?;
        }
        Ok(admin.close().await?)
    }

    async fn init(&self, executables: &Executables, folder: &Path, data: &Path, user: Option<User>) -> Result<()> {
        // Made beside its place and moved there, so that a start that was interrupted leaves no half of a database.
        let staging = folder.join("data.new");
        if staging.exists() {
            fs::remove_dir_all(&staging)?;
        }
        let password = folder.join("password");
        write_private(&password, self.password.as_bytes())?;
        own(&password, user)?;
        // By bytes, the same on every machine; macOS has no C.UTF-8.
        let locale = if cfg!(target_os = "linux") {
            "--locale=C.UTF-8"
        } else {
            "--locale=C"
        };
        let mut args = vec![
            "--no-sync",
            "--no-instructions",
            "--encoding=UTF8",
            locale,
            "--auth=scram-sha-256",
        ];
        args.extend(["--username", SUPERUSER, "--pgdata"]);
        let mut args: Vec<std::ffi::OsString> = args.into_iter().map(Into::into).collect();
        args.push(staging.clone().into());
        args.push("--pwfile".into());
        args.push(password.clone().into());
        run_once(
            &Launcher::Plain,
            &Spec {
                name: "initdb".to_owned(),
                tier: Tier::Server,
                program: executables.initdb.clone(),
                args,
                env: no_env(),
                current_dir: folder.to_owned(),
                user,
                niceness: 0,
                stop_signal: Signal::KILL,
                address: self.address,
                held: Vec::new(),
                admin: None,
            },
        )
        .await?;
        fs::remove_file(&password)?;
        fs::rename(&staging, data).context("cannot move the new database to its place")
    }

    /// Whether the server that answers on our port runs on our data.
    async fn is_ours(&self, data: &Path) -> Result<()> {
        let mut connection = PgConnection::connect(&self.superuser_url("postgres")).await?;
        let there: String = sqlx::query_scalar("SHOW data_directory")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        ensure!(
            Path::new(&there) == data,
            "the database server on {} is not ours, it runs in {there}",
            self.address
        );
        Ok(())
    }
}

async fn ensure_role(admin: &mut PgConnection, role: &str, password: &str) -> Result<()> {
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(role)
        .fetch_one(&mut *admin)
        .await?;
    let verb = if exists { "ALTER" } else { "CREATE" };
    admin
        .execute(AssertSqlSafe(format!(
            r#"{verb} ROLE "{role}" LOGIN PASSWORD '{password}'"#
        )))
        .await?;
    Ok(())
}

fn arguments(data: &Path, address: SocketAddr, options: &Options) -> Vec<String> {
    let durable = if options.durable { "on" } else { "off" };
    let settings = [
        ("listen_addresses", address.ip().to_string()),
        ("port", address.port().to_string()),
        // A path of a socket may have 107 bytes, and ours may be longer; loopback does for everything.
        ("unix_socket_directories", String::new()),
        ("max_connections", options.connections_max.to_string()),
        ("shared_buffers", "128MB".to_owned()),
        ("fsync", durable.to_owned()),
        ("full_page_writes", durable.to_owned()),
        ("synchronous_commit", "on".to_owned()),
        // No replica will ever follow, so the log may be the short one.
        ("wal_level", "minimal".to_owned()),
        ("max_wal_senders", "0".to_owned()),
        ("max_wal_size", "2GB".to_owned()),
        // Our queries are short; compiling them costs more than it saves.
        ("jit", "off".to_owned()),
        // What a session is at is in pg_stat_activity; its title would be written twice for each statement.
        ("update_process_title", "off".to_owned()),
        // Outboxes and timers are written and deleted all the time.
        ("autovacuum_naptime", "30s".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("log_timezone", "UTC".to_owned()),
        ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
        // Statements could carry personal data; they stay out of the log.
        ("log_min_error_statement", "panic".to_owned()),
        ("log_error_verbosity", "terse".to_owned()),
    ];
    let mut args = vec!["-D".to_owned(), data.display().to_string()];
    for (name, value) in settings {
        args.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    args
}

/// The server refuses to run as root; then it runs as its package's user, or as nobody.
fn run_as() -> Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| {
            Some(User {
                uid: id("-u", name)?,
                gid: id("-g", name)?,
            })
        })
        .map(Some)
        .context("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody` to run it as")
}

fn id(flag: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([flag, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// The server's folder, made if needed: in the data directory, or linked from there.
fn folder(data_dir: &Path, user: Option<User>) -> Result<PathBuf> {
    let place = data_dir.join("postgres");
    if place.is_symlink() || place.exists() {
        return place.canonicalize().with_context(|| {
            let target = fs::read_link(&place).unwrap_or_default();
            format!("the database's folder {} is gone; start with --fresh", target.display())
        });
    }
    match user {
        Some(user) if !can_enter(data_dir, user) => {
            let elsewhere = Path::new(ELSEWHERE).join(format!("tiffin-postgres-{}", random_hex(8)));
            make_folder(&elsewhere, Some(user))?;
            symlink(&elsewhere, &place)?;
        }
        user => make_folder(&place, user)?,
    }
    Ok(place.canonicalize()?)
}

fn make_folder(folder: &Path, user: Option<User>) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    mark(folder)?;
    own(folder, user)
}

fn own(path: &Path, user: Option<User>) -> Result<()> {
    if let Some(user) = user {
        chown(path, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// Whether a user may pass through a folder and all folders above it.
fn can_enter(path: &Path, user: User) -> bool {
    path.ancestors().all(|folder| {
        fs::metadata(folder).is_ok_and(|meta| {
            let mode = meta.mode();
            let bit = match () {
                () if meta.uid() == user.uid => 0o100,
                () if meta.gid() == user.gid => 0o010,
                () => 0o001,
            };
            mode & bit != 0
        })
    })
}

/// A server that was killed leaves its pid behind; in a container that pid soon belongs to somebody else,
/// and the next server would refuse to start. We hold the lock of the data directory, so only a process
/// that is visibly on this data may keep it.
fn remove_stale_lock(data: &Path) {
    let lock = data.join("postmaster.pid");
    let Some(pid) = fs::read_to_string(&lock)
        .ok()
        .and_then(|text| text.lines().next()?.parse::<u32>().ok())
    else {
        return;
    };
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else {
        // Not running, or not Linux: the server decides for itself.
        return;
    };
    if !String::from_utf8_lossy(&command).contains(&*data.to_string_lossy()) {
        let _ = fs::remove_file(lock);
    }
}
