//! What each kind of person can ask for, one function per route.

use jiff::Timestamp;
use mesh_contracts::api::{
    Accept, Address, Deliver, Nothing, Override, Payment, PlaceOrder, Position, Quantity, Receipt, Register,
    RegisterStaff, Registered, SetLine, Shift, SpeedMPerMin, StockAmount, StockQuantity, WithReason,
};
use mesh_contracts::geo::{Coordinates, Country};
use mesh_contracts::id::{AddressId, DeliveryId, FoodPointId, IngredientId, OrderId, ProductId, PromotionId};
use mesh_contracts::menu::Product;
use mesh_contracts::order::Reason;
use mesh_contracts::point::Settings;
use mesh_contracts::promotion::Promotion;
use serde::Serialize;
use serde_json::Value;

use super::{Api, Call, Failure, Live, Person, Reply};

impl Api {
    /// Opens an account for a customer.
    pub async fn register(&self, register: &Register, key: &str) -> Result<Registered, Failure> {
        let call = Call::post("/v1/users", register).keyed(key);
        parsed(&call, self.send(&call, None).await?)
    }
}

/// What customers do.
impl Person {
    /// Where deliveries may go.
    pub async fn set_address(&self, id: AddressId, address: &Address) -> Result<Reply, Failure> {
        self.send(Call::put(format!("/v1/me/addresses/{id}"), address)).await
    }

    /// So many of a product in the basket; its version afterwards.
    pub async fn set_line(&self, product: ProductId, quantity: Quantity, country: Country) -> Result<u64, Failure> {
        let line = SetLine {
            quantity,
            country,
            options: Vec::new(),
        };
        let reply = self
            .send(Call::put(format!("/v1/basket/lines/{product}"), &line))
            .await?;
        Ok(reply.version)
    }

    /// Orders what is in the basket.
    pub async fn place(&self, order: &PlaceOrder, key: &str) -> Result<(Receipt, Reply), Failure> {
        let call = Call::post("/v1/orders", order).keyed(key);
        let reply = self.send(call.clone()).await?;
        Ok((parsed(&call, reply.clone())?, reply))
    }

    /// Pays with another card.
    pub async fn pay(&self, order: OrderId, payment: &Payment, key: &str) -> Result<Reply, Failure> {
        self.post(format!("/v1/orders/{order}/payments"), payment, key).await
    }

    /// Changes the mind.
    pub async fn cancel(&self, order: OrderId, reason: Reason, key: &str) -> Result<Reply, Failure> {
        self.post(format!("/v1/orders/{order}/cancel"), &WithReason { reason }, key)
            .await
    }

    /// An order as its customer, its kitchen, its courier or an operator may see it.
    pub async fn order(&self, order: OrderId) -> Result<Value, Failure> {
        self.get(format!("/v1/orders/{order}")).await
    }

    /// The newest orders, open or not.
    pub async fn orders(&self) -> Result<Value, Failure> {
        self.get("/v1/orders?limit=20".to_owned()).await
    }

    /// Every event of an order, oldest first.
    pub async fn order_history(&self, order: OrderId) -> Result<Value, Failure> {
        self.get(format!("/v1/orders/{order}/history")).await
    }

    /// An order as it moves.
    pub fn order_live(&self, order: OrderId, seen: Option<String>) -> Live {
        self.live(format!("/v1/orders/{order}/live"), seen)
    }
}

/// What kitchens do.
impl Person {
    /// The tickets of a food point as they move.
    pub fn tickets_live(&self, point: FoodPointId) -> Live {
        self.live(format!("/v1/food-points/{point}/live"), None)
    }

    /// Will cook it.
    pub async fn accept_ticket(
        &self,
        order: OrderId,
        ready_by: Option<Timestamp>,
        key: &str,
    ) -> Result<Reply, Failure> {
        self.post(format!("/v1/orders/{order}/accept"), &Accept { ready_by }, key)
            .await
    }

    /// Won't.
    pub async fn reject_ticket(&self, order: OrderId, reason: Reason, key: &str) -> Result<Reply, Failure> {
        self.post(format!("/v1/orders/{order}/reject"), &WithReason { reason }, key)
            .await
    }

    /// It is on the stove.
    pub async fn start_cooking(&self, order: OrderId, key: &str) -> Result<Reply, Failure> {
        self.post(format!("/v1/orders/{order}/start"), &Nothing {}, key).await
    }

    /// It is done.
    pub async fn mark_ready(&self, order: OrderId, key: &str) -> Result<Reply, Failure> {
        self.post(format!("/v1/orders/{order}/ready"), &Nothing {}, key).await
    }
}

