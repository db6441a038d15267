//! What the simulation tells whoever watches: one line per step of an order.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mesh_contracts::id::{CourierId, FoodPointId, OrderId};
use mesh_contracts::order::Status;
use mesh_contracts::user::Role;
use mesh_local::REGION;
use mesh_runtime::Clock;
use serde_json::json;

use super::Track;
use crate::chain::{Chain, Sold, Somebody};
use crate::client::live::Happened;
use crate::say;

/// Tells of orders by their short numbers, and of people and places by their names.
pub(super) struct Tale {
    region: String,
    clock: Clock,
    json: bool,
    colours: bool,
    kitchens: HashMap<FoodPointId, String>,
    couriers: HashMap<CourierId, String>,
    told: Mutex<HashMap<OrderId, Told>>,
}

struct Told {
    status: Option<Status>,
    placed_at: Timestamp,
    declines: u32,
}

impl Tale {
    pub(super) fn new(chain: &Chain, region: &str, clock: Clock, json: bool) -> Self {
        let kitchens = chain.shops.iter().map(|shop| (shop.id, shop.name.clone())).collect();
        let couriers = chain
            .of_role(Role::Courier)
            .filter_map(|somebody| Some((somebody.id?.courier(), somebody.name.clone())))
            .collect();
        Self {
            region: region.to_owned(),
            clock,
            json,
            colours: say::colours(),
            kitchens,
            couriers,
            told: Mutex::default(),
        }
    }

    /// Somebody has ordered.
    pub(super) fn ordered(&self, order: OrderId, customer: &Somebody, quantity: u32, product: &Sold) {
        let now = self.clock.now();
        let told = Told {
            status: Some(Status::Created),
            placed_at: now,
            declines: 0,
        };
        self.told().insert(order, told);
        let detail = format!("{} orders {quantity} × {}", customer.name, product.name);
        self.say(order, Status::Created, now, &detail);
    }

    /// An order has moved, or maybe not.
    pub(super) fn tell(&self, order: OrderId, track: &Track, happened: Option<&Happened>) {
        let at = happened.map_or_else(|| self.clock.now(), |happened| happened.at);
        let (is_news, is_declined, placed_at) = {
            let mut told = self.told();
            let told = told.entry(order).or_insert(Told {
                status: None,
                placed_at: at,
                declines: 0,
            });
            let is_news = told.status != Some(track.status);
            let is_declined = track.declines > told.declines;
            told.status = Some(track.status);
            told.declines = track.declines;
            (is_news, is_declined, told.placed_at)
        };
        if is_declined {
            self.say(order, Status::Created, at, "the card is declined, another one is tried");
        }
        if is_news {
            self.say(order, track.status, at, &self.detail(track, placed_at, at));
        }
        if track.status.is_terminal() {
            self.told().remove(&order);
        }
    }

    fn detail(&self, track: &Track, placed_at: Timestamp, at: Timestamp) -> String {
        let kitchen = track.food_point.and_then(|point| self.kitchens.get(&point));
        let kitchen = kitchen.map_or("a kitchen", String::as_str);
        let courier = track.courier.and_then(|courier| self.couriers.get(&courier));
        let courier = courier.map_or("a courier", String::as_str);
        match track.status {
            Status::Created => "waits for its payment".to_owned(),
            Status::Paid => "the kitchen is asked".to_owned(),
            Status::Assigned => match track.ready_by {
                Some(ready_by) => format!("{kitchen} cooks it, ready by {}", time_of_day(ready_by)),
                None => format!("{kitchen} cooks it"),
            },
            Status::Ready => format!("{kitchen} calls {courier}"),
            Status::InDelivery => format!("{courier} is on the way"),
            Status::Completed => {
                let minutes = at.duration_since(placed_at).as_secs() / 60;
                format!("{courier} handed it over, {minutes} min after it was ordered")
            }
            Status::Rejected => "no kitchen can cook it; nothing was charged".to_owned(),
            Status::Expired => "was not paid in time".to_owned(),
            Status::Cancelled => "is cancelled".to_owned(),
            Status::Undelivered => "could not be handed over".to_owned(),
        }
    }

    fn say(&self, order: OrderId, status: Status, at: Timestamp, detail: &str) {
        if self.json {
            return say::json(&json!({
                "region": self.region,
                "order": order,
                "number": order.number(),
                "status": status.as_str(),
                "at": at,
                "detail": detail,
            }));
        }
        let name = status.as_str();
        let status = match self.colour_of(status) {
            Some(code) => format!("\x1b[{code}m{name:<11}\x1b[0m"),
            None => format!("{name:<11}"),
        };
        // Where there is one, it goes without saying.
        let region = if self.region == REGION {
            String::new()
        } else {
            format!("{}  ", self.region)
        };
        say::line(format_args!(
            "{region}{}  {}  {status}  {detail}",
            time_of_day(at),
            order.number()
        ));
    }

    fn colour_of(&self, status: Status) -> Option<u8> {
        let code = match status {
            Status::Created | Status::Paid => 36,
            Status::Assigned | Status::Ready => 33,
            Status::InDelivery => 35,
            Status::Completed => 32,
            Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => 31,
        };
        self.colours.then_some(code)
    }

    fn told(&self) -> std::sync::MutexGuard<'_, HashMap<OrderId, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Business time of day, to the second.
fn time_of_day(at: Timestamp) -> String {
    let time = at.to_zoned(TimeZone::UTC).time();
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}
