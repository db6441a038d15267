//! Simulated people: customers who get hungry, kitchens that cook, couriers who ride.
//!
//! All of them learn from live streams what concerns them; nobody polls, and nobody knows more than their app shows.

mod customer;
mod tale;
mod track;

pub mod courier;
pub mod kitchen;

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::id::OrderId;
use mesh_contracts::order::Reason;
use mesh_contracts::user::Role;
use mesh_local::running::Running;
use mesh_runtime::Clock;
use tokio::task::JoinSet;

use crate::chain::Chain;
use crate::client::Api;
use courier::{Pace, Reliable, Rider};
use kitchen::{Answer, Cook, Kitchen};

pub use customer::{by_card, delivery_of, good_card, is_stale};
pub use track::{Track, follow};

/// A courier's bicycle.
const SPEED_M_PER_MIN: u32 = 320;
/// At the counter, and at the door.
const SERVICE: SignedDuration = SignedDuration::from_mins(2);
/// One ticket in so many is refused.
const REFUSED_ONE_IN: u32 = 40;

/// Lets everyone of the chain loose until dropped. Returns only if somebody cannot go on.
pub async fn run(api: &Api, chain: &Chain, running: &Running, json: bool) -> Result<()> {
    let clock = running.clock();
    let tale = Arc::new(tale::Tale::new(chain, running.region(), clock.clone(), json));
    let mut everyone = JoinSet::new();
    let person = |somebody: &crate::chain::Somebody| api.person(&somebody.email, &somebody.password);
    for cook in chain.of_role(Role::Kitchen) {
        let kitchen = Kitchen {
            person: person(cook),
            point: cook.food_point.context("a cook without a kitchen")?,
        };
        everyone.spawn(kitchen::work(kitchen, AtEase { clock: clock.clone() }));
    }
    for courier in chain.of_role(Role::Courier) {
        let rider = Rider {
            person: person(courier),
            clock: clock.clone(),
            home: courier.place.at,
            off_at: Timestamp::MAX,
            pace: Pace {
                speed_m_per_min: SPEED_M_PER_MIN,
                pickup_service: SERVICE,
                dropoff_service: SERVICE,
                thinks_for: SignedDuration::from_secs(10),
            },
            conduct: Reliable,
        };
        everyone.spawn(courier::ride(rider));
    }
    for (index, somebody) in chain.of_role(Role::Customer).enumerate() {
        let customer = customer::Customer {
            person: person(somebody),
            somebody: somebody.clone(),
            menu: chain.products.clone(),
            clock: clock.clone(),
            tale: tale.clone(),
            first_after: customer::first_appetite(index),
        };
        everyone.spawn(customer.live());
    }
    match everyone.join_next().await {
        Some(Ok(Err(err))) => Err(err),
        Some(Err(err)) => Err(err.into()),
        Some(Ok(Ok(()))) | None => bail!("the simulation came to an end by itself"),
    }
}

/// A kitchen that takes its time: looks at a ticket, mostly accepts, and promises what the recipe says.
#[derive(Clone)]
struct AtEase {
    clock: Clock,
}

impl Cook for AtEase {
    async fn answer(&self, _: OrderId, _: u32) -> Answer {
        let looks_for = SignedDuration::from_secs(rand::random_range(5..30));
        self.clock.sleep_until(self.clock.now() + looks_for).await;
        if rand::random_range(0..REFUSED_ONE_IN) == 0 {
            Answer::Reject(Reason::Busy)
        } else {
            Answer::Accept { ready_by: None }
        }
    }

    async fn is_done(&self, _: OrderId, ready_by: Timestamp) {
        self.clock.sleep_until(ready_by).await;
    }

    fn says_when_it_starts(&self) -> bool {
        true
    }
}

/// Somebody's key for a command on something: the same whenever the news of it is heard again.
fn key_of(verb: &str, what: impl std::fmt::Display) -> String {
    format!("{verb}/{what}")
}

/// Whether a failed command only means that somebody else was first.
fn is_too_late(failure: &crate::client::Failure) -> bool {
    use http::StatusCode;
    matches!(
        failure.status(),
        Some(StatusCode::CONFLICT | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::GONE)
    )
}

/// A command that came too late is no mistake; any other failure is.
pub(crate) fn unless_too_late<T>(result: Result<T, crate::client::Failure>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure) if is_too_late(&failure) => {
            tracing::debug!(%failure, "somebody was first");
            Ok(None)
        }
        Err(failure) => Err(failure.into()),
    }
}
