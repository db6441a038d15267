use std::time::Duration;

use mesh_testkit::{Stage, run};
use sqlx::{Connection as _, Executor as _, PgConnection};

#[tokio::test]
async fn a_serving_role_enters_its_own_database_only() {
    let stage = Stage::new();
    let (mine, other) = (stage.database().await, stage.database().await);
    let mut owner = PgConnection::connect(&mine.owner_url).await.expect("the owner enters");
    owner
        .execute("CREATE TABLE things (id int)")
        .await
        .expect("the owner makes tables");
    let mut serving = PgConnection::connect(&mine.url).await.expect("the serving role enters");
    serving
        .execute("CREATE TABLE more (id int)")
        .await
        .expect_err("the serving role makes no tables");
    serving
        .execute("SELECT * FROM things")
        .await
        .expect_err("nothing was granted");
    let elsewhere = mine
        .url
        .replace(&format!("/{}?", mine.name), &format!("/{}?", other.name));
    PgConnection::connect(&elsewhere)
        .await
        .expect_err("another's database stays closed");
}

#[tokio::test]
async fn a_redis_user_reaches_its_own_prefix_only() {
    let stage = Stage::new();
    let (mine, other) = (stage.redis().await, stage.redis().await);
    let client = redis::Client::open(mine.url.as_str()).expect("a good URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("the user enters");
    let set = |key: String| redis::cmd("SET").arg(key).arg(1).to_owned();
    set(format!("{}a", mine.prefix))
        .exec_async(&mut connection)
        .await
        .expect("its own key");
    set(format!("{}a", other.prefix))
        .exec_async(&mut connection)
        .await
        .expect_err("another's key");
    redis::cmd("FLUSHALL")
        .exec_async(&mut connection)
        .await
        .expect_err("everybody's keys");
    let library = "#!lua name=kit_test_v1\nredis.register_function('kit_get_v1', function(keys) return redis.call('GET', keys[1]) end)";
    redis::cmd("FUNCTION")
        .arg("LOAD")
        .arg("REPLACE")
        .arg(library)
        .exec_async(&mut connection)
        .await
        .expect("a function");
    let call = |key: String| redis::cmd("FCALL").arg("kit_get_v1").arg(1).arg(key).to_owned();
    let value: String = call(format!("{}a", mine.prefix))
        .query_async(&mut connection)
        .await
        .expect("its own key");
    assert_eq!(value, "1");
    call(format!("{}a", other.prefix))
        .exec_async(&mut connection)
        .await
        .expect_err("another's key");
}

#[tokio::test]
async fn only_the_owner_of_a_context_may_publish_its_events() {
    let stage = Stage::new();
    let subject = format!("{}ev.local.ORDER.3", stage.bus_prefix());
    let admin = async_nats::jetstream::new(stage.bus_admin().await);
    let config = async_nats::jetstream::stream::Config {
        name: format!("{}ORDER", stage.bus_prefix()),
        subjects: vec![format!("{}ev.local.ORDER.*", stage.bus_prefix())],
        ..Default::default()
    };
    admin
        .create_stream(config)
        .await
        .expect("the administrator makes streams");
    let publish = async |service: &str| {
        let config = stage.bus(service);
        let client = async_nats::ConnectOptions::with_user_and_password(config.user, config.password)
            .connect(config.url)
            .await
            .expect("every service enters");
        let jetstream = async_nats::jetstream::context::ContextBuilder::new()
            .timeout(Duration::from_secs(2))
            .build(client);
        jetstream
            .publish(subject.clone(), "{}".into())
            .await
            .expect("sent")
            .await
            .is_ok()
    };
    assert!(publish("order-master").await);
    assert!(!publish("basket-master").await);
    assert!(!publish("order-info").await);
}

#[tokio::test]
#[should_panic(expected = "1 outbox rows")]
async fn a_test_that_leaves_an_outbox_row_fails() {
    run(async |stage| {
        let database = stage.database().await;
        let mut owner = PgConnection::connect(&database.owner_url)
            .await
            .expect("the owner enters");
        owner
            .execute("CREATE TABLE outbox (position bigint); INSERT INTO outbox VALUES (1)")
            .await
            .expect("a row");
    })
    .await;
}
