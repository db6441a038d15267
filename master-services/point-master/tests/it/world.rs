//! A running point-master and a gateway that talks to it.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{FoodPointId, IngredientId, UserId};
use mesh_contracts::subject::Context;
use mesh_contracts::user::Role;
use mesh_eventstore::{Store, StoreConfig, Streams};
use mesh_identity::{Caller, Client, Upstream};
use mesh_runtime::{Clock, headers};
use mesh_testkit::{Database, Master, ServiceProcess, Stage, certificates};
use point_master::FoodPoints;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

pub const SERVICE: &str = "point-master";
pub const BREAD: IngredientId = IngredientId(Uuid::from_u128(1));

pub struct World {
    pub service: ServiceProcess,
    pub orders: Master,
    pub menu: Master,
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

/// Runs a test with a point-master of its own, and fails it if that leaves work undone.
pub async fn run(body: impl AsyncFnOnce(&mut World)) {
    mesh_testkit::run(async |stage| {
        let mut world = World::new(stage).await;
        body(&mut world).await;
        // While there is still a process that can do the rest.
        stage.settled().await;
    })
    .await;
}

impl World {
    /// Migrated, started and ready.
    async fn new(stage: &Stage) -> Self {
        let orders = Master::start(stage, Context::Order).await;
        let menu = Master::start(stage, Context::Menu).await;
        let database = stage.database().await;
        let mut service = ServiceProcess::new(stage, SERVICE, env!("CARGO_BIN_EXE_point-master"))
            .env("TIFFIN_UPSTREAMS", format!("{},{}", orders.upstream(), menu.upstream()))
            .migrated(&database)
            .await;
        service.start().await;
        Self {
            upstream: Upstream::new(SERVICE, service.address().to_string()),
            gateway: certificates::mesh("gateway").client(),
            service,
            orders,
            menu,
            database,
        }
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
        let mut request = request.body(body).expect("a request");
        if let Some(caller) = caller {
            caller.write(request.headers_mut());
        }
        let (head, body) = self
            .gateway
            .request(&self.upstream, request)
            .await
            .expect("an answer")
            .into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    pub async fn post(&self, path: &str, caller: &Caller, key: &str, body: Value) -> Answer {
        self.send(Method::POST, path, caller, Some(key), body).await
    }

    pub async fn patch(&self, point: FoodPointId, caller: &Caller, body: Value) -> Answer {
        self.send(Method::PATCH, &format!("/food-points/{point}"), caller, None, body)
            .await
    }

    pub async fn put(&self, path: &str, caller: &Caller, body: Value) -> Answer {
        self.send(Method::PUT, path, caller, None, body).await
    }

    /// A point, open, with this much bread.
    pub async fn stocked_point(&self, bread: u32) -> FoodPointId {
        let registered = self.post("/food-points", &operator(), "register", settings()).await;
        assert_eq!(registered.status, 201, "{registered:?}");
        let point: FoodPointId = registered.json()["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a point's id");
        if bread > 0 {
            let path = stock(point, "receive");
            let received = self
                .post(&path, &kitchen(point), "first-delivery", json!({ "quantity": bread }))
                .await;
            assert_eq!(received.status, 200, "{received:?}");
        }
        point
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

    /// Another point-master on the same database.
    pub async fn replica(&self) -> Streams<FoodPoints> {
        let config = StoreConfig::new(&self.database.url, SERVICE);
        let store = Store::connect(config, Clock::real()).await;
        Streams::new(store.expect("the database answers"))
    }

    /// How many events and stored commands there are.
    pub async fn written(&self) -> (i64, i64) {
        let mut connection = PgConnection::connect(&self.database.url)
            .await
            .expect("the database answers");
        sqlx::query_as("select (select count(*) from events), (select count(*) from commands)")
            .fetch_one(&mut connection)
            .await
            .expect("the engine's tables are there")
    }

    /// What has been heard of an order or a product: the version of the last event with an inbox mark.
    pub async fn heard(&self, stream: impl ToString) -> i64 {
        let mut connection = PgConnection::connect(&self.database.url)
            .await
            .expect("the database answers");
        sqlx::query_scalar("select coalesce(max(version), 0) from inbox where source_stream = $1")
            .bind(stream.to_string())
            .fetch_one(&mut connection)
            .await
            .expect("the engine's tables are there")
    }
}

pub fn operator() -> Caller {
    person(Role::Operator, Vec::new())
}

pub fn customer() -> Caller {
    person(Role::Customer, Vec::new())
}

/// Staff of that point.
pub fn kitchen(point: FoodPointId) -> Caller {
    person(Role::Kitchen, vec![point])
}

/// Always the same person per role, so that idempotency keys mean the same.
pub fn person(role: Role, points: Vec<FoodPointId>) -> Caller {
    Caller {
        subject: UserId(Uuid::from_u128(77)),
        role,
        points,
        region: None,
    }
}

pub fn settings() -> Value {
    json!({
        "name": "Alexanderplatz",
        "place": { "country": "DE", "at": { "lat_e6": 52_521_918, "lon_e6": 13_413_215 } },
        "kinds": ["delivery", "pick_up"],
        "radius_m": 5_000,
        "pool": 2,
    })
}

pub fn stock(point: FoodPointId, verb: &str) -> String {
    format!("/food-points/{point}/stock/{BREAD}/{verb}")
}
