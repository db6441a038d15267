//! The first and last lines of every service's `main`: settings they all have, the first
//! argument, listeners whose failure says which address.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime;

use crate::clock::Clock;
use crate::consistency::Signer;
use crate::handover;
use crate::settings::Settings;
use crate::telemetry::Telemetry;

/// What a service binary was asked to do by its first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Run the service; the default.
    Serve,
    /// Bring the database to this build's schema, then end.
    Migrate,
}

/// The settings that all services share.
#[derive(Debug, Clone)]
pub struct Common {
    /// Where the service listens for its peers.
    pub mesh_listen: SocketAddr,
    /// Where health and metrics are.
    pub admin_listen: SocketAddr,
    /// How it and its peers know each other.
    pub tls: MeshTls,
    /// The region this process runs in.
    pub region: String,
    /// Business and wall time.
    pub clock: Clock,
    /// What to log.
    pub telemetry: Telemetry,
}

impl Common {
    /// Reads them.
    pub fn from_settings(settings: &mut Settings) -> Self {
        const LISTEN: &str = "TIFFIN_MESH_LISTEN";
        let mesh_listen = settings.parse_required(
            LISTEN,
            "127.0.0.1:4000",
            "where peers reach this service; two services cannot share one",
        );
        Self {
            mesh_listen,
            admin_listen: settings.parse_required(
                "TIFFIN_ADMIN_LISTEN",
                "127.0.0.1:5000",
                "plain health and metrics; keep it off the network",
            ),
            tls: MeshTls::from_settings(settings, LISTEN, mesh_listen),
            region: settings.text(
                "TIFFIN_REGION",
                "local",
                "part of every bus subject; one region needs no other name",
            ),
            clock: Clock::from_settings(settings),
            telemetry: Telemetry::from_settings(settings),
        }
    }
}

/// How a service and its peers know each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeshTls {
    /// By certificates of their own: the folder with `tls.crt`, `tls.key` and `ca.crt`.
    Mutual(PathBuf),
    /// By a sidecar's certificates: it asks in the clear, on loopback, and says for whom; what is asked of others goes
    /// through it, too.
    Sidecar,
}

impl MeshTls {
    /// Reads `TIFFIN_TLS` and what it needs, for a listener whose address is the setting `listens`.
    pub fn from_settings(settings: &mut Settings, listens: &'static str, address: SocketAddr) -> Self {
        const NAME: &str = "TIFFIN_TLS";
        let is_sidecar = match settings
            .text(
                NAME,
                "mutual",
                "mutual: peers show each other certificates; sidecar: a sidecar does it for them, says in \
                 x-forwarded-client-cert who asks, and alone reaches this service, which listens on loopback",
            )
            .as_str()
        {
            "sidecar" => true,
            other => {
                if other != "mutual" {
                    settings.refuse(NAME, "is neither mutual nor sidecar");
                }
                false
            }
        };
        if is_sidecar {
            if !address.ip().is_loopback() {
                settings.refuse(
                    listens,
                    format!("is not on loopback, as {NAME}=sidecar needs it: who got past the sidecar could be anyone"),
                );
            }
            return Self::Sidecar;
        }
        let dir = settings.required(
            "TIFFIN_TLS_DIR",
            "tls.crt, tls.key and ca.crt of this service, re-read when they change; not with a sidecar",
        );
        Self::Mutual(dir.into())
    }
}

/// Reads `TIFFIN_CONSISTENCY_SECRET`, for the services that sign or check tokens.
pub fn signer(settings: &mut Settings) -> Signer {
    const NAME: &str = "TIFFIN_CONSISTENCY_SECRET";
    let secret = settings.secret(
        NAME,
        "signs read-your-writes tokens; the same for all services of a platform",
    );
    Signer::new(secret.expose().as_bytes()).unwrap_or_else(|err| {
        // A missing secret has been refused already; do not complain twice.
        if !secret.expose().is_empty() {
            settings.refuse(NAME, err.to_string());
        }
        Signer::new(&[0; 32]).expect("32 bytes suffice; `finish` refuses before it is used")
    })
}

/// Runs a service on as many threads as `TOKIO_WORKER_THREADS` says, or as there are cores.
///
/// One thread means one: everything takes turns on it, and no two threads of a process wake each other, which is
/// what a dozen services on one machine would mostly do.
///
/// # Errors
/// Those of the service, and when the system gives no thread.
pub fn run(service: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let is_alone = std::env::var("TOKIO_WORKER_THREADS").is_ok_and(|threads| threads == "1");
    allow_descriptors();
    let mut runtime = match is_alone {
        true => runtime::Builder::new_current_thread(),
        false => runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(service)
}

/// As many open files as the system lets us have: the usual soft limit is for programs that use `select`, and each
/// client takes one.
fn allow_descriptors() {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        ..limits
    };
    // With fewer we still serve.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// What the first argument asks for. None: `--help` was asked for and has been printed.
///
/// # Errors
/// For an argument that is none of the commands offered.
pub fn command(settings: &Settings, offered: &[Command]) -> anyhow::Result<Option<Command>> {
    let argument = std::env::args().nth(1);
    let asked = match argument.as_deref() {
        None | Some("serve") => Command::Serve,
        Some("migrate") => Command::Migrate,
        Some("--help" | "-h" | "help") => {
            let commands = if offered.contains(&Command::Migrate) {
                "serve (default), migrate"
            } else {
                "serve (default)"
            };
            write!(
                io::stdout(),
                "{}: {commands}\n\n{}",
                settings.service(),
                settings.help()
            )?;
            return Ok(None);
        }
        Some(other) => anyhow::bail!("unknown command {other:?}; see --help"),
    };
    anyhow::ensure!(
        offered.contains(&asked),
        "{} has nothing to migrate",
        settings.service()
    );
    Ok(Some(asked))
}

/// Work that ends with the shutdown and cannot fail, so that it can stand in `try_join!` among
/// what can.
///
/// # Errors
/// Never.
pub async fn endless(work: impl Future<Output = ()>) -> io::Result<()> {
    work.await;
    Ok(())
}

/// The listener that is held for us there, or else one of our own; the error names the address.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    if let Some(held) = handover::take(address) {
        held.set_nonblocking(true)?;
        return Ok(TcpListener::from_std(held)?);
    }
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}
