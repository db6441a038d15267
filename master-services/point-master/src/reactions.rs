//! What orders make this service do: their event → a command for one food point, stored with its inbox mark.

use mesh_bus::Bus;
use mesh_bus::feed::Feeds;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_contracts::view::point::FoodPoint;
use mesh_eventstore::Request;
use mesh_eventstore::inbox::{self, Fault, Handled, Inbox, Part};
use mesh_runtime::Shutdown;

use crate::{App, NAME, domain};

/// Hears orders until shutdown.
pub async fn run(app: App, bus: Bus, feeds: Feeds, drained: Part, shutdown: Shutdown) {
    let inbox = Inbox::new(app.points.store(), &bus, &feeds, NAME);
    inbox
        .run(Context::Order, drained, shutdown, |event| react(&app, event))
        .await;
}

/// A point that nobody registered cannot answer; the order stops waiting for it by itself.
async fn react(app: &App, event: Envelope) -> Result<Handled, Fault> {
    let Some((point, command)) = domain::hear(&event)? else {
        return Ok(Handled::Ignored);
    };
    let decide = move |point: Option<&FoodPoint>, now| domain::decide(point, command.clone(), now);
    inbox::settled(app.points.submit(point, Request::because(NAME, &event), decide).await)
}
