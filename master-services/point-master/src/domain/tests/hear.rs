//! What an order's events mean here.

use super::*;

#[track_caller]
fn heard(event: order::Event) -> Option<(FoodPointId, Command)> {
    let envelope = Envelope {
        event_id: Uuid::from_u128(1),
        stream: FIRST.to_string(),
        version: 1,
        position: 1,
        event_type: event.event_type().into(),
        schema_version: 1,
        at: NOON,
        recorded_at: NOON,
        meta: Meta::by(Actor::service("order-master")),
        data: event.encode(),
    };
    hear(&envelope).expect("its own form")
}

#[test]
fn an_orders_events_become_commands_for_the_point_they_name() {
    let at_point = |command| Some((POINT, command));
    let (attempt, food_point) = (1, POINT);
    assert_eq!(
        heard(order::Event::HoldRequested {
            attempt,
            food_point,
            kind: Kind::Delivery,
            needs: need(4),
            answer_by: NOON,
            expires_at: later(18),
        }),
        at_point(hold(FIRST))
    );
    assert_eq!(
        heard(order::Event::TicketAccepted {
            attempt,
            food_point,
            ready_by: NOON,
            confirm_by: NOON,
        }),
        at_point(confirm(FIRST))
    );
    assert_eq!(
        heard(order::Event::Ready {
            food_point,
            attempt,
            alert_at: NOON,
            give_up_at: NOON,
        }),
        at_point(consume(FIRST))
    );
    let releases = [
        (
            order::Event::TicketRejected {
                attempt,
                food_point,
                reason: Reason::Busy,
            },
            ReleaseCause::Rejected,
        ),
        (
            order::Event::TicketStopped {
                attempt,
                food_point,
                reason: Reason::ClosingEarly,
                assign_by: NOON,
            },
            ReleaseCause::Rejected,
        ),
        (
            order::Event::TicketTimedOut { attempt, food_point },
            ReleaseCause::TimedOut,
        ),
        (
            order::Event::HoldAbandoned { attempt, food_point },
            ReleaseCause::Abandoned,
        ),
    ];
    for (event, cause) in releases {
        assert_eq!(heard(event), at_point(release(FIRST, cause)));
    }
}

#[test]
fn an_ending_is_for_the_point_whose_hold_ends_with_it() {
    let last = |cooked| Some((POINT, end(FIRST, cooked)));
    let cancelled = |cooking_began| order::Event::Cancelled {
        by: EndedBy::Customer,
        reason: Reason::CustomerCancelled,
        liable: None,
        held_at: Some(POINT),
        cooking_began,
        borne: None,
    };
    assert_eq!(heard(cancelled(false)), last(false));
    assert_eq!(heard(cancelled(true)), last(true));
    let (reason, held_at) = (Reason::NoCandidate, Some(POINT));
    assert_eq!(heard(order::Event::Rejected { reason, held_at }), last(false));
    assert_eq!(heard(order::Event::Expired { reason, held_at }), last(false));
    let undelivered = order::Event::Undelivered {
        by: EndedBy::Timer,
        reason: Reason::Late,
        liable: None,
        held_at,
        borne: None,
    };
    assert_eq!(heard(undelivered), last(true));
    assert_eq!(heard(order::Event::Expired { reason, held_at: None }), None);
}

#[test]
fn other_events_mean_nothing_to_a_food_point() {
    assert_eq!(heard(order::Event::CookingStarted {}), None);
    let someone_elses = Envelope {
        event_id: Uuid::from_u128(1),
        stream: POINT.to_string(),
        version: 1,
        position: 1,
        event_type: "point.opened".into(),
        schema_version: 1,
        at: NOON,
        recorded_at: NOON,
        meta: Meta::by(Actor::service("point-master")),
        data: Event::Opened {}.encode(),
    };
    assert_eq!(hear(&someone_elses).expect("not read"), None);
}

#[test]
fn an_event_with_another_shape_is_an_error_and_an_unknown_one_is_not() {
    let mut envelope = Envelope {
        event_id: Uuid::from_u128(1),
        stream: FIRST.to_string(),
        version: 1,
        position: 1,
        event_type: "hold.requested".into(),
        schema_version: 1,
        at: NOON,
        recorded_at: NOON,
        meta: Meta::by(Actor::service("order-master")),
        data: serde_json::json!({ "attempt": "first" }).into(),
    };
    assert!(hear(&envelope).is_err());
    envelope.event_type = "order.sung_about".into();
    assert_eq!(hear(&envelope).expect("skipped"), None);
}
