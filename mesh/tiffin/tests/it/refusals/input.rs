//! What cannot be meant: unknown fields, wrong types, impossible numbers, unknown things, another country's money.

use http::{Method, StatusCode, header};
use mesh_contracts::id::{IngredientId, ProductId};
use mesh_runtime::consistency::Signer;
use mesh_runtime::headers;
use serde_json::{Value, json};

use super::{Case, Scene, but, case};
use crate::platform::{Sent, alone};

const INVALID: (StatusCode, &str) = (StatusCode::UNPROCESSABLE_ENTITY, "invalid");

/// More than any body may have.
const TOO_MUCH_BYTES: usize = 64 * 1024 + 1;

#[tokio::test]
async fn what_cannot_be_meant_is_refused_and_leaves_no_trace() {
    let _alone = alone().await;
    let scene = Scene::new("bad-input").await;
    let version = scene.filled_basket(1).await;
    let mut cases = fields(&scene, version);
    cases.extend(numbers(&scene));
    cases.extend(menu(&scene));
    cases.extend(shapes(&scene, version));
    cases.extend(tokens(&scene));
    scene.refuses_all(cases).await;
}

/// Consistency tokens that this platform never gave, wherever one may be brought.
fn tokens(scene: &Scene) -> Vec<Case> {
    let point = scene.site.points[0].id;
    let order = "ord_00000000000000000000000001";
    let asked = [
        (&scene.token, "/v1/home".to_owned()),
        (&scene.token, "/v1/menu?country=DE".to_owned()),
        (&scene.token, "/v1/basket".to_owned()),
        (&scene.token, "/v1/orders".to_owned()),
        (&scene.token, format!("/v1/orders/{order}")),
        (&scene.token, format!("/v1/orders/{order}/history")),
        (&scene.token, format!("/v1/orders/{order}/payment")),
        (&scene.token, format!("/v1/orders/{order}/live")),
        (&scene.token, "/v1/me".to_owned()),
        (&scene.cook, format!("/v1/food-points/{point}/tickets")),
        (&scene.cook, format!("/v1/food-points/{point}/live")),
        (&scene.courier, "/v1/couriers/me/jobs".to_owned()),
        (&scene.courier, "/v1/couriers/me/live".to_owned()),
        (&scene.operator, format!("/v1/products/{}", scene.site.product)),
        (&scene.operator, "/v1/food-points?country=DE".to_owned()),
    ];
    // Nothing, no signature, another secret's, and a good form with a signature of nothing.
    let elsewhere = Signer::new(b"the secret of another platform").expect("long enough");
    let forged = elsewhere.sign(&[(order, 1)]);
    let tokens = ["", "x", "W10.AAAA", forged.as_str()];
    let refused = |(by, path): (&String, String)| {
        tokens.map(|token| {
            let sent = Sent::get(path.clone()).by(by).with(headers::CONSISTENCY, token);
            let what = format!("{path} with the token {token:?}");
            case(what, sent, StatusCode::BAD_REQUEST, "consistency_token_malformed")
        })
    };
    asked.into_iter().flat_map(refused).collect()
}

/// Unknown ones, missing ones, and values of another type.
fn fields(scene: &Scene, version: u64) -> Vec<Case> {
    let Scene {
        token,
        operator,
        cook,
        courier,
        site,
        ..
    } = scene;
    let (status, kind) = INVALID;
    let point = site.points[0].id;
    let stock = format!("/v1/food-points/{point}/stock/{}/receive", site.ingredients[0]);
    let somewhere = json!({"lat_e6": 1, "lon_e6": 1});
    let address = json!({"text": "x", "place": {"country": "DE", "at": somewhere}});
    let settings = json!(site.settings("x", site.place_of_first_point()));
    let line = json!({"quantity": 1, "country": "DE"});
    let wish = scene.wish(version);
    // Who, how, where, a good body, and a member of it that holds a value of another type.
    let routes: [(&String, Method, String, Value, &str); 9] = [
        (token, Method::PUT, scene.line(), line, "quantity"),
        (token, Method::POST, "/v1/orders".into(), wish, "basket_version"),
        (token, Method::PATCH, "/v1/me".into(), json!({"name": "Ida"}), "name"),
        (
            token,
            Method::PUT,
            format!("/v1/me/addresses/{}", scene.customer.address),
            address,
            "text",
        ),
        (cook, Method::POST, stock, json!({"quantity": 1}), "quantity"),
        (
            cook,
            Method::PATCH,
            format!("/v1/food-points/{point}"),
            json!({"open": true}),
            "open",
        ),
        (
            courier,
            Method::PUT,
            "/v1/couriers/me/position".into(),
            json!({"at": somewhere}),
            "at",
        ),
        (
            courier,
            Method::PUT,
            "/v1/couriers/me/shift".into(),
            json!({"on": true, "at": somewhere}),
            "on",
        ),
        (operator, Method::POST, "/v1/food-points".into(), settings, "pool"),
    ];
    let mut cases = Vec::new();
    for (who, method, path, good, member) in routes {
        let send = |body: Value| Sent::json(method.clone(), path.clone(), &body).by(who);
        let unknown = send(but(&good, "surprise", json!(1)));
        cases.push(case(format!("{path}: an unknown field"), unknown, status, kind));
        let wrong = send(but(&good, member, json!([{"nested": "thing"}])));
        cases.push(case(format!("{path}: a wrong type"), wrong, status, kind));
    }
    let register = json!({"email": "new@bad-input.example", "password": "long enough", "name": "New"});
    for (what, body) in [
        ("an unknown field", but(&register, "role", json!("operator"))),
        ("no e-mail", but(&register, "email", json!("nobody"))),
        ("a short password", but(&register, "password", json!("short"))),
    ] {
        cases.push(case(
            format!("/v1/users: {what}"),
            Sent::post("/v1/users", &body),
            status,
            kind,
        ));
    }
    cases
}

