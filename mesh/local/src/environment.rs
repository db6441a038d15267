//! The environment each service is given: its own credentials and certificates, and everyone's address.
//!
//! A service gets what its kind needs and nothing else, so that none can reach what is not its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use mesh_runtime::failpoint;

use crate::certificates::certificates_dir;
use crate::clock::KeptClock;
use crate::link::Links;
use crate::platform::Options;
use crate::ports::Ports;
use crate::secrets::Secrets;
use crate::servers::{Database, Servers};
use crate::services::{Kind, SERVICES, Service};

/// What a platform calls its region unless told otherwise.
pub const REGION: &str = "local";

/// The first operator, made by `user-master migrate`.
pub(crate) const OPERATOR_EMAIL: &str = "operator@tiffin.local";

/// Longer than the gateway and the ingress of this machine keep published keys, which is a minute. The default is made
/// for a cluster.
const SIGNING_KEY_LEAD_S: u32 = 75;

/// Where the provider's webhooks arrive: at the gateway's door to the mesh, since the stand-in
/// has a certificate of the mesh.
const WEBHOOK_PATH: &str = "/v1/webhooks/payments";

/// What the gateway of one machine grants beyond its defaults: everybody's requests come from one address, business
/// may run three hundred times faster than the clock on the wall, and measurements send under one name what a machine
/// can serve.
const GENEROUS: [(&str, &str); 9] = [
    ("TIFFIN_LIMIT_ADDRESS", "off"),
    ("TIFFIN_LIMIT_CREDENTIALS", "off"),
    ("TIFFIN_LIMIT_REFRESHES", "off"),
    ("TIFFIN_LIMIT_WEBHOOKS", "off"),
    ("TIFFIN_LIMIT_READS", "600000/60"),
    ("TIFFIN_LIMIT_COMMANDS", "600000/60"),
    ("TIFFIN_LIMIT_POSITIONS", "6000/60"),
    ("TIFFIN_LIMIT_PINS", "1000/600"),
    ("TIFFIN_STREAMS_MAX", "1000"),
];

/// The mail server's port for mails, beside the one for its peers.
const SMTP_PORT: &str = "sandbox-mail/smtp";

/// An instance's own: it tells of that one alone.
pub(crate) const ADMIN_LISTEN: &str = "TIFFIN_ADMIN_LISTEN";

/// Names and values of a process's environment.
type Variables = BTreeMap<String, String>;

/// Everything that the services of one platform are told.
#[derive(Debug)]
pub(crate) struct Environment {
    public: SocketAddr,
    services: BTreeMap<&'static str, Told>,
}

#[derive(Debug)]
struct Told {
    address: SocketAddr,
    admin: SocketAddr,
    admin_of_successor: SocketAddr,
    serve: Variables,
    migrate: Variables,
}

