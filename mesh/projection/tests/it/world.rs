//! A master's log with its feed, a bus, and projections of notebooks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesh_bus::Bus;
use mesh_bus::feed::{Extent, Feeds};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_projection::{Projection, Read, RedisConfig, View, fold_all, keys};
use mesh_runtime::Shutdown;
use mesh_testkit::{RedisAccess, Stage, eventually};
use redis::AsyncCommands as _;

use crate::notebook::{Notebook, Notebooks, id};

pub const DURABLE: &str = "order-info-notebook";

/// What a master has committed, and its feed.
#[derive(Clone, Default)]
pub struct Log {
    events: Arc<Mutex<Vec<Envelope>>>,
    down: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Log {
    pub fn append(&self, events: &[Envelope]) {
        let mut log = self.events.lock().unwrap();
        for event in events {
            let position = log.len() as u64 + 1;
            log.push(Envelope {
                position,
                ..event.clone()
            });
        }
    }

    /// Commits the next event of a notebook.
    pub fn append_next(&self, number: usize, event: impl FnOnce(u64) -> Envelope) -> Envelope {
        let mut log = self.events.lock().unwrap();
        let known = log.iter().rev().find(|event| event.stream == id(number));
        let event = event(known.map_or(1, |event| event.version + 1));
        log.push(event.clone());
        event
    }

    pub fn of(&self, number: usize) -> Vec<Envelope> {
        let log = self.events.lock().unwrap();
        log.iter().filter(|event| event.stream == id(number)).cloned().collect()
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// How often the feed was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn feeds(&self) -> Feeds {
        let log = self.clone();
        Feeds::new(move |owner, path| {
            assert_eq!(owner, "order-master");
            let answer = log.answer(&path);
            async move { answer }
        })
    }

    fn answer(&self, path: &str) -> Result<axum::body::Bytes, mesh_bus::BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err("the master is down".into());
        }
        let log = self.events.lock().unwrap();
        let (route, query) = path.split_once('?').expect("a query");
        let parameters: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let after = parameters.get("after").copied().unwrap_or_default();
        let limit: usize = parameters.get("limit").map_or(Ok(usize::MAX), |limit| limit.parse())?;
        let body = match route.strip_prefix("/feed").expect("a feed") {
            "" => {
                let version: u64 = parameters["version"].parse()?;
                let events = log.iter().map(|event| ((event.stream.as_str(), event.version), event));
                let sorted: BTreeMap<_, _> = events.filter(|(place, _)| *place > (after, version)).collect();
                serde_json::to_vec(&sorted.into_values().take(limit).collect::<Vec<_>>())?
            }
            "/heads" => {
                let mut heads = BTreeMap::new();
                for event in log.iter().filter(|event| event.stream.as_str() > after) {
                    heads.insert(event.stream.clone(), event.version);
                }
                serde_json::to_vec(&heads.into_iter().take(limit).collect::<Vec<_>>())?
            }
            "/extent" => {
                let streams: BTreeSet<&str> = log.iter().map(|event| event.stream.as_str()).collect();
                serde_json::to_vec(&Extent {
                    streams: streams.len() as u64,
                    events: log.len() as u64,
                })?
            }
            stream => {
                let stream = stream.strip_prefix("/streams/").expect("a stream");
                let after: u64 = after.parse()?;
                let of_stream = log
                    .iter()
                    .filter(|event| event.stream == stream && event.version > after)
                    .take(limit);
                serde_json::to_vec(&of_stream.collect::<Vec<_>>())?
            }
        };
        Ok(body.into())
    }
}

