//! What customers, kitchens and operators can ask for, one function per route; couriers are in `courier`.

use jiff::Timestamp;
use mesh_contracts::api::{
    Accept, Address, ChangePoint, HandOver, Nothing, Override, Payment, PlaceOrder, Quantity, Receipt, Register,
    RegisterStaff, Registered, SetLine, SigningKey, StockAmount, StockQuantity, WithReason,
};
use mesh_contracts::geo::Country;
use mesh_contracts::id::{
    AddressId, CourierId, DeliveryId, FoodPointId, IngredientId, OrderId, ProductId, PromotionId,
};
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

    /// An order's payment as its customer or an operator may see it.
    pub async fn payment(&self, order: OrderId) -> Result<Value, Failure> {
        self.get(format!("/v1/orders/{order}/payment")).await
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

    /// The same, at least as new as what this token stands for.
    pub async fn order_after(&self, order: OrderId, token: Option<String>) -> Result<Value, Failure> {
        let call = Call::get(format!("/v1/orders/{order}")).having_seen(token);
        parsed(&call, self.send(call.clone()).await?)
    }

    /// The same as it stood at an instant of business time.
    pub async fn order_as_of(&self, order: OrderId, at: Timestamp) -> Result<Value, Failure> {
        self.get(format!("/v1/orders/{order}?as_of={at}")).await
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

    /// Had accepted it and can't after all; another kitchen may.
    pub async fn stop_cooking(&self, order: OrderId, reason: Reason, key: &str) -> Result<Reply, Failure> {
        self.post(format!("/v1/orders/{order}/stop"), &WithReason { reason }, key)
            .await
    }

    /// There is nothing left of an ingredient.
    pub async fn mark_gone(&self, point: FoodPointId, ingredient: IngredientId, key: &str) -> Result<Reply, Failure> {
        self.post(
            format!("/v1/food-points/{point}/stock/{ingredient}/gone"),
            &Nothing {},
            key,
        )
        .await
    }

    /// There is some of it again.
    pub async fn mark_back(
        &self,
        point: FoodPointId,
        ingredient: IngredientId,
        quantity: StockQuantity,
        key: &str,
    ) -> Result<Reply, Failure> {
        let path = format!("/v1/food-points/{point}/stock/{ingredient}/back");
        self.post(path, &StockAmount { quantity }, key).await
    }

    /// Takes orders, or none.
    pub async fn set_open(&self, point: FoodPointId, open: bool) -> Result<Reply, Failure> {
        let change = ChangePoint {
            open: Some(open),
            settings: None,
        };
        self.send(Call::patch(format!("/v1/food-points/{point}"), &change))
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

    /// Asks another courier to go on with what one has on the way.
    pub async fn hand_over(&self, delivery: DeliveryId, to: CourierId, key: &str) -> Result<Reply, Failure> {
        self.post(
            format!("/v1/deliveries/{delivery}/hand-over"),
            &HandOver { courier: to },
            key,
        )
        .await
    }

    /// The keys that sign tokens.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, Failure> {
        let call = Call::get("/v1/ops/signing-keys");
        parsed(&call, self.send(call.clone()).await?)
    }

    /// Lets the next key sign; all of them afterwards.
    pub async fn retire_key(&self, kid: &str) -> Result<Vec<SigningKey>, Failure> {
        let call = Call::post(format!("/v1/ops/signing-keys/{kid}/retire"), &Nothing {});
        parsed(&call, self.send(call.clone()).await?)
    }

    /// Takes a key away with everything it signed; all that are left.
    pub async fn withdraw_key(&self, kid: &str) -> Result<Vec<SigningKey>, Failure> {
        let call = Call::delete(format!("/v1/ops/signing-keys/{kid}"));
        parsed(&call, self.send(call.clone()).await?)
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

    pub(super) async fn post(&self, path: String, body: &impl Serialize, key: &str) -> Result<Reply, Failure> {
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

pub(super) fn parsed<T: serde::de::DeserializeOwned>(call: &Call, reply: Reply) -> Result<T, Failure> {
    reply.json().map_err(|err| unlike(call, err.to_string()))
}

/// An answer of another shape than agreed tells nothing.
fn unlike(call: &Call, why: String) -> Failure {
    Failure::Unknown { what: call.what(), why }
}
