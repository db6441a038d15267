//! One order-master with one open food point and one product, and the voices of its peers.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use mesh_bus::Bus;
use mesh_contracts::api::PlaceFrozen;
use mesh_contracts::envelope::{Actor, Envelope, EventBody, Meta};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, CourierId, FoodPointId, IngredientId, OrderId, ProductId, UserId};
use mesh_contracts::menu::{self, Names, Product, RecipeLine};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Destination, Kind, Method, Quote, QuoteLine};
use mesh_contracts::payment;
use mesh_contracts::point::{self, Settings};
use mesh_contracts::subject::Context;
use mesh_contracts::user::Role;
use mesh_identity::{Caller, Client, Upstream};
use mesh_runtime::headers;
use mesh_testkit::{Database, ServiceProcess, Stage, certificates, eventually};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// What the product is made of.
pub const BREAD: IngredientId = IngredientId(Uuid::from_u128(77));
/// What the product costs.
pub const PRICE: Money = Money::new(1290, Currency::EUR);

/// Notices that nobody answers come again soon enough for a test.
const NOTIFY_AGAIN_S: &str = "1";

/// order-master and everybody who talks to it.
pub struct World {
    pub service: ServiceProcess,
    pub database: Database,
    pub point: FoodPointId,
    pub product: ProductId,
    pub customer: Caller,
    pub kitchen: Caller,
    stage_bus: [Bus; 4],
    versions: AtomicU64,
}

impl World {
    /// Starts the service and tells it about the point and the product.
    pub async fn new(stage: &Stage) -> Self {
        let database = stage.database().await;
        let service = ServiceProcess::new(stage, order_master::NAME, env!("CARGO_BIN_EXE_order-master"));
        let service = service.env("TIFFIN_NOTIFY_AGAIN_S", NOTIFY_AGAIN_S);
        let mut service = service.migrated(&database).await;
        let mut buses = Vec::new();
        for context in [Context::Point, Context::Menu, Context::Basket, Context::Courier] {
            let bus = Bus::connect(stage.bus(context.owner()))
                .await
                .expect("the broker lets an owner in");
            bus.ensure_streams(&[context]).await.expect("an owner makes its stream");
            buses.push(bus);
        }
        let stage_bus = buses.try_into().unwrap_or_else(|_| unreachable!("four contexts"));
        service.start().await;
        let point = FoodPointId::new_v7();
        let world = Self {
            service,
            database,
            point,
            product: ProductId::new_v7(),
            customer: caller(Role::Customer, vec![]),
            kitchen: caller(Role::Kitchen, vec![point]),
            stage_bus,
            versions: AtomicU64::new(2),
        };
        world.introduce().await;
        world
    }

    async fn introduce(&self) {
        let ingredient = BREAD;
        let settings = Settings {
            name: "Alexanderplatz".into(),
            place: place(),
            kinds: vec![Kind::Delivery],
            radius_m: 5_000,
            pool: 5,
            auto_accept: false,
            hours: vec![],
            utc_offset_minutes: 0,
        };
        self.say(self.point, 1, &point::Event::Registered { settings }).await;
        self.say(
            self.point,
            2,
            &point::Event::Received {
                ingredient,
                quantity: 1_000,
            },
        )
        .await;
        let product = sandwich();
        self.say(self.product, 1, &menu::Event::Created { product }).await;
        let known = || async {
            self.count("SELECT (SELECT count(*) FROM points WHERE version = 2) + (SELECT count(*) FROM products)")
                .await
                == 2
        };
        eventually("order-master knows point and product", || async {
            known().await.then_some(())
        })
        .await;
    }

    /// An event of another master, as its relay would publish it.
    pub async fn say<E: EventBody>(&self, stream: impl ToString, version: u64, event: &E) {
        let stream = stream.to_string();
        let context = Context::of_stream(&stream).expect("a stream of ours");
        let bus = match context {
            Context::Point => &self.stage_bus[0],
            Context::Menu => &self.stage_bus[1],
            Context::Basket => &self.stage_bus[2],
            Context::Courier => &self.stage_bus[3],
            Context::Order | Context::User | Context::Notify => unreachable!("nobody says that here"),
        };
        let envelope = self.envelope(stream, version, event);
        bus.publish(&envelope)
            .await
            .expect("published")
            .await
            .expect("acknowledged");
    }

