//! The chain in front of gateways: HAProxy, which knows which region is whose, and Envoy, the ingress of each.
//!
//! Their configurations are those of `mesh/haproxy` and `mesh/envoy`, carried along in the executable.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::Request;
use mesh_identity::{Client, Mesh, Upstream};
use rustix::process::Signal;
use serde_json::Value;

use crate::Progress;
use crate::certificates::{self, certificates_dir, issue};
use crate::data_dir::write_private;
use crate::install::{EdgeExecutables, Machine};
use crate::ports::Ports;
use crate::running::Running;
use crate::secrets::Secrets;
use crate::supervise::{Spec, Supervisor, Tier};

/// Both, in the order in which they are to end.
pub(crate) const NAMES: [&str; 2] = ["haproxy", "envoy"];

/// Where the people of each region are. The demonstration sells in the first two.
const COUNTRIES: [&str; 4] = ["DE", "RS", "FR", "IT"];
/// Each is a platform of some twenty processes.
pub const REGIONS_MAX: usize = COUNTRIES.len();

/// From which address people of the region with this number come, and of which country they are taken to be: this
/// machine has all of 127.0.0.0/8, so that it can be in several countries.
pub fn people_of(region: usize) -> (Ipv4Addr, &'static str) {
    let last = u8::try_from(region + 1).expect("there are few regions");
    (Ipv4Addr::new(127, 0, 0, last), COUNTRIES[region])
}

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
    problem!("bad_request.json"),
    problem!("body_too_large.json"),
    problem!("body_too_slow.json"),
    problem!("forbidden.json"),
    problem!("gateway_timeout.json"),
    problem!("headers_too_large.json"),
    problem!("internal.json"),
    problem!("no_answer.json"),
    problem!("region_unavailable.json"),
    problem!("unsupported_coding.json"),
];

/// A region's door to HAProxy.
pub(crate) struct Ingress {
    pub(crate) region: String,
    /// Where Envoy listens.
    address: SocketAddr,
    /// What HAProxy shows it and whom it trusts there, as the region's authority says.
    certs: PathBuf,
}

/// Finds HAProxy and Envoy, or installs them.
pub(crate) async fn executables(progress: &Progress) -> Result<EdgeExecutables> {
    let progress = progress.clone();
    tokio::task::spawn_blocking(move || Machine::this().edge_executables(&progress)).await?
}

/// Starts Envoy in front of a platform that is up.
pub(crate) async fn start_ingress(
    running: &Running,
    supervisor: &Supervisor,
    executables: &EdgeExecutables,
) -> Result<Ingress> {
    let data_dir = running.data_dir();
    let ports = Ports::open(data_dir)?;
    let ingress = Ingress {
        region: running.region().to_owned(),
        address: ports.get("envoy")?,
        certs: running.certificates(certificates::HAPROXY),
    };
    issue(data_dir, [certificates::INGRESS, certificates::HAPROXY])?;
    supervisor
        .start(envoy(running, executables, ingress.address, ports.get("envoy/admin")?)?)
        .await?;
    let client = Mesh::load(&ingress.certs, certificates::HAPROXY)?.client();
    let upstream = Upstream::new(certificates::INGRESS, ingress.address.to_string());
    answers("envoy", supervisor, async || {
        let request = Request::get("/readyz").body(Bytes::new())?;
        let status = client.stream(&upstream, request).await?.status();
        ensure!(status.is_success(), "Envoy answers {status}");
        Ok(())
    })
    .await?;
    Ok(ingress)
}

/// Starts HAProxy in front of ingresses, with its files in a data directory that has its public certificate; says where
/// people come in. Whoever is of no country in particular is of the first region.
pub(crate) async fn start_door(
    data_dir: &Path,
    ingresses: &[Ingress],
    supervisor: &Supervisor,
    executables: &EdgeExecutables,
) -> Result<SocketAddr> {
    let door = Ports::open(data_dir)?.get("haproxy")?;
    supervisor
        .start(haproxy(data_dir, executables, door, ingresses)?)
        .await?;
    let certs = certificates_dir(data_dir).join(certificates::HAPROXY);
    let client = Client::public_following(&certs)?;
    let upstream = Upstream::new("haproxy", door.to_string());
    answers("haproxy", supervisor, async || {
        client.get_json::<Value>(&upstream, "/readyz").await?;
        Ok(())
    })
    .await?;
    Ok(door)
}

