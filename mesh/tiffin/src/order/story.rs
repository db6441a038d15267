//! What the masters remember of one order: its own events, and those that led to them or followed.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use mesh_bus::feed::{FeedError, Feeds, PAGE_MAX};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{FoodPointId, OrderId};
use mesh_contracts::order::Event;

/// How far two masters' wall clocks may be apart, and how long a food point may have been away when an order ended:
/// what it did about it later than that is not found.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

/// Everything that happened to an order, and what may have led to it.
#[derive(Debug)]
pub struct Story {
    /// Its own events, oldest first.
    pub order: Vec<Envelope>,
    /// Those of others that concern it.
    pub others: Vec<Envelope>,
}

impl Story {
    /// With the order's payment, its delivery, and what happened meanwhile at the food points that were asked.
    ///
    /// # Errors
    /// When a master does not answer.
    pub async fn of(feeds: &Feeds, id: OrderId, order: Vec<Envelope>) -> Result<Self, FeedError> {
        let mut others = feeds.whole(&id.payment().to_string()).await?;
        others.extend(feeds.whole(&id.delivery().to_string()).await?);
        if let (Some(first), Some(last)) = (order.first(), order.last()) {
            let (from, until) = (first.recorded_at - SLACK, last.recorded_at + SLACK);
            for point in asked(&order) {
                others.extend(between(feeds, &point.to_string(), from, until).await?);
            }
        }
        Ok(Self { order, others })
    }

    /// And with what its customer was told.
    ///
    /// # Errors
    /// When notifier does not answer.
    pub async fn and_mails(mut self, feeds: &Feeds, id: OrderId) -> Result<Self, FeedError> {
        self.others.extend(feeds.whole(&id.notifications().to_string()).await?);
        Ok(self)
    }

    /// Every event, stream by stream.
    pub fn all(&self) -> impl Iterator<Item = &Envelope> {
        self.order.iter().chain(&self.others)
    }
}

/// The food points whose answers may be among the causes.
fn asked(events: &[Envelope]) -> BTreeSet<FoodPointId> {
    events
        .iter()
        .filter_map(|event| match event.body::<Event>() {
            Ok(Some(Event::HoldRequested { food_point, .. })) => Some(food_point),
            // No other event asks a point; one of another build cannot be looked into.
            Ok(Some(_) | None) | Err(_) => None,
        })
        .collect()
}

/// The events of a long stream that were recorded between two instants. A food point's stream tells of all its orders,
/// so its part is looked for and not waited for.
async fn between(feeds: &Feeds, stream: &str, from: Timestamp, until: Timestamp) -> Result<Vec<Envelope>, FeedError> {
    let mut events = Vec::new();
    let mut after = last_before(feeds, stream, from).await?;
    loop {
        let page = feeds.stream(stream, after, PAGE_MAX).await?;
        let Some(last) = page.last() else {
            return Ok(events);
        };
        let is_over = last.recorded_at > until;
        after = last.version;
        events.extend(page.into_iter().filter(|event| event.recorded_at <= until));
        if is_over {
            return Ok(events);
        }
    }
}

