//! A running user-info, the masters it hears, and a gateway that asks it.

use mesh_contracts::id::UserId;
use mesh_contracts::subject::Context;
use mesh_testkit::{Gateway, Master, RedisAccess, ServiceProcess, Stage};

use crate::people::People;

pub use mesh_testkit::gateway::{courier, customer, operator};

pub struct World {
    pub stage: Stage,
    pub users: Master,
    pub people: People,
    pub couriers: Master,
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
        let people = People::default();
        let users = Master::answering(&stage, Context::User, |_| people.routes()).await;
        let couriers = Master::start(&stage, Context::Courier).await;
        let redis = stage.redis().await;
        let upstreams = format!("{},{}", users.upstream(), couriers.upstream());
        let service = ServiceProcess::new(&stage, user_info::NAME, env!("CARGO_BIN_EXE_user-info"))
            .with_redis(&redis)
            .env("TIFFIN_UPSTREAMS", upstreams);
        Self {
            stage,
            users,
            people,
            couriers,
            gateway: Gateway::before(&service),
            service,
            redis,
        }
    }

    async fn check(mut self, body: impl AsyncFnOnce(&mut Self)) {
        body(&mut self).await;
        self.stage.settled().await;
    }

    /// Takes one person's data from Redis.
    pub async fn lose_profile(&self, id: UserId) {
        let mut redis = self.redis.connection().await;
        let key = self.profile_key(id);
        redis::cmd("DEL")
            .arg(key)
            .exec_async(&mut redis)
            .await
            .expect("our key");
    }

    /// Whether Redis has that person's data.
    pub async fn keeps_profile(&self, id: UserId) -> bool {
        self.redis.keys().await.contains(&self.profile_key(id))
    }

    fn profile_key(&self, id: UserId) -> String {
        format!("{}profile:{id}", self.redis.prefix)
    }
}