impl Environment {
    pub(crate) fn new(teller: &Teller<'_>, clock: &KeptClock, options: &Options) -> Result<Self> {
        let mut common: Vec<(&str, String)> = vec![
            ("TIFFIN_REGION", options.region.clone()),
            ("TIFFIN_CONSISTENCY_SECRET", teller.secrets.get("consistency")?),
            ("TIFFIN_LOG", options.log.clone()),
            // A dozen processes share this machine's cores: more threads each would mostly wake each other.
            ("TOKIO_WORKER_THREADS", "1".to_owned()),
        ];
        common.extend(clock.env());
        let mut services = BTreeMap::new();
        for service in &SERVICES {
            let mut told = teller.tell(service)?;
            told.serve
                .extend(common.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            if service.kind == Kind::Gateway {
                // There is one of each service. Where there are several, a shared connection would be with one of them.
                told.serve.insert("TIFFIN_HTTP2_CONNECTIONS".to_owned(), "1".to_owned());
            }
            services.insert(service.name, told);
        }
        Ok(Self {
            public: teller.public,
            services,
        })
    }

    /// What `serve` gets.
    pub(crate) fn of(&self, service: &Service) -> Variables {
        self.services[service.name].serve.clone()
    }

    /// What `migrate` gets besides.
    pub(crate) fn for_migration(&self, service: &Service) -> Variables {
        self.services[service.name].migrate.clone()
    }

    pub(crate) fn address(&self, service: &Service) -> SocketAddr {
        self.services[service.name].address
    }

    pub(crate) fn admin(&self, service: &Service) -> SocketAddr {
        self.services[service.name].admin
    }

    /// Where its successor answers, while both run and from then on; the next one takes the first address again.
    pub(crate) fn admin_of_successor(&self, service: &Service) -> SocketAddr {
        self.services[service.name].admin_of_successor
    }

    /// Where others connect to it.
    pub(crate) fn held(&self, service: &Service) -> Vec<SocketAddr> {
        let told = self.services[service.name].serve.iter();
        told.filter(|(name, _)| name.ends_with("_LISTEN") && *name != ADMIN_LISTEN)
            .filter_map(|(_, address)| address.parse().ok())
            .collect()
    }

    pub(crate) fn public_url(&self) -> String {
        format!("https://{}", self.public)
    }
}

/// What it takes to tell a service about itself.
pub(crate) struct Teller<'a> {
    pub data_dir: &'a Path,
    pub servers: &'a Servers,
    pub databases: &'a BTreeMap<&'static str, Database>,
    pub ports: &'a Ports,
    pub secrets: &'a Secrets,
    pub public: SocketAddr,
    pub links: Option<&'a Links>,
}

