//! What operators take off prices, and what is refused.

use http::{Method, header};
use mesh_contracts::id::{ProductId, PromotionId};
use mesh_contracts::promotion::Event;
use mesh_contracts::user::Role;
use mesh_runtime::headers;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{self, Answer, World, lunch, person};

fn id_of(answer: &Answer) -> PromotionId {
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    id.parse().expect("a promotion's id")
}

fn with(product: ProductId, member: &str, value: Value) -> Value {
    let mut promotion = lunch(product);
    promotion[member] = value;
    promotion
}

fn amount(product: ProductId, cents: i64) -> Value {
    let amount = json!({ "amount": cents, "currency": "EUR" });
    with(product, "discount", json!({ "amount": amount }))
}

async fn refuses(world: &World, promotion: &Value, field: &str) {
    let answer = world.announce(&Uuid::now_v7().to_string(), promotion).await;
    assert_eq!((answer.status, answer.kind().as_str()), (422, "invalid"), "{promotion}");
    assert_eq!(answer.json()["errors"][0]["field"], field, "{promotion}");
}

#[tokio::test]
async fn a_promotion_is_created_changed_and_ended() {
    world::run(async |world| {
        let product = world.created().await;
        let created = world.announce("lunch", &lunch(product)).await;
        let promotion = id_of(&created);
        assert_eq!(created.json(), json!({ "id": promotion, "status": "active" }));
        let again = world.announce("lunch", &lunch(product)).await;
        assert_eq!((again.status, again.body), (201, created.body), "the same wish");
        let changed = world.change(promotion, &amount(product, 100)).await;
        assert_eq!(changed.headers[header::ETAG], "\"2.2\"");
        assert!(changed.headers.contains_key(headers::CONSISTENCY));
        assert_eq!(world.end(promotion).await.json()["status"], "ended");
        assert_eq!(world.end(promotion).await.status, 200);
        let late = world.change(promotion, &lunch(product)).await;
        assert_eq!((late.status, late.kind().as_str()), (409, "promotion_ended"));

        let said: Vec<Event> = world
            .events(promotion)
            .await
            .iter()
            .map(|event| event.body().expect("its own shape").expect("a known type"))
            .collect();
        let described = |value| serde_json::from_value(value).expect("a promotion");
        assert_eq!(
            said,
            [
                Event::Created {
                    promotion: described(lunch(product))
                },
                Event::Changed {
                    promotion: described(amount(product, 100))
                },
                Event::Ended {},
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_promotion_that_goes_below_zero_or_nowhere_writes_nothing() {
    world::run(async |world| {
        let product = world.created().await;
        let retired = {
            let created = world.create("other", &world::club_with("prep_minutes", json!(9))).await;
            let id: ProductId = created.json()["id"].as_str().expect("an id").parse().expect("one");
            world.retire(id).await;
            id
        };
        let before = world.written().await;
        for basis_points in [0, 10_000, 20_000] {
            let all = json!({ "basis_points": basis_points });
            refuses(world, &with(product, "discount", all), "discount.basis_points").await;
        }
        for cents in [-100, 0, 890, 1_000] {
            refuses(world, &amount(product, cents), "discount.amount.amount").await;
        }
        let dinars = json!({ "amount": { "amount": 100, "currency": "RSD" } });
        refuses(world, &with(product, "discount", dinars), "discount.amount.currency").await;
        let nobodys = ProductId(Uuid::from_u128(404));
        refuses(world, &lunch(nobodys), "products[0]").await;
        refuses(world, &lunch(retired), "products[0]").await;
        refuses(world, &with(product, "country", json!("CH")), "country").await;
        let over = json!("2020-01-02T00:00:00Z");
        refuses(world, &with(product, "ends_at", over), "ends_at").await;
        refuses(
            world,
            &with(product, "names", json!({ "en": "", "ru": "Обед" })),
            "names.en",
        )
        .await;
        for nonsense in [
            with(product, "discount", json!({ "basis_points": -1 })),
            with(product, "discount", json!({ "basis_points": 1, "amount": null })),
            with(product, "discount", json!({ "half": 1 })),
            with(product, "food_point", json!("everywhere")),
            with(product, "stars", json!(5)),
        ] {
            let answer = world.announce("nonsense", &nonsense).await;
            assert_eq!((answer.status, answer.kind().as_str()), (422, "invalid"), "{nonsense}");
        }
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test]
async fn a_promotion_that_is_none_is_not_found_and_a_stale_change_refused() {
    world::run(async |world| {
        let product = world.created().await;
        let promotion = id_of(&world.announce("lunch", &lunch(product)).await);
        world.change(promotion, &amount(product, 100)).await;
        let before = world.written().await;
        let nobodys = PromotionId(Uuid::from_u128(404));
        for answer in [world.change(nobodys, &lunch(product)).await, world.end(nobodys).await] {
            assert_eq!((answer.status, answer.kind().as_str()), (404, "not_found"));
        }
        let seen = [(header::IF_MATCH, "\"1.1\"")];
        let path = format!("/promotions/{promotion}");
        let staff = person(Role::Operator);
        let stale = world.send(Method::DELETE, &path, Some(&staff), &seen, "").await;
        assert_eq!((stale.status, stale.kind().as_str()), (409, "stale"));
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test]
async fn only_operators_make_promotions() {
    world::run(async |world| {
        let product = world.created().await;
        let promotion = id_of(&world.announce("lunch", &lunch(product)).await);
        let before = world.written().await;
        for role in [Role::Customer, Role::Kitchen, Role::Courier] {
            let caller = person(role);
            for (method, path) in [
                (Method::POST, "/promotions".to_owned()),
                (Method::PATCH, format!("/promotions/{promotion}")),
                (Method::DELETE, format!("/promotions/{promotion}")),
            ] {
                let key = [(headers::IDEMPOTENCY_KEY, "key")];
                let body = lunch(product).to_string();
                let answer = world.send(method, &path, Some(&caller), &key, body).await;
                assert_eq!((answer.status, answer.kind().as_str()), (403, "forbidden"), "{role:?}");
            }
        }
        assert_eq!(world.written().await, before);
    })
    .await;
}
