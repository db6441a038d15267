//! Placing an order: the address from user-master, the frozen basket from basket-master, the order from order-master.
//!
//! Every step may be repeated under the same id, so a crash in between is healed by the client's own retry.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use mesh_contracts::api::{CheckedOut, Checkout, HistoryEntry, PlaceFrozen, PlaceOrder, StoredAddress};
use mesh_contracts::envelope::EventBody as _;
use mesh_contracts::geo::Place;
use mesh_contracts::id::{AddressId, OrderId, UserId};
use mesh_contracts::order::{Destination, Event, Kind};
use mesh_identity::client::CALL_TIMEOUT;
use mesh_runtime::{Problem, deadline, headers};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::ask::{Ask, Tell};
use crate::upstream::Service;
use crate::{Answer, Gateway};

/// For all three steps: each has a healthy share of it, and the patience of the chain in front is longer.
const PLACE_TIMEOUT: Duration = Duration::from_secs(3);

/// The id that a customer's order has under an idempotency key: the same wish is the same order.
pub fn order_id(customer: UserId, key: &str) -> OrderId {
    let wish = format!("POST /v1/orders\n{key}");
    OrderId(Uuid::new_v5(&customer.uuid(), wish.as_bytes()))
}

pub(crate) async fn place(app: &Gateway, tell: Tell<PlaceOrder>) -> Answer {
    deadline::within(PLACE_TIMEOUT, in_three_steps(app, tell.ask, tell.said)).await
}

async fn in_three_steps(app: &Gateway, ask: Ask, wish: PlaceOrder) -> Answer {
    let customer = ask.person()?.caller.subject;
    let order = order_id(customer, ask.key());
    let destination = destination(app, &ask, order, &wish).await?;

    let checkout = Checkout {
        order,
        basket_version: wish.basket_version,
        payment: wish.payment,
        food_point: wish.food_point_id,
    };
    let checkout = ask.also_post(&format!("/baskets/{customer}/checkout"), &checkout)?;
    let frozen = app.services.basket_master.call(checkout, CALL_TIMEOUT).await?;
    let CheckedOut { quote } = good(&app.services.basket_master, &frozen)?;

    let place = PlaceFrozen {
        order,
        quote,
        kind: wish.kind,
        destination,
        food_point: wish.food_point_id,
    };
    let place = ask.also_post("/orders", &place)?;
    let mut placed = app.services.order_master.call(place, CALL_TIMEOUT).await?;
    if let Some(both) = both(app, &frozen, &placed) {
        placed.headers_mut().insert(headers::CONSISTENCY, both);
    }
    Ok(app.services.order_master.relay(placed))
}

/// Where to, as far as an order may know it.
async fn destination(
    app: &Gateway,
    ask: &Ask,
    order: OrderId,
    wish: &PlaceOrder,
) -> Result<Option<Destination>, Problem> {
    match (wish.kind, wish.address_id) {
        (Kind::Delivery, Some(address)) => {
            let place = match place_of(app, ask, address).await? {
                Some(place) => place,
                None => placed_before(app, ask, order).await?.ok_or_else(unknown_address)?,
            };
            Ok(Some(Destination { address, place }))
        }
        (Kind::Delivery, None) => Err(Problem::invalid().field("address_id", "is required for a delivery")),
        (Kind::PickUp, Some(_)) => Err(Problem::invalid().field("address_id", "a pick-up is brought nowhere")),
        (Kind::PickUp, None) if wish.food_point_id.is_none() => {
            Err(Problem::invalid().field("food_point_id", "is required for a pick-up"))
        }
        (Kind::PickUp, None) => Ok(None),
    }
}

/// Of one of the customer's addresses.
async fn place_of(app: &Gateway, ask: &Ask, address: AddressId) -> Result<Option<Place>, Problem> {
    let customer = ask.person()?.caller.subject;
    let users = &app.services.user_master;
    let answer = users
        .call(
            ask.also_get(&format!("/people/{customer}/addresses/{address}"))?,
            CALL_TIMEOUT,
        )
        .await?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let StoredAddress { place, .. } = good(users, &answer)?;
    // Events know a customer's place only this well.
    let at = place.at.coarse();
    Ok(Some(Place { at, ..place }))
}

/// Where an order goes that was placed under this key already: the customer may have removed the address since, and
/// the same wish has the same answer all the same.
async fn placed_before(app: &Gateway, ask: &Ask, order: OrderId) -> Result<Option<Place>, Problem> {
    let orders = &app.services.order_master;
    let history = ask.also_get(&format!("/orders/{order}/history"))?;
    let answer = orders.call(history, CALL_TIMEOUT).await?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let events: Vec<HistoryEntry> = good(orders, &answer)?;
    let Some(first) = events.first() else {
        return Ok(None);
    };
    match Event::decode(&first.event_type, &first.data).map_err(Problem::internal)? {
        Some(Event::Created(placed)) => Ok(placed.destination.map(|destination| destination.place)),
        Some(_) | None => Ok(None),
    }
}

/// What a good answer says; any other is the client's answer, too.
fn good<T: DeserializeOwned>(service: &Service, answer: &Response<Bytes>) -> Result<T, Problem> {
    if !answer.status().is_success() {
        return Err(service.refusal(answer));
    }
    serde_json::from_slice(answer.body()).map_err(Problem::internal)
}

/// One token for what both masters wrote, so that the emptied basket is seen as soon as the order.
fn both(app: &Gateway, frozen: &Response<Bytes>, placed: &Response<Bytes>) -> Option<HeaderValue> {
    let streams = |answer: &Response<Bytes>| {
        let token = answer.headers().get(headers::CONSISTENCY)?.to_str().ok()?;
        app.signer.verify(token).ok()
    };
    let mut named = streams(placed)?;
    named.extend(streams(frozen)?);
    HeaderValue::from_str(&app.signer.sign(&named)).ok()
}

fn unknown_address() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "unknown_address",
        "you have no such address",
    )
    .field("address_id", "is none of your addresses")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_depends_on_the_customer_and_the_key_alone() {
        let (one, other) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        assert_eq!(order_id(one, "a"), order_id(one, "a"));
        assert_ne!(order_id(one, "a"), order_id(one, "b"));
        assert_ne!(order_id(one, "a"), order_id(other, "a"));
    }
}
