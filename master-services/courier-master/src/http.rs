//! What couriers tell us. Routes first, then handlers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use axum::routing::{post, put};
use http::StatusCode;
use http::request::Parts;
use mesh_contracts::api::{Deliver, Fail, HandOver, Nothing, Position, Shift};
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_contracts::order::{Proof, Reason};
use mesh_contracts::user::Role;
use mesh_eventstore::http::{IdempotencyKey, IfMatch, answer};
use mesh_eventstore::{CommandKey, Request, feed};
use mesh_identity::{Caller, peer};
use mesh_runtime::extract::Path;
use mesh_runtime::json::Json;
use mesh_runtime::{Problem, server};
use serde::Serialize;

use crate::App;
use crate::domain::courier;
use crate::domain::delivery::{Command, concerns};
use crate::positions::Seen;

/// Longest reference to a photo: a ULID or a hash fits, a URL does not.
const PHOTO_CHARS_MAX: usize = 64;
/// Digits of a PIN.
const PIN_CHARS: usize = 4;
/// What a courier can know: the rest of the field's codes are for kitchens and operators to say.
const FAIL_REASONS: [Reason; 4] = [
    Reason::CustomerNotFound,
    Reason::CustomerCancelled,
    Reason::Late,
    Reason::Other,
];

/// Whoever keeps documents, reacts to our events or checks the platform may read them.
const FEED_READERS: &[&str] = &[
    "gateway",
    "order-master",
    "basket-master",
    "menu-master",
    "point-master",
    "user-master",
    "order-info",
    "basket-info",
    "menu-info",
    "user-info",
    "tiffin",
];

/// Everything this service answers over the mesh.
pub fn router(app: Arc<App>) -> Router {
    let commands = Router::new()
        .route("/couriers/me/shift", put(shift))
        .route("/couriers/me/position", put(position))
        .route("/deliveries/{id}/accept", post(accept))
        .route("/deliveries/{id}/decline", post(decline))
        .route("/deliveries/{id}/drop", post(give_back))
        .route("/deliveries/{id}/pick-up", post(pick_up))
        .route("/deliveries/{id}/deliver", post(deliver))
        .route("/deliveries/{id}/fail", post(fail))
        .route("/deliveries/{id}/hand-over", post(hand_over))
        .route_layer(peer::allow(&[peer::GATEWAY]));
    let feed = feed::routes(app.deliveries.store().clone()).route_layer(peer::allow(FEED_READERS));
    server::with_layers(commands.merge(feed).with_state(app))
}

async fn shift(State(app): State<Arc<App>>, caller: Caller, Json(body): Json<Shift>) -> Result<Response, Problem> {
    let courier = courier_of(&caller)?;
    let command = match (body.on, body.at) {
        (true, Some(at)) => {
            app.see(courier, at);
            let speed = body
                .speed_m_per_min
                .map_or(app.policy.speed_m_per_min, |speed| speed.get());
            courier::Command::Start { speed_m_per_min: speed }
        }
        (true, None) => return Err(Problem::invalid().field("at", "is needed to come on shift")),
        (false, _) => courier::Command::End,
    };
    let outcome = app.on_courier(courier, Request::by(caller.actor()), command).await?;
    if !body.on {
        app.withdraw(courier, &caller).await;
    }
    Ok(answer(outcome, &app.signer))
}

async fn position(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(body): Json<Position>,
) -> Result<StatusCode, Problem> {
    app.see(courier_of(&caller)?, body.at);
    Ok(StatusCode::NO_CONTENT)
}

async fn accept(asked: Asked, Json(body): Json<Nothing>) -> Result<Response, Problem> {
    asked
        .submit("accept", &body, |courier| Command::Accept { courier })
        .await
}

async fn decline(asked: Asked, Json(body): Json<Nothing>) -> Result<Response, Problem> {
    asked
        .submit("decline", &body, |courier| Command::Decline { courier })
        .await
}

async fn give_back(asked: Asked, Json(body): Json<Nothing>) -> Result<Response, Problem> {
    asked.submit("drop", &body, |courier| Command::Drop { courier }).await
}

async fn pick_up(asked: Asked, Json(body): Json<Nothing>) -> Result<Response, Problem> {
    asked
        .submit("pick-up", &body, |courier| Command::PickUp { courier })
        .await
}

async fn deliver(asked: Asked, Json(body): Json<Deliver>) -> Result<Response, Problem> {
    let proof = proof(&asked, &body)?;
    asked
        .submit("deliver", &body, |courier| Command::Deliver { courier, proof })
        .await
}

