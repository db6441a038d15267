//! What others' events and our own deadlines make this service do. The rules are in `domain`; here is only the wiring.

use std::sync::Arc;

use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::Context;
use mesh_eventstore::inbox::{Drained, Fault, Handled, Inbox, Part, settled};
use mesh_eventstore::timers::{self, Timer};
use mesh_eventstore::{Aggregate as _, BoxError, Request};
use mesh_runtime::Shutdown;

use crate::domain::delivery::Command;
use crate::domain::{Heard, hear};
use crate::streams::Deliveries;
use crate::{App, NAME};

/// Orders ask for couriers, are ready, and end.
pub async fn orders(app: &Arc<App>, inbox: &Inbox, drained: Part, shutdown: Shutdown) {
    inbox
        .run(Context::Order, drained, shutdown, |event| apply(app.clone(), event))
        .await;
}

/// People become couriers.
pub async fn people(app: &Arc<App>, inbox: &Inbox, drained: Part, shutdown: Shutdown) {
    inbox
        .run(Context::User, drained, shutdown, |event| apply(app.clone(), event))
        .await;
}

/// Offers lapse, and food that nobody fetches goes to another courier.
pub async fn deadlines(app: &Arc<App>, drained: Drained, shutdown: Shutdown) {
    let store = app.deliveries.store();
    timers::run(store, Deliveries::CATEGORY, drained, shutdown, |timer| {
        fire(app.clone(), timer)
    })
    .await;
}

async fn apply(app: Arc<App>, event: Envelope) -> Result<Handled, Fault> {
    let request = Request::because(NAME, &event);
    match hear(&event)? {
        None => Ok(Handled::Ignored),
        Some(Heard::Delivery(id, command)) => settled(app.on_delivery(id, request, command).await),
        Some(Heard::Courier(id, command)) => settled(app.on_courier(id, request, command).await),
    }
}

async fn fire(app: Arc<App>, timer: Timer) -> Result<(), BoxError> {
    let request = Request::timer(NAME, &timer);
    let id = timer.stream.parse()?;
    let command = Command::of_timer(&timer.kind).ok_or("no timer of this build")?;
    app.on_delivery(id, request, command).await?;
    Ok(())
}
