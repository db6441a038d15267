//! A running menu-info, the masters it hears, and a gateway that asks it.

use mesh_contracts::subject::Context;
use mesh_testkit::{Gateway, Master, RedisAccess, ServiceProcess, Stage};

pub use mesh_testkit::gateway::{customer, kitchen, operator};

pub struct World {
    pub stage: Stage,
    pub menu: Master,
    pub points: Master,
    pub service: ServiceProcess,
    pub redis: RedisAccess,
    pub gateway: Gateway,
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
        let service = ServiceProcess::new(&stage, menu_info::NAME, env!("CARGO_BIN_EXE_menu-info"))
            .with_redis(&redis)
            .env("TIFFIN_UPSTREAMS", upstreams);
        Self {
            stage,
            menu,
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
}
