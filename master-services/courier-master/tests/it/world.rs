//! A running courier-master, its neighbours, and a gateway that talks to it.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use jiff::{SignedDuration, Timestamp};
use mesh_bus::Bus;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, DeliveryId, FoodPointId, OrderId, UserId};
use mesh_contracts::order::Destination;
use mesh_contracts::subject::Context;
use mesh_contracts::user::Role;
use mesh_contracts::{order, user};
use mesh_identity::{Caller, Client, Upstream};
use mesh_runtime::consistency::Signer;
use mesh_runtime::headers;
use mesh_testkit::{Database, Master, ServiceProcess, Stage, certificates, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

pub const SERVICE: &str = "courier-master";
const SECRET: &str = "the secret of these tests";

pub struct World<'a> {
    stage: &'a Stage,
    pub service: ServiceProcess,
    pub orders: Master,
    pub users: Master,
    pub upstream: Upstream,
    database: Database,
    gateway: Client,
}

/// What the service answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("an answer is JSON")
    }

    /// The stable name of a problem.
    pub fn kind(&self) -> String {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let kind = self.json()["type"].as_str().expect("a problem has a type").to_owned();
        kind.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// Runs a test with a courier-master of its own, and fails it if that leaves work undone.
pub async fn run(body: impl AsyncFnOnce(&mut World<'_>)) {
    run_at("1", body).await;
}

/// As [`run`], with a business clock that runs faster.
pub async fn run_at(rate: &str, body: impl AsyncFnOnce(&mut World<'_>)) {
    mesh_testkit::run(async |stage| {
        let mut world = World::new(stage, rate).await;
        body(&mut world).await;
        // While there is still a process that can do the rest.
        world.quiet().await;
    })
    .await;
}

impl<'a> World<'a> {
    /// The bus as whoever shows positions has it.
    pub async fn bus_of_order_info(&self) -> Bus {
        let bus = Bus::connect(self.stage.bus("order-info")).await.expect("an address");
        bus.connected().await;
        bus
    }

    /// Migrated, started and ready.
    async fn new(stage: &'a Stage, rate: &str) -> Self {
        let orders = Master::start(stage, Context::Order).await;
        let users = Master::start(stage, Context::User).await;
        let database = stage.database().await;
        let now = Timestamp::now().to_string();
        let mut service = ServiceProcess::new(stage, SERVICE, env!("CARGO_BIN_EXE_courier-master"))
            .env(
                "TIFFIN_UPSTREAMS",
                format!("{},{}", orders.upstream(), users.upstream()),
            )
            .env("TIFFIN_CONSISTENCY_SECRET", SECRET)
            .env("TIFFIN_CLOCK_RATE", rate)
            .env("TIFFIN_CLOCK_ORIGIN_WALL", &now)
            .env("TIFFIN_CLOCK_ORIGIN_BUSINESS", &now)
            .migrated(&database)
            .await;
        service.start().await;
        Self {
            stage,
            upstream: Upstream::new(SERVICE, service.address().to_string()),
            gateway: certificates::mesh("gateway").client(),
            service,
            orders,
            users,
            database,
        }
    }

    /// Waits until everything said has been heard: what a killed process had not acknowledged comes again only after
    /// half a minute.
    pub async fn quiet(&self) {
        self.stage.settled().await;
    }

    pub async fn send(&self, method: Method, path: &str, caller: &Caller, key: Option<&str>, body: Value) -> Answer {
        self.send_raw(method, path, Some(caller), key, body.to_string().into())
            .await
    }

    pub async fn send_raw(
        &self,
        method: Method,
        path: &str,
        caller: Option<&Caller>,
        key: Option<&str>,
        body: Bytes,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header(headers::IDEMPOTENCY_KEY, key);
        }
        self.ask(request.body(body).expect("a request"), caller).await
    }

    /// A word on a delivery that is to be as its tag says.
    pub async fn tell_if(&self, tag: &str, caller: &Caller, delivery: DeliveryId, verb: &str, body: Value) -> Answer {
        let request = Request::post(format!("/deliveries/{delivery}/{verb}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(headers::IDEMPOTENCY_KEY, Uuid::new_v4().to_string())
            .header(header::IF_MATCH, tag)
            .body(body.to_string().into())
            .expect("a request");
        self.ask(request, Some(caller)).await
    }

    async fn ask(&self, mut request: Request<Bytes>, caller: Option<&Caller>) -> Answer {
        if let Some(caller) = caller {
            caller.write(request.headers_mut());
        }
        let answer = self.gateway.request(&self.upstream, request).await.expect("an answer");
        let (head, body) = answer.into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    /// A courier's word on a delivery, each under a key of its own.
    pub async fn tell(&self, courier: &Caller, delivery: DeliveryId, verb: &str, body: Value) -> Answer {
        let path = format!("/deliveries/{delivery}/{verb}");
        self.send(Method::POST, &path, courier, Some(&Uuid::new_v4().to_string()), body)
            .await
    }

    pub async fn shift(&self, courier: &Caller, body: Value) -> Answer {
        self.send(Method::PUT, "/couriers/me/shift", courier, None, body).await
    }

    pub async fn position(&self, courier: &Caller, at: Coordinates) -> Answer {
        self.send(Method::PUT, "/couriers/me/position", courier, None, json!({ "at": at }))
            .await
    }

    /// Somebody who works as a courier, not on shift.
    pub async fn registered(&self) -> Caller {
        let caller = stranger();
        let country = Country::parse("DE");
        let event = user::Event::Registered {
            role: Role::Courier,
            points: Vec::new(),
            country,
        };
        self.users.tell(caller.subject, event).await;
        let stream = caller.subject.courier();
        eventually("the courier is registered", || async {
            (!self.events(stream).await.is_empty()).then_some(())
        })
        .await;
        caller
    }

    /// Somebody who works as a courier, and waits for offers at a place.
    pub async fn on_shift(&self, at: Coordinates) -> Caller {
        let caller = self.registered().await;
        let answer = self.shift(&caller, json!({ "on": true, "at": at })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        caller
    }

    /// An order that wants to be brought from the counter to the door; its food is ready at once.
    pub async fn wanted(&self) -> DeliveryId {
        let order = self.requested().await;
        self.ready(order).await;
        order.delivery()
    }

    /// An order that wants to be brought, and is due now.
    pub async fn requested(&self) -> OrderId {
        let order = OrderId::new_v7();
        self.request(order, FoodPointId(Uuid::from_u128(7)), counter()).await;
        order
    }

    /// The same order, cooked at another place.
    pub async fn requested_again(&self, order: OrderId, pickup: Coordinates) {
        self.request(order, FoodPointId(Uuid::from_u128(5)), pickup).await;
    }

    async fn request(&self, order: OrderId, food_point: FoodPointId, pickup: Coordinates) {
        let country = Country::parse("DE").expect("a country");
        let event = order::Event::DeliveryRequested {
            customer: UserId(Uuid::from_u128(8)),
            food_point,
            pickup,
            destination: Destination {
                address: AddressId(Uuid::from_u128(6)),
                place: Place { country, at: door() },
            },
            ready_by: Timestamp::now(),
        };
        self.orders.tell(order, event).await;
    }

    pub async fn ready(&self, order: OrderId) {
        let give_up_at = Timestamp::now() + SignedDuration::from_mins(90);
        let food_point = FoodPointId(Uuid::from_u128(7));
        self.orders
            .tell(
                order,
                order::Event::Ready {
                    food_point,
                    attempt: 1,
                    alert_at: give_up_at,
                    give_up_at,
                },
            )
            .await;
    }

    /// Waits until this courier is asked.
    pub async fn asked(&self, courier: &Caller, delivery: DeliveryId) {
        let id = courier.subject.courier().to_string();
        eventually("the courier is asked", || async {
            let events = self.events(delivery).await;
            let offer = events.iter().rfind(|event| event.event_type == "delivery.offered")?;
            let is_open = events
                .last()
                .is_some_and(|last| last.event_type == "delivery.offered" || last.event_type == "delivery.food_ready");
            (is_open && offer.data.value()["courier"] == id).then_some(())
        })
        .await;
    }

    /// Waits until a stream has that event as often.
    pub async fn happened(&self, stream: impl ToString, event_type: &str, times: usize) {
        let stream = stream.to_string();
        eventually(event_type, || async {
            let types = self.event_types(&stream).await;
            (types.iter().filter(|known| *known == event_type).count() == times).then_some(())
        })
        .await;
    }

    /// Everything that happened to a stream, as its feed tells it.
    pub async fn events(&self, stream: impl ToString) -> Vec<Envelope> {
        let path = format!("/feed/streams/{}", stream.to_string());
        self.gateway.get_json(&self.upstream, &path).await.expect("a feed")
    }

    pub async fn event_types(&self, stream: impl ToString) -> Vec<String> {
        self.events(stream)
            .await
            .into_iter()
            .map(|event| event.event_type)
            .collect()
    }

    /// How many events and stored commands there are.
    pub async fn written(&self) -> (i64, i64) {
        let mut connection = self.connection().await;
        sqlx::query_as("select (select count(*) from events), (select count(*) from commands)")
            .fetch_one(&mut connection)
            .await
            .expect("the engine's tables are there")
    }

    /// What has been heard of a stream: the version of the last event with an inbox mark.
    pub async fn heard(&self, stream: impl ToString) -> i64 {
        let mut connection = self.connection().await;
        sqlx::query_scalar("select coalesce(max(version), 0) from inbox where source_stream = $1")
            .bind(stream.to_string())
            .fetch_one(&mut connection)
            .await
            .expect("the engine's tables are there")
    }

    /// Who may change what has happened.
    pub async fn owner(&self) -> PgConnection {
        PgConnection::connect(&self.database.owner_url)
            .await
            .expect("the owner")
    }

    /// As another replica has it.
    pub async fn pool(&self) -> PgPool {
        PgPool::connect(&self.database.url).await.expect("the database answers")
    }

    pub async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.database.url)
            .await
            .expect("the database answers")
    }
}

/// What the customer would say at the door.
pub fn pin(delivery: DeliveryId) -> String {
    let signer = Signer::new(SECRET.as_bytes()).expect("long enough");
    signer.pin(&delivery.order().to_string())
}

/// Somebody in the role of a courier whom nobody registered.
pub fn stranger() -> Caller {
    Caller {
        subject: UserId::new_v7(),
        role: Role::Courier,
        points: Vec::new(),
        region: None,
    }
}

/// Somebody of the chain's.
pub fn operator() -> Caller {
    Caller {
        role: Role::Operator,
        ..stranger()
    }
}

pub fn counter() -> Coordinates {
    Coordinates::new(52_520_000, 13_405_000).expect("on earth")
}

pub fn door() -> Coordinates {
    Coordinates::new(52_530_000, 13_405_000).expect("on earth")
}
