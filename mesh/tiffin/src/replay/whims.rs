//! What customers do about an order besides waiting for it: pay by another card, give up, change their minds.

use std::time::Duration;

use anyhow::Result;
use mesh_contracts::api::Payment;
use mesh_contracts::id::OrderId;
use mesh_contracts::order::{Reason, Status};
use tokio::sync::watch;

use super::chaos::{Afterwards, Mischief, Moment, Whim};
use super::day::Stage;
use crate::client::Person;
use crate::simulation::{Track, by_card, good_card, unless_too_late};

/// The sandbox's cards that are no good.
const DECLINED_CARD: &str = "pm_card_declined";
const UNCAPTURABLE_CARD: &str = "pm_card_capture_fails";

/// How often somebody looks at the page of a payment, which has no live stream: ten times in the shortest time to recover.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

impl Stage {
    /// What an order is first to be paid by.
    pub(super) fn first_card(&self, order: usize) -> Payment {
        match self.deeds.of(order) {
            Some(Mischief::Customer(Whim::CardDeclined(_))) => by_card(DECLINED_CARD),
            Some(Mischief::Customer(Whim::CaptureFails(_))) => by_card(UNCAPTURABLE_CARD),
            Some(Mischief::Customer(Whim::Cancels(_)) | Mischief::Kitchen(_) | Mischief::Courier(_)) | None => {
                good_card()
            }
        }
    }

    /// Does what the plan has for the customer; never done, so that whoever waits for the order can wait beside it.
    pub(super) async fn act(&self, id: OrderId, order: usize, screen: watch::Receiver<Track>) {
        if let Some(mischief @ Mischief::Customer(whim)) = self.deeds.of(order)
            && self.deeds.strikes(order, mischief)
        {
            let person = &self.cast.customers[self.cast.customer_of(order)];
            let done = || self.deeds.applied(order, mischief);
            if let Err(err) = follow_whim(person, id, whim, screen, done).await {
                tracing::warn!(order = %id, error = format!("{err:#}"), "a customer could not do as planned");
            }
        }
        std::future::pending().await
    }
}

async fn follow_whim(
    person: &Person,
    id: OrderId,
    whim: Whim,
    mut screen: watch::Receiver<Track>,
    done: impl Fn(),
) -> Result<()> {
    match whim {
        Whim::CardDeclined(afterwards) => {
            screen.wait_for(|track| track.declines > 0).await?;
            done();
            match afterwards {
                Afterwards::PaysByAnotherCard => pay_anew(person, id, 1).await.map(drop),
                Afterwards::GivesUp => Ok(()),
            }
        }
        Whim::CaptureFails(afterwards) => {
            screen.wait_for(is_accepted).await?;
            recover(person, id, afterwards, done).await
        }
        Whim::Cancels(moment) => {
            screen.wait_for(|track| moment.has_come(track)).await?;
            let key = format!("cancel/{id}");
            let told = person.cancel(id, Reason::CustomerCancelled, &key).await;
            if unless_too_late(told)?.is_some() {
                done();
            }
            Ok(())
        }
    }
}

/// Looks at the payment until it says that another card is wanted; while the first is being given up, none is taken.
async fn recover(person: &Person, id: OrderId, afterwards: Afterwards, done: impl Fn()) -> Result<()> {
    let mut looks = tokio::time::interval(LOOKS_EVERY);
    for look in 1.. {
        looks.tick().await;
        let page = person.payment(id).await?;
        if page["recover_by"].is_null() {
            continue;
        }
        done();
        match afterwards {
            Afterwards::PaysByAnotherCard if pay_anew(person, id, look).await? => break,
            Afterwards::PaysByAnotherCard => {}
            Afterwards::GivesUp => break,
        }
    }
    Ok(())
}

/// Whether the card was taken; a refused try is no answer for the next one, so each has its key.
async fn pay_anew(person: &Person, id: OrderId, attempt: u32) -> Result<bool> {
    let key = format!("pay/{id}/{attempt}");
    Ok(unless_too_late(person.pay(id, &good_card(), &key).await)?.is_some())
}

impl Moment {
    fn has_come(self, track: &Track) -> bool {
        match self {
            Self::AtOnce => true,
            Self::Paid => track.status != Status::Created,
            Self::Queued => is_accepted(track),
            Self::Cooking => is_accepted(track) && track.cooking_began,
        }
    }
}

fn is_accepted(track: &Track) -> bool {
    match track.status {
        Status::Created | Status::Paid => false,
        Status::Assigned | Status::Ready | Status::InDelivery => true,
        Status::Completed | Status::Rejected | Status::Expired | Status::Cancelled | Status::Undelivered => true,
    }
}
