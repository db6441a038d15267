use mesh_bus::Bus;
use mesh_contracts::subject::Context;
use mesh_projection::{Projection, RedisConfig};
use mesh_runtime::Shutdown;
use mesh_testkit::{Stage, certificates, eventually};

use crate::notebook::{Notebooks, given, id, shown};
use crate::own_redis::OwnRedis;
use crate::sse::Client;
use crate::world::{DURABLE, Log};

async fn projection(redis: &OwnRedis, stage: &Stage, log: &Log, shutdown: &Shutdown) -> Projection {
    let access = redis.access();
    let mut config = RedisConfig::new(access.url, access.prefix);
    config.ca_file = Some(certificates::bundle("order-info").join("ca.crt"));
    let projection = Projection::connect(config, log.feeds()).await.unwrap();
    let bus = Bus::connect(stage.bus("order-master")).await.unwrap();
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    tokio::spawn(projection.run::<Notebooks>(&bus, Context::Order, "ord_", DURABLE, shutdown.clone()));
    let (listening, until) = (projection.clone(), shutdown.clone());
    tokio::spawn(async move { listening.listen(until).await });
    projection
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_live_topics_travel_over_tls() {
    let redis = OwnRedis::start_with_tls(certificates::bundle("order-info")).await;
    let (stage, log, shutdown) = (Stage::new(), Log::default(), Shutdown::new());
    log.append(&[given(1, 1, "ann")]);
    let projection = projection(&redis, &stage, &log, &shutdown).await;
    projection.filled().wait_for(|filled| *filled).await.unwrap();
    assert!(projection.get::<Notebooks>(&id(1)).await.unwrap().is_some());
    let response = projection
        .live("point:ann")
        .showing::<Notebooks>(shown)
        .open(None, shutdown.clone())
        .await
        .unwrap();
    let mut client = Client::of(response);
    assert_eq!(client.next().await.documents(), [(id(1), 1)]);
    log.append(&[given(1, 2, "ann")]);
    projection.await_token(&[(id(1), 2)]).await.unwrap();
    assert_eq!(client.next().await.version(), 2);
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_our_authority_did_not_sign_is_not_talked_to() {
    let redis = OwnRedis::start_with_tls(certificates::of_another_authority("order-info")).await;
    let (stage, log, shutdown) = (Stage::new(), Log::default(), Shutdown::new());
    log.append(&[given(1, 1, "ann")]);
    let projection = projection(&redis, &stage, &log, &shutdown).await;
    // The master answers all the same.
    let asked = log.asked();
    eventually("the master answers", async || {
        projection.get::<Notebooks>(&id(1)).await.unwrap()
    })
    .await;
    assert!(log.asked() > asked);
    assert!(!*projection.filled().borrow());
    shutdown.trigger();
}
