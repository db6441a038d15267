//! A kitchen at its live queue: answers tickets, cooks, calls what is done.

use std::collections::HashSet;
use std::future::Future;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use mesh_contracts::api::StockQuantity;
use mesh_contracts::id::{FoodPointId, IngredientId, OrderId};
use mesh_contracts::order::{Event, Reason};
use mesh_contracts::view::order::Ticket;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{key_of, unless_too_late};
use crate::client::live::Happened;
use crate::client::{News, Person};

/// Who cooks where.
#[derive(Clone)]
pub struct Kitchen {
    /// Of the kitchen's staff.
    pub person: Person,
    /// Which kitchen.
    pub point: FoodPointId,
}

/// What a kitchen says to a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Will cook it until then; by the recipes, if it does not say.
    Accept {
        /// When it will be ready.
        ready_by: Option<Timestamp>,
    },
    /// Won't.
    Reject(Reason),
    /// Says nothing: nobody is there.
    Silence,
    /// Won't, since that is gone; and says so of the shelf, too.
    OutOf(IngredientId),
}

/// How a kitchen works.
pub trait Cook: Clone + Send + Sync + 'static {
    /// What it says to a ticket, once it has looked at it.
    fn answer(&self, order: OrderId, attempt: u32) -> impl Future<Output = Answer> + Send;

    /// Waits until the food is done.
    fn is_done(&self, order: OrderId, ready_by: Timestamp) -> impl Future<Output = ()> + Send;

    /// Whether it says that it starts, or leaves that to the clock.
    fn says_when_it_starts(&self) -> bool;

    /// Whether it finds out that it can't cook what it has accepted, before it is on the stove.
    fn regrets(&self, _: OrderId) -> impl Future<Output = Option<Reason>> + Send {
        async { None }
    }

    /// Waits until there is some again of what was out; so much.
    fn restocks(&self) -> impl Future<Output = StockQuantity> + Send {
        std::future::pending()
    }

    /// Waits until somebody is there again, after a ticket was left unanswered.
    fn is_back(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The platform has taken note that an order was turned down, left unanswered or stopped.
    fn refused(&self, _: OrderId) {}
}

/// Works until aborted, or until the door is shut for good.
pub async fn work<C: Cook>(kitchen: Kitchen, cook: C) -> Result<()> {
    let mut tickets = kitchen.person.tickets_live(kitchen.point);
    let mut shift = Shift {
        kitchen,
        cook,
        asked: HashSet::new(),
        on_stove: HashSet::new(),
        hands: JoinSet::new(),
    };
    loop {
        tokio::select! {
            news = tickets.next() => match news.context("the tickets ended")? {
                News::Snapshot(documents) => documents.iter().for_each(|document| shift.see(document)),
                News::Event(happened) => shift.hear(&happened),
                News::Resumed => {}
                News::Refused(failure) => return Err(failure).context("a kitchen may not see its tickets"),
            },
            Some(done) = shift.hands.join_next() => done??,
        }
    }
}

struct Shift<C> {
    kitchen: Kitchen,
    cook: C,
    /// Tickets, by attempt: the same order may be offered again after it was elsewhere.
    asked: HashSet<(OrderId, u32)>,
    on_stove: HashSet<OrderId>,
    hands: JoinSet<Result<()>>,
}

impl<C: Cook> Shift<C> {
    /// A ticket as it stands.
    fn see(&mut self, document: &Value) {
        let parsed = (
            document["id"].as_str().and_then(|id| id.parse().ok()),
            serde_json::from_value(document["ticket"].clone()),
            document["attempt"]
                .as_u64()
                .and_then(|attempt| u32::try_from(attempt).ok()),
        );
        let (Some(order), Ok(ticket), Some(attempt)) = parsed else {
            tracing::warn!(%document, "a ticket is not understood");
            return;
        };
        match ticket {
            Ticket::Offered => self.offered(order, attempt),
            Ticket::Queued | Ticket::Cooking => {
                if let Ok(ready_by) = serde_json::from_value(document["ready_by"].clone()) {
                    self.assigned(order, ready_by);
                }
            }
            // The confirmation is on its way.
            Ticket::Accepted => {}
            Ticket::None
            | Ticket::Ready
            | Ticket::HandedOver
            | Ticket::Rejected
            | Ticket::TimedOut
            | Ticket::Cancelled => {}
        }
    }