/// A courier's job, as far as the courier's feet need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Which.
    pub delivery: DeliveryId,
    /// The courier has it, not only an offer of it.
    pub is_mine: bool,
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
            is_mine: matches!(status, "assigned" | "picked_up" | "attempted"),
            picked_up: matches!(status, "picked_up" | "attempted"),
            food_ready: document["food_ready"].as_bool()?,
            ready_by: field(&document["ready_by"])?,
            pickup: field(&document["pickup"])?,
            door: address.into_iter().find_map(field)?,
        })
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

    async fn on_delivery(&self, delivery: DeliveryId, verb: &str, key: &str) -> Result<Reply, Failure> {
        self.post(format!("/v1/deliveries/{delivery}/{verb}"), &Nothing {}, key)
            .await
    }
}

/// What operators do.
impl Person {
    /// Something new on the menu.
    pub async fn create_product(&self, product: &Product, key: &str) -> Result<ProductId, Failure> {
        self.created("/v1/products".to_owned(), product, key).await
    }

    /// Something off a price.
    pub async fn create_promotion(&self, promotion: &Promotion, key: &str) -> Result<PromotionId, Failure> {
        self.created("/v1/promotions".to_owned(), promotion, key).await
    }

    /// A new food point.
    pub async fn create_food_point(&self, settings: &Settings, key: &str) -> Result<FoodPointId, Failure> {
        self.created("/v1/food-points".to_owned(), settings, key).await
    }

    /// Goods for a food point.
    pub async fn receive_stock(
        &self,
        point: FoodPointId,
        ingredient: IngredientId,
        quantity: StockQuantity,
        key: &str,
    ) -> Result<Reply, Failure> {
        let path = format!("/v1/food-points/{point}/stock/{ingredient}/receive");
        self.post(path, &StockAmount { quantity }, key).await
    }

    /// An account for somebody who cooks there.
    pub async fn hire_cook(&self, point: FoodPointId, staff: &RegisterStaff, key: &str) -> Result<Registered, Failure> {
        self.registered(format!("/v1/food-points/{point}/staff"), staff, key)
            .await
    }

    /// An account for somebody who rides.
    pub async fn hire_courier(&self, staff: &RegisterStaff, key: &str) -> Result<Registered, Failure> {
        self.registered("/v1/couriers".to_owned(), staff, key).await
    }

    /// Ends an order.
    pub async fn override_order(&self, order: OrderId, reason: Reason, key: &str) -> Result<Reply, Failure> {
        self.post(format!("/v1/orders/{order}/override"), &Override { reason }, key)
            .await
    }
}

impl Person {
    async fn get(&self, path: String) -> Result<Value, Failure> {
        let call = Call::get(path);
        parsed(&call, self.send(call.clone()).await?)
    }

    async fn post(&self, path: String, body: &impl Serialize, key: &str) -> Result<Reply, Failure> {
        self.send(Call::post(path, body).keyed(key)).await
    }

    async fn registered(&self, path: String, body: &impl Serialize, key: &str) -> Result<Registered, Failure> {
        let call = Call::post(path, body).keyed(key);
        parsed(&call, self.send(call.clone()).await?)
    }

    async fn created<I: std::str::FromStr<Err: ToString>>(
        &self,
        path: String,
        body: &impl Serialize,
        key: &str,
    ) -> Result<I, Failure> {
        let call = Call::post(path, body).keyed(key);
        let receipt: Receipt = parsed(&call, self.send(call.clone()).await?)?;
        receipt.id.parse().map_err(|err: I::Err| unlike(&call, err.to_string()))
    }
}

fn parsed<T: serde::de::DeserializeOwned>(call: &Call, reply: Reply) -> Result<T, Failure> {
    reply.json().map_err(|err| unlike(call, err.to_string()))
}

/// An answer of another shape than agreed tells nothing.
fn unlike(call: &Call, why: String) -> Failure {
    Failure::Unknown { what: call.what(), why }
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
            "food_ready": false,
            "ready_by": "2026-03-01T12:00:00Z",
            "pickup": {"lat_e6": 1, "lon_e6": 2},
            "destination": {"address": "adr_00000000000000000000000006",
                "place": {"country": "DE", "at": {"lat_e6": 3000, "lon_e6": 4000}}},
        });
        let coarse = Job::of(&document).expect("a job");
        assert!(coarse.is_mine && !coarse.picked_up);
        assert_eq!(coarse.door.lat_e6, 3000);
        document["address"] = json!({"text": "x", "place": {"country": "DE", "at": {"lat_e6": 3123, "lon_e6": 4456}}});
        assert_eq!(Job::of(&document).expect("a job").door.lat_e6, 3123);
    }
}
