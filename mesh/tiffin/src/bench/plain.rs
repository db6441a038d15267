//! The least that a web service can do with an order: an axum handler that inserts one row with sqlx and answers 201.
//! Over plain HTTP, without anybody's identity.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mesh_contracts::id::OrderId;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::insert::{CLIENTS, event, insert};
use super::pace::{Call, Outcome, evenly, most};

/// The service, in this process, and a client of it.
pub(super) struct Plain {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    serving: JoinHandle<()>,
}

impl Plain {
    /// Over a database with the event store's tables.
    pub(super) async fn start(url: &str) -> Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(CLIENTS as u32)
            .connect(url)
            .await?;
        let router = Router::new().route("/orders", post(order)).with_state(pool);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            // It listens for as long as it is wanted.
            let _ = axum::serve(listener, router).await;
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self {
            address,
            client,
            serving,
        })
    }

    /// The most that 32 callers get, per second.
    pub(super) async fn most(&self, span: Duration) -> Result<f64> {
        Ok(most(CLIENTS, span, &self.call()).await?.0)
    }

    /// So many, evenly over this time.
    pub(super) async fn at_rate(&self, total: usize, span: Duration) -> Result<Outcome> {
        let call = self.call();
        evenly(total, span, |nth| call(nth)).await
    }

    fn call(&self) -> Call {
        let (client, address) = (self.client.clone(), self.address);
        Arc::new(move |_| {
            let client = client.clone();
            Box::pin(async move {
                let body = Full::new(Bytes::from_static(b"{}"));
                let request = Request::post(format!("http://{address}/orders")).body(body)?;
                let answer = client.request(request).await?;
                ensure!(answer.status() == StatusCode::CREATED, "{}", answer.status());
                answer.into_body().collect().await?;
                Ok(())
            })
        })
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn order(State(pool): State<PgPool>) -> StatusCode {
    let stream = OrderId::new_v7().to_string();
    match insert(&pool, &stream, 0, &[event()]).await {
        Ok(()) => StatusCode::CREATED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
