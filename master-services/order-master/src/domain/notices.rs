//! What the customer is to be told: which event asks for it, and what the job says.
//!
//! Each occasion is a timer of its own on the order, set with the event. It stands until the answer is heard.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::{BadBody, Envelope};
use mesh_contracts::id::{NotificationsId, OrderId};
use mesh_contracts::money::Money;
use mesh_contracts::notification::{self, Job, Occasion};
use mesh_contracts::order::Event;
use mesh_contracts::view::order::Order;
use mesh_eventstore::Effect;

/// News older than this help nobody; an order lives for some hours.
const WORTH_TELLING: SignedDuration = SignedDuration::from_hours(24);

/// The timer that an event sets, due at once.
pub fn notice(event: &Event, at: Timestamp) -> Option<Effect> {
    let occasion = match event {
        Event::Paid { .. } => Occasion::Paid,
        Event::Completed { .. } => Occasion::Completed,
        Event::Rejected { .. } => Occasion::Rejected,
        Event::Expired { .. } => Occasion::Expired,
        Event::Cancelled { .. } => Occasion::Cancelled,
        Event::Undelivered { .. } => Occasion::Undelivered,
        _ => return None,
    };
    Some(Effect::set(kind_of(occasion), at))
}

/// The kind of the timer of an occasion.
pub fn kind_of(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Paid => "notify_paid",
        Occasion::Completed => "notify_completed",
        Occasion::Rejected => "notify_rejected",
        Occasion::Expired => "notify_expired",
        Occasion::Cancelled => "notify_cancelled",
        Occasion::Undelivered => "notify_undelivered",
    }
}

/// The reverse of [`kind_of`]; `None` for a deadline.
pub fn occasion_of(kind: &str) -> Option<Occasion> {
    Occasion::ALL.into_iter().find(|occasion| kind_of(*occasion) == kind)
}

/// Whether what a job says of this occasion can be read off this state: the total stands from the beginning, what is
/// due in the end only from then on.
pub fn shows(order: &Order, occasion: Occasion) -> bool {
    occasion == Occasion::Paid || order.status.is_terminal()
}

/// The job: ids, a code and an amount. `None` once nobody wants to know any more.
pub fn job(id: OrderId, order: &Order, occasion: Occasion, now: Timestamp) -> Option<Job> {
    if now.duration_since(order.placed_at) > WORTH_TELLING {
        return None;
    }
    let amount = match occasion {
        Occasion::Paid | Occasion::Completed => order.total,
        Occasion::Rejected | Occasion::Expired | Occasion::Cancelled | Occasion::Undelivered => order
            .settlement
            .map_or(Money::zero(order.total.currency), |settlement| settlement.amount),
    };
    Some(Job {
        order: id,
        number: order.number.clone(),
        customer: order.customer,
        occasion,
        amount,
    })
}

/// The order and the occasion that an answer of notifier settles.
pub fn answered(envelope: &Envelope) -> Result<Option<(OrderId, Occasion)>, BadBody> {
    let Ok(notifications) = envelope.stream.parse::<NotificationsId>() else {
        return Ok(None);
    };
    Ok(envelope.body::<notification::Event>()?.map(|event| match event {
        notification::Event::Sent { occasion } | notification::Event::Failed { occasion, .. } => {
            (notifications.order(), occasion)
        }
    }))
}

#[cfg(test)]
mod tests {
    use mesh_contracts::envelope::{Actor, EventBody, Meta};
    use mesh_contracts::notification::Failure;
    use mesh_contracts::order::{EndedBy, Method, Proof, Reason};
    use mesh_contracts::view::order::Settlement;
    use uuid::Uuid;

    use super::super::tests::{NOON, NOTHING, TOTAL, offered, state};
    use super::*;

    const ORDER: OrderId = OrderId(Uuid::from_u128(1));

    /// Every event that tells the customer something, and what.
    fn news() -> [(Event, Occasion); 6] {
        let (by, reason, liable, held_at) = (EndedBy::Operator, Reason::Other, None, None);
        [
            (
                Event::Paid {
                    amount: TOTAL,
                    method: Method::Card,
                    assign_by: NOON,
                },
                Occasion::Paid,
            ),
            (Event::Completed { proof: Proof::Pin }, Occasion::Completed),
            (Event::Rejected { reason, held_at }, Occasion::Rejected),
            (Event::Expired { reason, held_at }, Occasion::Expired),
            (
                Event::Cancelled {
                    by,
                    reason,
                    liable,
                    borne: None,
                    held_at,
                    cooking_began: false,
                },
                Occasion::Cancelled,
            ),
            (
                Event::Undelivered {
                    by,
                    reason,
                    liable,
                    borne: None,
                    held_at,
                },
                Occasion::Undelivered,
            ),
        ]
    }

    #[test]
    fn being_paid_and_every_end_ask_for_a_notice_at_once() {
        for (event, occasion) in news() {
            assert_eq!(notice(&event, NOON), Some(Effect::set(kind_of(occasion), NOON)));
            assert_eq!(occasion_of(kind_of(occasion)), Some(occasion));
        }
        assert_eq!(notice(&Event::CookingStarted {}, NOON), None);
        assert_eq!(occasion_of("give_up"), None);
    }

    #[test]
    fn a_notice_is_no_deadline_and_moves_no_order() {
        let order = state(&offered());
        for occasion in Occasion::ALL {
            let fired = super::super::fire(Some(&order), kind_of(occasion), NOON, &super::super::Policy::default());
            assert_eq!(fired, []);
        }
    }

    #[test]
    fn a_job_says_what_the_customer_pays_in_the_end() {
        let mut order = state(&offered());
        let amount = |order: &Order, occasion| job(ORDER, order, occasion, NOON).expect("news").amount;
        assert_eq!(amount(&order, Occasion::Paid), TOTAL);
        assert_eq!(amount(&order, Occasion::Completed), TOTAL);
        assert_eq!(amount(&order, Occasion::Expired), NOTHING);
        let fee = Money { amount: 250, ..TOTAL };
        order.settlement = Some(Settlement {
            amount: fee,
            is_final: true,
            seq: 2,
        });
        assert_eq!(amount(&order, Occasion::Cancelled), fee);
        assert_eq!(amount(&order, Occasion::Undelivered), fee);
    }

    #[test]
    fn old_news_are_no_news() {
        let order = state(&offered());
        let later = |hours| NOON + SignedDuration::from_hours(hours);
        assert!(job(ORDER, &order, Occasion::Paid, later(24)).is_some());
        assert!(job(ORDER, &order, Occasion::Paid, later(25)).is_none());
    }

    #[test]
    fn both_answers_settle_their_occasion_and_other_streams_none() {
        let said = |stream: String, event: notification::Event| Envelope {
            event_id: Uuid::nil(),
            stream,
            version: 1,
            position: 1,
            event_type: event.event_type().into(),
            schema_version: 1,
            at: NOON,
            recorded_at: NOON,
            meta: Meta::by(Actor::service("notifier")),
            data: event.encode(),
        };
        let occasion = Occasion::Completed;
        let sent = notification::Event::Sent { occasion };
        let failed = notification::Event::Failed {
            occasion,
            reason: Failure::Refused,
        };
        let stream = ORDER.notifications().to_string();
        for answer in [sent.clone(), failed] {
            let heard = answered(&said(stream.clone(), answer)).expect("readable");
            assert_eq!(heard, Some((ORDER, occasion)));
        }
        assert_eq!(answered(&said(ORDER.to_string(), sent)).expect("readable"), None);
    }
}
