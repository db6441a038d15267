//! The window: what arrived, and how the stand-in is to behave. Who may look is settled before a request arrives here.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};
use mesh_runtime::extract::Query;
use mesh_runtime::json::Json;
use serde::{Deserialize, Serialize};

use crate::mail::Mail;
use crate::office::{Mood, Office};

/// Mails in one answer unless asked for fewer.
const PAGE_MAX: usize = 1_000;

/// Every route.
pub fn routes(office: Office) -> Router {
    Router::new()
        .route("/v1/mails", get(mails))
        .route("/v1/mood", put(set_mood))
        .with_state(office)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    to: Option<String>,
    #[serde(default)]
    after: u64,
    #[serde(default = "page_max")]
    limit: usize,
}

fn page_max() -> usize {
    PAGE_MAX
}

/// `GET /v1/mails`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mails {
    /// Oldest first.
    pub mails: Vec<Mail>,
}

/// `PUT /v1/mood`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behave {
    pub mood: Mood,
}

async fn mails(State(office): State<Office>, Query(wanted): Query<Wanted>) -> Json<Mails> {
    let mails = office.mails(wanted.to.as_deref(), wanted.after, wanted.limit.min(PAGE_MAX));
    Json(Mails { mails })
}

async fn set_mood(State(office): State<Office>, Json(behave): Json<Behave>) -> Json<Behave> {
    office.set_mood(behave.mood);
    Json(behave)
}
