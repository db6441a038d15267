//! What products make every food point do: stock opens for what they are made of, and closes when nothing needs it.

use mesh_contracts::geo::Country;
use mesh_contracts::id::{FoodPointId, IngredientId, OrderId, ProductId};
use mesh_contracts::menu::{self, Names, Product, RecipeLine};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Event as OrderEvent, Kind, Need};
use mesh_testkit::eventually;
use serde_json::json;
use uuid::Uuid;

use crate::world::{self, BREAD, World, operator, settings};

const CHEESE: IngredientId = IngredientId(Uuid::from_u128(2));
const CLUB: ProductId = ProductId(Uuid::from_u128(31));
const TOAST: ProductId = ProductId(Uuid::from_u128(32));
const ORDER: OrderId = OrderId(Uuid::from_u128(11));

/// A product made of these, sold in Germany.
fn product(of: &[IngredientId]) -> Product {
    let germany = Country::parse("DE").expect("a country");
    let line = |ingredient: &IngredientId| RecipeLine {
        ingredient: *ingredient,
        name: "what it is made of".into(),
        quantity: 4,
    };
    Product {
        names: Names {
            en: "Club".into(),
            ru: "Клаб".into(),
        },
        prices: [(germany, Money::new(890, Currency::EUR))].into(),
        recipe: of.iter().map(line).collect(),
        tax_bp: Default::default(),
        allergens: Vec::new(),
        prep_minutes: 8,
        options: Vec::new(),
    }
}

fn created(of: &[IngredientId]) -> menu::Event {
    menu::Event::Created { product: product(of) }
}

impl World {
    async fn open_point(&self, key: &str, country: &str) -> FoodPointId {
        let mut settings = settings();
        settings["place"]["country"] = json!(country);
        let registered = self.post("/food-points", &operator(), key, settings).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        let id = registered.json()["id"].as_str().map(str::parse);
        id.expect("an id").expect("a point's id")
    }

    /// Waits until every point is in line with that version of a product.
    async fn aligned(&self, product: ProductId, version: u64) {
        eventually("the product is heard", async || {
            (self.heard(product).await.unsigned_abs() >= version).then_some(())
        })
        .await;
    }

    /// Type and ingredient of what happened to the stock of a point.
    async fn stock_events(&self, point: FoodPointId) -> Vec<(String, String)> {
        let events = self.events(point).await.into_iter();
        let of_stock = events.filter(|event| event.event_type.starts_with("stock."));
        of_stock
            .map(|event| {
                let ingredient = event.data.value()["ingredient"]
                    .as_str()
                    .expect("an ingredient")
                    .to_owned();
                (event.event_type, ingredient)
            })
            .collect()
    }
}

fn happened(events: &[(&str, IngredientId)]) -> Vec<(String, String)> {
    let as_told = |(event, ingredient): &(&str, IngredientId)| ((*event).to_owned(), ingredient.to_string());
    events.iter().map(as_told).collect()
}

#[tokio::test]
async fn a_new_product_opens_stock_where_it_is_sold() {
    world::run(async |world| {
        let [here, there] = [world.open_point("a", "DE").await, world.open_point("b", "DE").await];
        let abroad = world.open_point("c", "RS").await;
        world.menu.tell(CLUB, created(&[BREAD, CHEESE])).await;
        world.aligned(CLUB, 1).await;
        let both = happened(&[("stock.opened", BREAD), ("stock.opened", CHEESE)]);
        assert_eq!(world.stock_events(here).await, both);
        assert_eq!(world.stock_events(there).await, both);
        assert!(world.stock_events(abroad).await.is_empty());
        let opened = world.events(here).await.pop().expect("opened");
        // Heard by the service, or found by the timer that looks again after a point was registered: whoever is first.
        let by = ["service:point-master", "timer:point-master"];
        assert!(by.contains(&opened.meta.actor.0.as_str()), "{opened:?}");
    })
    .await;
}

#[tokio::test]
async fn a_new_point_opens_stock_for_the_products_that_are_known() {
    world::run(async |world| {
        world.menu.tell(CLUB, created(&[BREAD])).await;
        world.aligned(CLUB, 1).await;
        let point = world.open_point("a", "DE").await;
        let opened = eventually("the stock is open", async || {
            let events = world.stock_events(point).await;
            (!events.is_empty()).then_some(events)
        })
        .await;
        assert_eq!(opened, happened(&[("stock.opened", BREAD)]));
    })
    .await;
}