impl Teller<'_> {
    fn tell(&self, service: &Service) -> Result<Told> {
        let address = self.ports.get(service.name)?;
        let admin = self.ports.get(&format!("{}/admin", service.name))?;
        let admin_of_successor = self.ports.get(&format!("{}/admin-of-successor", service.name))?;
        let tls = certificates_dir(self.data_dir).join(service.name);
        let mut upstreams = Vec::new();
        for upstream in SERVICES.iter().filter(|upstream| *upstream != service) {
            let there = self.reach(service, upstream.name, self.ports.get(upstream.name)?)?;
            upstreams.push(format!("{}={there}", upstream.name));
        }
        let mut serve = vec![
            ("TIFFIN_UPSTREAMS", upstreams.join(",")),
            (ADMIN_LISTEN, admin.to_string()),
            ("TIFFIN_TLS_DIR", tls.display().to_string()),
        ];
        if self.links.is_some() {
            let folder = failpoints_dir(self.data_dir, service.name);
            std::fs::create_dir_all(&folder)?;
            serve.push((failpoint::FOLDER, folder.display().to_string()));
        }
        let mut migrate = Vec::new();
        match service.kind {
            Kind::Master => {
                serve.push(("TIFFIN_MESH_LISTEN", address.to_string()));
                serve.extend(self.bus(service)?);
                let database = &self.databases[service.name];
                let postgres = self.servers.postgres.address();
                serve.push((
                    "TIFFIN_POSTGRES_URL",
                    self.url(service, "postgres", postgres, &database.url)?,
                ));
                migrate.push(("TIFFIN_POSTGRES_OWNER_URL", database.owner_url.clone()));
            }
            Kind::Info => {
                serve.push(("TIFFIN_MESH_LISTEN", address.to_string()));
                serve.extend(self.bus(service)?);
                serve.push(("TIFFIN_REDIS_URL", self.redis(service)?));
            }
            Kind::Gateway => {
                serve.push(("TIFFIN_MESH_LISTEN", address.to_string()));
                serve.push(("TIFFIN_PUBLIC_LISTEN", self.public.to_string()));
                serve.push(("TIFFIN_PUBLIC_TLS_DIR", tls.display().to_string()));
                serve.push(("TIFFIN_REDIS_URL", self.redis(service)?));
                serve.extend(GENEROUS.map(|(name, value)| (name, value.to_owned())));
            }
            Kind::Sandbox => {
                let kept = sandbox_dir(self.data_dir, service.name);
                std::fs::create_dir_all(&kept)?;
                serve.push(("TIFFIN_SANDBOX_LISTEN", address.to_string()));
                serve.push(("TIFFIN_SANDBOX_DATA_DIR", kept.display().to_string()));
            }
        }
        match service.name {
            "user-master" => {
                serve.push(("TIFFIN_SIGNING_KEY_LEAD_S", SIGNING_KEY_LEAD_S.to_string()));
                migrate.extend([
                    ("TIFFIN_OPERATOR_EMAIL", OPERATOR_EMAIL.to_owned()),
                    ("TIFFIN_OPERATOR_PASSWORD", self.secrets.get("operator")?),
                ]);
            }
            "basket-master" => serve.extend([
                (
                    "TIFFIN_PAYMENTS_URL",
                    format!("https://{}", self.upstream(service, "sandbox-payments")?),
                ),
                ("TIFFIN_PAYMENTS_KEY", self.secrets.get("payments/key")?),
                ("TIFFIN_PAYMENTS_WEBHOOK_SECRET", self.secrets.get("payments/webhook")?),
            ]),
            "notifier" => serve.extend([
                ("TIFFIN_SMTP_ADDRESS", self.upstream(service, SMTP_PORT)?.to_string()),
                ("TIFFIN_SMTP_TLS", "off".to_owned()),
            ]),
            "sandbox-payments" => serve.extend(self.sandbox_payments(service)?),
            "sandbox-mail" => serve.push(("TIFFIN_SANDBOX_SMTP_LISTEN", self.ports.get(SMTP_PORT)?.to_string())),
            _ => {}
        }
        Ok(Told {
            address,
            admin,
            admin_of_successor,
            serve: owned(serve),
            migrate: owned(migrate),
        })
    }

    /// Where a service finds another part that listens at `target`.
    fn reach(&self, service: &Service, part: &str, target: SocketAddr) -> Result<SocketAddr> {
        match self.links {
            Some(links) => links.between(service.name, part, target),
            None => Ok(target),
        }
    }

    fn upstream(&self, service: &Service, other: &str) -> Result<SocketAddr> {
        self.reach(service, other, self.ports.get(other)?)
    }

    /// The same URL, by the way that this service takes.
    fn url(&self, service: &Service, part: &str, target: SocketAddr, url: &str) -> Result<String> {
        let there = self.reach(service, part, target)?;
        Ok(url.replace(&target.to_string(), &there.to_string()))
    }

    fn bus(&self, service: &Service) -> Result<[(&'static str, String); 3]> {
        let nats = &self.servers.nats;
        let nats = self.url(service, "nats", nats.address(), &nats.url())?;
        Ok([
            ("TIFFIN_NATS_URL", nats),
            ("TIFFIN_NATS_USER", service.name.to_owned()),
            (
                "TIFFIN_NATS_PASSWORD",
                self.secrets.get(&format!("nats/{}", service.name))?,
            ),
        ])
    }

    fn redis(&self, service: &Service) -> Result<String> {
        let password = self.secrets.get(&format!("redis/{}", service.name))?;
        let redis = &self.servers.redis;
        self.url(service, "redis", redis.address(), &redis.url(service.name, &password))
    }

    fn sandbox_payments(&self, service: &Service) -> Result<[(&'static str, String); 3]> {
        Ok([
            ("TIFFIN_SANDBOX_KEY", self.secrets.get("payments/key")?),
            (
                "TIFFIN_SANDBOX_WEBHOOK_URL",
                format!("https://{}{WEBHOOK_PATH}", self.upstream(service, "gateway")?),
            ),
            ("TIFFIN_SANDBOX_WEBHOOK_SECRET", self.secrets.get("payments/webhook")?),
        ])
    }
}

/// Where a service looks whether it is to die somewhere.
pub(crate) fn failpoints_dir(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join("failpoints").join(name)
}

/// Where a stand-in keeps what it has: the provider its ledger, the mail server its mails.
pub(crate) fn sandbox_dir(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(name)
}

fn owned(variables: Vec<(&str, String)>) -> Variables {
    variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