    /// An event as its owner stores it.
    pub fn envelope<E: EventBody>(&self, stream: impl ToString, version: u64, event: &E) -> Envelope {
        let stream = stream.to_string();
        let owner = Context::of_stream(&stream).expect("a stream of ours").owner();
        Envelope {
            event_id: Uuid::new_v4(),
            stream,
            version,
            position: version,
            event_type: event.event_type().into(),
            schema_version: E::SCHEMA_VERSION,
            at: Timestamp::now(),
            recorded_at: Timestamp::now(),
            meta: Meta::by(Actor::service(owner)),
            data: event.encode(),
        }
    }

    /// The next event of the food point.
    pub async fn point_says(&self, event: &point::Event) {
        let version = self.versions.fetch_add(1, Ordering::SeqCst) + 1;
        self.say(self.point, version, event).await;
    }

    /// Takes an order from its hold to its kitchen, which has accepted it for in an hour: nothing is on the stove.
    pub async fn assigned(&self, order: OrderId) {
        let held = point::Event::HoldHeld {
            order,
            attempt: 1,
            needs: vec![],
            expires_at: Timestamp::now(),
        };
        self.point_says(&held).await;
        self.hears(order, "payment.requested").await;
        let promised = payment::Event::Authorized {
            attempt: 1,
            amount: PRICE,
            provider_id: "pi_1".into(),
        };
        self.say(order.payment(), 1, &promised).await;
        self.hears(order, "ticket.offered").await;
        let ready_by = serde_json::json!({ "ready_by": Timestamp::now() + SignedDuration::from_hours(1) });
        let accepted = self
            .post(&self.kitchen, &format!("/orders/{order}/accept"), &ready_by)
            .await;
        assert_eq!(accepted.status(), StatusCode::OK, "{:?}", accepted.body());
        self.point_says(&point::Event::HoldConfirmed { order, attempt: 1 })
            .await;
        self.hears(order, "settlement.due").await;
    }

    /// The data of an order's newest event of a type.
    pub async fn data(&self, order: OrderId, event_type: &str) -> Value {
        let answer = self.get("gateway", &format!("/orders/{order}/history")).await;
        let Ok(Value::Array(entries)) = serde_json::from_slice(answer.body()) else {
            return Value::Null;
        };
        let newest = entries.iter().rfind(|entry| entry["event_type"] == event_type);
        newest.map(|entry| entry["data"].clone()).unwrap_or_default()
    }

    /// A good order of this customer.
    pub fn order(&self) -> PlaceFrozen {
        PlaceFrozen {
            order: OrderId::new_v7(),
            quote: Quote {
                basket: self.customer.subject.basket(),
                basket_version: 1,
                country: place().country,
                lines: vec![QuoteLine::plain(self.product, 1, PRICE)],
                total: PRICE,
                method: Method::Card,
                valid_until: Timestamp::now() + SignedDuration::from_mins(1),
            },
            kind: Kind::Delivery,
            destination: Some(Destination {
                address: AddressId::new_v7(),
                place: place(),
            }),
            food_point: None,
        }
    }

    /// Places a good order.
    pub async fn placed(&self) -> OrderId {
        let order = self.order();
        let answer = self.post(&self.customer, "/orders", &order).await;
        assert_eq!(answer.status(), StatusCode::CREATED, "{:?}", answer.body());
        order.order
    }

    /// A command as the gateway passes it on.
    pub async fn post(&self, caller: &Caller, path: &str, body: &impl Serialize) -> Response<Bytes> {
        self.post_as("gateway", caller, path, serde_json::to_vec(body).expect("plain data"))
            .await
    }

    /// A command under another service's certificate.
    pub async fn post_as(&self, peer: &str, caller: &Caller, path: &str, body: Vec<u8>) -> Response<Bytes> {
        let mut request = Request::post(path).header("content-type", "application/json");
        request = request.header(headers::IDEMPOTENCY_KEY, Uuid::new_v4().to_string());
        let mut request = request.body(Bytes::from(body)).expect("a request");
        caller.write(request.headers_mut());
        self.client(peer)
            .request(&self.upstream(), request)
            .await
            .expect("an answer")
    }