/// Negative, huge and broken ones.
fn numbers(scene: &Scene) -> Vec<Case> {
    let Scene {
        token,
        operator,
        cook,
        courier,
        site,
        ..
    } = scene;
    let (status, kind) = INVALID;
    let mut cases = Vec::new();
    for quantity in [
        json!(-1),
        json!(0),
        json!(100),
        json!(4_294_967_297_u64),
        json!(1e30),
        json!(1.5),
        json!("2"),
    ] {
        let body = json!({"quantity": quantity, "country": "DE"});
        let sent = Sent::put(scene.line(), &body).by(token);
        cases.push(case(format!("a basket line of {quantity}"), sent, status, kind));
    }
    let stock = format!("/v1/food-points/{}/stock/{}", site.points[0].id, site.ingredients[0]);
    for quantity in [json!(-1), json!(10_000_001), json!(1e30)] {
        for verb in ["receive", "count", "back"] {
            let sent = Sent::post(format!("{stock}/{verb}"), &json!({"quantity": quantity})).by(cook);
            cases.push(case(format!("stock, {verb} {quantity}"), sent, status, kind));
        }
        let body = json!({"quantity": quantity, "reason": "spoiled"});
        let sent = Sent::post(format!("{stock}/waste"), &body).by(cook);
        cases.push(case(format!("stock, waste {quantity}"), sent, status, kind));
    }
    let speed = json!({"on": true, "at": {"lat_e6": 1, "lon_e6": 1}, "speed_m_per_min": 2_001});
    cases.push(case(
        "a rocket",
        Sent::put("/v1/couriers/me/shift", &speed).by(courier),
        status,
        kind,
    ));
    let nowhere = json!({"at": {"lat_e6": 90_000_001, "lon_e6": 0}});
    cases.push(case(
        "beyond the pole",
        Sent::put("/v1/couriers/me/position", &nowhere).by(courier),
        status,
        kind,
    ));
    let settings = json!(site.settings("x", site.place_of_first_point()));
    for (member, value) in [
        ("pool", json!(0)),
        ("radius_m", json!(100_001)),
        ("pool", json!(-1)),
        ("name", json!("")),
    ] {
        let sent = Sent::post("/v1/food-points", &but(&settings, member, value.clone())).by(operator);
        cases.push(case(format!("a food point with {member} {value}"), sent, status, kind));
    }
    let product = site.described_product();
    let free = json!({"DE": {"amount": 0, "currency": "EUR"}});
    let strange = json!({"DE": {"amount": 100, "currency": "XXX"}});
    let nobody_knows = json!([{"ingredient": IngredientId::new_v7(), "quantity": 1}]);
    for (member, value) in [
        ("recipe", nobody_knows),
        ("tax_bp", json!({"DE": 10_001})),
        ("prices", free),
        ("prices", strange),
        ("recipe", json!([])),
        ("prep_minutes", json!(241)),
    ] {
        let sent = Sent::post("/v1/products", &but(&product, member, value.clone())).by(operator);
        cases.push(case(format!("a product with {member} {value}"), sent, status, kind));
    }
    let promotion = json!({
        "names": {"en": "Lunch", "ru": "Обед"}, "country": "DE", "products": [site.product],
        "discount": {"basis_points": 1_000},
        "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2120-01-01T00:00:00Z",
    });
    let below_zero = json!({"amount": {"amount": 10_000, "currency": "EUR"}});
    for (member, value) in [
        ("discount", below_zero),
        ("discount", json!({"basis_points": 10_000})),
        ("products", json!([ProductId::new_v7()])),
        ("ends_at", json!("2020-01-02T00:00:00Z")),
    ] {
        let sent = Sent::post("/v1/promotions", &but(&promotion, member, value.clone())).by(operator);
        cases.push(case(format!("a promotion with {member} {value}"), sent, status, kind));
    }
    cases
}

