//! The admin port: is it alive, is it ready, what has it measured. Plain HTTP, never public.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::json::Json;
use crate::problem;
use crate::server::{self, Accept};
use crate::shutdown::Shutdown;
use crate::telemetry;

/// How often histogram samples are moved into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What must hold before the process takes traffic. Clones share the conditions.
#[derive(Debug, Clone, Default)]
pub struct Ready {
    conditions: Arc<RwLock<BTreeMap<&'static str, bool>>>,
}

impl Ready {
    /// Named conditions, none of which holds yet. Without any, the process is ready at once.
    pub fn new(conditions: &[&'static str]) -> Self {
        let conditions = conditions.iter().map(|name| (*name, false)).collect();
        Self {
            conditions: Arc::new(RwLock::new(conditions)),
        }
    }

    /// Says whether a condition holds now.
    pub fn set(&self, name: &'static str, holds: bool) {
        self.conditions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, holds);
    }

    /// Whether all conditions hold.
    pub fn is_ready(&self) -> bool {
        self.snapshot().values().all(|holds| *holds)
    }

    fn snapshot(&self) -> BTreeMap<&'static str, bool> {
        self.conditions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves `/livez`, `/readyz` and `/metrics` until the shutdown.
///
/// # Errors
/// As [`server::serve`].
pub async fn serve(listener: TcpListener, ready: Ready, shutdown: Shutdown) -> io::Result<()> {
    let upkeep = async {
        loop {
            tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                () = tokio::time::sleep(UPKEEP_INTERVAL) => telemetry::upkeep(),
            }
        }
    };
    tokio::try_join!(
        server::serve(
            listener,
            Accept::Plain,
            router(ready, shutdown.clone()),
            shutdown.clone()
        ),
        upkeep
    )?;
    Ok(())
}

/// The routes of the admin port.
pub fn router(ready: Ready, shutdown: Shutdown) -> Router {
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz).with_state((ready, shutdown)))
        .route("/metrics", get(metrics));
    problem::layer(router)
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    conditions: BTreeMap<&'static str, bool>,
}

async fn readyz(State((ready, shutdown)): State<(Ready, Shutdown)>) -> Response {
    let is_ready = ready.is_ready() && !shutdown.is_triggered();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(Readiness {
            ready: is_ready,
            conditions: ready.snapshot(),
        }),
    )
        .into_response()
}

async fn metrics() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        telemetry::render_metrics(),
    )
}
