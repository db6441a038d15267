//! An order as it stood at an instant: the fold of its events up to then.

use std::fmt;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::view;
use mesh_contracts::view::order::Order;
use serde_json::Value;

use super::seconds;

/// The order as it stood at `at`, in business time.
///
/// # Errors
/// If it was not placed by then, or if that is still to come.
pub fn order(events: &[Envelope], at: Timestamp, now: Timestamp) -> anyhow::Result<Order> {
    if at > now {
        bail!("{at} is in the future: it is {} on this platform", seconds(now));
    }
    // Up to the first that is later: a state with a hole in it nobody could have seen.
    let then = events.iter().take_while(|event| event.at <= at);
    let order = then.into_iter().try_fold(None, |order, event| {
        view::advance(order, event, view::order::fold, view::order::skip)
    })?;
    let placed_at = events.first().map_or(at, |event| event.at);
    order.with_context(|| format!("there was no such order yet: it was placed at {placed_at}"))
}

/// An order for people: one line for each of its parts that says anything.
pub struct Sheet<'a>(pub &'a Order);

impl fmt::Display for Sheet<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(Value::Object(parts)) = serde_json::to_value(self.0) else {
            return Err(fmt::Error);
        };
        write!(
            out,
            "order {}  {}  (version {})",
            self.0.number,
            self.0.status.as_str(),
            self.0.version
        )?;
        let width = parts.keys().map(String::len).max().unwrap_or_default();
        for (name, part) in parts {
            match part {
                Value::Null => {}
                Value::Array(items) if items.is_empty() => {}
                Value::Object(members) if members.is_empty() => {}
                Value::String(text) => write!(out, "\n  {name:<width$}  {text}")?,
                part => write!(out, "\n  {name:<width$}  {part}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mesh_contracts::envelope::{Actor, Meta};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::constant(1_700_000_000 + second, 0)
    }

    fn placed_then_declined_twice() -> Vec<Envelope> {
        let placed = json!({
            "number": "000009", "customer": "usr_00000000000000000000000008", "kind": "pick_up",
            "quote": {
                "basket": "bas_00000000000000000000000008", "basket_version": 1, "country": "DE", "lines": [],
                "total": {"amount": 1290, "currency": "EUR"}, "method": "card", "valid_until": "2026-03-01T12:00:00Z",
            },
            "destination": null, "pinned": null, "needs": [], "prep_minutes": 5, "candidates": [],
            "pay_by": "2026-03-01T12:00:00Z",
        });
        let told = [
            (0, "order.created", placed),
            (10, "order.payment_declined", json!({"count": 1})),
            (20, "order.payment_declined", json!({"count": 2})),
        ];
        let event = |(version, (second, event_type, data)): (u64, (i64, &str, Value))| Envelope {
            event_id: Uuid::from_u128(version.into()),
            stream: "ord_00000000000000000000000009".to_owned(),
            version,
            position: version,
            event_type: event_type.to_owned(),
            schema_version: 1,
            at: at(second),
            recorded_at: at(second),
            meta: Meta::by(Actor::service("order-master")),
            data: data.into(),
        };
        (1..).zip(told).map(event).collect()
    }

    #[test]
    fn an_order_stands_as_its_events_up_to_then_leave_it() {
        let events = placed_then_declined_twice();
        for (second, declines) in [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (99, 2)] {
            let then = order(&events, at(second), at(100)).expect("it was placed");
            assert_eq!(then.declines, declines, "at {second}");
        }
        let sheet = Sheet(&order(&events, at(10), at(100)).expect("it was placed")).to_string();
        assert!(sheet.starts_with("order 000009  created  (version 2)\n"), "{sheet}");
        assert!(!sheet.contains("null"), "{sheet}");
    }

    #[test]
    fn before_the_order_and_after_now_there_is_nothing_to_see() {
        let events = placed_then_declined_twice();
        let early = order(&events, at(-1), at(100)).expect_err("not placed yet");
        assert!(early.to_string().contains("no such order yet"), "{early}");
        let late = order(&events, at(101), at(100)).expect_err("not yet");
        assert!(late.to_string().contains("in the future"), "{late}");
    }
}
