//! The only door: TLS and tokens in, commands on to masters, queries on to infos, and three answers put together here.
//!
//! Owns no truth and keeps no state but how often somebody asked: what it does not know is asked for, and ownership is the services' own question.

pub mod config;

mod routes;

mod ask;
mod door;
mod limits;
mod seats;
mod upstream;

mod home;
mod jobs;
mod live;
mod place;

mod contract;
mod docs;
mod shapes;

use std::sync::Arc;

use axum::response::Response;
use mesh_contracts::geo::Country;
use mesh_identity::jwt::Verifier;
use mesh_identity::{Client, Mesh, Upstream};
use mesh_runtime::admin::Ready;
use mesh_runtime::consistency::Signer;
use mesh_runtime::{Problem, Shutdown};
use serde_json::Value;

use crate::config::Config;
use crate::limits::{Counts, Limits};
use crate::seats::Seats;
use crate::upstream::Services;

pub use crate::routes::{Entrance, router};
pub use place::order_id;

/// The name of the service, everywhere.
pub const NAME: &str = "gateway";

/// Not ready before: without keys, no token can be told from a forged one.
const SIGNING_KEYS: &str = "signing_keys";

/// What every handler shares.
pub type App = Arc<Gateway>;

/// What every handler answers with.
type Answer = Result<Response, Problem>;

/// Everything a handler may need.
pub struct Gateway {
    /// Knows genuine tokens; its keys come from user-master.
    pub verifier: Verifier,
    /// Whether the signing keys are known.
    pub ready: Ready,
    /// Requests under way.
    seats: Seats,
    limits: Limits,
    services: Services,
    signer: Signer,
    menus: home::Menus,
    region: String,
    home_country: Country,
    shutdown: Shutdown,
}

impl Gateway {
    /// A gateway that has not spoken to anyone yet.
    pub fn new(config: &Config, mesh: &Mesh, shutdown: Shutdown) -> App {
        let ready = Ready::new(&[SIGNING_KEYS]);
        let client = match config.http2_connections {
            Some(connections) => mesh.client().over_http2(connections),
            None => mesh.client(),
        };
        let keys = signing_keys(client.clone(), config.upstreams.get("user-master"), ready.clone());
        Arc::new(Self {
            verifier: Verifier::new(keys, &config.issuer, &config.audience),
            ready,
            seats: Seats::new(NAME, config.requests_max),
            limits: Limits::new(&config.allowances),
            services: Services::new(&client, config),
            signer: config.signer.clone(),
            menus: home::menus(),
            region: config.common.region.clone(),
            home_country: config.home_country,
            shutdown,
        })
    }

    /// Keeps the limits one with those of other gateways; returns on shutdown.
    pub async fn share_limits(&self, counts: Option<&Counts>) {
        self.limits.keep(counts, self.shutdown.clone()).await;
    }
}

fn signing_keys(
    client: Client,
    issuer: Upstream,
    ready: Ready,
) -> impl Fn() -> futures::future::BoxFuture<'static, Result<Value, mesh_identity::ClientError>> {
    move || {
        let (client, issuer, ready) = (client.clone(), issuer.clone(), ready.clone());
        Box::pin(async move {
            let keys = client.get_json(&issuer, "/jwks").await?;
            ready.set(SIGNING_KEYS, true);
            Ok(keys)
        })
    }
}