pub struct World {
    pub stage: Stage,
    pub log: Log,
    pub bus: Bus,
    pub redis: RedisAccess,
    pub projection: Projection,
    pub shutdown: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl World {
    /// A projection that runs and is complete.
    pub async fn new() -> Self {
        let world = Self::unfilled(Log::default()).await;
        world.filled().await;
        world
    }

    /// A projection that runs, over a log that may have events already.
    pub async fn unfilled(log: Log) -> Self {
        let stage = Stage::new();
        let redis = stage.redis().await;
        Self::over(stage, redis, log).await
    }

    pub async fn over(stage: Stage, redis: RedisAccess, log: Log) -> Self {
        let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
        bus.ensure_streams(&[Context::Order]).await.unwrap();
        let shutdown = Shutdown::new();
        let projection = project::<Notebooks>(
            RedisConfig::new(&redis.url, &redis.prefix),
            &log,
            &stage,
            DURABLE,
            &shutdown,
        )
        .await;
        Self {
            stage,
            log,
            bus,
            redis,
            projection,
            shutdown,
        }
    }

    /// A second process of the same service, with a consumer of its own.
    pub async fn another(&self, durable: &str) -> Projection {
        self.another_build::<Notebooks>(durable).await
    }

    /// The same with a view of its own.
    pub async fn another_build<V: View>(&self, durable: &str) -> Projection {
        project::<V>(self.config(), &self.log, &self.stage, durable, &self.shutdown).await
    }

    /// The same, comparing everything with the master this often.
    pub async fn auditing(&self, durable: &str, period: Duration) -> Projection {
        let config = RedisConfig {
            audit_period: period,
            ..self.config()
        };
        project::<Notebooks>(config, &self.log, &self.stage, durable, &self.shutdown).await
    }

    fn config(&self) -> RedisConfig {
        RedisConfig::new(&self.redis.url, &self.redis.prefix)
    }

    /// Somebody looks at these notebooks: what happens to them is announced from now on.
    pub async fn come_to(&self, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            let live = self.projection.live(format!("order:{}", id(number)));
            live.open(None, Shutdown::new()).await.expect("a snapshot");
        }
    }

    /// Committed, and on the bus.
    pub async fn happen(&self, events: &[Envelope]) {
        self.log.append(events);
        self.publish(events).await;
    }

    pub async fn publish(&self, events: &[Envelope]) {
        for event in events {
            self.bus.publish(event).await.unwrap().await.unwrap();
        }
    }

    pub async fn filled(&self) {
        let mut filled = self.projection.filled();
        filled.wait_for(|filled| *filled).await.unwrap();
    }

    pub async fn get(&self, number: usize) -> Option<Read<Notebook>> {
        self.projection.get::<Notebooks>(&id(number)).await.unwrap()
    }

    pub async fn reaches(&self, number: usize, version: u64) -> Read<Notebook> {
        eventually("the document reaches the version", async || {
            self.get(number).await.filter(|read| read.version >= version)
        })
        .await
    }

    pub async fn holders(&self, holder: &str) -> Vec<String> {
        let page = self
            .projection
            .list::<Notebooks>("holder", holder, None, 100)
            .await
            .unwrap();
        page.items.into_iter().map(|read| read.id).collect()
    }

    /// What the document must be.
    pub fn folded(&self, number: usize) -> Notebook {
        fold_all::<Notebooks>(&self.log.of(number)).unwrap().expect("events")
    }

    /// Takes from Redis what FLUSHALL does, for our keys alone.
    pub async fn flush(&self) {
        let mut raw = self.raw().await;
        let mut cursor = 0;
        loop {
            let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(self.key("*"))
                .arg("COUNT")
                .arg(1_000)
                .query_async(&mut raw)
                .await
                .unwrap();
            if !keys.is_empty() {
                redis::cmd("DEL").arg(keys).exec_async(&mut raw).await.unwrap();
            }
            cursor = next;
            if cursor == 0 {
                return;
            }
        }
    }

    /// A connection of the service's own user.
    pub async fn raw(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.redis.url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Where the current edition has a document.
    pub async fn document_key(&self, number: usize) -> String {
        let field = keys::current("notebook");
        let edition: String = self.raw().await.hget(self.key("sentinel"), field).await.unwrap();
        keys::document(&self.redis.prefix, &edition, &id(number))
    }

    pub fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.redis.prefix)
    }
}

async fn project<V: View>(
    config: RedisConfig,
    log: &Log,
    stage: &Stage,
    durable: &str,
    shutdown: &Shutdown,
) -> Projection {
    let bus = Bus::connect(stage.bus("order-info")).await.unwrap();
    let projection = Projection::connect(config, log.feeds()).await.unwrap();
    let run = projection.run::<V>(&bus, Context::Order, "ord_", durable, shutdown.clone());
    tokio::spawn(run);
    let (listening, until) = (projection.clone(), shutdown.clone());
    tokio::spawn(async move { listening.listen(until).await });
    projection
}