/// The version of the last event that was recorded before an instant; 0 if none was. Asks for single events: at twice
/// the distance while they are too early, then at half of it.
async fn last_before(feeds: &Feeds, stream: &str, instant: Timestamp) -> Result<u64, FeedError> {
    let (mut before, mut step, mut is_growing) = (0, 1, true);
    while step > 0 {
        let found = feeds.stream(stream, before + step - 1, 1).await?;
        if found.iter().any(|event| event.recorded_at < instant) {
            before += step;
        } else {
            is_growing = false;
        }
        step = if is_growing { step * 2 } else { step / 2 };
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use mesh_contracts::envelope::{Actor, Meta};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    const POINT: FoodPointId = FoodPointId(Uuid::from_u128(7));

    fn minute(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    fn event(stream: impl ToString, version: u64, recorded_at: Timestamp, event_type: &str, data: Value) -> Envelope {
        Envelope {
            event_id: Uuid::now_v7(),
            stream: stream.to_string(),
            version,
            position: version,
            event_type: event_type.to_owned(),
            schema_version: 1,
            at: recorded_at,
            recorded_at,
            meta: Meta::by(Actor::service("anyone")),
            data: data.into(),
        }
    }

    fn requested(order: OrderId, recorded_at: Timestamp) -> Envelope {
        let data = json!({
            "attempt": 1, "food_point": POINT, "kind": "delivery", "needs": [],
            "answer_by": "2026-03-01T12:00:00Z", "expires_at": "2026-03-01T12:00:00Z",
        });
        event(order, 1, recorded_at, "hold.requested", data)
    }

    /// Feeds as masters serve them, and how many events they have given.
    fn feeds_of(events: Vec<Envelope>) -> (Feeds, Arc<AtomicUsize>) {
        let mut streams: BTreeMap<String, Vec<Envelope>> = BTreeMap::new();
        for event in events {
            streams.entry(event.stream.clone()).or_default().push(event);
        }
        let given = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&given);
        let feeds = Feeds::new(move |_, path| {
            let (id, query) = path
                .trim_start_matches("/feed/streams/")
                .split_once('?')
                .expect("a query");
            let number = |name: &str| {
                let value = query.split('&').find_map(|part| part.strip_prefix(name));
                value.and_then(|value| value.parse::<usize>().ok()).expect("a number")
            };
            let events = streams.get(id).into_iter().flatten();
            let page: Vec<&Envelope> = events.skip(number("after=")).take(number("limit=")).collect();
            counter.fetch_add(page.len(), Ordering::Relaxed);
            let body = serde_json::to_vec(&page);
            async move { Ok(Bytes::from(body?)) }
        });
        (feeds, given)
    }

    #[tokio::test]
    async fn a_story_has_the_streams_of_everyone_who_had_a_part_in_it() {
        let id = OrderId::new_v7();
        let order = vec![requested(id, minute(0))];
        let (feeds, _) = feeds_of(vec![
            event(id.payment(), 1, minute(0), "payment.captured", Value::Null),
            event(id.delivery(), 1, minute(0), "delivery.lost", Value::Null),
            event(id.notifications(), 1, minute(0), "notification.sent", Value::Null),
            event(POINT, 1, minute(0), "hold.held", Value::Null),
        ]);
        let story = Story::of(&feeds, id, order).await.expect("readable");
        let story = story.and_mails(&feeds, id).await.expect("readable");
        let types: Vec<&str> = story.all().map(|event| event.event_type.as_str()).collect();
        assert_eq!(
            types,
            [
                "hold.requested",
                "payment.captured",
                "delivery.lost",
                "hold.held",
                "notification.sent"
            ]
        );
    }

    #[tokio::test]
    async fn of_a_long_stream_the_part_in_question_is_found() {
        // An event a minute for a week, and orders anywhere in it.
        let week = 7 * 24 * 60;
        let stream = (1..=week).map(|nth| event(POINT, nth, minute(nth as i64), "hold.held", Value::Null));
        let (feeds, given) = feeds_of(stream.collect());
        for placed in [-100, 1, 30, 61, 5_000, week as i64 - 1, week as i64 + 100] {
            given.store(0, Ordering::Relaxed);
            let id = OrderId::new_v7();
            let order = vec![requested(id, minute(placed))];
            let story = Story::of(&feeds, id, order).await.expect("readable");
            let found: Vec<u64> = story.others.iter().map(|event| event.version).collect();
            let expected: Vec<u64> = (1..=week)
                .filter(|nth| (placed - 60..=placed + 60).contains(&(*nth as i64)))
                .collect();
            assert_eq!(found, expected, "placed in minute {placed}");
            let given = given.load(Ordering::Relaxed);
            assert!(given < PAGE_MAX + 50, "{given} events read for {placed}");
        }
    }
}
