//! What customers do to their baskets and payments, the gateway's checkout, and the provider's webhooks.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{post, put};
use http::{HeaderMap, HeaderName};
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::api::{self, Receipt, SetLine};
use mesh_contracts::envelope::Actor;
use mesh_contracts::id::{OrderId, PaymentId, ProductId, UserId};
use mesh_contracts::order::Method;
use mesh_contracts::user::Role;
use mesh_contracts::view::basket::Basket;
use mesh_contracts::view::payment::Payment;
use mesh_contracts::view::product::Product;
use mesh_eventstore::http::{IdempotencyKey, IfMatch, answer};
use mesh_eventstore::{Aside, CommandKey, Outcome, Request, SubmitError, feed};
use mesh_identity::Caller;
use mesh_identity::peer::{self, GATEWAY};
use mesh_runtime::extract::Path;
use mesh_runtime::json::Json;
use mesh_runtime::settings::Secret;
use mesh_runtime::{Problem, server, telemetry};
use uuid::Uuid;

use crate::domain::{QUOTE_VALID, REOPEN_AFTER, Rejection, basket, payment};
use crate::store::Promotions;
use crate::{App, webhook};

/// Who fills gaps from our feed, and who audits it.
const READERS: &[&str] = &["order-master", "basket-info", "tiffin"];

/// A provider's token is a short name, not a document.
const TOKEN_CHARS_MAX: usize = 200;

const STRIPE_SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");

/// Everything this service answers.
pub fn router(app: Arc<App>) -> Router {
    let feed = feed::routes(app.store().clone()).layer(peer::allow(READERS));
    let commands = Router::new()
        .route("/basket/lines/{product}", put(set_line).delete(remove_line))
        .route("/baskets/{customer}/checkout", post(checkout))
        .route("/orders/{id}/payments", post(pay_again))
        .route("/webhooks/payments", post(webhook))
        .layer(peer::allow(&[GATEWAY]))
        .with_state(app);
    server::with_layers(commands.merge(feed))
}

async fn set_line(
    State(app): State<Arc<App>>,
    caller: Caller,
    if_match: IfMatch,
    Path(product): Path<ProductId>,
    Json(line): Json<SetLine>,
) -> Result<Response, Problem> {
    caller.require(Role::Customer)?;
    let id = caller.subject.basket();
    let known = app.tables.product(product).await.map_err(unavailable)?;
    let SetLine {
        quantity,
        country,
        options,
    } = line;
    let command = basket::Command::SetLine {
        product,
        quantity,
        country,
        options,
        menu: known.as_deref().map(|(_, menu)| Box::new(menu.clone())),
    };
    let answer = app.change_basket(&caller, if_match, command).await?;
    // Who heard of a change in between may have looked for baskets before the line was there.
    let now = app.tables.product(product).await.map_err(unavailable)?;
    if now.as_deref().map(since) != known.as_deref().map(since) {
        app.reprice(id).await.map_err(unavailable)?;
    }
    Ok(answer)
}

async fn remove_line(
    State(app): State<Arc<App>>,
    caller: Caller,
    if_match: IfMatch,
    Path(product): Path<ProductId>,
) -> Result<Response, Problem> {
    caller.require(Role::Customer)?;
    app.change_basket(&caller, if_match, basket::Command::RemoveLine { product })
        .await
}

/// Repeatable by order and body, without a header: the gateway derives the order's id from the customer's key.
async fn checkout(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(customer): Path<UserId>,
    Json(asked): Json<api::Checkout>,
) -> Result<Response, Problem> {
    caller.require(Role::Customer)?;
    if caller.subject != customer {
        return Err(Problem::not_found());
    }
    let token = token_of(&asked.payment)?;
    let key = CommandKey::new(&customer.to_string(), "checkout", &asked.order.to_string(), &asked);
    let kept = token.map(|token| kept(&payment::key(asked.order.payment(), 1), asked.order, token));
    let request = Request::command(caller.actor(), key).keeping(kept.clone());
    let mut checked_out = app.check_out(customer, &asked, request.clone()).await;
    if let Err(SubmitError::Stale(_)) = checked_out {
        // Another replica had moved it; now we know how it stands.
        checked_out = app.check_out(customer, &asked, request).await;
    }
    let outcome = checked_out?;
    app.tables.have_at_hand(kept, &outcome).await;
    Ok(answer(outcome, &app.signer))
}

async fn pay_again(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    OriginalUri(uri): OriginalUri,
    Path(order): Path<OrderId>,
    Json(asked): Json<api::Payment>,
) -> Result<Response, Problem> {
    caller.require(Role::Customer)?;
    let Some(token) = token_of(&asked)? else {
        return Err(Problem::invalid().field("method", "another try takes a card"));
    };
    let key = CommandKey::new(
        &caller.subject.to_string(),
        &format!("POST {}", uri.path()),
        &key.0,
        &asked,
    );
    let outcome = app.pay_again(&caller, order, key, token).await?;
    app.settler.kick(order.payment(), telemetry::traceparent());
    Ok(answer(outcome, &app.signer))
}