    /// What happened to a ticket.
    fn hear(&mut self, happened: &Happened) {
        let Ok(order) = happened.stream.parse::<OrderId>() else {
            return;
        };
        let here = |food_point: FoodPointId| food_point == self.kitchen.point;
        match happened.body::<Event>() {
            Some(Event::TicketOffered {
                attempt, food_point, ..
            }) if here(food_point) => self.offered(order, attempt),
            Some(Event::Assigned {
                food_point, ready_by, ..
            }) if here(food_point) => self.assigned(order, ready_by),
            Some(Event::TicketStopped { food_point, .. }) if here(food_point) => {
                self.on_stove.remove(&order);
            }
            Some(Event::TicketTimedOut { food_point, .. }) if here(food_point) => self.missed(order),
            // Nobody could cook it, this kitchen neither: the order's time may be over before the ticket's is.
            Some(Event::Rejected { .. }) => {
                self.cook.refused(order);
                self.over(order);
            }
            Some(
                Event::Completed { .. } | Event::Expired { .. } | Event::Cancelled { .. } | Event::Undelivered { .. },
            ) => self.over(order),
            Some(_) | None => {}
        }
    }

    fn offered(&mut self, order: OrderId, attempt: u32) {
        if !self.asked.insert((order, attempt)) {
            return;
        }
        let (kitchen, cook) = (self.kitchen.clone(), self.cook.clone());
        self.hands.spawn(async move {
            let ticket = format!("{order}/{attempt}");
            match cook.answer(order, attempt).await {
                Answer::Accept { ready_by } => accept(&kitchen.person, order, ready_by, &ticket).await,
                Answer::Reject(reason) => reject(&kitchen, &cook, order, reason, &ticket).await,
                Answer::Silence => Ok(()),
                Answer::OutOf(ingredient) => run_out(&kitchen, &cook, order, ingredient, &ticket).await,
            }
        });
    }

    fn over(&mut self, order: OrderId) {
        self.asked.retain(|(asked, _)| *asked != order);
        self.on_stove.remove(&order);
    }

    /// A point that misses tickets pauses itself; whoever comes back opens it, whether it did or not.
    fn missed(&mut self, order: OrderId) {
        self.cook.refused(order);
        let (kitchen, cook) = (self.kitchen.clone(), self.cook.clone());
        self.hands.spawn(async move {
            cook.is_back().await;
            unless_too_late(kitchen.person.set_open(kitchen.point, true).await).map(drop)
        });
    }

    fn assigned(&mut self, order: OrderId, ready_by: Timestamp) {
        if !self.on_stove.insert(order) {
            return;
        }
        let (person, cook) = (self.kitchen.person.clone(), self.cook.clone());
        self.hands.spawn(async move {
            if let Some(reason) = cook.regrets(order).await {
                let told = person.stop_cooking(order, reason, &key_of("stop", order)).await;
                if unless_too_late(told)?.is_some() {
                    cook.refused(order);
                    return Ok(());
                }
            }
            if cook.says_when_it_starts() {
                unless_too_late(person.start_cooking(order, &key_of("start", order)).await)?;
            }
            cook.is_done(order, ready_by).await;
            unless_too_late(person.mark_ready(order, &key_of("ready", order)).await).map(drop)
        });
    }
}

async fn reject<C: Cook>(kitchen: &Kitchen, cook: &C, order: OrderId, reason: Reason, ticket: &str) -> Result<()> {
    let told = kitchen
        .person
        .reject_ticket(order, reason, &key_of("reject", ticket))
        .await;
    if unless_too_late(told)?.is_some() {
        cook.refused(order);
    }
    Ok(())
}

/// First the shelf, so that nobody orders it meanwhile.
async fn run_out<C: Cook>(
    kitchen: &Kitchen,
    cook: &C,
    order: OrderId,
    ingredient: IngredientId,
    ticket: &str,
) -> Result<()> {
    let Kitchen { person, point } = kitchen;
    let told = person.mark_gone(*point, ingredient, &key_of("gone", ticket)).await;
    unless_too_late(told)?;
    reject(kitchen, cook, order, Reason::IngredientUnavailable, ticket).await?;
    let quantity = cook.restocks().await;
    let told = person
        .mark_back(*point, ingredient, quantity, &key_of("back", ticket))
        .await;
    // Two who find the same shelf empty fill it once.
    unless_too_late(told).map(drop)
}

async fn accept(person: &Person, order: OrderId, ready_by: Option<Timestamp>, ticket: &str) -> Result<()> {
    let told = person.accept_ticket(order, ready_by, &key_of("accept", ticket)).await;
    match told {
        // The promised time passed while the promise was under way: promise what the recipes say.
        Err(failure) if ready_by.is_some() && failure.status() == Some(http::StatusCode::UNPROCESSABLE_ENTITY) => {
            let again = person.accept_ticket(order, None, &key_of("accept-late", ticket)).await;
            unless_too_late(again).map(drop)
        }
        told => unless_too_late(told).map(drop),
    }
}
