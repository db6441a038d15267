//! What others' events make this service do: an order's → a command for one food point, stored with its inbox mark;
//! a product's → stock opened and closed at every food point. And what is due.

use std::convert::Infallible;

use mesh_bus::Bus;
use mesh_bus::feed::Feeds;
use mesh_contracts::envelope::{Actor, Envelope};
use mesh_contracts::id::FoodPointId;
use mesh_contracts::subject::Context;
use mesh_contracts::view::point::FoodPoint;
use mesh_eventstore::inbox::{self, Drained, Fault, Handled, Inbox, Part};
use mesh_eventstore::timers::{self, Timer};
use mesh_eventstore::{BoxError, Outcome, Request, SubmitError};
use mesh_runtime::Shutdown;

use crate::domain::{self, Command, Needs, Rejection};
use crate::store::TableError;
use crate::{App, NAME};

/// Hears orders and products until shutdown. Only orders have to be drained before holds expire: stock can wait for
/// menu-master, orders can't.
pub async fn run(app: &App, bus: Bus, feeds: Feeds, orders: Part, shutdown: Shutdown) {
    let inbox = Inbox::new(app.points.store(), &bus, &feeds, NAME);
    let menu = Drained::new().part();
    tokio::join!(
        inbox.run(Context::Order, orders, shutdown.clone(), |event| hear_order(app, event)),
        inbox.run(Context::Menu, menu, shutdown.clone(), |event| hear_product(app, event)),
    );
}

/// Lets deadlines pass until shutdown, once what orders said has been heard.
pub async fn fire_timers(app: &App, drained: Drained, shutdown: Shutdown) {
    let fire = |timer: Timer| async move { fire(app, timer).await };
    timers::run(app.points.store(), FoodPointId::PREFIX, drained, shutdown, fire).await;
}

/// A point that nobody registered cannot answer; the order stops waiting for it by itself.
async fn hear_order(app: &App, event: Envelope) -> Result<Handled, Fault> {
    let Some((point, command)) = domain::hear(&event)? else {
        return Ok(Handled::Ignored);
    };
    let decide = move |point: Option<&FoodPoint>, now| domain::decide(point, command.clone(), now);
    inbox::settled(app.points.submit(point, Request::because(NAME, &event), decide).await)
}

/// The mark follows when every point is in line; until then the event comes again.
async fn hear_product(app: &App, event: Envelope) -> Result<Handled, Fault> {
    app.tables.hear_product(&event).await.map_err(|err| match err {
        TableError::Database(err) => Fault::later(err),
        TableError::Body(err) => Fault::poison(err),
    })?;
    // Whoever registers a point meanwhile finds the product in the table, or is found here.
    let mut aligned = app.aligned.lock().await;
    loop {
        let snapshot = app.tables.needs().await?;
        if *aligned == Some(snapshot.revision) {
            return Ok(Handled::Ignored);
        }
        for point in app.tables.food_points().await? {
            let step = format!("{point} at {}", snapshot.revision);
            let request = Request::step(NAME, &event, &step);
            inbox::settled(app.align(point, request, &snapshot.needs).await)?;
        }
        *aligned = Some(snapshot.revision);
    }
}

async fn fire(app: &App, timer: Timer) -> Result<(), BoxError> {
    if timer.kind == domain::NEEDS_TIMER {
        align_one(app, timer.stream.parse()?).await?;
    }
    let (request, kind) = (Request::timer(NAME, &timer), timer.kind);
    let decide = move |point: Option<&FoodPoint>, now| Ok::<_, Infallible>(domain::fire(point, &kind, now));
    app.points.submit(timer.stream, request, decide).await?;
    Ok(())
}

/// What was read is old when it has changed by the time it is stored: then once more.
async fn align_one(app: &App, point: FoodPointId) -> Result<(), BoxError> {
    let _alone = app.aligned.lock().await;
    loop {
        let snapshot = app.tables.needs().await?;
        let request = Request::by(Actor::timer(NAME));
        app.align(point, request, &snapshot.needs).await?;
        if app.tables.revision().await? == snapshot.revision {
            return Ok(());
        }
    }
}

impl App {
    async fn align(
        &self,
        point: FoodPointId,
        request: Request,
        needs: &Needs,
    ) -> Result<Outcome, SubmitError<Rejection>> {
        let command = Command::Align(needs.clone());
        let decide = move |point: Option<&FoodPoint>, now| domain::decide(point, command.clone(), now);
        self.points.submit(point, request, decide).await
    }
}