#[tokio::test]
async fn points_and_products_that_come_at_the_same_time_find_each_other() {
    world::run(async |world| {
        let ingredients: Vec<IngredientId> = (100..108).map(|id| IngredientId(Uuid::from_u128(id))).collect();
        let keys: Vec<String> = (0..8).map(|number| format!("point-{number}")).collect();
        let told = ingredients.iter().map(|ingredient| {
            let product = ProductId(ingredient.0);
            world.menu.tell(product, created(&[*ingredient, BREAD]))
        });
        let opened = keys.iter().map(|key| world.open_point(key, "DE"));
        let (points, _) = tokio::join!(futures::future::join_all(opened), futures::future::join_all(told));
        for point in points {
            eventually("everything is open", async || {
                let mut events = world.stock_events(point).await;
                events.sort();
                let mut all: Vec<_> = ingredients
                    .iter()
                    .map(|ingredient| ("stock.opened", *ingredient))
                    .collect();
                all.push(("stock.opened", BREAD));
                let mut all = happened(&all);
                all.sort();
                (events == all).then_some(())
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_retired_product_closes_what_nothing_else_needs_and_not_while_held() {
    world::run(async |world| {
        let food_point = world.stocked_point(10).await;
        world.menu.tell(CLUB, created(&[BREAD, CHEESE])).await;
        world.menu.tell(TOAST, created(&[CHEESE])).await;
        let now = jiff::Timestamp::now();
        let requested = OrderEvent::HoldRequested {
            attempt: 1,
            food_point,
            kind: Kind::Delivery,
            needs: vec![Need {
                ingredient: BREAD,
                quantity: 4,
            }],
            answer_by: now,
            expires_at: now + jiff::SignedDuration::from_mins(18),
        };
        world.orders.tell(ORDER, requested).await;
        world.aligned(TOAST, 1).await;
        eventually("it is held", async || (world.heard(ORDER).await == 1).then_some(())).await;
        world.menu.tell(CLUB, menu::Event::Retired {}).await;
        world.aligned(CLUB, 2).await;
        let events = || async { world.stock_events(food_point).await.split_off(1) };
        let waiting = [("stock.opened", CHEESE), ("stock.unneeded", BREAD)];
        assert_eq!(events().await, happened(&waiting));
        let ready = OrderEvent::Ready {
            food_point,
            attempt: 1,
            alert_at: now,
            give_up_at: now,
        };
        world.orders.tell(ORDER, ready).await;
        eventually("it is consumed", async || (world.heard(ORDER).await == 2).then_some(())).await;
        let last = world.event_types(food_point).await.split_off(5);
        assert_eq!(last, ["hold.consumed", "stock.closed"]);
        world.menu.tell(TOAST, menu::Event::Retired {}).await;
        world.aligned(TOAST, 2).await;
        let all = [
            waiting[0],
            waiting[1],
            ("stock.closed", BREAD),
            ("stock.closed", CHEESE),
        ];
        assert_eq!(events().await, happened(&all));
    })
    .await;
}

#[tokio::test]
async fn a_changed_recipe_opens_and_closes() {
    world::run(async |world| {
        let point = world.open_point("a", "DE").await;
        world.menu.tell(CLUB, created(&[BREAD])).await;
        let product = product(&[CHEESE]);
        world.menu.tell(CLUB, menu::Event::Updated { product }).await;
        world.aligned(CLUB, 2).await;
        assert_eq!(
            world.stock_events(point).await,
            happened(&[
                ("stock.opened", BREAD),
                ("stock.closed", BREAD),
                ("stock.opened", CHEESE)
            ])
        );
    })
    .await;
}

#[tokio::test]
async fn a_product_that_is_told_twice_or_to_nobody_is_heard_once() {
    world::run(async |world| {
        let point = world.open_point("a", "DE").await;
        world.service.kill().await;
        let told = world.menu.tell(CLUB, created(&[BREAD])).await;
        // With a new id, or the broker itself would drop it.
        let again = mesh_contracts::envelope::Envelope {
            event_id: Uuid::now_v7(),
            ..told
        };
        world.menu.publish(&again).await;
        // The bus loses this one: what follows shows the gap.
        world.menu.keep(CLUB, menu::Event::Retired {});
        world.menu.tell(CLUB, menu::Event::Retired {}).await;
        world.service.start().await;
        world.aligned(CLUB, 3).await;
        assert_eq!(
            world.stock_events(point).await,
            happened(&[("stock.opened", BREAD), ("stock.closed", BREAD)])
        );
    })
    .await;
}
