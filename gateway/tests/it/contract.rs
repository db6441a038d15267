//! Served routes are documented routes, and the other way round.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use crate::site::{Answered, Site, ask};

/// The public contract: who, how, what. `*` is anyone, without a token.
pub const ROUTES: &str = "
    *                                 POST   /v1/users
    *                                 POST   /v1/sessions
    *                                 POST   /v1/sessions/refresh
    *                                 POST   /v1/webhooks/payments
    *                                 GET    /.well-known/jwks.json
    *                                 GET    /openapi.json
    *                                 GET    /docs
    *                                 GET    /console
    *                                 GET    /console/script.js
    *                                 GET    /console/style.css
    *                                 GET    /livez
    *                                 GET    /readyz
    customer,kitchen,courier,operator GET    /v1/me
    customer,kitchen,courier,operator PATCH  /v1/me
    customer                          DELETE /v1/me
    customer                          PUT    /v1/me/addresses/{id}
    customer                          DELETE /v1/me/addresses/{id}
    customer                          GET    /v1/home
    customer,kitchen,courier,operator GET    /v1/menu
    customer,kitchen,courier,operator GET    /v1/food-points
    customer                          GET    /v1/basket
    customer                          PUT    /v1/basket/lines/{product_id}
    customer                          DELETE /v1/basket/lines/{product_id}
    customer                          POST   /v1/orders
    customer                          GET    /v1/orders
    customer,kitchen,courier,operator GET    /v1/orders/{id}
    customer,kitchen,courier,operator GET    /v1/orders/{id}/live
    customer,kitchen,courier,operator GET    /v1/orders/{id}/history
    customer,kitchen                  POST   /v1/orders/{id}/cancel
    customer                          POST   /v1/orders/{id}/payments
    customer,operator                 GET    /v1/orders/{id}/payment
    kitchen,operator                  GET    /v1/food-points/{id}/tickets
    kitchen,operator                  GET    /v1/food-points/{id}/live
    kitchen                           POST   /v1/orders/{id}/accept
    kitchen                           POST   /v1/orders/{id}/reject
    kitchen                           POST   /v1/orders/{id}/start
    kitchen                           POST   /v1/orders/{id}/ready
    kitchen                           POST   /v1/orders/{id}/stop
    kitchen                           POST   /v1/orders/{id}/collect
    kitchen,operator                  PATCH  /v1/food-points/{id}
    kitchen,operator                  POST   /v1/food-points/{id}/stock/{ingredient_id}/receive
    kitchen,operator                  POST   /v1/food-points/{id}/stock/{ingredient_id}/count
    kitchen,operator                  POST   /v1/food-points/{id}/stock/{ingredient_id}/waste
    kitchen,operator                  POST   /v1/food-points/{id}/stock/{ingredient_id}/gone
    kitchen,operator                  POST   /v1/food-points/{id}/stock/{ingredient_id}/back
    kitchen,operator                  PUT    /v1/food-points/{id}/stock/{ingredient_id}/settings
    courier                           PUT    /v1/couriers/me/shift
    courier                           PUT    /v1/couriers/me/position
    courier                           GET    /v1/couriers/me/jobs
    courier                           GET    /v1/couriers/me/live
    courier                           POST   /v1/deliveries/{id}/accept
    courier                           POST   /v1/deliveries/{id}/decline
    courier                           POST   /v1/deliveries/{id}/drop
    courier                           POST   /v1/deliveries/{id}/pick-up
    courier                           POST   /v1/deliveries/{id}/deliver
    courier                           POST   /v1/deliveries/{id}/fail
    operator                          POST   /v1/products
    operator                          GET    /v1/products/{id}
    operator                          PATCH  /v1/products/{id}
    operator                          DELETE /v1/products/{id}
    operator                          POST   /v1/promotions
    operator                          GET    /v1/promotions
    operator                          GET    /v1/promotions/{id}
    operator                          PATCH  /v1/promotions/{id}
    operator                          DELETE /v1/promotions/{id}
    operator                          POST   /v1/food-points
    operator                          POST   /v1/food-points/{id}/staff
    operator                          POST   /v1/couriers
    operator                          GET    /v1/couriers/{id}
    operator                          GET    /v1/ops/live
    operator                          GET    /v1/ops/signing-keys
    operator                          POST   /v1/ops/signing-keys/{id}/retire
    operator                          DELETE /v1/ops/signing-keys/{id}
    operator                          POST   /v1/orders/{id}/override
    operator                          POST   /v1/deliveries/{id}/hand-over
