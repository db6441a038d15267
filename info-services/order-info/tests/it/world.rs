//! A running order-info, the masters it hears, and a gateway that asks it.

use http::HeaderName;
use mesh_contracts::subject::Context;
use mesh_identity::Caller;
use mesh_testkit::gateway::question;
use mesh_testkit::{Gateway, Master, RedisAccess, ServiceProcess, Stage};

use crate::sse;

pub use mesh_testkit::gateway::{courier, customer, kitchen, operator, signer};

pub struct World {
    pub stage: Stage,
    pub orders: Master,
    pub couriers: Master,
    pub points: Master,
    pub service: ServiceProcess,
    pub redis: RedisAccess,
    pub gateway: Gateway,
    upstreams: String,
}

fn process(stage: &Stage, redis: &RedisAccess, upstreams: &str) -> ServiceProcess {
    ServiceProcess::new(stage, order_info::NAME, env!("CARGO_BIN_EXE_order-info"))
        .with_redis(redis)
        .env("TIFFIN_UPSTREAMS", upstreams)
}

/// Runs a test on a world of its own, and fails it if an event is left that nobody has handled.
pub async fn run(body: impl AsyncFnOnce(&mut World)) {
    let mut world = World::stopped().await;
    world.service.start().await;
    world.check(body).await;
}

/// The same, before the service has started.
pub async fn run_stopped(body: impl AsyncFnOnce(&mut World)) {
    World::stopped().await.check(body).await;
}

impl World {
    async fn stopped() -> Self {
        let stage = Stage::new();
        let orders = Master::start(&stage, Context::Order).await;
        let couriers = Master::start(&stage, Context::Courier).await;
        let points = Master::start(&stage, Context::Point).await;
        let redis = stage.redis().await;
        let upstreams = format!("{},{},{}", orders.upstream(), couriers.upstream(), points.upstream());
        let service = process(&stage, &redis, &upstreams);
        Self {
            upstreams,
            stage,
            orders,
            couriers,
            points,
            gateway: Gateway::before(&service),
            service,
            redis,
        }
    }

    async fn check(mut self, body: impl AsyncFnOnce(&mut Self)) {
        body(&mut self).await;
        self.stage.settled().await;
    }

    pub async fn listen(&self, path: &str, caller: &Caller, more: &[(HeaderName, String)]) -> sse::Client {
        listen(&self.gateway, path, caller, more).await
    }

    /// Another instance of the service, over the same Redis and bus.
    pub async fn another(&self) -> ServiceProcess {
        let mut service = process(&self.stage, &self.redis, &self.upstreams);
        service.start().await;
        service
    }
}

pub async fn listen(gateway: &Gateway, path: &str, caller: &Caller, more: &[(HeaderName, String)]) -> sse::Client {
    let request = question(path, caller, more);
    let answer = gateway.client().stream(gateway.upstream(), request).await;
    sse::Client::of(answer.expect("an answer"))
}
