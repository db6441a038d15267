//! The environment each service is given: its own credentials and certificates, and everyone's address.
//!
//! A service gets what its kind needs and nothing else, so that none can reach what is not its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::clock::KeptClock;
use crate::platform::certificates_dir;
use crate::ports::Ports;
use crate::secrets::Secrets;
use crate::servers::{Database, Servers};
use crate::services::{Kind, SERVICES, Service};

/// What local platforms call their region.
pub(crate) const REGION: &str = "local";

/// The first operator, made by `user-master migrate`.
pub(crate) const OPERATOR_EMAIL: &str = "operator@tiffin.local";

/// Longer than the gateway and the ingress of this machine keep published keys, which is a minute. The default is made
/// for a cluster.
const SIGNING_KEY_LEAD_S: u32 = 75;

/// Where the provider's webhooks arrive: at the gateway's door to the mesh, since the stand-in
/// has a certificate of the mesh.
const WEBHOOK_PATH: &str = "/v1/webhooks/payments";

/// The mail server's port for mails, beside the one for its peers.
const SMTP_PORT: &str = "sandbox-mail/smtp";

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
    serve: Variables,
    migrate: Variables,
}

impl Environment {
    pub(crate) fn new(
        data_dir: &Path,
        servers: &Servers,
        databases: &BTreeMap<&'static str, Database>,
        ports: &Ports,
        secrets: &Secrets,
        clock: &KeptClock,
        log: &str,
    ) -> Result<Self> {
        let mut upstreams = Vec::new();
        for service in &SERVICES {
            upstreams.push(format!("{}={}", service.name, ports.get(service.name)?));
        }
        let public = ports.get("public")?;
        let mut common: Vec<(&str, String)> = vec![
            ("TIFFIN_REGION", REGION.to_owned()),
            ("TIFFIN_UPSTREAMS", upstreams.join(",")),
            ("TIFFIN_CONSISTENCY_SECRET", secrets.get("consistency")?),
            ("TIFFIN_LOG", log.to_owned()),
            // A dozen processes share this machine's cores: more threads each would mostly wake each other.
            ("TOKIO_WORKER_THREADS", "1".to_owned()),
        ];
        common.extend(clock.env());
        let teller = Teller {
            data_dir,
            servers,
            databases,
            ports,
            secrets,
            public,
        };
        let mut services = BTreeMap::new();
        for service in &SERVICES {
            let mut told = teller.tell(service)?;
            told.serve
                .extend(common.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            services.insert(service.name, told);
        }
        Ok(Self { public, services })
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

    pub(crate) fn public_url(&self) -> String {
        format!("https://{}", self.public)
    }
}

/// What it takes to tell a service about itself.
struct Teller<'a> {
    data_dir: &'a Path,
    servers: &'a Servers,
    databases: &'a BTreeMap<&'static str, Database>,
    ports: &'a Ports,
    secrets: &'a Secrets,
    public: SocketAddr,
}

impl Teller<'_> {
    fn tell(&self, service: &Service) -> Result<Told> {
        let address = self.ports.get(service.name)?;
        let admin = self.ports.get(&format!("{}/admin", service.name))?;
        let tls = certificates_dir(self.data_dir).join(service.name);
        let mut serve = vec![
            ("TIFFIN_ADMIN_LISTEN", admin.to_string()),
            ("TIFFIN_TLS_DIR", tls.display().to_string()),
        ];
        let mut migrate = Vec::new();
        match service.kind {
            Kind::Master => {
                serve.push(("TIFFIN_MESH_LISTEN", address.to_string()));
                serve.extend(self.bus(service)?);
                let database = &self.databases[service.name];
                serve.push(("TIFFIN_POSTGRES_URL", database.url.clone()));
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
                    format!("https://{}", self.ports.get("sandbox-payments")?),
                ),
                ("TIFFIN_PAYMENTS_KEY", self.secrets.get("payments/key")?),
                ("TIFFIN_PAYMENTS_WEBHOOK_SECRET", self.secrets.get("payments/webhook")?),
            ]),
            "notifier" => serve.extend([
                ("TIFFIN_SMTP_ADDRESS", self.ports.get(SMTP_PORT)?.to_string()),
                ("TIFFIN_SMTP_TLS", "off".to_owned()),
            ]),
            "sandbox-payments" => serve.extend(self.sandbox_payments()?),
            "sandbox-mail" => serve.push(("TIFFIN_SANDBOX_SMTP_LISTEN", self.ports.get(SMTP_PORT)?.to_string())),
            _ => {}
        }
        Ok(Told {
            address,
            admin,
            serve: owned(serve),
            migrate: owned(migrate),
        })
    }

    fn bus(&self, service: &Service) -> Result<[(&'static str, String); 3]> {
        Ok([
            ("TIFFIN_NATS_URL", self.servers.nats.url()),
            ("TIFFIN_NATS_USER", service.name.to_owned()),
            (
                "TIFFIN_NATS_PASSWORD",
                self.secrets.get(&format!("nats/{}", service.name))?,
            ),
        ])
    }

    fn redis(&self, service: &Service) -> Result<String> {
        let password = self.secrets.get(&format!("redis/{}", service.name))?;
        Ok(self.servers.redis.url(service.name, &password))
    }

    fn sandbox_payments(&self) -> Result<[(&'static str, String); 3]> {
        Ok([
            ("TIFFIN_SANDBOX_KEY", self.secrets.get("payments/key")?),
            (
                "TIFFIN_SANDBOX_WEBHOOK_URL",
                format!("https://{}{WEBHOOK_PATH}", self.ports.get("gateway")?),
            ),
            ("TIFFIN_SANDBOX_WEBHOOK_SECRET", self.secrets.get("payments/webhook")?),
        ])
    }
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