async fn fail(asked: Asked, Json(body): Json<Fail>) -> Result<Response, Problem> {
    let (reason, outcome) = (body.reason, body.outcome);
    if !FAIL_REASONS.contains(&reason) {
        let known = "must be customer_not_found, customer_cancelled, late or other";
        return Err(Problem::invalid().field("reason", known));
    }
    asked
        .submit("fail", &body, |courier| Command::Fail {
            courier,
            reason,
            outcome,
        })
        .await
}

async fn hand_over(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    if_match: IfMatch,
    Path(id): Path<DeliveryId>,
    Json(body): Json<HandOver>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let route = format!("POST /deliveries/{id}/hand-over");
    let key = CommandKey::new(&caller.subject.to_string(), &route, &key.0, &body);
    let request = Request::command(caller.actor(), key).if_match(if_match.0);
    let outcome = app
        .on_delivery(id, request, Command::HandOver { to: body.courier })
        .await?;
    Ok(answer(outcome, &app.signer))
}

/// A courier's command on one delivery, before its body is read.
struct Asked {
    app: Arc<App>,
    caller: Caller,
    courier: CourierId,
    key: IdempotencyKey,
    if_match: IfMatch,
    id: DeliveryId,
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let courier = courier_of(&caller)?;
        let Path(id) = Path::from_request_parts(parts, app).await?;
        let if_match = IfMatch::from_request_parts(parts, app).await?;
        let key = <IdempotencyKey as FromRequestParts<Arc<App>>>::from_request_parts(parts, app).await?;
        Ok(Self {
            app: app.clone(),
            caller,
            courier,
            key,
            if_match,
            id,
        })
    }
}

impl Asked {
    async fn submit(
        self,
        verb: &str,
        body: &impl Serialize,
        command: impl FnOnce(CourierId) -> Command,
    ) -> Result<Response, Problem> {
        let route = format!("POST /deliveries/{}/{verb}", self.id);
        let key = CommandKey::new(&self.caller.subject.to_string(), &route, &self.key.0, body);
        let request = Request::command(self.caller.actor(), key).if_match(self.guard().await?);
        let outcome = self.app.on_delivery(self.id, request, command(self.courier)).await?;
        Ok(answer(outcome, &self.app.signer))
    }

    /// The status version that must still stand. The answer to a stale one tells the current state, so others than
    /// those who were ever asked have no guard, and are refused by the rules.
    async fn guard(&self) -> Result<Option<u64>, Problem> {
        if self.if_match.0.is_none() {
            return Ok(None);
        }
        let delivery = self.app.deliveries.load(self.id).await;
        let delivery = delivery.map_err(|err| Problem::unavailable("postgres", err))?;
        Ok(self
            .if_match
            .0
            .filter(|_| delivery.is_some_and(|(delivery, _)| concerns(&delivery, self.courier))))
    }
}

impl App {
    fn see(&self, courier: CourierId, place: Coordinates) {
        self.positions.put(
            courier,
            Seen {
                place,
                at: self.clock.now(),
            },
        );
    }

    /// Gives open offers to the next one at once; where that fails, their deadline does it.
    async fn withdraw(&self, courier: CourierId, caller: &Caller) {
        let concerning = match self.board.concerning(courier).await {
            Ok(concerning) => concerning,
            Err(err) => return tracing::warn!(error = %err, "open offers not looked up, they lapse"),
        };
        for delivery in concerning.into_iter().filter(|delivery| delivery.offer.is_some()) {
            let request = Request::by(caller.actor());
            let id = delivery.order.delivery();
            if let Err(err) = self.on_delivery(id, request, Command::Withdraw { courier }).await {
                tracing::warn!(error = %err, "open offer not withdrawn, it lapses");
            }
        }
    }
}

fn courier_of(caller: &Caller) -> Result<CourierId, Problem> {
    caller.require(Role::Courier)?;
    Ok(caller.subject.courier())
}

/// `None` for a wrong PIN: whether the courier may hear that is for the rules to say.
fn proof(asked: &Asked, body: &Deliver) -> Result<Option<Proof>, Problem> {
    match (&body.pin, &body.photo) {
        (Some(pin), None) if pin.len() == PIN_CHARS && pin.bytes().all(|byte| byte.is_ascii_digit()) => {
            let expected = asked.app.signer.pin(&asked.id.order().to_string());
            Ok((*pin == expected).then_some(Proof::Pin))
        }
        (Some(_), None) => Err(Problem::invalid().field("pin", "must be four digits")),
        (None, Some(photo)) if is_reference(photo) => Ok(Some(Proof::Photo(photo.clone()))),
        (None, Some(_)) => Err(Problem::invalid().field("photo", "must be 1 to 64 letters, digits, - or _")),
        (Some(_), Some(_)) | (None, None) => Err(Problem::invalid().field("pin", "either a PIN or a photo is needed")),
    }
}

fn is_reference(text: &str) -> bool {
    (1..=PHOTO_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
