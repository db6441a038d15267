//! An order's past: as it stood at an instant, and what had happened by then.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::OrderId;
use mesh_contracts::view;
use serde_json::{Value, json};

use crate::events::{OTHER_POINT, POINT, after, cooked_and_brought, ticket};
use crate::world::{self, World, courier, customer, kitchen, operator};

/// The least that one instant can be before another.
const MOMENT: SignedDuration = SignedDuration::from_nanos(1);

/// An order from placed to completed, as it was told.
async fn lived(world: &mut World, id: OrderId) -> Vec<Envelope> {
    let mut events = ticket(id, customer(1).subject, POINT, after(3));
    events.extend(cooked_and_brought(POINT, courier(2).subject.courier()));
    let mut told = Vec::new();
    for event in events {
        told.push(world.orders.tell(id, event).await);
    }
    told
}

/// The document of an operator, who sees all of it, folded here.
fn folded(id: OrderId, events: &[Envelope]) -> Value {
    let order = events.iter().try_fold(None, |order, event| {
        view::advance(order, event, view::order::fold, view::order::skip)
    });
    let mut document = json!(order.expect("its own events").expect("it was placed"));
    document["id"] = json!(id);
    document
}

#[tokio::test]
async fn an_order_is_shown_as_it_stood_at_any_instant() {
    world::run(async |world| {
        let id = OrderId::new_v7();
        let events = lived(world, id).await;
        let (path, boss) = (format!("/orders/{id}"), operator());
        world.gateway.get_after(&path, &boss, id, events.len() as u64).await;
        for known in 1..=events.len() {
            let from = events[known - 1].at;
            let until = events.get(known).map_or_else(Timestamp::now, |next| next.at - MOMENT);
            for at in [from, until] {
                let then = world.gateway.get(&format!("{path}?as_of={at}"), &boss).await;
                assert_eq!(then.json(), folded(id, &events[..known]), "{known} events, {at}");
                let past = world
                    .gateway
                    .get(&format!("{path}/history?as_of={at}"), &boss)
                    .await
                    .json();
                assert_eq!(past.as_array().map(Vec::len), Some(known));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_entry_names_its_event_so_that_causes_can_be_followed() {
    world::run(async |world| {
        let id = OrderId::new_v7();
        let events = lived(world, id).await;
        let history = world
            .gateway
            .get_after(&format!("/orders/{id}/history"), &operator(), id, 1)
            .await;
        let named: Vec<Value> = history
            .json()
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry["event_id"].clone())
            .collect();
        let told: Vec<Value> = events.iter().map(|event| json!(event.event_id)).collect();
        assert_eq!(named, told);
    })
    .await;
}

#[tokio::test]
async fn the_past_is_no_ones_who_may_not_see_the_order_and_hides_what_the_present_hides() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let events = lived(world, id).await;
        let path = format!("/orders/{id}?as_of={}", events[3].at);
        world
            .gateway
            .get_after(&format!("/orders/{id}"), &ann, id, events.len() as u64)
            .await;
        for stranger in [customer(4), kitchen(OTHER_POINT), courier(3)] {
            let answer = world.gateway.get(&path, &stranger).await;
            assert_eq!(answer.problem(), (404, "not_found".into()), "{stranger:?}");
        }
        let then = world.gateway.get(&path, &ann).await.json();
        assert_eq!((&then["status"], &then["version"]), (&json!("paid"), &json!(4)));
        for hidden in ["candidates", "tried", "needs", "pin"] {
            assert_eq!(then.get(hidden), None, "{hidden}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_instant_before_the_order_in_the_future_or_none_at_all_is_refused() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let events = lived(world, id).await;
        let placed = events[0].at;
        let soon = Timestamp::now() + SignedDuration::from_mins(1);
        world
            .gateway
            .get_after(&format!("/orders/{id}"), &ann, id, events.len() as u64)
            .await;
        for part in ["", "/history"] {
            let ask = async |query: &str| world.gateway.get(&format!("/orders/{id}{part}?{query}"), &ann).await;
            let early = ask(&format!("as_of={}", placed - MOMENT)).await;
            assert_eq!(early.problem(), (422, "before_order".into()));
            let said: Value = serde_json::from_slice(&early.body).expect("a problem");
            assert_eq!(said["placed_at"], json!(placed));
            assert_eq!(said["errors"][0]["field"], "as_of");
            let late = ask(&format!("as_of={soon}")).await;
            assert_eq!(late.problem(), (422, "invalid".into()));
            let said: Value = serde_json::from_slice(&late.body).expect("a problem");
            assert_eq!(said["errors"][0]["field"], "as_of");
            for malformed in [
                "as_of=",
                "as_of=yesterday",
                "as_of=1700000000",
                "as_of=2026-02-30T00:00:00Z",
                "as_of=2026-03-01",
                "at=2026-03-01T12:00:00Z",
            ] {
                assert_eq!(
                    ask(malformed).await.problem(),
                    (400, "bad_request".into()),
                    "{malformed}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_past_is_not_made_up_while_order_master_is_away() {
    world::run(async |world| {
        let (ann, id) = (customer(1), OrderId::new_v7());
        let events = lived(world, id).await;
        let path = format!("/orders/{id}");
        world.gateway.get_after(&path, &ann, id, events.len() as u64).await;
        world.orders.set_down(true);
        let answer = world.gateway.get(&format!("{path}?as_of={}", events[2].at), &ann).await;
        assert_eq!(answer.problem(), (503, "unavailable".into()));
        assert_eq!(world.gateway.get(&path, &ann).await.status, 200);
    })
    .await;
}
