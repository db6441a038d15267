//! A running menu-master and a gateway that talks to it.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{IngredientId, ProductId, PromotionId, UserId};
use mesh_contracts::user::Role;
use mesh_identity::{Caller, Client, Upstream};
use mesh_runtime::headers;
use mesh_testkit::{Database, ServiceProcess, Stage, certificates};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

const SERVICE: &str = "menu-master";

pub struct World {
    pub service: ServiceProcess,
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

/// Runs a test with a menu-master of its own, and fails it if that leaves work undone.
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
    async fn new(stage: &Stage) -> Self {
        let database = stage.database().await;
        let mut service = ServiceProcess::new(stage, SERVICE, env!("CARGO_BIN_EXE_menu-master"))
            .migrated(&database)
            .await;
        service.start().await;
        Self {
            upstream: Upstream::new(SERVICE, service.address().to_string()),
            gateway: certificates::mesh("gateway").client(),
            service,
            database,
        }
    }

    /// A request with every header that the service may want.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        caller: Option<&Caller>,
        headers: &[(http::HeaderName, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let mut request = request.body(body.into()).expect("a request");
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

    pub async fn create(&self, key: &str, product: &Value) -> Answer {
        let headers = [(headers::IDEMPOTENCY_KEY, key)];
        self.send(
            Method::POST,
            "/products",
            Some(&operator()),
            &headers,
            product.to_string(),
        )
        .await
    }

    pub async fn update(&self, product: ProductId, description: &Value) -> Answer {
        self.send(
            Method::PATCH,
            &path(product),
            Some(&operator()),
            &[],
            description.to_string(),
        )
        .await
    }

    pub async fn retire(&self, product: ProductId) -> Answer {
        self.send(Method::DELETE, &path(product), Some(&operator()), &[], "")
            .await
    }

    pub async fn announce(&self, key: &str, promotion: &Value) -> Answer {
        let headers = [(headers::IDEMPOTENCY_KEY, key)];
        let body = promotion.to_string();
        self.send(Method::POST, "/promotions", Some(&operator()), &headers, body)
            .await
    }

    pub async fn change(&self, promotion: PromotionId, description: &Value) -> Answer {
        let (path, body) = (format!("/promotions/{promotion}"), description.to_string());
        self.send(Method::PATCH, &path, Some(&operator()), &[], body).await
    }

    pub async fn end(&self, promotion: PromotionId) -> Answer {
        let path = format!("/promotions/{promotion}");
        self.send(Method::DELETE, &path, Some(&operator()), &[], "").await
    }

    /// A product that is sold.
    pub async fn created(&self) -> ProductId {
        let created = self.create("create", &club()).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.json()["id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("a product's id")
    }

    /// Everything that happened to a stream, as the feed tells it.
    pub async fn events(&self, stream: impl std::fmt::Display) -> Vec<Envelope> {
        let path = format!("/feed/streams/{stream}");
        self.gateway.get_json(&self.upstream, &path).await.expect("a feed")
    }

    pub async fn event_types(&self, stream: impl std::fmt::Display) -> Vec<String> {
        self.events(stream)
            .await
            .into_iter()
            .map(|event| event.event_type)
            .collect()
    }

    /// How many events, stored commands and countries with a currency there are.
    pub async fn written(&self) -> (i64, i64, i64) {
        let mut connection = PgConnection::connect(&self.database.url)
            .await
            .expect("the database answers");
        sqlx::query_as(
            "select (select count(*) from events), (select count(*) from commands),
                    (select count(*) from country_currencies)",
        )
        .fetch_one(&mut connection)
        .await
        .expect("the tables are there")
    }
}

pub fn path(product: ProductId) -> String {
    format!("/products/{product}")
}

pub fn operator() -> Caller {
    person(Role::Operator)
}

/// Always the same person, so that idempotency keys mean the same.
pub fn person(role: Role) -> Caller {
    Caller {
        subject: UserId(Uuid::from_u128(77)),
        role,
        points: Vec::new(),
        region: None,
    }
}

pub fn ingredient(number: u128) -> String {
    IngredientId(Uuid::from_u128(number)).to_string()
}

pub fn club() -> Value {
    json!({
        "names": { "en": "Club", "ru": "Клаб" },
        "prices": { "DE": { "amount": 890, "currency": "EUR" } },
        "recipe": [{ "ingredient": ingredient(1), "name": "Toast", "quantity": 3 }],
        "allergens": ["gluten"],
        "prep_minutes": 8,
    })
}

/// A fifth off that product, from now on for a hundred years.
pub fn lunch(product: ProductId) -> Value {
    json!({
        "names": { "en": "Lunch", "ru": "Обед" },
        "country": "DE",
        "products": [product],
        "discount": { "basis_points": 2_000 },
        "starts_at": "2020-01-01T00:00:00Z",
        "ends_at": "2120-01-01T00:00:00Z",
    })
}

/// The club sandwich with one member replaced.
pub fn club_with(member: &str, value: Value) -> Value {
    let mut product = club();
    product[member] = value;
    product
}
