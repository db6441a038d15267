//! A running user-master and a gateway that talks to it.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use mesh_contracts::api::Session;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{AddressId, UserId};
use mesh_contracts::user::Role;
use mesh_identity::jwt::Verifier;
use mesh_identity::{Caller, Client, Upstream};
use mesh_runtime::headers;
use mesh_testkit::{Database, ServiceProcess, Stage, certificates};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

pub const SERVICE: &str = "user-master";
pub const PASSWORD: &str = "correct horse battery";
const OPERATOR_EMAIL: &str = "Operator@Tiffin.Example";

pub struct World<'a> {
    pub stage: &'a Stage,
    pub service: ServiceProcess,
    pub upstream: Upstream,
    pub database: Database,
    gateway: Client,
}

/// What the service answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// How much there is of everything that a refusal must leave alone.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Written {
    events: i64,
    commands: i64,
    people: i64,
    credentials: i64,
    addresses: i64,
    families: i64,
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

    pub fn session(&self) -> Session {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_slice(&self.body).expect("a session")
    }
}

/// Runs a test with a user-master of its own, and fails it if that leaves work undone.
pub async fn run(body: impl AsyncFnOnce(&mut World<'_>)) {
    run_with(&[], body).await;
}

/// The same with settings of its own.
pub async fn run_with(settings: &[(&str, &str)], body: impl AsyncFnOnce(&mut World<'_>)) {
    mesh_testkit::run(async |stage| {
        let mut world = World::new(stage, settings).await;
        body(&mut world).await;
        // While there is still a process that can do the rest.
        stage.settled().await;
        world.tell_tale_of_personal_data().await;
    })
    .await;
}

impl<'a> World<'a> {
    /// Migrated, started and ready.
    async fn new(stage: &'a Stage, settings: &[(&str, &str)]) -> Self {
        let database = stage.database().await;
        let mut service = ServiceProcess::new(stage, SERVICE, env!("CARGO_BIN_EXE_user-master"))
            .env("TIFFIN_OPERATOR_EMAIL", OPERATOR_EMAIL)
            .env("TIFFIN_OPERATOR_PASSWORD", PASSWORD);
        for (name, value) in settings {
            service = service.env(name, *value);
        }
        let mut service = service.migrated(&database).await;
        service.start().await;
        Self {
            stage,
            upstream: Upstream::new(SERVICE, service.address().to_string()),
            gateway: certificates::mesh("gateway").client(),
            service,
            database,
        }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        caller: Option<&Caller>,
        key: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Answer {
        self.send_to(&self.upstream, method, path, caller, key, body).await
    }

    async fn send_to(
        &self,
        upstream: &Upstream,
        method: Method,
        path: &str,
        caller: Option<&Caller>,
        key: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header(headers::IDEMPOTENCY_KEY, key);
        }
        let mut request = request.body(body.into()).expect("a request");
        if let Some(caller) = caller {
            caller.write(request.headers_mut());
        }
        let answer = self.gateway.request(upstream, request).await.expect("an answer");
        let (head, body) = answer.into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    pub async fn post(&self, path: &str, caller: Option<&Caller>, key: &str, body: Value) -> Answer {
        self.send(Method::POST, path, caller, Some(key), body.to_string()).await
    }

    pub async fn register(&self, key: &str, body: Value) -> Answer {
        self.post("/users", None, key, body).await
    }

    /// A customer with an account.
    pub async fn customer(&self, email: &str) -> Caller {
        let answer = self.register("register", person(email)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        caller(
            answer.json()["id"]
                .as_str()
                .expect("an id")
                .parse()
                .expect("a person's id"),
            Role::Customer,
        )
    }

    /// Whom `migrate` let in.
    pub async fn operator(&self) -> Caller {
        let session = self.login(OPERATOR_EMAIL, PASSWORD).await.session();
        caller(session.user, session.role)
    }

    pub async fn login(&self, email: &str, password: &str) -> Answer {
        self.login_at(&self.upstream, email, password).await
    }

    /// At another replica.
    pub async fn login_at(&self, upstream: &Upstream, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password }).to_string();
        self.send_to(upstream, Method::POST, "/sessions", None, None, body)
            .await
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        let body = json!({ "refresh_token": token }).to_string();
        self.send(Method::POST, "/sessions/refresh", None, None, body).await
    }

    pub async fn set_address(&self, caller: &Caller, id: AddressId, body: Value) -> Answer {
        self.send(
            Method::PUT,
            &format!("/me/addresses/{id}"),
            Some(caller),
            None,
            body.to_string(),
        )
        .await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, None, Bytes::new()).await
    }

    /// What a gateway would check tokens with.
    pub fn verifier(&self) -> Verifier {
        let (client, upstream) = (self.gateway.clone(), self.upstream.clone());
        let fetch = move || {
            let (client, upstream) = (client.clone(), upstream.clone());
            async move { client.get_json::<Value>(&upstream, "/jwks").await }
        };
        Verifier::new(fetch, "https://tiffin.local", "tiffin")
    }

    /// Everything that happened to a person, as the feed tells it.
    pub async fn events(&self, person: UserId) -> Vec<Envelope> {
        let path = format!("/feed/streams/{person}");
        self.gateway.get_json(&self.upstream, &path).await.expect("a feed")
    }

    pub async fn event_types(&self, person: UserId) -> Vec<String> {
        self.events(person)
            .await
            .into_iter()
            .map(|event| event.event_type)
            .collect()
    }

    pub async fn written(&self) -> Written {
        sqlx::query_as(
            "select (select count(*) from events) as events, (select count(*) from commands) as commands,
                    (select count(*) from people) as people, (select count(*) from credentials) as credentials,
                    (select count(*) from addresses) as addresses, (select count(*) from refresh_families) as families",
        )
        .fetch_one(&mut self.connection().await)
        .await
        .expect("the tables are there")
    }

    pub async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.database.url)
            .await
            .expect("the database answers")
    }

    /// No event, stored answer or log line has anything in it that the tests typed in as personal.
    async fn tell_tale_of_personal_data(&self) {
        let mut connection = self.connection().await;
        let kept: Vec<String> = sqlx::query_scalar(
            "select e.type || e.data::text || e.meta::text from events e
             union all select c.response || encode(c.request_hash, 'escape') from commands c",
        )
        .fetch_all(&mut connection)
        .await
        .expect("the tables are there");
        let log = std::fs::read_to_string(self.service.log()).expect("it has a log");
        for told in kept.iter().chain([&log]) {
            for secret in [
                "Anna",
                "@example.org",
                "@Tiffin",
                "49 30",
                "Hauptstr",
                "second floor",
                PASSWORD,
                "$argon2",
                "PRIVATE KEY",
            ] {
                assert!(!told.contains(secret), "{secret} in {told}");
            }
        }
    }
}

pub fn caller(subject: UserId, role: Role) -> Caller {
    Caller {
        subject,
        role,
        points: Vec::new(),
        region: None,
    }
}

pub fn person(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD, "name": "Anna", "phone": "+49 30 1234" })
}

pub fn home() -> Value {
    json!({
        "text": "Hauptstr. 7",
        "place": { "country": "DE", "at": { "lat_e6": 52_520_449, "lon_e6": 13_404_951 } },
        "instructions": "second floor",
    })
}

pub fn address(number: u128) -> AddressId {
    AddressId(Uuid::from_u128(number))
}