/// Products, countries and currencies that the basket has nothing to do with.
fn menu(scene: &Scene) -> Vec<Case> {
    let refused = StatusCode::UNPROCESSABLE_ENTITY;
    let put =
        |path: String, country: &str| Sent::put(path, &json!({"quantity": 1, "country": country})).by(&scene.token);
    let unknown = format!("/v1/basket/lines/{}", ProductId::new_v7());
    let chains = &crate::platform::shared().chain().products[0];
    let spelt = json!({"quantity": 1, "country": "DE", "options": [{"group": "bread", "choice": "spelt"}]});
    let in_dinar = put(format!("/v1/basket/lines/{}", chains.id), "RS");
    vec![
        case("an unknown product", put(unknown, "DE"), refused, "unknown_product"),
        case(
            "a product of another country",
            put(scene.line(), "RS"),
            refused,
            "not_sold_here",
        ),
        case("a product in another currency", in_dinar, refused, "foreign_currency"),
        case(
            "an option that is none",
            Sent::put(scene.line(), &spelt).by(&scene.token),
            refused,
            "unknown_option",
        ),
        case(
            "a country that is none",
            put(scene.line(), "Germany"),
            refused,
            "invalid",
        ),
    ]
}

/// Bodies that are no bodies, and requests that lack what makes them safe to repeat.
fn shapes(scene: &Scene, version: u64) -> Vec<Case> {
    let order = || Sent::post("/v1/orders", &scene.wish(version)).by(&scene.token);
    let bad = StatusCode::BAD_REQUEST;
    let json_type = "application/json";
    let huge = format!("{{\"basket_version\": \"{}\"}}", "x".repeat(TOO_MUCH_BYTES));
    let no_basket = Sent::post("/v1/orders", &scene.wish(version + 7)).by(&scene.token);
    let nowhere = but(
        &scene.wish(version),
        "address_id",
        json!(mesh_contracts::id::AddressId::new_v7()),
    );
    let no_token = but(&scene.wish(version), "payment", json!({"method": "card"}));
    vec![
        case(
            "no JSON",
            order().saying("{\"basket_version\": "),
            bad,
            "malformed_json",
        ),
        case(
            "two documents",
            order().saying("{} {}"),
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
        ),
        case("no body", order().saying(""), bad, "malformed_json"),
        case(
            "a body over 64 KiB",
            order().saying(huge.clone()),
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
        ),
        case(
            "a registration over 64 KiB",
            Sent::post("/v1/users", &json!({}))
                .with(header::CONTENT_TYPE, json_type)
                .saying(huge),
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
        ),
        case(
            "a form",
            order().with(header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
        ),
        case(
            "no key",
            order().without(headers::IDEMPOTENCY_KEY),
            bad,
            "idempotency_key_required",
        ),
        case(
            "an endless key",
            order().with(headers::IDEMPOTENCY_KEY, &"k".repeat(256)),
            bad,
            "idempotency_key_required",
        ),
        case(
            "a basket that was never there",
            no_basket,
            StatusCode::CONFLICT,
            "basket_changed",
        ),
        case(
            "an address that is nobody's",
            Sent::post("/v1/orders", &nowhere).by(&scene.token),
            StatusCode::UNPROCESSABLE_ENTITY,
            "unknown_address",
        ),
        case(
            "a card without a token",
            Sent::post("/v1/orders", &no_token).by(&scene.token),
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
        ),
        case(
            "an id that is none",
            Sent::get("/v1/orders/ord_1").by(&scene.token),
            StatusCode::NOT_FOUND,
            "not_found",
        ),
        case(
            "no such route",
            Sent::get("/v1/nothing").by(&scene.token),
            StatusCode::NOT_FOUND,
            "not_found",
        ),
        case(
            "no such method",
            Sent::json(Method::DELETE, "/v1/orders", &json!({})).by(&scene.token),
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
        ),
    ]
}
