//! Editions seen and asked for from outside.
//!
//! Guards nothing: the service puts its allow-list of peers around these routes.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use mesh_runtime::Problem;
use mesh_runtime::extract::Path;
use mesh_runtime::json::Json;
use serde::{Deserialize, Serialize};

use crate::connection::{Projection, Shown};
use crate::keys;
use crate::progress::{Built, Progress};
use crate::refill::Editions;

/// What there is of one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Its name.
    pub view: String,
    /// The version that this build folds.
    pub version: u32,
    /// The edition that readers see.
    pub current: String,
    /// And the version it was begun with.
    pub current_version: u32,
    /// Whether it is complete.
    pub is_filled: bool,
    /// What it replaced, if that is still kept.
    pub previous: Option<String>,
    /// What is filled beside it.
    pub building: Option<String>,
    /// How far that is; also of the current edition while it is filled.
    pub progress: Option<Progress>,
    /// How the newest complete one came to be.
    pub built: Option<Built>,
}

/// What kind of edition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The previous one again instead of a new one.
    #[serde(default)]
    pub rollback: bool,
}

/// `GET /projections`: every view of the service. `POST /projections/{view}/rebuild`: 202 with the
/// view, once it is noted that an edition is to be filled beside the current one.
pub fn routes<S: Clone + Send + Sync + 'static>(projection: Projection) -> Router<S> {
    Router::new()
        .route("/projections", get(standings))
        .route("/projections/{view}/rebuild", post(rebuild))
        .with_state(projection)
}

async fn standings(State(projection): State<Projection>) -> Result<Json<Vec<Standing>>, Problem> {
    let mut standings = Vec::new();
    for shown in projection.inner.shown() {
        standings.push(projection.standing(&shown).await?);
    }
    Ok(Json(standings))
}

async fn rebuild(
    State(projection): State<Projection>,
    Path(view): Path<String>,
    Json(wish): Json<Wish>,
) -> Result<(StatusCode, Json<Standing>), Problem> {
    let shown = projection.inner.shown();
    let shown = shown.iter().find(|shown| shown.view.kind() == view);
    let shown = shown.ok_or_else(Problem::not_found)?;
    let started = projection
        .inner
        .start(shown, wish.rollback)
        .await
        .map_err(unavailable)?;
    match started.as_str() {
        "started" => Ok((StatusCode::ACCEPTED, Json(projection.standing(shown).await?))),
        "running" => Err(Problem::conflict(
            "rebuild_running",
            "an edition is being filled already",
        )),
        "none" => Err(Problem::conflict(
            "no_previous_edition",
            "there is no previous edition to go back to",
        )),
        _ => Err(Problem::unavailable(
            "read model",
            "the current edition is not complete",
        )),
    }
}

impl Projection {
    async fn standing(&self, shown: &Shown) -> Result<Standing, Problem> {
        let editions = self.inner.editions(shown).await.map_err(unavailable)?;
        Ok(standing(shown, editions))
    }
}

fn standing(shown: &Shown, editions: Editions) -> Standing {
    Standing {
        view: shown.view.kind().to_owned(),
        version: shown.view.version(),
        current_version: keys::version(&editions.current),
        current: editions.current,
        is_filled: editions.is_filled,
        previous: editions.previous,
        building: editions.building,
        progress: editions.progress,
        built: editions.built,
    }
}

fn unavailable(err: redis::RedisError) -> Problem {
    Problem::unavailable("redis", err)
}
