//! What the bus lost, asked of its owner: events of one stream, all events, and stream heads.
//!
//! Guards nothing: the service puts its allow-list of peers around these routes.

use axum::Router;
use axum::extract::{Json, State};
use axum::routing::get;
use mesh_bus::feed::Extent;
use mesh_contracts::envelope::Envelope;
use mesh_runtime::Problem;
use mesh_runtime::extract::{Path, Query};
use serde::Deserialize;

use crate::store::Store;

/// Events or heads per page, at most. An order's event is about 1 KiB.
const PAGE_MAX: i64 = 500;

/// Events per page of all streams, for whoever reads the whole log: some two megabytes.
const HISTORY_PAGE_MAX: i64 = 2_000;

/// `GET /feed/streams/{id}?after=VERSION&limit=`, `GET /feed?after=STREAM&version=&limit=`,
/// `GET /feed/heads?after=STREAM&limit=`; each answers with a JSON array.
/// `GET /feed/extent?prefix=` counts.
pub fn routes<S: Clone + Send + Sync + 'static>(store: Store) -> Router<S> {
    Router::new()
        .route("/feed/streams/{stream}", get(stream))
        .route("/feed", get(page))
        .route("/feed/heads", get(heads))
        .route("/feed/extent", get(extent))
        .with_state(store)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After<T> {
    #[serde(default)]
    after: T,
    #[serde(default = "page_max")]
    limit: i64,
}

fn page_max() -> i64 {
    PAGE_MAX
}

impl<T> After<T> {
    fn limit(&self) -> i64 {
        self.limit.clamp(1, PAGE_MAX)
    }
}

/// Where a reader of the whole log stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Behind {
    #[serde(default)]
    after: String,
    #[serde(default)]
    version: u64,
    #[serde(default = "history_page_max")]
    limit: i64,
}

fn history_page_max() -> i64 {
    HISTORY_PAGE_MAX
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Beginning {
    #[serde(default)]
    prefix: String,
}

async fn stream(
    State(store): State<Store>,
    Path(stream): Path<String>,
    Query(query): Query<After<u64>>,
) -> Result<Json<Vec<Envelope>>, Problem> {
    let events = store
        .stream_page(&stream, query.after, query.limit())
        .await
        .map_err(unavailable)?;
    Ok(Json(events))
}

async fn page(State(store): State<Store>, Query(query): Query<Behind>) -> Result<Json<Vec<Envelope>>, Problem> {
    let events = store
        .page(&query.after, query.version, query.limit.clamp(1, HISTORY_PAGE_MAX))
        .await
        .map_err(unavailable)?;
    Ok(Json(events))
}

async fn extent(State(store): State<Store>, Query(query): Query<Beginning>) -> Result<Json<Extent>, Problem> {
    Ok(Json(store.extent(&query.prefix).await.map_err(unavailable)?))
}

async fn heads(
    State(store): State<Store>,
    Query(query): Query<After<String>>,
) -> Result<Json<Vec<(String, u64)>>, Problem> {
    let heads = store
        .heads_page(&query.after, query.limit())
        .await
        .map_err(unavailable)?;
    Ok(Json(heads))
}

fn unavailable(err: sqlx::Error) -> Problem {
    Problem::unavailable("postgres", err)
}
