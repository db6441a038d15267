//! What order-master hears: points answer holds, baskets promise money, couriers carry, notices are answered;
//! points and products are also remembered, to choose from.

use std::sync::Arc;

use mesh_bus::Bus;
use mesh_bus::feed::Feeds;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::FoodPointId;
use mesh_contracts::subject::Context;
use mesh_contracts::view::order::Order;
use mesh_eventstore::Request;
use mesh_eventstore::inbox::{Drained, Fault, Handled, Inbox, settled};
use mesh_runtime::Shutdown;

use crate::domain::{self, Command, closed, hear};
use crate::store::KnowledgeError;
use crate::{App, NAME};

/// Hears the five contexts until shutdown. Counts in `drained` from this call on, not from the first poll: timers
/// that looked before would fire over events that wait. They wait for the first four: that a customer was told moves
/// no order.
pub fn run(
    app: Arc<App>,
    bus: Bus,
    feeds: Feeds,
    drained: &Drained,
    shutdown: Shutdown,
) -> impl Future<Output = ()> + use<> {
    let heard = [Context::Point, Context::Menu, Context::Basket, Context::Courier];
    let heard = heard.map(|context| (context, drained.part()));
    async move {
        let inbox = Inbox::new(&app.store, &bus, &feeds, NAME);
        let listen = |(context, part)| {
            let app = app.clone();
            inbox.run(context, part, shutdown.clone(), move |event| apply(app.clone(), event))
        };
        let [point, menu, basket, courier] = heard.map(listen);
        let answers = inbox.run(Context::Notify, Drained::new().part(), shutdown.clone(), |event| {
            let app = app.clone();
            async move { app.answered(event).await }
        });
        tokio::join!(point, menu, basket, courier, answers);
    }
}

async fn apply(app: Arc<App>, event: Envelope) -> Result<Handled, Fault> {
    remember(&app, &event).await?;
    if let Some(food_point) = closed(&event)? {
        return close(&app, &event, food_point).await;
    }
    let Some((order, command)) = hear(&event)? else {
        return Ok(Handled::Ignored);
    };
    let policy = app.policy.clone();
    let is_first_answer = command.is_first_answer();
    let decided = app.orders.submit(
        order,
        Request::because(NAME, &event),
        move |order: Option<&Order>, now| domain::decide(order, command.clone(), now, &policy),
    );
    let handled = settled(decided.await)?;
    if is_first_answer && let Some((order, _)) = app.orders.recent(order).await.map_err(Fault::later)? {
        app.backlog.heard(app.clock.wall_since(order.placed_at));
    }
    Ok(handled)
}

/// Tells every order that the point holds something for; each is told once, and what is too late for it is no news.
async fn close(app: &App, event: &Envelope, food_point: FoodPointId) -> Result<Handled, Fault> {
    for order in app.knowledge.holding(food_point).await.map_err(Fault::later)? {
        let policy = app.policy.clone();
        let request = Request::step(NAME, event, &order.to_string());
        let decided = app.orders.submit(order, request, move |order: Option<&Order>, now| {
            domain::decide(order, Command::PointClosed(food_point), now, &policy)
        });
        settled(decided.await)?;
    }
    Ok(Handled::Ignored)
}

/// Before the inbox mark: a repeat after a crash finds the version there and changes nothing.
async fn remember(app: &App, event: &Envelope) -> Result<(), Fault> {
    let remembered = match Context::of_stream(&event.stream) {
        Some(Context::Point) => app.knowledge.hear_point(event).await,
        Some(Context::Menu) => app.knowledge.hear_product(event).await,
        Some(Context::Order | Context::Basket | Context::Courier | Context::User | Context::Notify) | None => Ok(()),
    };
    remembered.map_err(|err| match err {
        KnowledgeError::Database(err) => Fault::later(err),
        KnowledgeError::Write(err) => Fault::later(err),
        KnowledgeError::Body(err) => Fault::poison(err),
    })
}