";

/// One line of the contract.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub method: String,
    pub path: String,
    pub roles: BTreeSet<String>,
}

impl Route {
    /// The path with ids in it.
    pub fn example(&self) -> String {
        let id = |prefix| format!("{prefix}_0000000000000000000000001z");
        let own = match self.path.split('/').nth(2).unwrap_or_default() {
            "products" => "prd",
            "promotions" => "prm",
            "food-points" => "pnt",
            "couriers" => "cou",
            "deliveries" => "dlv",
            "me" => "adr",
            _ => "ord",
        };
        let path = self
            .path
            .replace("{id}", &id(own))
            .replace("{product_id}", &id("prd"))
            .replace("{ingredient_id}", &id("ing"));
        if ["/menu", "/food-points", "/promotions"]
            .iter()
            .any(|list| path.ends_with(list))
        {
            format!("{path}?country=DE")
        } else {
            path
        }
    }
}

pub fn routes() -> BTreeSet<Route> {
    let lines = ROUTES.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let mut next = || words.next().unwrap().to_owned();
            let (roles, method, path) = (next(), next(), next());
            let roles = roles
                .split(',')
                .filter(|role| *role != "*")
                .map(str::to_owned)
                .collect();
            Route { method, path, roles }
        })
        .collect()
}

pub fn documented(contract: &Value) -> BTreeSet<Route> {
    let mut routes = BTreeSet::new();
    for (path, item) in contract["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let requirements = operation["security"].as_array().into_iter().flatten();
            let roles = requirements
                .flat_map(|requirement| requirement["access_token"].as_array().unwrap())
                .map(|role| role.as_str().unwrap().to_owned())
                .collect();
            routes.insert(Route {
                method: method.to_uppercase(),
                path: path.clone(),
                roles,
            });
        }
    }
    routes
}

async fn fetched(site: &Site) -> Answered {
    site.public()
        .send(http::Request::get("/openapi.json").body(Bytes::new()).unwrap())
        .await
}

#[tokio::test]
async fn the_contract_lists_every_route_with_its_roles() {
    let contract = fetched(&Site::start().await).await;
    assert_eq!(contract.header("content-type"), Some("application/json"));
    let contract = contract.json();
    assert!(contract["openapi"].as_str().unwrap().starts_with("3.1"));
    let (documented, expected) = (documented(&contract), routes());
    let only_documented: Vec<_> = documented.difference(&expected).collect();
    let only_expected: Vec<_> = expected.difference(&documented).collect();
    assert!(
        only_documented.is_empty() && only_expected.is_empty(),
        "documented: {only_documented:#?}\nexpected: {only_expected:#?}"
    );
}

