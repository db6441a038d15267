//! The life of a delivery and of a courier's shift. Nothing here awaits, reads a clock, or knows SQL, NATS or HTTP.
//!
//! Who is asked next is not decided here but in `dispatch`; here stands what an offer and its answer may do.

pub mod courier;
pub mod delivery;
mod policy;
#[cfg(test)]
mod tests;

use http::StatusCode;
use mesh_contracts::envelope::{BadBody, Envelope};
use mesh_contracts::id::{CourierId, DeliveryId, OrderId, UserId};
use mesh_contracts::user::Role;
use mesh_contracts::view::delivery::Status;
use mesh_contracts::{order, user};

pub use policy::{Policy, later};

/// The answer is no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is none, or it is somebody else's.
    #[error("no such delivery")]
    NoSuchDelivery,
    /// The person was never registered as a courier.
    #[error("no such courier")]
    NoSuchCourier,
    /// Not in this state.
    #[error("the delivery is {}", .0.as_str())]
    WrongState(Status),
    /// The kitchen has not called it yet.
    #[error("the food is not ready")]
    NotReady,
    /// As many jobs in hand as one may have.
    #[error("too many jobs in hand")]
    TooManyJobs,
    /// Takes no offers.
    #[error("not on shift")]
    OffShift,
    /// The courier has it already.
    #[error("the courier has it already")]
    SameCourier,
    /// Not what the customer was told.
    #[error("the PIN is wrong")]
    WrongPin,
    /// Another courier than the one that was looked up is concerned by now: look again.
    #[error("it was changed at the same time, try again")]
    Changed,
}

impl Rejection {
    /// The stable end of the problem's type.
    pub fn kind(self) -> &'static str {
        match self {
            Self::NoSuchDelivery | Self::NoSuchCourier => "not_found",
            Self::WrongState(_) => "wrong_state",
            Self::NotReady => "not_ready",
            Self::TooManyJobs => "too_many_jobs",
            Self::OffShift => "off_shift",
            Self::SameCourier => "same_courier",
            Self::WrongPin => "wrong_pin",
            Self::Changed => "conflict",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NoSuchDelivery | Self::NoSuchCourier => StatusCode::NOT_FOUND,
            Self::WrongState(_) | Self::NotReady | Self::TooManyJobs | Self::OffShift | Self::Changed => {
                StatusCode::CONFLICT
            }
            Self::WrongPin | Self::SameCourier => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

/// What somebody else's event makes this service do.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Something on a delivery.
    Delivery(DeliveryId, delivery::Command),
    /// Something on a courier.
    Courier(CourierId, courier::Command),
}

/// Other masters' events as our commands.
pub fn hear(envelope: &Envelope) -> Result<Option<Heard>, BadBody> {
    if let Ok(order) = envelope.stream.parse::<OrderId>() {
        let command = envelope.body()?.and_then(|event| of_order(order, event));
        return Ok(command.map(|command| Heard::Delivery(order.delivery(), command)));
    }
    if let Ok(user) = envelope.stream.parse::<UserId>() {
        let command = envelope.body()?.and_then(of_user);
        return Ok(command.map(|command| Heard::Courier(user.courier(), command)));
    }
    Ok(None)
}

fn of_order(order: OrderId, event: order::Event) -> Option<delivery::Command> {
    use order::Event;
    match event {
        Event::DeliveryRequested {
            customer,
            food_point,
            pickup,
            destination,
            ready_by,
        } => Some(delivery::Command::Open {
            order,
            customer,
            food_point,
            pickup,
            destination,
            ready_by,
        }),
        Event::Ready { .. } => Some(delivery::Command::FoodReady),
        Event::Cancelled { .. } | Event::Undelivered { .. } | Event::Rejected { .. } | Event::Expired { .. } => {
            Some(delivery::Command::Cancel)
        }
        Event::Created(_)
        | Event::HoldRequested { .. }
        | Event::HoldHeld { .. }
        | Event::HoldFailed { .. }
        | Event::HoldTimedOut { .. }
        | Event::HoldAbandoned { .. }
        | Event::PaymentRequested { .. }
        | Event::PaymentDeclined { .. }
        | Event::Paid { .. }
        | Event::TicketOffered { .. }
        | Event::TicketAccepted { .. }
        | Event::TicketRejected { .. }
        | Event::TicketTimedOut { .. }
        | Event::TicketStopped { .. }
        | Event::Assigned { .. }
        | Event::CookingStarted {}
        | Event::ReadyOverdue { .. }
        | Event::CourierAssigned { .. }
        | Event::CourierUnassigned { .. }
        | Event::CourierMissing {}
        | Event::InDelivery { .. }
        | Event::DeliveryOverdue {}
        | Event::CourierChanged { .. }
        | Event::DeliveryAttempted { .. }
        | Event::Completed { .. }
        | Event::SettlementDue { .. } => None,
    }
}

fn of_user(event: user::Event) -> Option<courier::Command> {
    use user::Event;
    match event {
        Event::Registered {
            role: Role::Courier,
            country,
            ..
        } => country.map(|country| courier::Command::Register { country }),
        Event::Erased {} => Some(courier::Command::End),
        Event::Registered { .. }
        | Event::ProfileChanged {}
        | Event::AddressSet { .. }
        | Event::AddressRemoved { .. }
        | Event::PointsChanged { .. } => None,
    }
}
