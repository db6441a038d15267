//! One order, from its minute to its end, as its customer sees it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;
use mesh_contracts::api::{HistoryEntry, Quantity};
use mesh_contracts::envelope::EventBody as _;
use mesh_contracts::id::OrderId;
use mesh_contracts::order::{Event, Reason, Status};
use tokio::sync::watch;
use uuid::Uuid;

use super::day::Stage;
use super::report::Fate;
use crate::client::{Failure, Person, Reply};
use crate::simulation::{Track, delivery_of, follow, is_stale};

/// A basket that was changed elsewhere is looked at again so many times.
const TRIES_MAX: u32 = 5;

impl Stage {
    /// An order from its minute to its end.
    pub(super) async fn order(self: Arc<Self>, index: usize) -> Fate {
        let order = &self.instance.orders[index];
        self.clock.sleep_until(self.at(order.placed_minute)).await;
        let mut fate = Fate::new(index, self.at(order.placed_minute));
        match self.place(index).await {
            Ok((id, reply)) => {
                fate.place_took = Some(reply.took);
                if let Err(err) = self.watch(id, reply.token, &mut fate).await {
                    tracing::warn!(order = %id, error = format!("{err:#}"), "an order was lost from sight");
                    fate = self.last_look(id, index).await;
                }
                self.book.ended(id);
            }
            Err(err) if self.is_turned_away(&err) => fate.is_turned_away = true,
            Err(err) => tracing::warn!(order = order.name, error = format!("{err:#}"), "an order was not taken"),
        }
        fate
    }

    async fn place(&self, index: usize) -> Result<(OrderId, Reply)> {
        let order = &self.instance.orders[index];
        let customer = self.cast.customer_of(index);
        let person = &self.cast.customers[customer];
        let one = Quantity::new(1).expect("within its bounds");
        let point = self.cast.kitchens[&order.restaurant].point;
        let point = Some(point).filter(|_| !self.deeds.takes_any_kitchen(index));
        let meal = self.cast.meal_of(order);
        let _turn = self.baskets[customer].lock().await;
        for _ in 0..TRIES_MAX {
            let version = person.set_line(meal, one, self.cast.country).await?;
            let wish = delivery_of(version, self.cast.addresses[index], point, self.first_card(index));
            match person.place(&wish, &Uuid::now_v7().to_string()).await {
                Ok((receipt, reply)) => {
                    let id = receipt.id.parse()?;
                    self.book.enter(id, index);
                    return Ok((id, reply));
                }
                Err(failure) if is_stale(&failure) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        bail!("the basket never stands still")
    }

    /// Follows an order; once nobody rides any more, the operator ends it.
    async fn watch(&self, id: OrderId, token: Option<String>, fate: &mut Fate) -> Result<()> {
        let person = &self.cast.customers[self.cast.customer_of(fate.order)];
        // The page that an app shows next.
        person.order_after(id, token.clone()).await?;
        let mut lags = Vec::new();
        let shown = watch::Sender::new(Track::new());
        let following = follow(person, id, token, |track, happened| {
            lags.extend(happened.map(|happened| self.lag(happened.at)));
            shown.send_replace(track.clone());
        });
        let mut nobody_rides = self.nobody_rides.subscribe();
        let ending = async {
            nobody_rides
                .wait_for(|nobody| *nobody)
                .await
                .expect("we hold the sender");
            let key = format!("override/{id}");
            let told = self.operator.override_order(id, Reason::CourierNotFound, &key).await;
            if let Err(failure) = told {
                tracing::debug!(order = %id, %failure, "an order needed no override");
            }
            std::future::pending::<()>().await;
        };
        let track = tokio::select! {
            track = following => track?,
            () = ending => unreachable!("it waits for the order's end"),
            () = self.act(id, fate.order, shown.subscribe()) => unreachable!("so does this"),
        };
        fate.lags = lags;
        fate.reached(&self.completed(person, id, track).await?);
        Ok(())
    }

    /// A track without holes: what was missed on the live stream is read from the order's history.
    async fn completed(&self, person: &Person, id: OrderId, track: Track) -> Result<Track> {
        let needed = [Status::Ready, Status::InDelivery, Status::Completed];
        let is_whole = track.status != Status::Completed || needed.iter().all(|status| track.at(*status).is_some());
        if is_whole {
            return Ok(track);
        }
        let history: Vec<HistoryEntry> = serde_json::from_value(person.order_history(id).await?)?;
        let mut whole = Track::new();
        for entry in history {
            // A customer does not see all of every event; of those that matter here, all.
            if let Ok(Some(event)) = Event::decode(&entry.event_type, &entry.data) {
                whole.apply(&event, entry.at);
            }
        }
        Ok(whole)
    }

    /// Kitchens that are out of something, or closed since nobody answered, are what the day was to bring.
    fn is_turned_away(&self, err: &anyhow::Error) -> bool {
        let kind = err.downcast_ref::<Failure>().and_then(Failure::kind);
        self.deeds.are_planned() && matches!(kind, Some("nothing_available" | "food_point_closed"))
    }

    /// Wall time since a business instant.
    fn lag(&self, at: Timestamp) -> Duration {
        let business = self.clock.now().duration_since(at);
        Duration::try_from(business)
            .unwrap_or(Duration::ZERO)
            .div_f64(self.clock.rate())
    }

    /// What became of an order that nobody saw end.
    pub(super) async fn last_look(&self, id: OrderId, index: usize) -> Fate {
        let mut fate = Fate::new(index, self.at(self.instance.orders[index].placed_minute));
        fate.is_placed = true;
        let Ok(document) = self.operator.order(id).await else {
            return fate;
        };
        fate.status = serde_json::from_value(document["status"].clone()).ok();
        let now = self.clock.now();
        fate.has_live_deadline = document["deadlines"].as_object().is_some_and(|deadlines| {
            let mut instants = deadlines
                .values()
                .filter_map(|at| at.as_str()?.parse::<Timestamp>().ok());
            instants.any(|at| at > now)
        });
        fate
    }
}
