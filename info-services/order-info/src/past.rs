//! An order's past: what happened, and how it stood at an instant. order-master remembers; that it is this caller's
//! order, the handlers know.
//!
//! Instants are business time. Events count in their order up to the first that is later: a state with a hole in it
//! nobody could have seen.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::Envelope;
use mesh_projection::View as _;
use mesh_runtime::Problem;
use mesh_runtime::extract::Query;
use mesh_runtime::problem::with_sources;
use serde::Deserialize;

use crate::App;
use crate::projector::{OrderDocument, Orders};

/// How far order-master's clock may be ahead of ours: whoever asks for the instant of an event just seen is answered.
const CLOCK_SKEW_MAX: SignedDuration = SignedDuration::from_secs(5);

/// `?as_of=`: the instant asked about; nothing for now.
pub struct AsOf(pub Option<Timestamp>);

impl FromRequestParts<Arc<App>> for AsOf {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            as_of: Option<Timestamp>,
        }
        let Query(Asked { as_of }) = Query::from_request_parts(parts, app).await?;
        if as_of.is_some_and(|at| at.duration_since(app.clock.now()) > CLOCK_SKEW_MAX) {
            return Err(Problem::invalid().field("as_of", "is in the future"));
        }
        Ok(Self(as_of))
    }
}

impl App {
    /// The order as it stood then.
    pub async fn order_as_of(&self, order: &OrderDocument, at: Timestamp) -> Result<OrderDocument, Problem> {
        let past = self.events(order, Some(at)).await?.iter().try_fold(None, Orders::fold);
        let past = past.map_err(|err| Problem::unavailable("order-master", err))?;
        past.ok_or_else(|| before_order(order))
    }

    /// What has happened to the order, up to an instant if one is given.
    pub async fn events(&self, order: &OrderDocument, as_of: Option<Timestamp>) -> Result<Vec<Envelope>, Problem> {
        let events = self.feeds.whole(&order.id.to_string()).await;
        let mut events = events.map_err(|err| Problem::unavailable("order-master", with_sources(&err)))?;
        if let Some(at) = as_of {
            let then = events.iter().take_while(|event| event.at <= at).count();
            events.truncate(then);
        }
        if events.is_empty() {
            return Err(before_order(order));
        }
        Ok(events)
    }
}

fn before_order(order: &OrderDocument) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "before_order",
        "there was no such order yet",
    )
    .field("as_of", "is before the order was placed")
    .with("placed_at", order.order.placed_at.to_string())
}
