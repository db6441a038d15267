//! A running menu-info, the masters it hears, and a gateway that asks it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, header};
use mesh_contracts::id::{FoodPointId, UserId};
use mesh_contracts::subject::Context;
use mesh_contracts::user::Role;
use mesh_identity::{Caller, Client, Upstream};
use mesh_runtime::consistency::Signer;
use mesh_runtime::headers;
use mesh_testkit::{RedisAccess, ServiceProcess, Stage, certificates};
use serde_json::Value;
use uuid::Uuid;

use crate::master::Master;

const SERVICE: &str = "menu-info";

pub struct World {
    pub stage: Stage,
    pub menu: Master,
    pub points: Master,
    pub service: ServiceProcess,
    pub upstream: Upstream,
    pub redis: RedisAccess,
    pub gateway: Client,
}

/// What the service answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_slice(&self.body).expect("an answer is JSON")
    }

    /// The stable name of a problem, behind its status.
    #[track_caller]
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json",
            "{self:?}"
        );
        let body: Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        let kind = body["type"].as_str().expect("a problem has a type");
        (self.status, kind.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// The ids of a list's documents.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        let items = self.json()["items"].as_array().expect("a list").clone();
        items
            .iter()
            .map(|item| item["id"].as_str().expect("an id").to_owned())
            .collect()
    }
}

/// Runs a test on a world of its own, and fails it if an event is left that nobody has handled.
pub async fn run(body: impl AsyncFnOnce(&mut World)) {
    let mut world = World::stopped().await;
    world.service.start().await;
    world.check(body).await;
}

impl World {
    async fn stopped() -> Self {
        let stage = Stage::new();
        let menu = Master::start(&stage, Context::Menu).await;
        let points = Master::start(&stage, Context::Point).await;
        let redis = stage.redis().await;
        let upstreams = format!("{},{}", menu.upstream(), points.upstream());
        let service = ServiceProcess::new(&stage, SERVICE, env!("CARGO_BIN_EXE_menu-info"))
            .with_redis(&redis)
            .env("TIFFIN_UPSTREAMS", upstreams);
        Self {
            stage,
            menu,
            points,
            upstream: Upstream::new(SERVICE, service.address().to_string()),
            service,
            redis,
            gateway: certificates::mesh("gateway").client(),
        }
    }

    async fn check(mut self, body: impl AsyncFnOnce(&mut Self)) {
        body(&mut self).await;
        self.stage.settled().await;
    }

    pub async fn get(&self, path: &str, caller: &Caller) -> Answer {
        self.get_with(path, caller, &[]).await
    }

    /// Of a reader who has seen that version of a stream.
    pub async fn get_after(&self, path: &str, caller: &Caller, stream: impl ToString, version: u64) -> Answer {
        let token = signer().sign(&[(stream.to_string(), version)]);
        self.get_with(path, caller, &[(headers::CONSISTENCY, token)]).await
    }

    pub async fn get_with(&self, path: &str, caller: &Caller, more: &[(HeaderName, String)]) -> Answer {
        let answer = self.gateway.request(&self.upstream, request(path, caller, more)).await;
        let (head, body) = answer.expect("an answer").into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    /// Takes from Redis what FLUSHALL does, for our keys alone.
    pub async fn flush(&self) {
        let client = redis::Client::open(self.redis.url.as_str()).expect("a URL");
        let mut raw = client.get_multiplexed_async_connection().await.expect("Redis is up");
        let mut cursor = 0;
        loop {
            let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("{}*", self.redis.prefix))
                .arg("COUNT")
                .arg(1_000)
                .query_async(&mut raw)
                .await
                .expect("our user may scan");
            if !keys.is_empty() {
                redis::cmd("DEL")
                    .arg(keys)
                    .exec_async(&mut raw)
                    .await
                    .expect("our keys");
            }
            cursor = next;
            if cursor == 0 {
                return;
            }
        }
    }
}

fn signer() -> Signer {
    Signer::new(b"a secret that all services of a test share").expect("long enough")
}

pub fn customer(number: u128) -> Caller {
    person(Role::Customer, number, Vec::new())
}

pub fn operator() -> Caller {
    person(Role::Operator, 99, Vec::new())
}

/// Staff of that point.
pub fn kitchen(point: FoodPointId) -> Caller {
    person(Role::Kitchen, 98, vec![point])
}

fn person(role: Role, number: u128, points: Vec<FoodPointId>) -> Caller {
    Caller {
        subject: UserId(Uuid::from_u128(number)),
        role,
        points,
        region: None,
    }
}

fn request(path: &str, caller: &Caller, more: &[(HeaderName, String)]) -> Request<Bytes> {
    let mut request = Request::get(path).body(Bytes::new()).expect("a path");
    caller.write(request.headers_mut());
    for (name, value) in more {
        request
            .headers_mut()
            .insert(name.clone(), value.parse().expect("visible ASCII"));
    }
    request
}
