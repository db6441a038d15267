//! Every refusal has its status and its name, and leaves nothing behind.

use http::Method;
use mesh_contracts::id::ProductId;
use mesh_contracts::user::Role;
use mesh_identity::Caller;
use mesh_runtime::headers;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{self, club, club_with, ingredient, operator, path, person};

fn price(amount: Value, currency: &str) -> Value {
    club_with("prices", json!({ "DE": { "amount": amount, "currency": currency } }))
}

fn line(number: u128, quantity: Value) -> Value {
    json!({ "ingredient": ingredient(number), "name": "Toast", "quantity": quantity })
}

fn group() -> Value {
    json!({
        "id": "bread",
        "names": { "en": "Bread", "ru": "Хлеб" },
        "max": 1,
        "choices": [{ "id": "rye", "names": { "en": "Rye", "ru": "Ржаной" } }],
    })
}

/// The club sandwich with that changed about its one group.
fn grouping(change: Value) -> Value {
    let mut group = group();
    for (member, value) in change.as_object().expect("members") {
        group[member] = value.clone();
    }
    club_with("options", json!([group]))
}

/// The same about the one choice of that group.
fn choosing(change: Value) -> Value {
    let mut choice = group()["choices"][0].clone();
    for (member, value) in change.as_object().expect("members") {
        choice[member] = value.clone();
    }
    grouping(json!({ "choices": [choice] }))
}

/// Descriptions that no product can have.
fn nonsense() -> Vec<Value> {
    let lines = |count: u128| club_with("recipe", (0..count).map(|number| line(number, json!(1))).collect());
    vec![
        price(json!(0), "EUR"),
        price(json!(-890), "EUR"),
        price(json!(10_000_001), "EUR"),
        price(json!(u64::MAX), "EUR"),
        price(json!(8.9), "EUR"),
        price(json!(890), "USD"),
        price(json!(890), "EURO"),
        club_with("prices", json!({})),
        club_with("prices", json!({ "de": { "amount": 890, "currency": "EUR" } })),
        club_with("names", json!({ "en": "", "ru": "Клаб" })),
        club_with("names", json!({ "en": "Club", "ru": "К\u{7}лаб" })),
        club_with("names", json!({ "en": "Club" })),
        club_with("names", json!({ "en": "x".repeat(121), "ru": "Клаб" })),
        lines(0),
        lines(41),
        club_with("recipe", json!([line(1, json!(0))])),
        club_with("recipe", json!([line(1, json!(-1))])),
        club_with("recipe", json!([line(1, json!(100_001))])),
        club_with("recipe", json!([line(1, json!(1)), line(1, json!(2))])),
        club_with("allergens", json!(["love"])),
        club_with("prep_minutes", json!(0)),
        club_with("prep_minutes", json!(241)),
        club_with("prep_minutes", json!(-8)),
        club_with("tax_bp", json!({ "DE": 10_001 })),
        club_with("tax_bp", json!({ "RS": 2_000 })),
        club_with("tax_bp", json!({ "DE": -1 })),
        club_with("recipe", json!([{ "ingredient": ingredient(404), "quantity": 1 }])),
        club_with(
            "recipe",
            json!([{ "ingredient": "bread", "name": "Bread", "quantity": 1 }]),
        ),
        choosing(json!({ "adds": [{ "ingredient": ingredient(404), "quantity": 1 }] })),
        choosing(json!({ "removes": [ingredient(404)] })),
        choosing(json!({ "prices": { "DE": { "amount": -890, "currency": "EUR" } } })),
        choosing(json!({ "prices": { "RS": { "amount": 100, "currency": "RSD" } } })),
        choosing(json!({ "prices": { "DE": { "amount": 100, "currency": "RSD" } } })),
        choosing(json!({ "id": "Rye bread" })),
        choosing(json!({ "allergens": ["love"] })),
        choosing(json!({ "names": { "en": " ", "ru": "Ржаной" } })),
        grouping(json!({ "min": 2 })),
        grouping(json!({ "max": 0 })),
        grouping(json!({ "max": 2 })),
        grouping(json!({ "choices": [] })),
        club_with("options", json!([group(), group()])),
        club_with("stars", json!(5)),
    ]
}

#[tokio::test]
async fn a_description_that_does_not_fit_writes_nothing() {
    world::run(async |world| {
        let product = world.created().await;
        let before = world.written().await;
        for (index, description) in nonsense().into_iter().enumerate() {
            let created = world.create(&format!("nonsense-{index}"), &description).await;
            assert_eq!(
                (created.status, created.kind().as_str()),
                (422, "invalid"),
                "{description}"
            );
            let updated = world.update(product, &description).await;
            assert_eq!(
                (updated.status, updated.kind().as_str()),
                (422, "invalid"),
                "{description}"
            );
            assert_eq!(world.written().await, before, "{description}");
        }
    })
    .await;
}

#[tokio::test]
async fn only_operators_change_the_menu() {
    world::run(async |world| {
        let product = world.created().await;
        let before = world.written().await;
        for role in [Role::Customer, Role::Kitchen, Role::Courier] {
            let caller = person(role);
            let requests = [
                (Method::POST, "/products".to_owned()),
                (Method::PATCH, path(product)),
                (Method::DELETE, path(product)),
            ];
            for (method, path) in requests {
                let key = [(headers::IDEMPOTENCY_KEY, "key")];
                let answer = world.send(method, &path, Some(&caller), &key, club().to_string()).await;
                assert_eq!(
                    (answer.status, answer.kind().as_str()),
                    (403, "forbidden"),
                    "{role:?} {path}"
                );
            }
        }
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test]
async fn a_product_that_is_none_is_not_found() {
    world::run(async |world| {
        let nobodys = ProductId(Uuid::from_u128(404));
        let francs = club_with("prices", json!({ "CH": { "amount": 1_200, "currency": "CHF" } }));
        for answer in [
            world.update(nobodys, &francs).await,
            world.retire(nobodys).await,
            world
                .send(Method::DELETE, "/products/club", Some(&operator()), &[], "")
                .await,
            world.send(Method::GET, "/recipes", Some(&operator()), &[], "").await,
        ] {
            assert_eq!((answer.status, answer.kind().as_str()), (404, "not_found"));
        }
        assert_eq!(world.written().await, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_none_writes_nothing() {
    world::run(async |world| {
        let staff = operator();
        let refused = async |caller: Option<&Caller>, key: Option<&str>, body: String, status: u16, kind: &str| {
            let key: Vec<_> = key.into_iter().map(|key| (headers::IDEMPOTENCY_KEY, key)).collect();
            let answer = world.send(Method::POST, "/products", caller, &key, body).await;
            assert_eq!((answer.status, answer.kind().as_str()), (status, kind));
            assert_eq!(world.written().await, (0, 0, 0), "{kind}");
        };
        let good = club().to_string();
        refused(Some(&staff), None, good.clone(), 400, "idempotency_key_required").await;
        refused(
            Some(&staff),
            Some("a key"),
            good.clone(),
            400,
            "idempotency_key_required",
        )
        .await;
        refused(None, Some("key"), good, 401, "caller_unknown").await;
        refused(Some(&staff), Some("key"), "[".into(), 400, "malformed_json").await;
        let heavy = club_with("note", json!("x".repeat(64 * 1024))).to_string();
        refused(Some(&staff), Some("key"), heavy, 413, "body_too_large").await;
    })
    .await;
}
