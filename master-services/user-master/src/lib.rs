//! People: accounts, credentials, roles, addresses, sessions, and the keys that sign tokens.
//!
//! The only service that knows who anybody is; what it says on the bus has ids and rough places in it, nothing more.

pub mod domain;

pub mod config;
pub mod http;

pub mod accounts;
pub mod error;
pub mod input;
pub mod keys;
pub mod passwords;
pub mod sessions;
pub mod store;

use mesh_bus::Bus;
use mesh_contracts::envelope::Actor;
use mesh_contracts::id::UserId;
use mesh_contracts::subject::Context;
use mesh_contracts::user::Role;
use mesh_eventstore::{Request, Store, SubmitError, relay};
use mesh_runtime::consistency::Signer;
use mesh_runtime::{Clock, Shutdown};
use sqlx::migrate::Migrator;

use crate::accounts::Accounts;
use crate::config::Operator;
use crate::domain::{Command, Rejection};
use crate::input::{Email, Given};
use crate::keys::Keys;
use crate::passwords::Passwords;
use crate::store::{Account, Addresses, Rows};

/// The name of the service, everywhere.
pub const NAME: &str = "user-master";

/// How the first operator is called until an operator changes it.
const OPERATOR_NAME: &str = "Operator";

/// The tables of our own, after the engine's.
pub fn migrations() -> Migrator {
    sqlx::migrate!("../../migrations/user-master")
}

/// Everything a handler may need.
pub struct App {
    pub accounts: Accounts,
    /// Where deliveries go.
    pub addresses: Addresses,
    pub store: Store,
    pub passwords: Passwords,
    pub keys: Keys,
    pub clock: Clock,
    /// Signs what a command wrote, and stands in for what must not be kept.
    pub signer: Signer,
}

impl App {
    /// Over a database that has been migrated, with its signing keys.
    pub fn new(store: &Store, keys: Keys, signer: Signer) -> Self {
        Self {
            accounts: Accounts::new(store),
            addresses: store::addresses(store.pool().clone()),
            store: store.clone(),
            passwords: Passwords::new(),
            keys,
            clock: store.clock().clone(),
            signer,
        }
    }

    /// Everything but the listeners, until shutdown.
    pub async fn run(&self, bus: Bus, shutdown: Shutdown) {
        let relay = relay::run(self.store.clone(), bus, Context::User, shutdown.clone());
        tokio::join!(relay, self.keys.run(shutdown.clone()), self.sweep(shutdown));
    }
}

/// What `migrate` leaves behind its tables: a signing key and the first operator, each unless it is there.
pub async fn provision(store: &Store, operator: Option<Operator>) -> anyhow::Result<()> {
    keys::create_first(store.pool(), store.clock().wall()).await?;
    match operator {
        Some(operator) => open_operator(store, operator).await,
        None => Ok(()),
    }
}

async fn open_operator(store: &Store, operator: Operator) -> anyhow::Result<()> {
    let email = Email::parse(operator.email.expose());
    let email = email.ok_or_else(|| anyhow::anyhow!("TIFFIN_OPERATOR_EMAIL is not an e-mail address"))?;
    if store::is_taken(store.pool(), &email).await? {
        return Ok(());
    }
    let account = Account {
        given: Given {
            email,
            name: OPERATOR_NAME.to_owned(),
            phone: None,
        },
        role: Role::Operator,
        points: Vec::new(),
        hash: Passwords::new().hash(operator.password).await?,
        opened_at: store.clock().now(),
    };
    let command = Command::Register {
        role: Role::Operator,
        points: Vec::new(),
        country: None,
    };
    let request = Request::by(Actor::service(NAME));
    let rows = Rows::Open(Box::new(account));
    match Accounts::new(store)
        .change(UserId::new_v7(), request, command, rows)
        .await
    {
        // Taken: another migration was first.
        Ok(_) | Err(SubmitError::Rejected(Rejection::EmailTaken)) => Ok(()),
        Err(err) => Err(anyhow::anyhow!(err)),
    }
}