#[tokio::test]
async fn a_method_is_answered_if_and_only_if_it_is_documented() {
    let site = Site::start().await;
    let door = site.public();
    let routes = routes();
    let paths: BTreeSet<&str> = routes.iter().map(|route| route.path.as_str()).collect();
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let route = routes.iter().find(|route| route.path == path && route.method == method);
            let example = routes.iter().find(|route| route.path == path).unwrap().example();
            let role = route
                .and_then(|route| route.roles.first())
                .map_or("customer", String::as_str);
            let token = site.token(mesh_contracts::user::Role::parse(role).unwrap());
            let request = ask(method, &example, &token, &serde_json::json!({}));
            // A live stream of these peers ends at once, so it can be read like any other answer.
            let answered = door.send(request).await;
            let is_served = !matches!(answered.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(is_served, route.is_some(), "{method} {example}: {answered:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_in_the_contract_is_not_there() {
    let site = Site::start().await;
    let token = site.token(mesh_contracts::user::Role::Operator);
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/jwks",
        "/v1/jwks",
        "/v1/feed",
        "/v1/orders/",
        "/metrics",
        "/v1/people/usr_0",
        "/orders",
    ] {
        let answered = site.public().send(crate::site::get(path, &token)).await;
        assert_eq!(answered.problem(), (404, "not_found".to_owned()), "{path}");
    }
    site.nobody_was_asked();
}

#[tokio::test]
async fn operations_and_references_are_sound() {
    let contract = fetched(&Site::start().await).await.json();
    let mut ids = BTreeSet::new();
    for item in contract["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{operation}"
            );
            assert!(
                operation["summary"].is_string() && operation["tags"].is_array(),
                "{operation}"
            );
            let mut seen = BTreeSet::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let known = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
                assert!(seen.insert(known), "{known:?} twice in {}", operation["operationId"]);
                assert!(parameter["schema"].is_object(), "{parameter}");
            }
        }
    }
    let schemas = contract["components"]["schemas"].as_object().unwrap();
    let text = contract.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is not defined");
    }
}

#[tokio::test]
async fn the_past_of_an_order_is_documented() {
    let contract = fetched(&Site::start().await).await.json();
    for path in ["/v1/orders/{id}", "/v1/orders/{id}/history"] {
        let parameters = contract["paths"][path]["get"]["parameters"].as_array().unwrap();
        let as_of = parameters
            .iter()
            .find(|parameter| parameter["name"] == "as_of")
            .unwrap();
        assert_eq!(as_of["in"], "query", "{as_of}");
        assert_ne!(as_of["required"], true, "{as_of}");
        assert!(
            as_of["description"].as_str().unwrap().contains("before_order"),
            "{as_of}"
        );
    }
}

/// Schemas are known by one name each, and Rust has several types of some of these.
#[tokio::test]
async fn types_of_one_name_are_told_apart() {
    let contract = fetched(&Site::start().await).await.json();
    let schemas = &contract["components"]["schemas"];
    let statuses: Vec<&str> = mesh_contracts::order::Status::ALL
        .iter()
        .map(|status| status.as_str())
        .collect();
    assert_eq!(schemas["OrderStatus"]["enum"], serde_json::json!(statuses));
    assert!(schemas["Status"].is_null());
    assert!(schemas["PaymentChoice"]["properties"]["token"].is_object());
    assert!(schemas["Product"]["properties"]["recipe"].is_object());
}

#[tokio::test]
async fn what_a_customer_is_not_shown_is_not_promised() {
    let contract = fetched(&Site::start().await).await.json();
    let required = &contract["components"]["schemas"]["Order"]["required"];
    let required: Vec<&str> = required
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert!(required.contains(&"status"));
    for internal in ["candidates", "tried", "needs", "attempt", "hold", "liable"] {
        assert!(!required.contains(&internal), "{internal}");
    }
}

#[tokio::test]
async fn every_post_but_three_and_the_webhook_documents_its_key() {
    let contract = fetched(&Site::start().await).await.json();
    for route in routes().iter().filter(|route| route.method == "POST") {
        let operation = &contract["paths"][&route.path]["post"];
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let has_key = parameters
            .iter()
            .any(|parameter| parameter["name"] == "Idempotency-Key" && parameter["required"] == true);
        let exempt = route.path.starts_with("/v1/sessions") || route.path.starts_with("/v1/webhooks");
        assert_eq!(has_key, !exempt, "{}", route.path);
    }
}

#[tokio::test]
async fn the_page_brings_everything_itself() {
    let site = Site::start().await;
    let page = site
        .public()
        .send(http::Request::get("/docs").body(Bytes::new()).unwrap())
        .await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    for route in routes() {
        assert!(text.contains(&route.path), "{}", route.path);
    }
    for outside in ["<script", "<img", "<link", "src=", "http://", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
}