fn envoy(running: &Running, executables: &EdgeExecutables, ingress: SocketAddr, admin: SocketAddr) -> Result<Spec> {
    let folder = made(running.data_dir(), "envoy")?;
    let gateway = running.process("gateway")?.address;
    let values = [
        ("listen_port", ingress.port().to_string()),
        ("admin_port", admin.port().to_string()),
        ("gateway_address", gateway.ip().to_string()),
        ("gateway_port", gateway.port().to_string()),
        ("folder", folder.display().to_string()),
        (
            "certs",
            running.certificates(certificates::INGRESS).display().to_string(),
        ),
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

fn haproxy(data_dir: &Path, executables: &EdgeExecutables, door: SocketAddr, ingresses: &[Ingress]) -> Result<Spec> {
    let folder = made(data_dir, "haproxy")?;
    let problems = made(data_dir, "haproxy/problems")?;
    for (name, problem) in PROBLEMS {
        write_private(&problems.join(name), problem.as_bytes())?;
    }
    let home = ingresses.first().context("a door without a region")?;
    let backends: String = ingresses.iter().map(backend).collect();
    let (mut countries, mut regions) = (String::new(), String::new());
    // One region is everyone's home.
    if ingresses.len() > 1 {
        for (nth, ingress) in ingresses.iter().enumerate() {
            let (address, country) = people_of(nth);
            countries += &format!("{address}/32 {country}\n");
            regions += &format!("{country} {}\n", ingress.region);
        }
    }
    for (name, text) in [
        ("haproxy.cfg", HAPROXY),
        ("regions.cfg", &backends),
        ("countries.map", &countries),
        ("regions.map", &regions),
    ] {
        write_private(&folder.join(name), text.as_bytes())?;
    }
    let file = |name: &str| folder.join(name).display().to_string();
    let public = certificates_dir(data_dir).join(certificates::HAPROXY).join("tls.crt");
    let env = [
        ("LISTEN", door.to_string()),
        ("ADMIN", file("admin.sock")),
        ("PUBLIC_CERT", public.display().to_string()),
        ("MESH_CERT", home.certs.join("tls.crt").display().to_string()),
        ("MESH_CA", home.certs.join("ca.crt").display().to_string()),
        ("COUNTRIES", file("countries.map")),
        ("REGIONS", file("regions.map")),
        ("DEFAULT_REGION", home.region.clone()),
        // Hexadecimal is base64, too.
        ("COOKIE_KEY", Secrets::open(data_dir)?.get("haproxy/cookie")?),
        ("PROBLEMS", problems.display().to_string()),
        ("NOBODY", file("nobody.sock")),
    ];
    Ok(Spec {
        name: "haproxy".to_owned(),
        tier: Tier::Service,
        program: executables.haproxy.clone(),
        // With a master, which lets another worker take over when certificates are new.
        args: ["-W", "-f", "haproxy.cfg", "-f", "regions.cfg"]
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

fn backend(ingress: &Ingress) -> String {
    let Ingress { region, address, certs } = ingress;
    let certs = certs.display();
    format!(
        "backend region-{region} from region\n    server ingress {address} ca-file {certs}/ca.crt crt {certs}/tls.crt\n    \
         server nobody unix@\"${{TIFFIN_EDGE_NOBODY}}\" backup no-check no-ssl\n"
    )
}

fn made(data_dir: &Path, name: &str) -> Result<PathBuf> {
    let folder = data_dir.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Waits until a process that was just started answers.
async fn answers(name: &str, supervisor: &Supervisor, ask: impl AsyncFn() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    loop {
        let Err(err) = ask().await else {
            return Ok(());
        };
        if let Some(failure) = supervisor.failure(name, FAILED_STARTS_MAX) {
            bail!(failure);
        }
        if started.elapsed() > READY_TIMEOUT {
            let log = supervisor.log_tail(name);
            bail!("{name} did not answer in {READY_TIMEOUT:?}: {err:#}\n{log}");
        }
        tokio::time::sleep(READY_POLL).await;
    }
}
