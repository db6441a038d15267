//! The broker: JetStream on disk, one user per service, who may publish the events of its own contexts only.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

use super::{Options, await_ready, no_env};
use crate::data_dir::write_private;
use crate::disk;
use crate::install::Executables;
use crate::secrets::Secrets;
use crate::services::BEHIND;
use crate::supervise::{Spec, Supervisor, Tier};

const NAME: &str = "nats";
const ADMIN: &str = "admin";

/// What every service needs of JetStream: see and make streams, read messages back, consume, and see who else does.
/// Purging, deleting and changing a stream are not among it.
const JETSTREAM: [&str; 14] = [
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.CREATE.*",
    "$JS.API.STREAM.MSG.GET.*",
    "$JS.API.DIRECT.GET.>",
    "$JS.API.CONSUMER.CREATE.>",
    "$JS.API.CONSUMER.DURABLE.CREATE.>",
    "$JS.API.CONSUMER.INFO.>",
    "$JS.API.CONSUMER.LIST.*",
    "$JS.API.CONSUMER.MSG.NEXT.>",
    "$JS.API.CONSUMER.DELETE.>",
    "$JS.ACK.>",
];

/// What it takes to get at a stream's messages; whoever is not the worker of a queue may do none of it.
const TAKING: [&str; 9] = [
    "$JS.API.STREAM.MSG.GET.{}",
    "$JS.API.DIRECT.GET.{}",
    "$JS.API.DIRECT.GET.{}.>",
    "$JS.API.CONSUMER.CREATE.{}",
    "$JS.API.CONSUMER.CREATE.{}.>",
    "$JS.API.CONSUMER.DURABLE.CREATE.{}.>",
    "$JS.API.CONSUMER.MSG.NEXT.{}.>",
    "$JS.API.CONSUMER.DELETE.{}.>",
    "$JS.ACK.{}.>",
];

/// What a service may say on the bus.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The service, which is also its user.
    pub user: String,
    /// Subjects it may publish to, without any prefix.
    pub publish: Vec<String>,
    /// Subjects it may listen to directly, without any prefix; events come by JetStream.
    pub subscribe: Vec<String>,
    /// Work queues, by the names of their streams, whose jobs it may not take. A queue under a prefix has another
    /// name, so in tests this is not enforced.
    pub no_jobs_of: Vec<String>,
}

/// A running broker.
#[derive(Debug, Clone)]
pub struct Nats {
    address: SocketAddr,
    password: String,
}

impl Nats {
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
        let folder = data_dir.join("nats");
        fs::create_dir_all(&folder)?;
        if options.small_disks {
            disk::mount(&folder, disk::NATS_BYTES, None)?;
        }
        let this = Self {
            address,
            password: secrets.get("nats")?,
        };
        // Unique, so that the answer on our port tells whether it is ours.
        let server = format!("tiffin-{}", &secrets.get("nats/server-name")?[..16]);
        let mut users = vec![format!("{{ user: {ADMIN}, password: \"{}\" }}", this.password)];
        for grant in &options.bus {
            let password = secrets.get(&format!("nats/{}", grant.user))?;
            users.push(user(grant, &password, options.any_prefix));
        }
        let config = folder.join("nats.conf");
        write_private(&config, configuration(&folder, address, &server, &users).as_bytes())?;
        supervisor
            .start(Spec {
                name: NAME.to_owned(),
                tier: Tier::Server,
                program: executables.nats.clone(),
                args: vec!["--config".into(), config.into()],
                env: no_env(),
                current_dir: folder,
                user: None,
                niceness: BEHIND,
                stop_signal: Signal::TERM,
                address,
                held: Vec::new(),
                admin: None,
            })
            .await?;
        await_ready(NAME, supervisor, || this.is_ours(&server)).await?;
        Ok(this)
    }

    /// Where it listens, as a URL without user.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Name and password of the user who may do everything; for verifying and breaking it on purpose, never for a service.
    pub fn admin(&self) -> (&'static str, &str) {
        (ADMIN, &self.password)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the server that answers on our port greets with our name, and lets us in.
    async fn is_ours(&self, server: &str) -> Result<()> {
        let mut greeting = String::new();
        BufReader::new(TcpStream::connect(self.address).await?)
            .read_line(&mut greeting)
            .await?;
        let info: serde_json::Value =
            serde_json::from_str(greeting.trim_start_matches("INFO ")).context("no greeting of a NATS server")?;
        ensure!(
            info["server_name"] == server,
            "the NATS server on {} is not ours",
            self.address
        );
        let client = async_nats::ConnectOptions::with_user_and_password(ADMIN.to_owned(), self.password.clone())
            .connect(self.url())
            .await?;
        // The port opens before JetStream has recovered its streams.
        async_nats::jetstream::new(client)
            .query_account()
            .await
            .context("JetStream is not ready")?;
        Ok(())
    }
}

fn user(grant: &Grant, password: &str, any_prefix: bool) -> String {
    let prefixed = |subjects: &[String]| -> Vec<String> {
        let mut all = subjects.to_vec();
        if any_prefix {
            all.extend(subjects.iter().filter_map(|subject| under_any_prefix(subject)));
        }
        all
    };
    let mut publish = prefixed(&grant.publish);
    publish.extend(JETSTREAM.map(str::to_owned));
    let mut subscribe = prefixed(&grant.subscribe);
    subscribe.push("_INBOX.>".to_owned());
    let queues = grant.no_jobs_of.iter();
    let denied: Vec<String> = queues
        .flat_map(|queue| TAKING.map(|subject| subject.replace("{}", queue)))
        .collect();
    format!(
        "{{ user: \"{}\", password: \"{password}\", permissions: {{ publish: {}, subscribe: {} }} }}",
        grant.user,
        serde_json::json!({ "allow": publish, "deny": denied }),
        serde_json::json!(subscribe),
    )
}

/// A prefix grows into the first token (`t1-ev`), and the broker has no wildcard for a part of one.
/// An open end would then match everything, so there is none under a prefix.
fn under_any_prefix(subject: &str) -> Option<String> {
    let (_, rest) = subject.split_once('.')?;
    (!rest.ends_with('>')).then(|| format!("*.{rest}"))
}

fn configuration(folder: &Path, address: SocketAddr, server: &str, users: &[String]) -> String {
    format!(
        "server_name: \"{server}\"\nlisten: \"{address}\"\n\
         jetstream {{\n  store_dir: \"{}\"\n  max_memory_store: 64MB\n  max_file_store: 16GB\n}}\n\
         authorization {{\n  users: [\n    {}\n  ]\n}}\n",
        folder.join("store").display(),
        users.join("\n    "),
    )
}
