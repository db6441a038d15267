//! Where the payment provider reports: no token, no key; the signature is basket-master's to check.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::ask::Raw;
use crate::limits::by_address;
use crate::{Answer, App};

pub(super) fn routes(app: &App) -> OpenApiRouter<App> {
    let reports = OpenApiRouter::new().routes(routes!(payment_webhook));
    by_address(app, |limits| &limits.webhooks, reports)
}

/// Take the provider's word on a payment
#[utoipa::path(post, path = "/webhooks/payments", tag = "provider",
    params(("Stripe-Signature" = String, Header, description = "`t=SECONDS,v1=HMAC-SHA256` over `SECONDS.BODY`.")),
    request_body(content = Object, description = "An event of the provider."),
    responses((status = 200, description = "Heard; any other status is told again.")))]
async fn payment_webhook(State(app): State<App>, Raw(ask): Raw) -> Answer {
    app.services.basket_master.forward(ask.urgent()).await
}
