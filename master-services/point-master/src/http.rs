//! What operators and kitchen staff do to food points.

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use axum::routing::{patch, post, put};
use mesh_contracts::api::{ChangePoint, Nothing, StockAmount, StockQuantity, StockSettings, StockWaste};
use mesh_contracts::id::{FoodPointId, IngredientId};
use mesh_contracts::point::Settings;
use mesh_contracts::user::Role;
use mesh_contracts::view::point::FoodPoint;
use mesh_eventstore::http::{IdempotencyKey, IfMatch};
use mesh_eventstore::{CommandKey, Request, feed};
use mesh_identity::Caller;
use mesh_identity::peer::{self, GATEWAY};
use mesh_runtime::extract::Path;
use mesh_runtime::json::Json;
use mesh_runtime::{Problem, server};
use serde::Serialize;

use crate::App;
use crate::domain::{self, Command};

/// Whoever hears food points may catch up on them; the command line audits.
const READERS: &[&str] = &[
    "order-master",
    "basket-master",
    "menu-master",
    "courier-master",
    "user-master",
    "order-info",
    "basket-info",
    "menu-info",
    "user-info",
    "gateway",
    "tiffin",
];

/// Everything this service answers.
pub fn router(app: Arc<App>) -> Router {
    let feed = feed::routes(app.points.store().clone()).layer(peer::allow(READERS));
    let commands = Router::new()
        .route("/food-points", post(register))
        .route("/food-points/{id}", patch(change))
        .route("/food-points/{id}/stock/{ingredient_id}/receive", post(receive))
        .route("/food-points/{id}/stock/{ingredient_id}/count", post(count))
        .route("/food-points/{id}/stock/{ingredient_id}/waste", post(waste))
        .route("/food-points/{id}/stock/{ingredient_id}/gone", post(gone))
        .route("/food-points/{id}/stock/{ingredient_id}/back", post(back))
        .route("/food-points/{id}/stock/{ingredient_id}/settings", put(change_stock))
        .layer(peer::allow(&[GATEWAY]))
        .with_state(app);
    server::with_layers(commands.merge(feed))
}

async fn register(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    OriginalUri(uri): OriginalUri,
    Json(settings): Json<Settings>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let key = command_key(&caller, uri.path(), &key, &settings);
    // The same command makes the same point, so that a repeat waits for it in the same mailbox.
    let id = FoodPointId(key.id);
    let request = Request::command(caller.actor(), key).created();
    app.submit(id, request, Command::Register(settings)).await
}

async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    if_match: IfMatch,
    Path(id): Path<FoodPointId>,
    Json(change): Json<ChangePoint>,
) -> Result<Response, Problem> {
    must_run(&caller, id)?;
    if change.settings.is_some() {
        caller.require(Role::Operator)?;
    }
    let request = Request::by(caller.actor()).if_match(if_match.0);
    app.submit(
        id,
        request,
        Command::Change {
            open: change.open,
            settings: change.settings,
        },
    )
    .await
}

async fn receive(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    OriginalUri(uri): OriginalUri,
    Path((id, ingredient)): Path<(FoodPointId, IngredientId)>,
    Json(amount): Json<StockAmount>,
) -> Result<Response, Problem> {
    must_run(&caller, id)?;
    let key = command_key(&caller, uri.path(), &key, &amount);
    let command = Command::Receive {
        ingredient,
        quantity: amount.quantity.get(),
    };
    app.submit(id, Request::command(caller.actor(), key), command).await
}

async fn count(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    OriginalUri(uri): OriginalUri,
    Path((id, ingredient)): Path<(FoodPointId, IngredientId)>,
    Json(amount): Json<StockAmount>,
) -> Result<Response, Problem> {
    must_run(&caller, id)?;
    let key = command_key(&caller, uri.path(), &key, &amount);
    let command = Command::Count {
        ingredient,
        quantity: amount.quantity.get(),
    };
    app.submit(id, Request::command(caller.actor(), key), command).await
}

async fn waste(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    OriginalUri(uri): OriginalUri,
    Path((id, ingredient)): Path<(FoodPointId, IngredientId)>,
    Json(waste): Json<StockWaste>,
) -> Result<Response, Problem> {
    must_run(&caller, id)?;
    let key = command_key(&caller, uri.path(), &key, &waste);
    let command = Command::Waste {
        ingredient,
        quantity: waste.quantity.get(),
        reason: waste.reason,
    };
    app.submit(id, Request::command(caller.actor(), key), command).await
}

async fn gone(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    OriginalUri(uri): OriginalUri,
    Path((id, ingredient)): Path<(FoodPointId, IngredientId)>,
    Json(nothing): Json<Nothing>,
) -> Result<Response, Problem> {
    must_run(&caller, id)?;
    let key = command_key(&caller, uri.path(), &key, &nothing);
    app.submit(id, Request::command(caller.actor(), key), Command::Gone { ingredient })
        .await
}

async fn back(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    OriginalUri(uri): OriginalUri,
    Path((id, ingredient)): Path<(FoodPointId, IngredientId)>,
    Json(amount): Json<StockAmount>,
) -> Result<Response, Problem> {
    must_run(&caller, id)?;
    let key = command_key(&caller, uri.path(), &key, &amount);
    let command = Command::Back {
        ingredient,
        quantity: amount.quantity.get(),
    };
    app.submit(id, Request::command(caller.actor(), key), command).await
}

async fn change_stock(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path((id, ingredient)): Path<(FoodPointId, IngredientId)>,
    Json(settings): Json<StockSettings>,
) -> Result<Response, Problem> {
    must_run(&caller, id)?;
    let low_at = settings.low_at.map(StockQuantity::get);
    let command = Command::ChangeStock { ingredient, low_at };
    app.submit(id, Request::by(caller.actor()), command).await
}

impl App {
    async fn submit(&self, id: FoodPointId, request: Request, command: Command) -> Result<Response, Problem> {
        let decide = move |point: Option<&FoodPoint>, now| domain::decide(point, command.clone(), now);
        let outcome = self.points.submit(id, request, decide).await.map_err(Problem::from)?;
        Ok(mesh_eventstore::http::answer(outcome, &self.signer))
    }
}

/// Operators run every point, its own staff runs one; that of another point does not exist for them.
fn must_run(caller: &Caller, id: FoodPointId) -> Result<(), Problem> {
    match caller.role {
        Role::Operator => Ok(()),
        Role::Kitchen if caller.works_at(&id) => Ok(()),
        Role::Kitchen => Err(Problem::not_found()),
        Role::Customer | Role::Courier => Err(Problem::forbidden()),
    }
}

fn command_key(caller: &Caller, path: &str, key: &IdempotencyKey, body: &impl Serialize) -> CommandKey {
    CommandKey::new(&caller.subject.to_string(), &format!("POST {path}"), &key.0, body)
}
