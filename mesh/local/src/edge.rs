//! The chain in front of the gateway: HAProxy, which knows which region is whose, and Envoy, the ingress of this one.
//!
//! Their configurations are those of `mesh/haproxy` and `mesh/envoy`, carried along in the executable.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mesh_identity::ca::Authority;
use mesh_identity::{Client, Upstream};
use rustix::process::Signal;
use serde_json::Value;

use crate::Progress;
use crate::data_dir::write_private;
use crate::install::{EdgeExecutables, Machine};
use crate::platform::{ca_cert, certificates_dir};
use crate::ports::Ports;
use crate::running::Running;
use crate::secrets::Secrets;
use crate::supervise::{Spec, Supervisor, Tier};

/// Both, in the order in which they are to end.
pub(crate) const NAMES: [&str; 2] = ["haproxy", "envoy"];

/// As the gateway has them by default, and a local platform never has others.
const ISSUER: &str = "https://tiffin.local";
const AUDIENCE: &str = "tiffin";

/// Both start within a second; the first health check takes another one.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the door is asked.
const READY_POLL: Duration = Duration::from_millis(50);
/// A server that ends at once this many times will not start the next time either.
const FAILED_STARTS_MAX: u32 = 4;

const ENVOY: [(&str, &str); 5] = [
    ("envoy.yaml", include_str!("../../envoy/envoy.yaml")),
    ("identity.yaml", include_str!("../../envoy/identity.yaml")),
    ("authority.yaml", include_str!("../../envoy/authority.yaml")),
    ("head.lua", include_str!("../../envoy/head.lua")),
    ("token.lua", include_str!("../../envoy/token.lua")),
];

const HAPROXY: &str = include_str!("../../haproxy/haproxy.cfg");

macro_rules! problem {
    ($name:literal) => {
        ($name, include_str!(concat!("../../haproxy/problems/", $name)))
    };
}

const PROBLEMS: [(&str, &str); 10] = [
    problem!("bad_gateway.json"),
    problem!("bad_request.json"),
    problem!("body_too_large.json"),
    problem!("body_too_slow.json"),
    problem!("forbidden.json"),
    problem!("gateway_timeout.json"),
    problem!("headers_too_large.json"),
    problem!("internal.json"),
    problem!("region_unavailable.json"),
    problem!("unsupported_coding.json"),
];

/// Starts the chain in front of a platform that is up, and says where people come in.
pub(crate) async fn start(running: &Running, supervisor: &Supervisor, progress: &Progress) -> Result<SocketAddr> {
    let executables = tokio::task::spawn_blocking({
        let progress = progress.clone();
        move || Machine::this().edge_executables(&progress)
    })
    .await??;
    progress("starting HAProxy and Envoy");
    let data_dir = running.data_dir();
    let ports = Ports::open(data_dir)?;
    let (door, ingress) = (ports.get("haproxy")?, ports.get("envoy")?);
    certificates(data_dir)?;
    supervisor
        .start(envoy(running, &executables, ingress, ports.get("envoy/admin")?)?)
        .await?;
    supervisor.start(haproxy(running, &executables, door, ingress)?).await?;
    is_open(data_dir, door, supervisor).await?;
    Ok(door)
}

/// Of the two identities that only a chain has.
fn certificates(data_dir: &Path) -> Result<()> {
    let folder = certificates_dir(data_dir);
    let authority = Authority::load(&folder.join("authority"))?;
    for name in ["ingress", "haproxy"] {
        authority.write_bundle(&folder, name)?;
    }
    Ok(())
}

