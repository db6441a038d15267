//! What operators do to the menu, and what it leaves behind.

use http::{Method, header};
use mesh_contracts::menu::{Event, Product};
use mesh_runtime::headers;
use serde_json::{Value, json};

use crate::world::{self, club, club_with, ingredient, operator, path};

fn priced(amount: i64) -> Value {
    club_with("prices", json!({ "DE": { "amount": amount, "currency": "EUR" } }))
}

fn described(product: Value) -> Product {
    serde_json::from_value(product).expect("a product")
}

#[tokio::test]
async fn a_product_is_created_updated_and_retired() {
    world::run(async |world| {
        let product = world.created().await;
        let updated = world.update(product, &priced(990)).await;
        assert_eq!(updated.json(), json!({ "id": product, "status": "active" }));
        assert_eq!(updated.headers[header::ETAG], "\"2.2\"");
        assert!(updated.headers.contains_key(headers::CONSISTENCY));
        assert_eq!(
            world.update(product, &priced(990)).await.status,
            200,
            "nothing to change is no mistake"
        );
        assert_eq!(world.retire(product).await.json()["status"], "retired");
        assert_eq!(world.retire(product).await.status, 200);
        let late = world.update(product, &priced(1_090)).await;
        assert_eq!((late.status, late.kind().as_str()), (409, "product_retired"));

        let events = world.events(product).await;
        let bodies: Vec<Event> = events
            .iter()
            .map(|event| event.body().expect("its own shape").expect("a known type"))
            .collect();
        assert_eq!(
            bodies,
            [
                Event::Created {
                    product: described(club())
                },
                Event::Updated {
                    product: described(priced(990))
                },
                Event::Retired {},
            ]
        );
        assert!(
            events
                .iter()
                .all(|event| event.meta.actor.0.starts_with("operator:usr_"))
        );
    })
    .await;
}

#[tokio::test]
async fn a_repeated_command_is_answered_alike_and_done_once() {
    world::run(async |world| {
        let taps = (0..10).map(|_| {
            let world = &*world;
            async move { world.create("tap", &club()).await }
        });
        let answers = futures::future::join_all(taps).await;
        assert_eq!(answers[0].status, 201);
        for answer in &answers {
            assert_eq!(answer.body, answers[0].body);
            assert_eq!(answer.headers[header::ETAG], answers[0].headers[header::ETAG]);
        }
        let other = world.create("tap", &priced(990)).await;
        assert_eq!((other.status, other.kind().as_str()), (422, "idempotency_key_reused"));
        assert_eq!(world.written().await, (1, 1, 1));
    })
    .await;
}

#[tokio::test]
async fn a_whole_menu_is_created_at_once() {
    world::run(async |world| {
        let creations = (0..40).map(|number| {
            let world = &*world;
            async move {
                world
                    .create(&format!("product-{number}"), &priced(500 + number))
                    .await
                    .status
            }
        });
        let statuses = futures::future::join_all(creations).await;
        assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");
        assert_eq!(world.written().await, (40, 40, 1));
    })
    .await;
}

#[tokio::test]
async fn the_first_price_fixes_a_countrys_currency() {
    world::run(async |world| {
        let product = world.created().await;
        let dinars = club_with(
            "prices",
            json!({ "DE": { "amount": 890, "currency": "EUR" }, "RS": { "amount": 74_000, "currency": "RSD" } }),
        );
        assert_eq!(world.update(product, &dinars).await.status, 200);
        let before = world.written().await;
        let euros_there = club_with("prices", json!({ "RS": { "amount": 700, "currency": "EUR" } }));
        for refused in [
            world.create("euros", &euros_there).await,
            world.update(product, &euros_there).await,
        ] {
            assert_eq!((refused.status, refused.kind().as_str()), (422, "invalid"));
            assert_eq!(refused.json()["errors"][0]["field"], "prices.RS.currency");
        }
        assert_eq!(world.written().await, before);
    })
    .await;
}

#[tokio::test]
async fn a_refused_product_fixes_no_currency() {
    world::run(async |world| {
        let francs = json!({ "CH": { "amount": 1_200, "currency": "CHF" } });
        let mut nameless = club_with("prices", francs);
        nameless["names"]["en"] = json!(" ");
        assert_eq!(world.create("nameless", &nameless).await.status, 422);
        assert_eq!(world.written().await, (0, 0, 0));
        let euros = club_with("prices", json!({ "CH": { "amount": 1_200, "currency": "EUR" } }));
        assert_eq!(world.create("euros", &euros).await.status, 201);
    })
    .await;
}

#[tokio::test]
async fn an_ingredient_is_known_once_a_product_named_it() {
    world::run(async |world| {
        let nameless = club_with("recipe", json!([{ "ingredient": ingredient(1), "quantity": 2 }]));
        let refused = world.create("nameless", &nameless).await;
        assert_eq!((refused.status, refused.kind().as_str()), (422, "invalid"));
        assert_eq!(refused.json()["errors"][0]["field"], "recipe[0].ingredient");
        assert_eq!(world.written().await, (0, 0, 0), "not even its currency");
        world.created().await;
        let created = world.create("nameless", &nameless).await;
        assert_eq!(created.status, 201, "{created:?}");
        let id = created.json()["id"].as_str().expect("an id").to_owned();
        let said = world.events(id).await[0].data.value();
        assert_eq!(said["product"]["recipe"][0]["name"], "Toast", "events always carry it");
    })
    .await;
}

#[tokio::test]
async fn a_product_with_options_is_said_as_it_was_described() {
    world::run(async |world| {
        let options = json!([{
            "id": "bread",
            "names": { "en": "Bread", "ru": "Хлеб" },
            "min": 0,
            "max": 1,
            "choices": [{
                "id": "rye",
                "names": { "en": "Rye", "ru": "Ржаной" },
                "prices": { "DE": { "amount": 30, "currency": "EUR" } },
                "adds": [{ "ingredient": ingredient(2), "name": "Rye bread", "quantity": 2 }],
                "removes": [ingredient(1)],
                "allergens": ["gluten"],
            }],
        }]);
        let mut club = club_with("options", options);
        club["tax_bp"] = json!({ "DE": 700 });
        let created = world.create("club", &club).await;
        assert_eq!(created.status, 201, "{created:?}");
        let id = created.json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(world.events(id).await[0].data.value()["product"], club);
    })
    .await;
}

#[tokio::test]
async fn an_update_of_what_one_has_not_seen_is_refused() {
    world::run(async |world| {
        let product = world.created().await;
        world.update(product, &priced(990)).await;
        let seen = [(header::IF_MATCH, "\"1.1\"")];
        for method in [Method::PATCH, Method::DELETE] {
            let body = priced(790).to_string();
            let stale = world.send(method, &path(product), Some(&operator()), &seen, body).await;
            assert_eq!((stale.status, stale.kind().as_str()), (409, "stale"));
        }
        assert_eq!(world.event_types(product).await, ["product.created", "product.updated"]);
    })
    .await;
}

#[tokio::test]
async fn products_survive_a_kill_and_an_orderly_end() {
    world::run(async |world| {
        let product = world.created().await;
        world.service.kill().await;
        world.service.start().await;
        assert_eq!(
            world.update(product, &priced(990)).await.headers[header::ETAG],
            "\"2.2\""
        );
        world.service.stop().await;
        world.service.start().await;
        assert_eq!(world.events(product).await.len(), 2);
    })
    .await;
}
