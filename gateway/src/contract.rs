//! The OpenAPI document: what the routes say of themselves, and what the door adds to all of them.
//!
//! Put together once, from the same router that serves, so that served routes are documented routes.

use bytes::Bytes;
use mesh_contracts::id::{
    AddressId, CourierId, DeliveryId, FoodPointId, IngredientId, OrderId, ProductId, PromotionId,
};
use mesh_contracts::user::Role;
use mesh_runtime::problem as problems;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr, Required, Response, SecurityRequirement};
use utoipa::{OpenApi, openapi};

use crate::docs;

/// The name of the only way to prove who one is.
const ACCESS_TOKEN: &str = "access_token";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tiffin",
        description = "Orders, kitchens, couriers and the operator of a sandwich chain.\n\n\
            JSON, snake_case, RFC 3339 in UTC; money is minor units with a currency; ids carry a prefix such as `ord_`. \
            Unknown fields are refused. Every refusal is `application/problem+json` with a stable `type`.\n\n\
            A command answers with `ETag: \"<version>.<status_version>\"` and `Tiffin-Consistency`; a query that \
            brings the latter sees what the command wrote.\n\n\
            How often somebody may ask is limited: `RateLimit-Policy` and `RateLimit` of an answer say how much that is \
            and what is left of it."
    ),
    // Routes bring their bodies along; what only paths and refusals mention is named here.
    components(schemas(
        problems::Document,
        problems::FieldError,
        AddressId,
        CourierId,
        DeliveryId,
        FoodPointId,
        IngredientId,
        OrderId,
        ProductId,
        PromotionId
    )),
    tags(
        (name = "account", description = "People, their sessions and addresses."),
        (name = "customer", description = "The order page, the basket, orders and their payment."),
        (name = "kitchen", description = "Tickets, stock and the state of a food point."),
        (name = "courier", description = "Shifts, positions and deliveries."),
        (name = "operator", description = "The chain itself, and repairs."),
        (name = "provider", description = "Where the payment provider reports."),
        (name = "platform", description = "Contract, keys and health."),
    )
)]
struct Api;

/// The document and its page, as they are sent.
#[derive(Clone)]
pub(crate) struct Contract {
    pub(crate) json: Bytes,
    pub(crate) page: Bytes,
}

impl Contract {
    /// Of a finished document.
    pub(crate) fn of(mut document: openapi::OpenApi) -> Self {
        for (_, operation) in operations(&mut document) {
            let refusal = refusal("Any refusal or failure; `type` says which.");
            operation.responses.responses.insert("default".to_owned(), refusal);
        }
        show_less(&mut document);
        let json = document.to_json().expect("a contract is JSON");
        let page = docs::page(&serde_json::from_str(&json).expect("it was JSON a line ago"));
        Self {
            json: json.into(),
            page: page.into(),
        }
    }
}

/// The document before any route.
pub(crate) fn empty() -> openapi::OpenApi {
    let mut document = Api::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "From `POST /v1/sessions`; the names listed with a route are the roles that may use it.",
        ))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme(ACCESS_TOKEN, SecurityScheme::Http(bearer));
    document
}

/// Adds that any one of these roles is needed, and what every query may demand.
pub(crate) fn needs_role(document: &mut openapi::OpenApi, roles: &[Role]) {
    for (method, operation) in operations(document) {
        let any_of = roles
            .iter()
            .map(|role| SecurityRequirement::new(ACCESS_TOKEN, [role.as_str()]));
        operation.security = Some(any_of.collect());
        let responses = &mut operation.responses.responses;
        responses.insert(
            "401".to_owned(),
            refusal("`token_missing`, `token_expired` or `token_invalid`."),
        );
        responses.insert("403".to_owned(), refusal("`wrong_role`: another role's route."));
        if method == "get" {
            let freshness = header("Tiffin-Consistency", Required::False, "What the answer must have seen.");
            add_parameter(operation, freshness);
        }
    }
}

/// Adds that each `POST` needs an idempotency key.
pub(crate) fn needs_key(document: &mut openapi::OpenApi) {
    for (_, operation) in operations(document).filter(|(method, _)| *method == "post") {
        let key = header(
            "Idempotency-Key",
            Required::True,
            "New for every new wish; the same again gets the same answer.",
        );
        add_parameter(operation, key);
        let missing = refusal("`idempotency_key_required`, `bad_request` or `malformed_json`.");
        operation.responses.responses.insert("400".to_owned(), missing);
    }
}

/// Adds what is said of limits, and that they are kept.
pub(crate) fn is_limited(document: &mut openapi::OpenApi) {
    for (_, operation) in operations(document) {
        let refused = ResponseBuilder::from(problem(
            "`too_many_requests`: come back after `Retry-After`; nothing was done.",
        ))
        .header("Retry-After", told("Seconds."))
        .header(
            "RateLimit",
            told("Of each limit: `r`, what is left; `t`, seconds until there is more."),
        )
        .header(
            "RateLimit-Policy",
            told("Each limit by its name: `q` requests within `w` seconds."),
        )
        .build();
        operation
            .responses
            .responses
            .insert("429".to_owned(), RefOr::T(refused));
    }
}

/// order-info leaves these out for customers and couriers, so nobody may rely on them.
const INTERNAL: [&str; 8] = [
    "candidates",
    "tried",
    "needs",
    "attempt",
    "hold",
    "liable",
    "borne",
    "stopped",
];

fn show_less(document: &mut openapi::OpenApi) {
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    if let Some(RefOr::T(Schema::Object(order))) = schemas.and_then(|schemas| schemas.get_mut("Order")) {
        order.required.retain(|name| !INTERNAL.contains(&name.as_str()));
    }
}

fn operations(document: &mut openapi::OpenApi) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    document.paths.paths.values_mut().flat_map(|item| {
        let PathItem {
            get,
            put,
            post,
            delete,
            patch,
            ..
        } = item;
        [
            ("get", get),
            ("put", put),
            ("post", post),
            ("delete", delete),
            ("patch", patch),
        ]
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
    })
}

fn add_parameter(operation: &mut Operation, parameter: Parameter) {
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}

fn header(name: &str, required: Required, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn told(description: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .description(Some(description))
        .build()
}

fn refusal(description: &str) -> RefOr<Response> {
    RefOr::T(problem(description))
}

fn problem(description: &str) -> Response {
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", problem)
        .build()
}
