use std::time::Duration;

use mesh_bus::Bus;
use mesh_contracts::subject::Context;
use mesh_testkit::{certificates, eventually};

use crate::events::{Notes, event, note_everything, publish, stream};
use crate::own_server::OwnServer;

#[tokio::test(flavor = "multi_thread")]
async fn events_travel_over_tls() {
    let folder = certificates::bundle("order-master");
    let server = OwnServer::start_with_tls(folder.clone()).await;
    let mut config = server.config();
    config.ca_file = Some(folder.join("ca.crt"));
    let bus = Bus::connect(config).await.unwrap();
    bus.ensure_streams(&[Context::Order]).await.unwrap();
    let notes = Notes::default();
    let _consumer = note_everything(&bus, &notes);
    publish(&bus, &[event(&stream(1), 1)]).await;
    eventually("the event arrives", || notes.has(stream(1), 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_our_authority_did_not_sign_is_not_talked_to() {
    let server = OwnServer::start_with_tls(certificates::of_another_authority("order-master")).await;
    let mut config = server.config();
    config.ca_file = Some(certificates::bundle("order-master").join("ca.crt"));
    let bus = Bus::connect(config).await.unwrap();
    let connected = tokio::time::timeout(Duration::from_secs(1), bus.connected()).await;
    assert!(connected.is_err());
}
