//! What operators do to the menu.

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use axum::routing::{patch, post};
use mesh_contracts::id::ProductId;
use mesh_contracts::menu;
use mesh_contracts::user::Role;
use mesh_contracts::view::product::Product;
use mesh_eventstore::http::{IdempotencyKey, IfMatch, answer};
use mesh_eventstore::{CommandKey, Outcome, Request, SubmitError, feed};
use mesh_identity::Caller;
use mesh_identity::peer::{self, GATEWAY};
use mesh_runtime::extract::Path;
use mesh_runtime::json::Json;
use mesh_runtime::{Problem, server};

use crate::domain::{self, Command, Rejection};
use crate::{App, store};

/// Whoever hears products may catch up on them; the command line audits.
const READERS: &[&str] = &[
    "order-master",
    "basket-master",
    "point-master",
    "courier-master",
    "user-master",
    "order-info",
    "basket-info",
    "menu-info",
    "user-info",
    "gateway",
    "tiffin",
];

/// How often a description is decided again because another replica got ahead.
const CONFLICTS_MAX: usize = 3;

/// Everything this service answers.
pub fn router(app: App) -> Router {
    let feed = feed::routes(app.products.store().clone()).layer(peer::allow(READERS));
    let commands = Router::new()
        .route("/products", post(create))
        .route("/products/{id}", patch(update).delete(retire))
        .layer(peer::allow(&[GATEWAY]))
        .with_state(app);
    server::with_layers(commands.merge(feed))
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    key: IdempotencyKey,
    OriginalUri(uri): OriginalUri,
    Json(product): Json<menu::Product>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let route = format!("POST {}", uri.path());
    let key = CommandKey::new(&caller.subject.to_string(), &route, &key.0, &product);
    // The same command makes the same product.
    let id = ProductId(key.id);
    let request = Request::command(caller.actor(), key).created();
    app.describe(id, request, product, Command::Create).await
}

async fn update(
    State(app): State<App>,
    caller: Caller,
    if_match: IfMatch,
    Path(id): Path<ProductId>,
    Json(product): Json<menu::Product>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let request = Request::by(caller.actor()).if_match(if_match.0);
    app.describe(id, request, product, Command::Update).await
}

async fn retire(
    State(app): State<App>,
    caller: Caller,
    if_match: IfMatch,
    Path(id): Path<ProductId>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let request = Request::by(caller.actor()).if_match(if_match.0);
    let decide = |product: Option<&Product>, _now| domain::decide(product, Command::Retire, &domain::Currencies::new());
    let outcome = app.products.submit(id, request, decide).await.map_err(Problem::from)?;
    Ok(answer(outcome, &app.signer))
}

impl App {
    async fn describe(
        &self,
        id: ProductId,
        request: Request,
        product: menu::Product,
        command: fn(menu::Product) -> Command,
    ) -> Result<Response, Problem> {
        let _alone = self.describing.lock().await;
        let mut conflicts = 0;
        let outcome = loop {
            match self.try_describe(id, request.clone(), product.clone(), command).await {
                Err(SubmitError::Conflict) if conflicts < CONFLICTS_MAX => conflicts += 1,
                outcome => break outcome.map_err(Problem::from)?,
            }
        };
        Ok(answer(outcome, &self.signer))
    }

    /// The event and the currencies that it fixes commit together, or neither.
    async fn try_describe(
        &self,
        id: ProductId,
        request: Request,
        product: menu::Product,
        command: fn(menu::Product) -> Command,
    ) -> Result<Outcome, SubmitError<Rejection>> {
        let unavailable = |err: sqlx::Error| SubmitError::Unavailable(err.to_string());
        let store = self.products.store();
        let mut tx = store.pool().begin().await.map_err(unavailable)?;
        let currencies = store::fix_currencies(&mut tx, &product.prices)
            .await
            .map_err(unavailable)?;
        let decide = |before: Option<&Product>, _now| domain::decide(before, command(product), &currencies);
        let pending = self.products.submit_in(&mut tx, id, request, decide).await?;
        if pending.outcome.replayed {
            tx.rollback().await.map_err(unavailable)?;
            return Ok(pending.outcome);
        }
        tx.commit().await.map_err(unavailable)?;
        Ok(pending.committed(store))
    }
}
