//! What couriers can ask for, one function per route, and what their screens show.

use jiff::Timestamp;
use mesh_contracts::api::{Deliver, Fail, FailOutcome, Nothing, Position, Shift, SpeedMPerMin};
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::{CourierId, DeliveryId, OrderId};
use mesh_contracts::order::Reason;
use serde_json::Value;

use super::requests::parsed;
use super::{Call, Failure, Live, Person, Reply};

/// A courier's job, as far as the courier's feet need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Which.
    pub delivery: DeliveryId,
    /// Somebody has it, and it is no offer any more.
    pub is_taken: bool,
    /// Who.
    pub courier: Option<CourierId>,
    /// The courier has the food already.
    pub picked_up: bool,
    /// The kitchen called it.
    pub food_ready: bool,
    /// When the kitchen means to.
    pub ready_by: Timestamp,
    /// Where the food is.
    pub pickup: Coordinates,
    /// Where it goes: the address while the job is ours, to 100 m before.
    pub door: Coordinates,
}

impl Job {
    /// From an entry of `GET couriers/me/jobs`, or a document of the courier's live stream; `None` if it is neither.
    pub fn of(document: &Value) -> Option<Self> {
        let order: OrderId = field(&document["order"])?;
        let status = document["status"].as_str()?;
        let address = [
            &document["address"]["place"]["at"],
            &document["destination"]["place"]["at"],
        ];
        Some(Self {
            delivery: order.delivery(),
            is_taken: matches!(status, "assigned" | "picked_up" | "attempted"),
            courier: field(&document["courier"]),
            picked_up: matches!(status, "picked_up" | "attempted"),
            food_ready: document["food_ready"].as_bool()?,
            ready_by: field(&document["ready_by"])?,
            pickup: field(&document["pickup"])?,
            door: address.into_iter().find_map(field)?,
        })
    }

    /// Whether that courier has it; a screen also shows what others have and may be asked to take over.
    pub fn is_of(&self, courier: CourierId) -> bool {
        self.is_taken && self.courier == Some(courier)
    }
}

/// What couriers do.
impl Person {
    /// Offers and jobs as they move.
    pub fn jobs_live(&self) -> Live {
        self.live("/v1/couriers/me/live", None)
    }

    /// Offers and jobs now, with the addresses of the active ones.
    pub async fn jobs(&self, seen: Option<String>) -> Result<Vec<Job>, Failure> {
        let call = Call::get("/v1/couriers/me/jobs").having_seen(seen);
        let body: Value = parsed(&call, self.send(call.clone()).await?)?;
        let items = body.as_array().or_else(|| body["items"].as_array());
        Ok(items.into_iter().flatten().filter_map(Job::of).collect())
    }

    /// Takes offers from now on, or no more.
    pub async fn set_shift(&self, on: bool, at: Coordinates, speed_m_per_min: u32) -> Result<Reply, Failure> {
        let shift = Shift {
            on,
            at: on.then_some(at),
            speed_m_per_min: SpeedMPerMin::new(speed_m_per_min).filter(|_| on),
        };
        self.send(Call::put("/v1/couriers/me/shift", &shift)).await
    }

    /// Says where the courier is.
    pub async fn report_position(&self, at: Coordinates) -> Result<Reply, Failure> {
        self.send(Call::put("/v1/couriers/me/position", &Position { at }).fleeting())
            .await
    }

    /// Takes the job.
    pub async fn accept_job(&self, delivery: DeliveryId, key: &str) -> Result<Reply, Failure> {
        self.on_delivery(delivery, "accept", key).await
    }

    /// Leaves it to others.
    pub async fn decline_job(&self, delivery: DeliveryId, key: &str) -> Result<Reply, Failure> {
        self.on_delivery(delivery, "decline", key).await
    }

    /// Has the food.
    pub async fn pick_up(&self, delivery: DeliveryId, key: &str) -> Result<Reply, Failure> {
        self.on_delivery(delivery, "pick-up", key).await
    }

    /// Handed it over, with a photo to show for it.
    pub async fn deliver(&self, delivery: DeliveryId, photo: String, key: &str) -> Result<Reply, Failure> {
        let proof = Deliver {
            pin: None,
            photo: Some(photo),
        };
        self.post(format!("/v1/deliveries/{delivery}/deliver"), &proof, key)
            .await
    }

    /// Gives it back before picking it up.
    pub async fn drop_job(&self, delivery: DeliveryId, key: &str) -> Result<Reply, Failure> {
        self.on_delivery(delivery, "drop", key).await
    }

    /// Could not hand it over, or not yet.
    pub async fn fail_delivery(
        &self,
        delivery: DeliveryId,
        reason: Reason,
        outcome: FailOutcome,
        key: &str,
    ) -> Result<Reply, Failure> {
        self.post(
            format!("/v1/deliveries/{delivery}/fail"),
            &Fail { reason, outcome },
            key,
        )
        .await
    }

    async fn on_delivery(&self, delivery: DeliveryId, verb: &str, key: &str) -> Result<Reply, Failure> {
        self.post(format!("/v1/deliveries/{delivery}/{verb}"), &Nothing {}, key)
            .await
    }
}

fn field<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_read_with_its_address_or_the_place_near_it() {
        let mut document = json!({
            "order": "ord_00000000000000000000000009",
            "status": "assigned",
            "courier": "cou_00000000000000000000000003",
            "food_ready": false,
            "ready_by": "2026-03-01T12:00:00Z",
            "pickup": {"lat_e6": 1, "lon_e6": 2},
            "destination": {"address": "adr_00000000000000000000000006",
                "place": {"country": "DE", "at": {"lat_e6": 3000, "lon_e6": 4000}}},
        });
        let coarse = Job::of(&document).expect("a job");
        let courier = |id| CourierId(uuid::Uuid::from_u128(id));
        assert!(coarse.is_of(courier(3)) && !coarse.is_of(courier(4)) && !coarse.picked_up);
        assert_eq!(coarse.door.lat_e6, 3000);
        document["address"] = json!({"text": "x", "place": {"country": "DE", "at": {"lat_e6": 3123, "lon_e6": 4456}}});
        assert_eq!(Job::of(&document).expect("a job").door.lat_e6, 3123);
    }
}