fn envoy(running: &Running, executables: &EdgeExecutables, ingress: SocketAddr, admin: SocketAddr) -> Result<Spec> {
    let folder = made(running, "envoy")?;
    let gateway = running.process("gateway")?.address;
    let values = [
        ("listen_port", ingress.port().to_string()),
        ("admin_port", admin.port().to_string()),
        ("gateway_address", gateway.ip().to_string()),
        ("gateway_port", gateway.port().to_string()),
        ("folder", folder.display().to_string()),
        ("certs", running.certificates("ingress").display().to_string()),
        ("issuer", ISSUER.to_owned()),
        ("audience", AUDIENCE.to_owned()),
    ];
    for (name, template) in ENVOY {
        let filled = values.iter().fold(template.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value)
        });
        write_private(&folder.join(name), filled.as_bytes())?;
    }
    let config = folder.join("envoy.yaml");
    Ok(Spec {
        name: "envoy".to_owned(),
        tier: Tier::Service,
        program: executables.envoy.clone(),
        args: [
            "--config-path".into(),
            config.into(),
            // A dozen processes share this machine's cores.
            "--concurrency".into(),
            "1".into(),
            "--disable-hot-restart".into(),
            "--log-level".into(),
            "warning".into(),
        ]
        .to_vec(),
        env: BTreeMap::new(),
        current_dir: folder,
        user: None,
        niceness: 0,
        stop_signal: Signal::TERM,
        address: ingress,
        held: Vec::new(),
        admin: None,
    })
}

fn haproxy(running: &Running, executables: &EdgeExecutables, door: SocketAddr, ingress: SocketAddr) -> Result<Spec> {
    let folder = made(running, "haproxy")?;
    let problems = made(running, "haproxy/problems")?;
    for (name, problem) in PROBLEMS {
        write_private(&problems.join(name), problem.as_bytes())?;
    }
    let region = running.region();
    let backend = format!("backend region-{region} from region\n    server ingress {ingress}\n");
    // Everyone here is at home.
    for (name, text) in [
        ("haproxy.cfg", HAPROXY),
        ("regions.cfg", &backend),
        ("countries.map", ""),
        ("regions.map", ""),
    ] {
        write_private(&folder.join(name), text.as_bytes())?;
    }
    let file = |name: &str| folder.join(name).display().to_string();
    let certs = running.certificates("haproxy");
    let certificate = certs.join("tls.crt").display().to_string();
    let env = [
        ("LISTEN", door.to_string()),
        ("ADMIN", file("admin.sock")),
        ("PUBLIC_CERT", certificate.clone()),
        ("MESH_CERT", certificate),
        ("MESH_CA", certs.join("ca.crt").display().to_string()),
        ("COUNTRIES", file("countries.map")),
        ("REGIONS", file("regions.map")),
        ("DEFAULT_REGION", region.to_owned()),
        // Hexadecimal is base64, too.
        ("COOKIE_KEY", Secrets::open(running.data_dir())?.get("haproxy/cookie")?),
        ("PROBLEMS", problems.display().to_string()),
    ];
    Ok(Spec {
        name: "haproxy".to_owned(),
        tier: Tier::Service,
        program: executables.haproxy.clone(),
        args: ["-db", "-f", "haproxy.cfg", "-f", "regions.cfg"]
            .map(Into::into)
            .to_vec(),
        env: env
            .into_iter()
            .map(|(name, value)| (format!("TIFFIN_EDGE_{name}"), value))
            .collect(),
        current_dir: folder,
        user: None,
        niceness: 0,
        stop_signal: Signal::TERM,
        address: door,
        held: Vec::new(),
        admin: None,
    })
}

fn made(running: &Running, name: &str) -> Result<PathBuf> {
    let folder = running.data_dir().join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Waits until the gateway answers through the whole chain.
async fn is_open(data_dir: &Path, door: SocketAddr, supervisor: &Supervisor) -> Result<()> {
    let client = Client::public(&fs::read(ca_cert(data_dir))?)?;
    let upstream = Upstream::new("haproxy", door.to_string());
    let started = Instant::now();
    loop {
        let Err(err) = client.get_json::<Value>(&upstream, "/readyz").await else {
            return Ok(());
        };
        if let Some(failure) = NAMES
            .iter()
            .find_map(|name| supervisor.failure(name, FAILED_STARTS_MAX))
        {
            bail!(failure);
        }
        if started.elapsed() > READY_TIMEOUT {
            let logs = NAMES.map(|name| supervisor.log_tail(name)).join("\n");
            bail!("the chain was not open in {READY_TIMEOUT:?}: {err}\n{logs}");
        }
        tokio::time::sleep(READY_POLL).await;
    }
}
