//! The gateway as a load generator calls it: one attempt each, nothing noted, any answer but 2xx an error.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use mesh_identity::client::Streamed;
use mesh_identity::{Client, Upstream};
use mesh_local::running::Running;
use mesh_runtime::headers::IDEMPOTENCY_KEY;
use serde::Serialize;
use uuid::Uuid;

/// An answer that takes longer is an error.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Without the client's retries, which would hide errors. Clones share the connections.
#[derive(Clone)]
pub(super) struct Door {
    client: Client,
    upstream: Upstream,
}

impl Door {
    pub(super) fn of(running: &Running) -> Result<Self> {
        Self::at(running, &running.public_url())
    }

    /// Something else with a certificate of the same authority.
    pub(super) fn at(running: &Running, url: &str) -> Result<Self> {
        Ok(Self {
            client: Client::public(&std::fs::read(running.ca_cert())?)?,
            upstream: Upstream::new("gateway", url.trim_start_matches("https://")),
        })
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str, token: &str) -> Result<Response<Bytes>> {
        self.send(request(Method::GET, path, token).body(Bytes::new())?).await
    }

    /// Says something under a fresh key.
    pub(super) async fn post(&self, path: &str, token: &str, body: &impl Serialize) -> Result<Response<Bytes>> {
        self.post_under(&fresh(), path, token, body).await
    }

    /// Says something that is the same wish whenever it comes under this key.
    pub(super) async fn post_under(
        &self,
        key: &str,
        path: &str,
        token: &str,
        body: &impl Serialize,
    ) -> Result<Response<Bytes>> {
        let request = request(Method::POST, path, token).header(IDEMPOTENCY_KEY, key);
        self.send(json(request, body)?).await
    }

    /// Makes something be so.
    pub(super) async fn put(&self, path: &str, token: &str, body: &impl Serialize) -> Result<Response<Bytes>> {
        self.send(json(request(Method::PUT, path, token), body)?).await
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        let answer = self.try_send(request).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let problem: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let kind = problem["type"].as_str().and_then(|kind| kind.rsplit('/').next());
        anyhow::bail!("{} {}", answer.status().as_u16(), kind.unwrap_or_default())
    }

    /// As it is, whatever the answer.
    pub(super) async fn try_send(&self, request: Request<Bytes>) -> Result<Response<Bytes>> {
        Ok(self.client.request_within(&self.upstream, request, TIMEOUT).await?)
    }

    /// Opens a live stream, on a connection of its own.
    pub(super) async fn open(&self, path: &str, token: &str) -> Result<Response<Streamed>> {
        let request = request(Method::GET, path, token).body(Bytes::new())?;
        let answer = self.client.stream(&self.upstream, request).await?;
        anyhow::ensure!(answer.status().is_success(), "{}", answer.status().as_u16());
        Ok(answer)
    }
}

pub(super) fn fresh() -> String {
    Uuid::now_v7().to_string()
}

fn request(method: Method, path: &str, token: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
}

fn json(request: http::request::Builder, body: &impl Serialize) -> Result<Request<Bytes>> {
    let request = request.header(header::CONTENT_TYPE, "application/json");
    Ok(request.body(serde_json::to_vec(body)?.into())?)
}
