//! What each master makes of others' events, by its own rules of hearing.

use basket_master::domain::payment::Command as Pay;
use courier_master::domain::{Heard, courier, delivery};
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{CourierId, DeliveryId, FoodPointId, OrderId, PaymentId};
use mesh_contracts::subject::Context;

/// Who hears others' events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Master {
    Order,
    Point,
    Basket,
    Courier,
}

impl Master {
    pub const ALL: [Self; 4] = [Self::Order, Self::Point, Self::Basket, Self::Courier];

    /// Whose events it writes.
    pub fn context(self) -> Context {
        match self {
            Self::Order => Context::Order,
            Self::Point => Context::Point,
            Self::Basket => Context::Basket,
            Self::Courier => Context::Courier,
        }
    }

    /// Who writes a stream.
    pub fn of(stream: &str) -> Self {
        let context = Context::of_stream(stream);
        let owner = Self::ALL.into_iter().find(|master| Some(master.context()) == context);
        owner.expect("a stream of one of the four")
    }

    pub fn name(self) -> &'static str {
        self.context().owner()
    }
}

/// What a master makes of an event.
#[derive(Debug, Clone)]
pub enum Told {
    Order(OrderId, Box<order_master::domain::Command>),
    /// Every order that a point holds something for hears that it closed with this event.
    Closed(FoodPointId, u64),
    Point(FoodPointId, point_master::domain::Command),
    Payment(PaymentId, Pay),
    Delivery(DeliveryId, delivery::Command),
    Courier(CourierId, courier::Command),
}

/// `None` for what means nothing to it.
pub fn told(master: Master, event: &Envelope) -> Option<Told> {
    match master {
        Master::Order => {
            let closed = order_master::domain::closed(event).expect("readable");
            let heard = || order_master::domain::hear(event).expect("readable");
            closed
                .map(|point| Told::Closed(point, event.version))
                .or_else(|| heard().map(|(order, command)| Told::Order(order, Box::new(command))))
        }
        Master::Point => {
            let heard = point_master::domain::hear(event).expect("readable");
            heard.map(|(point, command)| Told::Point(point, command))
        }
        Master::Basket => {
            let heard = basket_master::domain::hear(event).expect("readable");
            heard.map(|(payment, command)| Told::Payment(payment, command))
        }
        Master::Courier => {
            let heard = courier_master::domain::hear(event).expect("readable");
            heard.map(|heard| match heard {
                Heard::Delivery(id, command) => Told::Delivery(id, command),
                Heard::Courier(id, command) => Told::Courier(id, command),
            })
        }
    }
}
