//! What notifier answers: its feed, to those who hear it and to those who audit it. Nobody can tell it to send.

use axum::Router;
use mesh_eventstore::{Store, feed};
use mesh_identity::peer;
use mesh_runtime::server;

const READERS: &[&str] = &["order-master", "tiffin"];

/// Everything this service answers.
pub fn router(store: Store) -> Router {
    server::with_layers(feed::routes(store).layer(peer::allow(READERS)))
}