    /// A command that is to find the order as its tag says.
    pub async fn post_if(&self, tag: &str, caller: &Caller, path: &str, body: &impl Serialize) -> Response<Bytes> {
        let body = serde_json::to_vec(body).expect("plain data");
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header(headers::IDEMPOTENCY_KEY, Uuid::new_v4().to_string())
            .header("if-match", tag);
        let mut request = request.body(Bytes::from(body)).expect("a request");
        caller.write(request.headers_mut());
        self.client("gateway")
            .request(&self.upstream(), request)
            .await
            .expect("an answer")
    }

    /// A read as any peer makes it.
    pub async fn get(&self, peer: &str, path: &str) -> Response<Bytes> {
        let request = Request::get(path).body(Bytes::new()).expect("a request");
        self.client(peer)
            .request(&self.upstream(), request)
            .await
            .expect("an answer")
    }

    fn client(&self, peer: &str) -> Client {
        certificates::mesh(peer).client()
    }

    fn upstream(&self) -> Upstream {
        Upstream::new(order_master::NAME, self.service.address().to_string())
    }

    /// The types of an order's events so far.
    pub async fn types(&self, order: OrderId) -> Vec<String> {
        let answer = self.get("gateway", &format!("/orders/{order}/history")).await;
        let Ok(Value::Array(entries)) = serde_json::from_slice(answer.body()) else {
            return vec![];
        };
        entries
            .iter()
            .filter_map(|entry| Some(entry["event_type"].as_str()?.to_owned()))
            .collect()
    }

    /// Waits for an event of the order.
    pub async fn hears(&self, order: OrderId, event_type: &str) {
        let name = format!("{event_type} of the order");
        eventually(&name, || async {
            self.types(order)
                .await
                .iter()
                .any(|known| known == event_type)
                .then_some(())
        })
        .await;
    }

    /// Waits until everything that a stream said so far has been heard.
    pub async fn is_heard(&self, stream: &str) {
        let said = i64::try_from(self.versions.load(Ordering::SeqCst)).expect("few events");
        eventually("everything is heard", || async {
            let pool = sqlx::PgPool::connect(&self.database.owner_url)
                .await
                .expect("it is there");
            let heard: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM inbox WHERE source_stream = $1")
                .bind(stream)
                .fetch_one(&pool)
                .await
                .expect("the engine's tables are there");
            pool.close().await;
            (heard.unwrap_or(0) >= said).then_some(())
        })
        .await;
    }

    /// How many events there are at all.
    pub async fn events(&self) -> i64 {
        self.count("SELECT count(*) FROM events").await
    }

    pub async fn count(&self, query: &'static str) -> i64 {
        let pool = sqlx::PgPool::connect(&self.database.owner_url)
            .await
            .expect("the database is there");
        let count = sqlx::query_scalar(query).fetch_one(&pool).await.expect("a count");
        pool.close().await;
        count
    }
}

/// The product: a hundred grams of bread.
pub fn sandwich() -> Product {
    Product {
        names: Names {
            en: "Club sandwich".into(),
            ru: "Клубный сэндвич".into(),
        },
        prices: [(place().country, PRICE)].into(),
        recipe: vec![RecipeLine {
            ingredient: BREAD,
            name: "bread".into(),
            quantity: 100,
        }],
        prep_minutes: 10,
        ..Product::default()
    }
}

/// Somebody in a role.
pub fn caller(role: Role, points: Vec<FoodPointId>) -> Caller {
    Caller {
        subject: UserId::new_v7(),
        role,
        points,
        region: None,
    }
}

/// A courier.
pub fn courier() -> CourierId {
    CourierId::new_v7()
}

/// Where the point is, and the customer.
pub fn place() -> Place {
    let at = Coordinates {
        lat_e6: 52_520_000,
        lon_e6: 13_405_000,
    };
    Place {
        country: Country::parse("DE").expect("a code"),
        at,
    }
}

/// The `type` of a problem, without its prefix.
pub fn kind(answer: &Response<Bytes>) -> String {
    let problem: Value = serde_json::from_slice(answer.body()).expect("a problem is JSON");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    problem["type"]
        .as_str()
        .and_then(|kind| kind.rsplit('/').next())
        .unwrap_or_default()
        .to_owned()
}
