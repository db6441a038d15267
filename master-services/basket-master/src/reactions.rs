//! What others' events make this service do, and the one look at an order that a checkout leaves behind.

use mesh_bus::Bus;
use mesh_bus::feed::Feeds;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{BasketId, OrderId, ProductId};
use mesh_contracts::subject::Context;
use mesh_contracts::view::basket::Basket;
use mesh_contracts::view::payment::Payment;
use mesh_eventstore::inbox::{self, Drained, Fault, Handled, Inbox, Part};
use mesh_eventstore::timers::{self, Timer};
use mesh_eventstore::{BoxError, Request};
use mesh_runtime::Shutdown;

use crate::domain::{self, basket, payment};
use crate::store::TableError;
use crate::{App, NAME};

/// Orders say which money they want and what is due.
pub async fn hear_orders(app: &App, bus: &Bus, feeds: &Feeds, drained: Part, shutdown: Shutdown) {
    let inbox = Inbox::new(app.store(), bus, feeds, NAME);
    inbox
        .run(Context::Order, drained, shutdown, |event| hear_order(app, event))
        .await;
}

/// Products say what they cost and where, promotions what comes off that.
pub async fn hear_menu(app: &App, bus: &Bus, feeds: &Feeds, drained: Part, shutdown: Shutdown) {
    let inbox = Inbox::new(app.store(), bus, feeds, NAME);
    inbox
        .run(Context::Menu, drained, shutdown, |event| hear_the_menu(app, event))
        .await;
}

/// A checkout whose order was never placed gives its lines back, until shutdown.
pub async fn reopen_baskets(app: &App, feeds: &Feeds, drained: Drained, shutdown: Shutdown) {
    let reopen = |timer: Timer| async move { reopen(app, feeds, timer).await };
    timers::run(app.store(), BasketId::PREFIX, drained, shutdown, reopen).await;
}

/// The settler takes the step at once; the timer `drive`, set with the event, is the net under it.
async fn hear_order(app: &App, event: Envelope) -> Result<Handled, Fault> {
    let Some((id, command)) = domain::hear(&event)? else {
        return Ok(Handled::Ignored);
    };
    let ends_free = matches!(&command, payment::Command::Due { amount, is_final: true, .. } if amount.amount <= 0);
    let mut request = Request::because(NAME, &event);
    request.starts = matches!(&command, payment::Command::Open { .. });
    let policy = app.policy.clone();
    let decide = move |payment: Option<&Payment>, now| payment::decide_and_drive(payment, &command, now, &policy);
    let submitted = app.payments.submit(id, request, decide).await;
    app.books.note(id);
    let no_payment = matches!(&submitted, Ok(outcome) if outcome.answer.version == 0);
    let handled = inbox::settled(submitted)?;
    if no_payment {
        // The order ended before any money was asked for: its token has no use any more.
        app.tables.drop_tokens_of(id.order());
    } else if handled == Handled::Done || ends_free {
        // Where no step is left to take, no timer makes the settler forget the card.
        app.settler.kick(id, event.meta.traceparent);
    }
    Ok(handled)
}

async fn hear_the_menu(app: &App, event: Envelope) -> Result<Handled, Fault> {
    // Gated by its version, so that the mark may follow in a transaction of its own.
    let heard = match event.stream.parse::<ProductId>() {
        Ok(_) => app.tables.hear_product(&event).await,
        Err(_) => app.tables.hear_promotion(&event).await,
    };
    heard.map_err(|err| match err {
        TableError::Database(err) => Fault::later(err),
        TableError::Body(err) => Fault::poison(err),
    })?;
    // A promotion changes no basket: what it takes off is known at checkout.
    if let Ok(product) = event.stream.parse::<ProductId>() {
        app.reprice_all(&event, product).await?;
    }
    Ok(Handled::Ignored)
}

async fn reopen(app: &App, feeds: &Feeds, timer: Timer) -> Result<(), BoxError> {
    let id: BasketId = timer.stream.parse()?;
    let checkout = app.baskets.load(id).await?.and_then(|(basket, _)| basket.checkout);
    let never_placed = match &checkout {
        Some(checkout) => was_never_placed(feeds, checkout.order).await?.then_some(checkout.order),
        None => None,
    };
    let decide = move |basket: Option<&Basket>, now| match never_placed {
        Some(order) => basket::decide(basket, &basket::Command::Reopen { order }, now),
        None => Ok(Vec::new()),
    };
    app.baskets.submit(id, Request::timer(NAME, &timer), decide).await?;
    match (never_placed, checkout) {
        (Some(order), _) => {
            app.tables.drop_tokens_of(order);
            // The menu may have changed while the lines were away.
            app.reprice(id).await?;
        }
        (None, Some(placed)) => {
            let lines = placed.quote.lines.iter();
            app.tables.forget_lines(id, lines.map(|line| line.product)).await?;
        }
        (None, None) => {}
    }
    Ok(())
}

/// Asked of the order's owner, not of what we heard: a message may still be on its way.
async fn was_never_placed(feeds: &Feeds, order: OrderId) -> Result<bool, BoxError> {
    Ok(feeds.stream(&order.to_string(), 0, 1).await?.is_empty())
}
