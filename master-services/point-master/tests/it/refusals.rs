//! Every refusal has its status and its name, and leaves nothing behind.

use http::Method;
use mesh_contracts::id::{FoodPointId, IngredientId};
use mesh_contracts::user::Role;
use mesh_identity::Caller;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{self, BREAD, customer, kitchen, operator, person, settings, stock};

struct Refusal {
    method: Method,
    path: String,
    caller: Caller,
    body: Value,
    status: u16,
    kind: &'static str,
}

fn post(path: impl Into<String>, caller: Caller, body: Value, status: u16, kind: &'static str) -> Refusal {
    Refusal {
        method: Method::POST,
        path: path.into(),
        caller,
        body,
        status,
        kind,
    }
}

fn patch(point: FoodPointId, caller: Caller, body: Value, status: u16, kind: &'static str) -> Refusal {
    let path = format!("/food-points/{point}");
    Refusal {
        method: Method::PATCH,
        path,
        caller,
        body,
        status,
        kind,
    }
}

fn put(path: impl Into<String>, caller: Caller, body: Value, status: u16, kind: &'static str) -> Refusal {
    Refusal {
        method: Method::PUT,
        ..post(path, caller, body, status, kind)
    }
}

fn with(member: &str, value: Value) -> Value {
    let mut settings = settings();
    settings[member] = value;
    settings
}

/// A wrong role, somebody else's point, and points that are none.
fn strangers(point: FoodPointId) -> Vec<Refusal> {
    let elsewhere = FoodPointId(Uuid::from_u128(5));
    let one = || json!({ "quantity": 1 });
    let spoiled = || json!({ "quantity": 1, "reason": "spoiled" });
    let low = || json!({ "low_at": 5 });
    let close = || json!({ "open": false });
    let courier = || person(Role::Courier, Vec::new());
    vec![
        post("/food-points", customer(), settings(), 403, "forbidden"),
        post("/food-points", courier(), settings(), 403, "forbidden"),
        post("/food-points", kitchen(point), settings(), 403, "forbidden"),
        patch(point, customer(), close(), 403, "forbidden"),
        patch(point, kitchen(elsewhere), close(), 404, "not_found"),
        patch(
            point,
            kitchen(point),
            json!({ "settings": settings() }),
            403,
            "forbidden",
        ),
        patch(
            point,
            kitchen(point),
            json!({ "open": true, "settings": settings() }),
            403,
            "forbidden",
        ),
        patch(elsewhere, operator(), close(), 404, "not_found"),
        post(stock(point, "receive"), customer(), one(), 403, "forbidden"),
        post(stock(point, "receive"), courier(), one(), 403, "forbidden"),
        post(stock(point, "receive"), kitchen(elsewhere), one(), 404, "not_found"),
        post(stock(point, "count"), kitchen(elsewhere), one(), 404, "not_found"),
        post(stock(point, "gone"), kitchen(elsewhere), json!({}), 404, "not_found"),
        post(stock(point, "waste"), customer(), spoiled(), 403, "forbidden"),
        post(stock(point, "waste"), courier(), spoiled(), 403, "forbidden"),
        post(stock(point, "waste"), kitchen(elsewhere), spoiled(), 404, "not_found"),
        post(stock(point, "back"), customer(), one(), 403, "forbidden"),
        post(stock(point, "back"), courier(), one(), 403, "forbidden"),
        post(stock(point, "back"), kitchen(elsewhere), one(), 404, "not_found"),
        put(stock(point, "settings"), customer(), low(), 403, "forbidden"),
        put(stock(point, "settings"), courier(), low(), 403, "forbidden"),
        put(stock(point, "settings"), kitchen(elsewhere), low(), 404, "not_found"),
        put(stock(elsewhere, "settings"), operator(), low(), 404, "not_found"),
        post(stock(elsewhere, "waste"), operator(), spoiled(), 404, "not_found"),
        post(stock(elsewhere, "back"), operator(), one(), 404, "not_found"),
        post(stock(elsewhere, "receive"), operator(), one(), 404, "not_found"),
        post(
            stock(elsewhere, "gone"),
            kitchen(elsewhere),
            json!({}),
            404,
            "not_found",
        ),
        post(
            format!("/food-points/{point}/stock/bread/receive"),
            operator(),
            one(),
            404,
            "not_found",
        ),
        post(
            format!("/food-points/{point}/stock/{BREAD}/steal"),
            operator(),
            one(),
            404,
            "not_found",
        ),
    ]
}

