//! The server of the views: nothing on disk, one user per service, each below its own prefix.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::{Options, await_ready, no_env};
use crate::data_dir::write_private;
use crate::install::Executables;
use crate::secrets::Secrets;
use crate::services::BEHIND;
use crate::supervise::{Spec, Supervisor, Tier};

const NAME: &str = "redis";
const ADMIN: &str = "admin";

/// Reading, writing and Functions, but nothing that touches the server or others' keys.
/// `info` is for the run id, by which a service notices that its view was lost.
const COMMANDS: &str = "-@all +@read +@write +@connection +@transaction +@pubsub +@scripting -@dangerous \
    -function +function|load +function|list -script +script|load +script|exists +info +time";

/// A running Redis.
#[derive(Debug, Clone)]
pub struct Redis {
    address: SocketAddr,
    password: String,
}

impl Redis {
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
        let folder = data_dir.join("redis");
        fs::create_dir_all(&folder)?;
        let this = Self {
            address,
            password: secrets.get("redis")?,
        };
        let mut users = format!("user default off\nuser {ADMIN} on >{} ~* &* +@all\n", this.password);
        for user in &options.redis {
            let password = secrets.get(&format!("redis/{user}"))?;
            users += &format!("user {user} on {}\n", rules(&password, &format!("{user}:")));
        }
        write_private(&folder.join("users.acl"), users.as_bytes())?;
        let config = folder.join("redis.conf");
        write_private(&config, configuration(&folder, address).as_bytes())?;
        supervisor
            .start(Spec {
                name: NAME.to_owned(),
                tier: Tier::Server,
                program: executables.redis.clone(),
                args: vec![config.into()],
                env: no_env(),
                current_dir: folder.clone(),
                user: None,
                niceness: BEHIND,
                stop_signal: Signal::TERM,
                address,
                held: Vec::new(),
                admin: None,
            })
            .await?;
        await_ready(NAME, supervisor, || this.is_ours(&folder)).await?;
        Ok(this)
    }

    /// A URL for everything; for verifying and breaking it on purpose, never for a service.
    pub fn admin_url(&self) -> String {
        self.url(ADMIN, &self.password)
    }

    /// The URL of a user.
    pub fn url(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@{}/0", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a user for keys and channels that start with `prefix`, for as long as the data directory is not started anew.
    pub async fn add_user(&self, user: &str, password: &str, prefix: &str) -> Result<String> {
        let mut admin = self.connect().await?;
        let mut command = ::redis::cmd("ACL");
        command.arg("SETUSER").arg(user).arg("reset").arg("on");
        for rule in rules(password, prefix).split_whitespace() {
            command.arg(rule);
        }
        command.exec_async(&mut admin).await?;
        // On disk, so that a server that was killed still knows the user.
        ::redis::cmd("ACL").arg("SAVE").exec_async(&mut admin).await?;
        Ok(self.url(user, password))
    }

    async fn connect(&self) -> Result<::redis::aio::MultiplexedConnection> {
        let client = ::redis::Client::open(self.admin_url())?;
        Ok(client.get_multiplexed_async_connection().await?)
    }

    /// Whether the server that answers on our port knows our password and runs in our folder.
    async fn is_ours(&self, folder: &Path) -> Result<()> {
        let mut connection = self.connect().await?;
        let (_, there): (String, String) = ::redis::cmd("CONFIG")
            .arg("GET")
            .arg("dir")
            .query_async(&mut connection)
            .await?;
        ensure!(
            Path::new(&there) == folder,
            "the Redis on {} is not ours, it runs in {there}",
            self.address
        );
        Ok(())
    }
}

fn rules(password: &str, prefix: &str) -> String {
    format!(">{password} ~{prefix}* &{prefix}* {COMMANDS}")
}

fn configuration(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "bind {}\nport {}\nprotected-mode yes\ndaemonize no\n\
         dir \"{folder}\"\naclfile \"{folder}/users.acl\"\n\
         # A view is rebuilt from the events; a copy on disk would only be older.\n\
         save \"\"\nappendonly no\nlogfile \"\"\n\
         # Nobody reads how long each command took.\n\
         latency-tracking no\n",
        address.ip(),
        address.port(),
    )
}
