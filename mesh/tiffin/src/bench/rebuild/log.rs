//! A long log of orders: one that went through the public API to its end, and as many like it as are wanted.

use anyhow::{Context as _, Result, bail};
use mesh_contracts::api::{Payment, PlaceOrder, Quantity, Register, RegisterStaff, StockQuantity};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{IngredientId, OrderId};
use mesh_contracts::menu::{Names, Product, RecipeLine};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Kind, Method};
use mesh_contracts::point::Settings;
use mesh_local::running::Running;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::client::{Api, Call, Person};
use crate::say::Steps;
use crate::settle;

const PASSWORD: &str = "correct horse battery staple";

/// Writes about so many events, of orders that are equal but for their ids.
pub(super) async fn write(running: &Running, url: &str, events: u32, steps: &Steps) -> Result<()> {
    steps.step("one order, to its end");
    let order = one_order(running).await?;
    steps.step(&format!("{events} events of orders like it"));
    let mut database = PgConnection::connect(url).await?;
    let length: i64 = sqlx::query_scalar("select version from streams where stream_id = $1")
        .bind(order.to_string())
        .fetch_one(&mut database)
        .await?;
    database.close().await?;
    let orders = i64::from(events) / length.max(1);
    copies(url, order, 0, u32::try_from(orders)?).await
}

/// Orders like that one, from the number after `from` to `until`; a number gives the same order every time.
pub(in crate::bench) async fn copies(url: &str, order: OrderId, from: u32, until: u32) -> Result<()> {
    let mut database = PgConnection::connect(url).await?;
    // Hexadecimal digits are digits of our ids, too.
    sqlx::query(
        "with copies as (select 'ord_0' || substr(md5(n::text), 1, 25) as id from generate_series($2 + 1, $3) n),
         heads as (
             insert into streams (stream_id, category, version)
             select c.id, s.category, s.version from streams s cross join copies c where s.stream_id = $1)
         insert into events (stream_id, version, position, shard, event_id, type, schema_version, data, meta, at,
             recorded_at)
         select c.id, e.version, nextval('event_position'), e.shard, gen_random_uuid(), e.type, e.schema_version,
             e.data, e.meta, e.at, e.recorded_at
         from copies c cross join events e where e.stream_id = $1",
    )
    .bind(order.to_string())
    .bind(i64::from(from))
    .bind(i64::from(until))
    .execute(&mut database)
    .await?;
    sqlx::query("vacuum analyze events").execute(&mut database).await?;
    database.close().await?;
    Ok(())
}

/// A pick-up order that was collected.
pub(in crate::bench) async fn one_order(running: &Running) -> Result<OrderId> {
    let api = Api::of(running)?;
    let (email, password) = running.operator()?;
    let operator = api.person(email, password);
    let country = Country::parse("DE").context("two capital letters")?;
    let ingredient = IngredientId::new_v7();
    let product = operator.create_product(&product(country, ingredient), &fresh()).await?;
    let point = operator.create_food_point(&settings(country)?, &fresh()).await?;
    let stock = StockQuantity::new(100).context("within its bounds")?;
    operator.receive_stock(point, ingredient, stock, &fresh()).await?;
    let cook = RegisterStaff {
        email: "cook@bench.example".to_owned(),
        password: PASSWORD.to_owned(),
        name: "Sam Example".to_owned(),
        phone: None,
        country: None,
    };
    operator.hire_cook(point, &cook, &fresh()).await?;
    let cook = api.person(cook.email, PASSWORD);
    let customer = customer(&api).await?;
    settle::everyone_has_heard(running).await?;

    let one = Quantity::new(1).context("within its bounds")?;
    let order = PlaceOrder {
        basket_version: customer.set_line(product, one, country).await?,
        kind: Kind::PickUp,
        address_id: None,
        food_point_id: Some(point),
        payment: Payment {
            method: Method::Card,
            token: Some("pm_card_visa".to_owned()),
        },
    };
    let (receipt, _) = customer.place(&order, &fresh()).await?;
    let order: OrderId = receipt.id.parse()?;
    reaches(&customer, order, "assigned").await?;
    cook.mark_ready(order, &fresh()).await?;
    let pin = json!({ "pin": customer.order(order).await?["pin"] });
    cook.send(Call::post(format!("/v1/orders/{order}/collect"), &pin))
        .await?;
    reaches(&customer, order, "completed").await?;
    Ok(order)
}

async fn customer(api: &Api) -> Result<Person> {
    let register = Register {
        email: "customer@bench.example".to_owned(),
        password: PASSWORD.to_owned(),
        name: "Ida Example".to_owned(),
        phone: None,
    };
    api.register(&register, &fresh()).await?;
    Ok(api.person(register.email, PASSWORD))
}

async fn reaches(customer: &Person, order: OrderId, status: &str) -> Result<()> {
    let mut live = customer.order_live(order, None);
    // The first news is a snapshot, so from then on there is something to read.
    while live.next().await.is_some() {
        if customer.order(order).await?["status"] == status {
            return Ok(());
        }
    }
    bail!("{order} never is {status}")
}

fn product(country: Country, ingredient: IngredientId) -> Product {
    Product {
        names: Names {
            en: "Bench sandwich".to_owned(),
            ru: "Bench sandwich".to_owned(),
        },
        prices: [(country, Money::new(790, Currency::EUR))].into(),
        recipe: vec![RecipeLine {
            ingredient,
            name: "Bread".to_owned(),
            quantity: 1,
        }],
        prep_minutes: 5,
        ..Product::default()
    }
}

fn settings(country: Country) -> Result<Settings> {
    let at = Coordinates::new(50_000_000, 10_000_000).context("a place")?;
    Ok(Settings {
        name: "Bench".to_owned(),
        place: Place { country, at },
        kinds: vec![Kind::PickUp],
        radius_m: 5_000,
        pool: 10,
        auto_accept: true,
        hours: Vec::new(),
        utc_offset_minutes: 0,
    })
}

fn fresh() -> String {
    Uuid::now_v7().to_string()
}
