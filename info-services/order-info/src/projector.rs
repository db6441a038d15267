//! Which streams become which documents, on which lists and live topics they are.
//!
//! Knows no Redis and no rule: the folds are in `contracts::view`, the writing in `mesh-projection`.

use jiff::Timestamp;
use mesh_bus::Bus;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{CourierId, DeliveryId, FoodPointId, OrderId};
use mesh_contracts::ops::{CourierMark, KitchenMark, OrderMark};
use mesh_contracts::subject::Context;
use mesh_contracts::view;
use mesh_contracts::view::courier::Courier;
use mesh_contracts::view::delivery::Delivery;
use mesh_contracts::view::kitchen::Kitchen;
use mesh_contracts::view::order::{Order, Ticket};
use mesh_projection::{BoxError, Placement, Projection, View};
use mesh_runtime::Shutdown;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::NAME;

/// List of a customer's orders, newest first.
pub const CUSTOMER: &str = "customer";
/// List of a food point's open tickets, the most urgent first.
pub const POINT: &str = "point";
/// List of a courier's open offers and jobs, the most urgent first.
pub const COURIER: &str = "courier";

/// Lists of the orders that stand somewhere, which are only counted.
pub const STATUS: &str = "status";

/// Two views of one context need a consumer each, since each has its own pace.
const COURIERS_DURABLE: &str = "order-info-couriers";

/// Live topics.
pub mod topic {
    use super::{CourierId, FoodPointId, OrderId};

    /// The operators' board.
    pub const OPS: &str = "ops";

    /// How topics of orders begin.
    pub const ORDER: &str = "order:";

    /// One order.
    pub fn order(id: OrderId) -> String {
        format!("{ORDER}{id}")
    }

    /// The open tickets of a food point.
    pub fn point(id: FoodPointId) -> String {
        format!("point:{id}")
    }

    /// The offers and jobs of a courier.
    pub fn courier(id: CourierId) -> String {
        format!("courier:{id}")
    }
}

/// Keeps all views up to date until shutdown.
pub fn run(projection: &Projection, bus: &Bus, shutdown: &Shutdown) -> impl Future<Output = ()> + Send + use<> {
    let orders = projection.run::<Orders>(bus, Context::Order, "ord_", NAME, shutdown.clone());
    let deliveries = projection.run::<Deliveries>(bus, Context::Courier, "dlv_", NAME, shutdown.clone());
    let kitchens = projection.run::<Kitchens>(bus, Context::Point, "pnt_", NAME, shutdown.clone());
    let couriers = projection.run::<Couriers>(bus, Context::Courier, "cou_", COURIERS_DURABLE, shutdown.clone());
    async {
        tokio::join!(orders, deliveries, kitchens, couriers);
    }
}

/// An order with its id, which its own events do not repeat but its topic needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderDocument {
    pub id: OrderId,
    #[serde(flatten)]
    pub order: Order,
}

/// Twice over the text is faster than once through the tree that `flatten` reads from.
impl<'de> Deserialize<'de> for OrderDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            id: OrderId,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Named { id } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let order = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { id, order })
    }
}

/// `ord_` streams.
pub struct Orders;

impl View for Orders {
    type Doc = OrderDocument;
    const KIND: &'static str = "order";

    fn fold(doc: Option<OrderDocument>, event: &Envelope) -> Result<Option<OrderDocument>, BoxError> {
        let id = event.stream.parse()?;
        let order = doc.map(|doc| doc.order);
        let order = view::advance(order, event, view::order::fold, view::order::skip)?;
        Ok(order.map(|order| OrderDocument { id, order }))
    }

    fn place(doc: &OrderDocument) -> Placement {
        let order = &doc.order;
        let placement = Placement::new()
            .indexed(CUSTOMER, order.customer, order.placed_at.as_millisecond())
            .live(topic::order(doc.id));
        let placement = match order.status.is_terminal() {
            // Who is liable is not shown to all, so the event of an end does not give the document.
            true => placement.whole(),
            false => placement
                .indexed(STATUS, order.status.as_str(), order.placed_at.as_millisecond())
                .marked(topic::OPS, OrderMark { status: order.status }),
        };
        match order.food_point {
            Some(point) if is_open_ticket(order) => {
                let score = urgency(order.ready_by.or(order.deadlines.accept_by).unwrap_or(order.placed_at));
                placement
                    .indexed(POINT, point, score)
                    .live_scored(topic::point(point), score)
            }
            Some(_) | None => placement,
        }
    }
}

/// `dlv_` streams.
pub struct Deliveries;

impl View for Deliveries {
    type Doc = Delivery;
    const KIND: &'static str = "delivery";

    fn fold(doc: Option<Delivery>, event: &Envelope) -> Result<Option<Delivery>, BoxError> {
        let _: DeliveryId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::delivery::fold, view::delivery::skip)?)
    }

    fn place(doc: &Delivery) -> Placement {
        let score = urgency(doc.ready_by);
        // Who has it, and who is asked to go on with it.
        let concerned = doc.concerns().into_iter().chain(doc.invited());
        concerned.fold(Placement::new(), |placement, courier| {
            placement
                .indexed(COURIER, courier, score)
                .live_scored(topic::courier(courier), score)
        })
    }
}

/// `pnt_` streams, as far as the operators' board shows them.
pub struct Kitchens;

impl View for Kitchens {
    type Doc = Kitchen;
    const KIND: &'static str = "kitchen";

    fn fold(doc: Option<Kitchen>, event: &Envelope) -> Result<Option<Kitchen>, BoxError> {
        let _: FoodPointId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::kitchen::fold, view::kitchen::skip)?)
    }

    fn place(doc: &Kitchen) -> Placement {
        Placement::new()
            .live(topic::OPS)
            .marked(topic::OPS, KitchenMark::from(doc))
    }
}

/// `cou_` streams.
pub struct Couriers;

impl View for Couriers {
    type Doc = Courier;
    const KIND: &'static str = "courier";

    fn fold(doc: Option<Courier>, event: &Envelope) -> Result<Option<Courier>, BoxError> {
        let _: CourierId = event.stream.parse()?;
        Ok(view::advance(doc, event, view::courier::fold, view::courier::skip)?)
    }

    fn place(doc: &Courier) -> Placement {
        match CourierMark::of(doc) {
            Some(mark) => Placement::new().live(topic::OPS).marked(topic::OPS, mark),
            None => Placement::new(),
        }
    }
}

/// Whether the kitchen's screen shows it: from the question until the food is out of the house.
fn is_open_ticket(order: &Order) -> bool {
    match order.ticket {
        Ticket::Offered | Ticket::Accepted | Ticket::Queued | Ticket::Cooking | Ticket::Ready => {
            !order.status.is_terminal()
        }
        Ticket::None | Ticket::HandedOver | Ticket::Rejected | Ticket::TimedOut | Ticket::Cancelled => false,
    }
}

/// Lists go from the highest score down: what is due first comes first.
fn urgency(due: Timestamp) -> i64 {
    -due.as_millisecond()
}