/// Bodies that do not fit.
fn nonsense(point: FoodPointId) -> Vec<Refusal> {
    let amount = |quantity: Value| {
        post(
            stock(point, "receive"),
            kitchen(point),
            json!({ "quantity": quantity }),
            422,
            "invalid",
        )
    };
    let waste = |body| post(stock(point, "waste"), kitchen(point), body, 422, "invalid");
    let low = |body| put(stock(point, "settings"), kitchen(point), body, 422, "invalid");
    let register = |body| post("/food-points", operator(), body, 422, "invalid");
    vec![
        amount(json!(0)),
        amount(json!(-1)),
        amount(json!(10_000_001)),
        amount(json!(9_999_999_999_u64)),
        amount(json!(1.5)),
        amount(json!("1")),
        post(
            stock(point, "count"),
            kitchen(point),
            json!({ "quantity": -1 }),
            422,
            "invalid",
        ),
        post(stock(point, "count"), kitchen(point), json!({}), 422, "invalid"),
        post(
            stock(point, "gone"),
            kitchen(point),
            json!({ "quantity": 1 }),
            422,
            "invalid",
        ),
        post(
            stock(point, "receive"),
            kitchen(point),
            json!({ "quantity": 1, "price": 2 }),
            422,
            "invalid",
        ),
        low(json!({ "low_at": -1 })),
        low(json!({ "low_at": 10_000_001 })),
        low(json!({ "low_at": "few" })),
        low(json!({ "low": 5 })),
        waste(json!({ "quantity": 1 })),
        waste(json!({ "quantity": 1, "reason": "hungry" })),
        waste(json!({ "quantity": 1, "reason": "spoiled", "note": "smells" })),
        waste(json!({ "quantity": -1, "reason": "spoiled" })),
        waste(json!({ "quantity": 10_000_001, "reason": "spoiled" })),
        post(
            stock(point, "back"),
            kitchen(point),
            json!({ "quantity": 10_000_001 }),
            422,
            "invalid",
        ),
        patch(point, kitchen(point), json!({}), 422, "invalid"),
        patch(point, kitchen(point), json!({ "open": "no" }), 422, "invalid"),
        patch(point, kitchen(point), json!({ "opened": true }), 422, "invalid"),
        patch(
            point,
            operator(),
            json!({ "settings": with("pool", json!(0)) }),
            422,
            "invalid",
        ),
        register(with("name", json!("  "))),
        register(with("name", json!("x".repeat(121)))),
        register(with("kinds", json!([]))),
        register(with("kinds", json!(["drone"]))),
        register(with("pool", json!(1_001))),
        register(with("radius_m", json!(-5))),
        register(with(
            "place",
            json!({ "country": "DE", "at": { "lat_e6": 90_000_001, "lon_e6": 0 } }),
        )),
        register(with(
            "place",
            json!({ "country": "Germany", "at": { "lat_e6": 0, "lon_e6": 0 } }),
        )),
        register(with(
            "hours",
            json!([{ "weekday": 8, "opens_minute": 0, "closes_minute": 1 }]),
        )),
        register(with("stars", json!(5))),
    ]
}

/// What fits, and is not so.
fn impossible(point: FoodPointId) -> Vec<Refusal> {
    let cheese = |verb: &str| {
        format!(
            "/food-points/{point}/stock/{}/{verb}",
            IngredientId(Uuid::from_u128(404))
        )
    };
    let spoiled = |quantity: u32| json!({ "quantity": quantity, "reason": "spoiled" });
    let staff = || kitchen(point);
    vec![
        post(stock(point, "waste"), staff(), spoiled(11), 409, "not_enough_stock"),
        post(
            stock(point, "waste"),
            staff(),
            spoiled(10_000_000),
            409,
            "not_enough_stock",
        ),
        post(stock(point, "waste"), staff(), spoiled(0), 422, "invalid"),
        post(cheese("waste"), staff(), spoiled(1), 422, "unknown_ingredient"),
        post(cheese("gone"), staff(), json!({}), 422, "unknown_ingredient"),
        post(
            cheese("back"),
            staff(),
            json!({ "quantity": 1 }),
            422,
            "unknown_ingredient",
        ),
        put(
            cheese("settings"),
            staff(),
            json!({ "low_at": 5 }),
            422,
            "unknown_ingredient",
        ),
        post(stock(point, "back"), staff(), json!({ "quantity": 1 }), 409, "not_gone"),
        post(stock(point, "back"), staff(), json!({ "quantity": 0 }), 422, "invalid"),
    ]
}

#[tokio::test]
async fn a_refused_command_writes_nothing() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        let before = world.written().await;
        let refusals = strangers(point)
            .into_iter()
            .chain(nonsense(point))
            .chain(impossible(point));
        for (index, refusal) in refusals.enumerate() {
            let said = format!("{} {} {}", refusal.method, refusal.path, refusal.body);
            let key = format!("refused-{index}");
            let answer = world
                .send(refusal.method, &refusal.path, &refusal.caller, Some(&key), refusal.body)
                .await;
            assert_eq!(
                (answer.status, answer.kind().as_str()),
                (refusal.status, refusal.kind),
                "{said}"
            );
            assert_eq!(world.written().await, before, "{said}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_none_writes_nothing() {
    world::run(async |world| {
        let point = world.stocked_point(10).await;
        let before = world.written().await;
        let path = stock(point, "receive");
        let staff = kitchen(point);
        let one = r#"{"quantity":1}"#;
        let refused = async |caller: Option<&Caller>, key: Option<&str>, body: String, status: u16, kind: &str| {
            let answer = world.send_raw(Method::POST, &path, caller, key, body.into()).await;
            assert_eq!((answer.status, answer.kind().as_str()), (status, kind));
            assert_eq!(world.written().await, before, "{kind}");
        };
        refused(Some(&staff), None, one.into(), 400, "idempotency_key_required").await;
        refused(
            Some(&staff),
            Some(&"k".repeat(256)),
            one.into(),
            400,
            "idempotency_key_required",
        )
        .await;
        refused(Some(&staff), Some("a key"), one.into(), 400, "idempotency_key_required").await;
        refused(None, Some("key"), one.into(), 401, "caller_unknown").await;
        refused(Some(&staff), Some("key"), "{".into(), 400, "malformed_json").await;
        refused(Some(&staff), Some("key"), String::new(), 400, "malformed_json").await;
        let heavy = format!(r#"{{"quantity":1,"note":"{}"}}"#, "x".repeat(64 * 1024));
        refused(Some(&staff), Some("key"), heavy, 413, "body_too_large").await;
    })
    .await;
}