/// Answers 200 to whatever is the provider's, known call or not, so that it is not sent again.
async fn webhook(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body?;
    let signature = headers
        .get(STRIPE_SIGNATURE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    webhook::verify(&app.webhook_secret, signature, &body, app.clock().wall())
        .map_err(|_| Problem::unauthenticated("webhook_forged", "not signed by the payment provider"))?;
    let notice = webhook::read(&body).map_err(|_| Problem::bad_request("not an event of the payment provider"))?;
    if let Some(notice) = notice {
        app.hear_webhook(notice).await?;
    }
    Ok(Json(api::Nothing {}).into_response())
}

impl App {
    async fn change_basket(
        &self,
        caller: &Caller,
        IfMatch(version): IfMatch,
        command: basket::Command,
    ) -> Result<Response, Problem> {
        let id = caller.subject.basket();
        let request = Request::by(caller.actor()).if_match(version);
        let decide = move |basket: Option<&Basket>, now| basket::decide(basket, &command, now);
        let outcome = self.baskets.submit(id, request, decide).await?;
        if outcome.answer.version == 0 {
            // Nothing was ever in it, so there is no stream to show.
            let receipt = Receipt {
                id: id.to_string(),
                status: "empty".into(),
                number: None,
            };
            return Ok(Json(receipt).into_response());
        }
        Ok(answer(outcome, &self.signer))
    }

    /// Of the basket whose every line costs what the menu says: nothing is sold at a price that is no more. The
    /// customer sees the new one and decides again.
    async fn check_out(
        &self,
        customer: UserId,
        asked: &api::Checkout,
        request: Request,
    ) -> Result<Outcome, SubmitError<Rejection>> {
        let unavailable = |err: String| SubmitError::Unavailable(err);
        let id = customer.basket();
        let basket = self.reprice(id).await.map_err(|err| unavailable(err.to_string()))?;
        let promotions = match basket.as_ref().and_then(|basket| basket.country) {
            Some(country) => self.tables.promotions(country).await,
            None => Ok(Promotions::default()),
        };
        let promotions = promotions.map_err(|err| unavailable(err.to_string()))?;
        let command = basket::Command::Checkout(self.checkout_of(customer, asked, promotions));
        let decide = move |basket: Option<&Basket>, now| basket::decide(basket, &command, now);
        let request = request.if_match(basket.map(|basket| basket.version));
        self.baskets.submit(id, request, decide).await
    }

    fn checkout_of(&self, customer: UserId, asked: &api::Checkout, promotions: Promotions) -> basket::Checkout {
        let valid_until = after(self.clock().wall(), QUOTE_VALID);
        basket::Checkout {
            basket: customer.basket(),
            order: asked.order,
            basket_version: asked.basket_version,
            method: asked.payment.method,
            valid_until,
            reopen_at: self.clock().business_at(after(valid_until, REOPEN_AFTER)),
            pinned: asked.food_point,
            promotions,
        }
    }

    async fn pay_again(
        &self,
        caller: &Caller,
        order: OrderId,
        command: CommandKey,
        token: &str,
    ) -> Result<Outcome, Problem> {
        let id = order.payment();
        // Its own key for every body, so that nobody's token takes another's place.
        let key = format!("{id}-{}", Uuid::new_v5(&command.id, &command.hash.0));
        let asked = payment::Command::PayAgain {
            customer: caller.subject,
            key: key.clone(),
        };
        let policy = self.policy.clone();
        let decide = move |payment: Option<&Payment>, now| payment::decide(payment, &asked, now, &policy);
        let kept = Some(kept(&key, order, token));
        let request = Request::command(caller.actor(), command).keeping(kept.clone());
        let outcome = self.payments.submit(id, request, decide).await?;
        self.tables.have_at_hand(kept, &outcome).await;
        Ok(outcome)
    }

    /// The answer to the call in flight, if it is that call's.
    async fn hear_webhook(&self, notice: webhook::Notice) -> Result<(), Problem> {
        let id: PaymentId = notice.order.payment();
        let recent = self.payments.recent(id).await.map_err(unavailable)?;
        if recent.is_some_and(|(payment, _)| payment::is_answered(&payment, &notice.key)) {
            // Nearly always: the answer to our call was faster.
            return Ok(());
        }
        let known = self.payments.load(id).await.map_err(unavailable)?;
        let call = known.and_then(|(payment, _)| payment.call);
        let Some(call) = call.filter(|call| call.key == notice.key && call.operation == notice.operation) else {
            return Ok(());
        };
        if notice.answer == payment::Answer::Lost {
            return Ok(());
        }
        let heard = payment::Command::Answered {
            attempt: call.attempt,
            answer: notice.answer,
        };
        let policy = self.policy.clone();
        let decide = move |payment: Option<&Payment>, now| payment::decide(payment, &heard, now, &policy);
        self.payments
            .submit::<_, Rejection, _>(id, Request::by(Actor::payment_provider()), decide)
            .await?;
        self.books.note(id);
        Ok(())
    }
}

fn unavailable(err: impl std::fmt::Display) -> Problem {
    Problem::unavailable("postgres", err)
}

/// A token, to be kept for the call that will need it.
fn kept(key: &str, order: OrderId, token: &str) -> Aside {
    Aside {
        key: key.to_owned(),
        about: order.to_string(),
        secret: Secret::new(token),
    }
}

/// The card's token; `None` for cash. Either must go with its method.
fn token_of(payment: &api::Payment) -> Result<Option<&str>, Problem> {
    let refused = |message: &str| Err(Problem::invalid().field("token", message));
    match (payment.method, payment.token.as_deref()) {
        (Method::Cash, None) => Ok(None),
        (Method::Cash, Some(_)) => refused("cash has no token"),
        (Method::Card, None) => refused("a card needs a token"),
        (Method::Card, Some(token)) => {
            let is_token = (1..=TOKEN_CHARS_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
            if is_token {
                Ok(Some(token))
            } else {
                refused("must be 1 to 200 visible ASCII characters")
            }
        }
    }
}

fn since((version, _): &(i64, Product)) -> i64 {
    *version
}

fn after(at: Timestamp, span: SignedDuration) -> Timestamp {
    at.saturating_add(span).expect("a signed duration only saturates")
}
