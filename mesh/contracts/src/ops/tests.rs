use serde_json::json;
use uuid::Uuid;

use super::*;

fn point() -> FoodPointId {
    FoodPointId(Uuid::from_u128(7))
}

fn kitchen(busy: usize) -> KitchenMark {
    KitchenMark {
        name: "Alexanderplatz".into(),
        country: Country::parse("DE").expect("a country"),
        at: Coordinates::new(52_521_918, 13_413_215).expect("on earth"),
        open: true,
        closed_by: None,
        busy,
        pool: 8,
    }
}

fn order(was: Option<Status>, is: Option<Status>) -> Change {
    let mark = |status| OrderMark { status };
    Change::Order(Turn {
        stream: OrderId(Uuid::from_u128(9)),
        version: 2,
        at: Timestamp::UNIX_EPOCH,
        was: was.map(mark),
        is: is.map(mark),
    })
}

#[test]
fn orders_are_counted_where_they_stand() {
    let mut board = Board::default();
    board.show(Snapshot {
        counts: BTreeMap::from([(Status::Created, 2), (Status::Paid, 0)]),
        documents: Vec::new(),
    });
    board.hear(order(Some(Status::Created), Some(Status::Paid)));
    board.hear(order(None, Some(Status::Created)));
    board.hear(order(Some(Status::Paid), None));
    assert_eq!(board.orders, BTreeMap::from([(Status::Created, 2)]));
}

#[test]
fn food_points_and_couriers_come_change_and_go() {
    let mut board = Board::default();
    let turn = |was: Option<usize>, is: Option<usize>| {
        Change::Kitchen(Turn {
            stream: point(),
            version: 2,
            at: Timestamp::UNIX_EPOCH,
            was: was.map(kitchen),
            is: is.map(kitchen),
        })
    };
    board.hear(turn(None, Some(0)));
    board.hear(turn(Some(0), Some(1)));
    assert_eq!(board.kitchens, BTreeMap::from([(point(), kitchen(1))]));
    board.hear(turn(Some(1), None));
    assert_eq!(board, Board::default());
}

#[test]
fn the_wire_is_pinned() {
    let change = order(Some(Status::Ready), Some(Status::InDelivery));
    let wire = json!({
        "kind": "order", "stream": "ord_00000000000000000000000009", "version": 2, "at": "1970-01-01T00:00:00Z",
        "was": { "status": "ready" }, "is": { "status": "in_delivery" },
    });
    assert_eq!(serde_json::to_value(&change).expect("JSON"), wire);
    assert_eq!(serde_json::from_value::<Change>(wire).expect("a change"), change);
    let snapshot = json!({
        "counts": { "paid": 3 },
        "documents": [
            { "kind": "kitchen", "id": "pnt_00000000000000000000000007", "name": "Alexanderplatz",
              "country": "DE", "at": { "lat_e6": 52_521_918, "lon_e6": 13_413_215 }, "open": true, "closed_by": null, "busy": 1, "pool": 8 },
            { "kind": "courier", "id": "cou_00000000000000000000000001", "status": "on", "jobs": 2 },
        ],
    });
    let read: Snapshot = serde_json::from_value(snapshot.clone()).expect("a snapshot");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), snapshot);
}
