//! The client of the masters' feeds: what the bus lost, the owner still has.
//!
//! Fetches by a closure: over the mesh in services, from memory in tests.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_identity::{Client, Upstreams};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::BoxError;

/// Events asked for at once when a whole stream is read; the server may give fewer.
pub const PAGE_MAX: usize = 500;

type Fetch = dyn Fn(&'static str, String) -> BoxFuture<'static, Result<Bytes, BoxError>> + Send + Sync + 'static;

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Aggregates.
    pub streams: u64,
    /// Events of all of them.
    pub events: u64,
}

/// Reads events from their owners. Clones share the fetching closure.
#[derive(Clone)]
pub struct Feeds {
    fetch: Arc<Fetch>,
}

/// The owner could not be asked, or answered something else than a feed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Not the id of an aggregate of any context.
    #[error("stream {0} belongs to no context")]
    NoOwner(String),
    /// The owner did not answer with success.
    #[error("feed of {owner} unavailable")]
    Unavailable {
        /// The master asked.
        owner: &'static str,
        /// Why not.
        source: BoxError,
    },
    /// The answer is not what a feed answers.
    #[error("feed of {owner} is unreadable")]
    Unreadable {
        /// The master asked.
        owner: &'static str,
        /// What did not fit.
        source: serde_json::Error,
    },
}

impl Feeds {
    /// Feeds fetched by `fetch(owner, path_and_query)`, which gives the body of a 200 answer
    /// and an error for everything else.
    pub fn new<F, Fut>(fetch: F) -> Self
    where
        F: Fn(&'static str, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Bytes, BoxError>> + Send + 'static,
    {
        Self {
            fetch: Arc::new(move |owner, path| Box::pin(fetch(owner, path))),
        }
    }

    /// The feeds of the masters at `upstreams`, asked under the identity of `client`.
    pub fn over(client: Client, upstreams: Upstreams) -> Self {
        Self::new(move |owner, path| {
            let (client, upstream) = (client.clone(), upstreams.get(owner));
            async move {
                let answer = client
                    .request(&upstream, Request::get(path).body(Bytes::new())?)
                    .await?;
                if answer.status().is_success() {
                    Ok(answer.into_body())
                } else {
                    Err(format!("answered {}", answer.status()).into())
                }
            }
        })
    }

    /// Up to `limit` events of one aggregate after version `after`, in order.
    pub async fn stream(&self, stream: &str, after: u64, limit: usize) -> Result<Vec<Envelope>, FeedError> {
        let context = Context::of_stream(stream)
            .filter(|_| is_plain(stream))
            .ok_or_else(|| FeedError::NoOwner(stream.into()))?;
        let path = format!("/feed/streams/{stream}?after={after}&limit={limit}");
        self.get(context, path).await
    }

    /// Every event of one aggregate after version `after`, in order.
    pub async fn after(&self, stream: &str, after: u64) -> Result<Vec<Envelope>, FeedError> {
        let mut events = self.stream(stream, after, PAGE_MAX).await?;
        let mut page_len = events.len();
        while page_len > 0 {
            let last = events.last().map_or(after, |event| event.version);
            let page = self.stream(stream, last, PAGE_MAX).await?;
            page_len = page.len();
            events.extend(page);
        }
        Ok(events)
    }

    /// Every event of one aggregate; empty if the owner knows none.
    pub async fn whole(&self, stream: &str) -> Result<Vec<Envelope>, FeedError> {
        self.after(stream, 0).await
    }

    /// Up to `limit` events of a context behind version `version` of `after_stream`, stream by
    /// stream in the order of their ids, each from its beginning.
    pub async fn page(
        &self,
        context: Context,
        after_stream: &str,
        version: u64,
        limit: usize,
    ) -> Result<Vec<Envelope>, FeedError> {
        let path = format!("/feed?after={after_stream}&version={version}&limit={limit}");
        self.get(context, path).await
    }

    /// How many aggregates of a context have ids that begin with `prefix`, and how many events
    /// all of them have.
    pub async fn extent(&self, context: Context, prefix: &str) -> Result<Extent, FeedError> {
        self.get(context, format!("/feed/extent?prefix={prefix}")).await
    }

    /// Up to `limit` aggregates of a context after `after_stream` in the order of their ids,
    /// each with its newest version.
    pub async fn heads(
        &self,
        context: Context,
        after_stream: &str,
        limit: usize,
    ) -> Result<Vec<(String, u64)>, FeedError> {
        let path = format!("/feed/heads?after={after_stream}&limit={limit}");
        self.get(context, path).await
    }

    async fn get<T: DeserializeOwned>(&self, context: Context, path: String) -> Result<T, FeedError> {
        let owner = context.owner();
        let body = (self.fetch)(owner, path)
            .await
            .map_err(|source| FeedError::Unavailable { owner, source })?;
        serde_json::from_slice(&body).map_err(|source| FeedError::Unreadable { owner, source })
    }
}

/// Whether an id can stand in a path as it is; ids of ours always can.
fn is_plain(stream: &str) -> bool {
    stream
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

impl fmt::Debug for Feeds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Feeds").finish_non_exhaustive()
    }
}
