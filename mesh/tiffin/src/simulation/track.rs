//! An order as its customer's screen shows it: folded from the live stream, from the first look to the end.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use mesh_contracts::id::{CourierId, FoodPointId, OrderId};
use mesh_contracts::order::{Event, Status};
use serde_json::Value;

use crate::client::live::Happened;
use crate::client::{News, Person};

/// What a customer knows of an order by now.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Where it stands.
    pub status: Status,
    /// Who cooks it.
    pub food_point: Option<FoodPointId>,
    /// When it is to be ready.
    pub ready_by: Option<Timestamp>,
    /// Who brings it.
    pub courier: Option<CourierId>,
    /// Cards declined so far.
    pub declines: u32,
    /// It is on the stove, or was.
    pub cooking_began: bool,
    /// When it reached each status, as far as it was seen.
    pub reached: Vec<(Status, Timestamp)>,
}

impl Track {
    /// Just placed.
    pub fn new() -> Self {
        Self {
            status: Status::Created,
            food_point: None,
            ready_by: None,
            courier: None,
            declines: 0,
            cooking_began: false,
            reached: Vec::new(),
        }
    }

    /// When it reached a status, if that was seen.
    pub fn at(&self, status: Status) -> Option<Timestamp> {
        self.reached
            .iter()
            .find(|(known, _)| *known == status)
            .map(|(_, at)| *at)
    }

    /// One event further.
    pub fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Created(_) => self.reach(Status::Created, at),
            Event::Paid { .. } => self.reach(Status::Paid, at),
            Event::TicketAccepted { ready_by, .. } | Event::ReadyOverdue { ready_by } => {
                self.ready_by = Some(*ready_by)
            }
            Event::Assigned {
                food_point, ready_by, ..
            } => {
                self.food_point = Some(*food_point);
                self.ready_by = Some(*ready_by);
                self.reach(Status::Assigned, at);
            }
            Event::Ready { .. } => self.reach(Status::Ready, at),
            Event::CourierAssigned { courier } => self.courier = Some(*courier),
            Event::CourierUnassigned { .. } => self.courier = None,
            Event::CourierChanged { courier, .. } => self.courier = Some(*courier),
            Event::InDelivery { courier, .. } => {
                self.courier = Some(*courier);
                self.reach(Status::InDelivery, at);
            }
            Event::Completed { .. } => self.reach(Status::Completed, at),
            Event::Rejected { .. } => self.reach(Status::Rejected, at),
            Event::Expired { .. } => self.reach(Status::Expired, at),
            Event::Cancelled { .. } => self.reach(Status::Cancelled, at),
            Event::Undelivered { .. } => self.reach(Status::Undelivered, at),
            Event::PaymentDeclined { count } => self.declines = *count,
            Event::CookingStarted {} => self.cooking_began = true,
            Event::HoldRequested { .. }
            | Event::HoldHeld { .. }
            | Event::HoldFailed { .. }
            | Event::HoldTimedOut { .. }
            | Event::HoldAbandoned { .. }
            | Event::PaymentRequested { .. }
            | Event::TicketOffered { .. }
            | Event::TicketRejected { .. }
            | Event::TicketTimedOut { .. }
            | Event::TicketStopped { .. }
            | Event::DeliveryRequested { .. }
            | Event::CourierMissing {}
            | Event::DeliveryOverdue {}
            | Event::DeliveryAttempted { .. }
            | Event::SettlementDue { .. } => {}
        }
    }

    fn reach(&mut self, status: Status, at: Timestamp) {
        self.status = status;
        self.reached.push((status, at));
    }

    /// As a document shows it; the times in between stay unknown.
    fn see(&mut self, document: &Value) -> Option<()> {
        let status = serde_json::from_value(document["status"].clone()).ok()?;
        if status != self.status {
            self.status = status;
            self.reached
                .extend(field(&document["updated_at"]).map(|at| (status, at)));
        }
        self.food_point = field(&document["food_point"]).or(self.food_point);
        self.ready_by = field(&document["ready_by"]).or(self.ready_by);
        self.courier = field(&document["courier"]);
        self.declines = field(&document["declines"]).unwrap_or(self.declines);
        self.cooking_began |= document["ticket"] == "cooking";
        Some(())
    }
}

impl Default for Track {
    fn default() -> Self {
        Self::new()
    }
}

fn field<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

/// Follows an order to its end; `look` sees every change and the event that made it, if it was heard.
pub async fn follow(
    person: &Person,
    order: OrderId,
    seen: Option<String>,
    mut look: impl FnMut(&Track, Option<&Happened>),
) -> Result<Track> {
    let mut live = person.order_live(order, seen);
    let mut track = Track::new();
    loop {
        match live
            .next()
            .await
            .context("an order's live stream ended before the order")?
        {
            News::Snapshot(documents) => {
                for document in &documents {
                    track.see(document).context("an order is not understood")?;
                }
                look(&track, None);
            }
            News::Event(happened) => {
                if let Some(event) = happened.body::<Event>() {
                    track.apply(&event, happened.at);
                }
                look(&track, Some(&happened));
            }
            News::Resumed => {}
            News::Refused(failure) => return Err(failure).context("a customer may not see the own order"),
        }
        if track.status.is_terminal() {
            return Ok(track);
        }
    }
}
