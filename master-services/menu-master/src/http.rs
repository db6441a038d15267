//! What operators do to the menu.

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use axum::routing::{patch, post};
use mesh_contracts::id::{ProductId, PromotionId};
use mesh_contracts::user::Role;
use mesh_contracts::view::product::Product;
use mesh_contracts::view::promotion::Promotion;
use mesh_contracts::{menu, promotion};
use mesh_eventstore::http::{IdempotencyKey, IfMatch, answer};
use mesh_eventstore::{CommandKey, Outcome, Request, SubmitError, feed};
use mesh_identity::Caller;
use mesh_identity::peer::{self, GATEWAY};
use mesh_runtime::extract::Path;
use mesh_runtime::json::Json;
use mesh_runtime::{Problem, server};

use crate::domain::promotion::{self as promotions, Command as Announce};
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
pub fn router(app: Arc<App>) -> Router {
    let feed = feed::routes(app.products.store().clone()).layer(peer::allow(READERS));
    let commands = Router::new()
        .route("/products", post(create))
        .route("/products/{id}", patch(update).delete(retire))
        .route("/promotions", post(announce))
        .route("/promotions/{id}", patch(change).delete(end))
        .layer(peer::allow(&[GATEWAY]))
        .with_state(app);
    server::with_layers(commands.merge(feed))
}

async fn create(
    State(app): State<Arc<App>>,
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
    State(app): State<Arc<App>>,
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
    State(app): State<Arc<App>>,
    caller: Caller,
    if_match: IfMatch,
    Path(id): Path<ProductId>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let request = Request::by(caller.actor()).if_match(if_match.0);
    let decide = |product: Option<&Product>, _now| domain::decide(product, Command::Retire, &domain::Known::default());
    let outcome = app.products.submit(id, request, decide).await.map_err(Problem::from)?;
    Ok(answer(outcome, &app.signer))
}

async fn announce(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    OriginalUri(uri): OriginalUri,
    Json(promotion): Json<promotion::Promotion>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let route = format!("POST {}", uri.path());
    let key = CommandKey::new(&caller.subject.to_string(), &route, &key.0, &promotion);
    // As with products.
    let id = PromotionId(key.id);
    let known = app.known_of(&promotion).await?;
    let request = Request::command(caller.actor(), key).created();
    app.promote(id, request, Announce::Create(promotion), known).await
}

async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    if_match: IfMatch,
    Path(id): Path<PromotionId>,
    Json(promotion): Json<promotion::Promotion>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let known = app.known_of(&promotion).await?;
    let request = Request::by(caller.actor()).if_match(if_match.0);
    app.promote(id, request, Announce::Change(promotion), known).await
}

async fn end(
    State(app): State<Arc<App>>,
    caller: Caller,
    if_match: IfMatch,
    Path(id): Path<PromotionId>,
) -> Result<Response, Problem> {
    caller.require(Role::Operator)?;
    let request = Request::by(caller.actor()).if_match(if_match.0);
    app.promote(id, request, Announce::End, promotions::Known::default())
        .await
}

impl App {
    async fn promote(
        &self,
        id: PromotionId,
        request: Request,
        command: Announce,
        known: promotions::Known,
    ) -> Result<Response, Problem> {
        let decide = move |before: Option<&Promotion>, now| promotions::decide(before, command.clone(), &known, now);
        let outcome = self.promotions.submit(id, request, decide).await?;
        Ok(answer(outcome, &self.signer))
    }

    /// What the menu knows of what a promotion names. It may change the next moment; no discount depends on that.
    async fn known_of(&self, promotion: &promotion::Promotion) -> Result<promotions::Known, Problem> {
        let unavailable = |err: &dyn std::fmt::Display| Problem::unavailable("postgres", err);
        let currency = store::currency(self.products.store().pool(), promotion.country)
            .await
            .map_err(|err| unavailable(&err))?;
        let mut known = promotions::Known {
            currency,
            ..promotions::Known::default()
        };
        // Longer lists are refused anyway.
        for id in promotion.products.iter().take(promotions::PRODUCTS_MAX) {
            let loaded = self.products.load(*id).await.map_err(|err| unavailable(&err))?;
            known.products.extend(loaded.map(|(product, _version)| (*id, product)));
        }
        Ok(known)
    }

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

    /// The event, the currencies that it fixes and the ingredients that it names commit together, or neither.
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
        let known = store::make_known(&mut tx, &product).await.map_err(unavailable)?;
        let decide = |before: Option<&Product>, _now| domain::decide(before, command(product), &known);
        let pending = self.products.submit_in(&mut tx, id, request, decide).await?;
        if pending.outcome.replayed {
            tx.rollback().await.map_err(unavailable)?;
            return Ok(pending.outcome);
        }
        tx.commit().await.map_err(unavailable)?;
        Ok(pending.committed(store))
    }
}
