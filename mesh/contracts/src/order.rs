//! Orders: quotes, candidates, and every event from created to completed, with those of the kitchen's ticket
//! and the requests to the other masters.
//!
//! Deadlines are part of the event that starts them, so that a fold needs no policy to know them.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::events;
use crate::geo::{Coordinates, Country, Place};
use crate::id::{AddressId, BasketId, CourierId, FoodPointId, IngredientId, ProductId, PromotionId, UserId};
use crate::menu::Chosen;
use crate::money::Money;
use crate::point::HoldRefusal;

/// Where an order stands, as anyone may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(as = OrderStatus)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Placed; waits for a hold and for the payment.
    Created,
    /// Paid; waits for a kitchen to accept.
    Paid,
    /// A kitchen cooks it.
    Assigned,
    /// Cooked.
    Ready,
    /// With the courier.
    InDelivery,
    /// Handed over.
    Completed,
    /// Nobody could cook it.
    Rejected,
    /// Not paid in time.
    Expired,
    /// Somebody decided to end it.
    Cancelled,
    /// Cooked, not handed over.
    Undelivered,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Paid,
        Self::Assigned,
        Self::Ready,
        Self::InDelivery,
        Self::Completed,
        Self::Rejected,
        Self::Expired,
        Self::Cancelled,
        Self::Undelivered,
    ];

    /// Whether the order has ended.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Created | Self::Paid | Self::Assigned | Self::Ready | Self::InDelivery => false,
            Self::Completed | Self::Rejected | Self::Expired | Self::Cancelled | Self::Undelivered => true,
        }
    }

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Paid => "paid",
            Self::Assigned => "assigned",
            Self::Ready => "ready",
            Self::InDelivery => "in_delivery",
            Self::Completed => "completed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Undelivered => "undelivered",
        }
    }
}

/// How the customer gets the food.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A courier brings it.
    Delivery,
    /// The customer collects it at the counter.
    PickUp,
}

/// How the customer pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By card, through the payment provider.
    Card,
    /// In cash, at the door.
    Cash,
}

/// Reason codes of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    IngredientUnavailable,
    Busy,
    ClosingEarly,
    CustomerCancelled,
    CourierNotFound,
    CustomerNotFound,
    Late,
    Duplicate,
    /// Not paid in time, or declined too often.
    Payment,
    /// No food point could take it.
    NoCandidate,
    Other,
}

impl Reason {
    /// The codes of the field: what people may say. The others are only ever found out.
    pub const OF_PEOPLE: [Self; 9] = [
        Self::IngredientUnavailable,
        Self::Busy,
        Self::ClosingEarly,
        Self::CustomerCancelled,
        Self::CourierNotFound,
        Self::CustomerNotFound,
        Self::Late,
        Self::Duplicate,
        Self::Other,
    ];

    /// Reads a reason that somebody gives; refuses those that only we find out.
    pub fn of_people<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reason = Self::deserialize(deserializer)?;
        if Self::OF_PEOPLE.contains(&reason) {
            Ok(reason)
        } else {
            Err(serde::de::Error::custom("nobody can say that: it is found out"))
        }
    }
}

/// Who bears the cost of an order that ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Liable {
    /// The food point.
    Point,
    /// The courier.
    Courier,
    /// The chain.
    Platform,
}

/// What somebody bears of an order that ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Borne {
    /// How much.
    pub amount: Money,
    /// Which point, if it is a point's to bear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub food_point: Option<FoodPointId>,
    /// Which courier, if it is a courier's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub courier: Option<CourierId>,
}

/// Who ended an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    Customer,
    Kitchen,
    Operator,
    /// A deadline passed.
    Timer,
    /// Brought the food back, or lost it.
    Courier,
}

/// An amount of an ingredient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Need {
    /// Which.
    pub ingredient: IngredientId,
    /// In its stock unit, summed over all lines of the order.
    pub quantity: u64,
}

/// One line of a quote, with the price it was frozen at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuoteLine {
    /// What.
    pub product: ProductId,
    /// How many portions.
    pub quantity: u32,
    /// Price of one, its options included; what a promotion takes off is not taken off here.
    pub unit_price: Money,
    /// What the customer chose, for every portion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Chosen>,
    /// The tax within the price, in basis points.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tax_bp: u32,
    /// The tax within what is paid for the line; nothing where no tax is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tax: Option<Money>,
    /// What a promotion takes off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discount: Option<PriceOff>,
}

/// What one promotion takes off one portion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceOff {
    /// Which.
    pub promotion: PromotionId,
    /// Of one portion's price; always less than that.
    pub off: Money,
}

impl QuoteLine {
    /// A product as it is on the menu: no options, no tax, no promotion.
    pub fn plain(product: ProductId, quantity: u32, unit_price: Money) -> Self {
        Self {
            product,
            quantity,
            unit_price,
            options: Vec::new(),
            tax_bp: 0,
            tax: None,
            discount: None,
        }
    }

    /// What the customer pays for all of its portions; `None` if no number holds it.
    pub fn paid(&self) -> Option<Money> {
        let off = self
            .discount
            .map_or(Money::zero(self.unit_price.currency), |discount| discount.off);
        self.unit_price.minus(off).ok()?.times(self.quantity).ok()
    }
}

pub(crate) fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What basket-master froze at checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quote {
    /// From which basket.
    pub basket: BasketId,
    /// At which version of it.
    pub basket_version: u64,
    /// One country, hence one currency.
    pub country: Country,
    /// At least one.
    pub lines: Vec<QuoteLine>,
    /// What the customer pays.
    pub total: Money,
    /// How the customer said to pay.
    pub method: Method,
    /// Until when order-master accepts it, on the wall clock.
    pub valid_until: Timestamp,
}

/// Where a delivery goes: the address by reference, the place rounded to 100 m.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Which of the customer's addresses.
    pub address: AddressId,
    /// Where it is, roughly.
    pub place: Place,
}

/// Why a food point was not even asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PassedOver {
    /// Closed at the time.
    Closed,
    /// Does not take this kind of order.
    Kind,
    /// Does not deliver that far.
    TooFar,
    /// No free slot.
    Full,
    /// Short of an ingredient.
    Stock,
    /// More candidates than are ever asked.
    BeyondLimit,
}

/// A food point that was considered for an order, nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    /// Which.
    pub food_point: FoodPointId,
    /// Where it is.
    pub at: Coordinates,
    /// From the destination, in metres; 0 for a pick-up order.
    pub distance_m: u32,
    /// Its kitchen accepts without being asked.
    pub auto_accept: bool,
    /// When it closes, for a pick-up order; nothing for a point that never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closes_at: Option<Timestamp>,
    /// Why it is not to be asked; nothing means it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed_over: Option<PassedOver>,
}

/// How a hand-over was proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The customer's PIN was told and matched.
    Pin,
    /// A photo was taken; an opaque reference to it.
    Photo(String),
}

/// What was ordered, by whom, and who might cook it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Short human number.
    pub number: String,
    /// Who.
    pub customer: UserId,
    /// Brought or collected.
    pub kind: Kind,
    /// Lines and prices.
    pub quote: Quote,
    /// Where to, for a delivery.
    pub destination: Option<Destination>,
    /// The point that the customer insists on.
    pub pinned: Option<FoodPointId>,
    /// What the recipes take, summed.
    pub needs: Vec<Need>,
    /// The longest preparation time of the lines, in minutes.
    pub prep_minutes: u16,
    /// The points considered, nearest first; only the pinned one if the customer pinned one.
    pub candidates: Vec<Candidate>,
    /// The payment window's end.
    pub pay_by: Timestamp,
}

events! {
    /// The life of an order. `held_at` in an end is the point whose hold ends with the order, if one still stands.
    pub enum Event {
        /// Row 1: placed.
        "order.created" Created(Placed)
        /// Request to point-master.
        "hold.requested" HoldRequested { attempt: u32, food_point: FoodPointId, kind: Kind, needs: Vec<Need>, answer_by: Timestamp, expires_at: Timestamp }
        /// point-master's answer, recorded.
        "order.hold_held" HoldHeld { attempt: u32, food_point: FoodPointId }
        /// point-master's answer, recorded.
        "order.hold_failed" HoldFailed { attempt: u32, food_point: FoodPointId, reason: HoldRefusal }
        /// No answer in time.
        "order.hold_timed_out" HoldTimedOut { attempt: u32, food_point: FoodPointId }
        /// Request to point-master: give that hold back, whenever it comes.
        "hold.abandoned" HoldAbandoned { attempt: u32, food_point: FoodPointId }
        /// Request to basket-master: get the money promised.
        "payment.requested" PaymentRequested { customer: UserId, method: Method, amount: Money, pay_by: Timestamp }
        /// basket-master's answer, recorded; the customer may try again.
        "order.payment_declined" PaymentDeclined { count: u32 }
        /// Row 3: authorised, or cash agreed.
        "order.paid" Paid { amount: Money, method: Method, assign_by: Timestamp }
        /// The kitchen is asked.
        "ticket.offered" TicketOffered { attempt: u32, food_point: FoodPointId, accept_by: Timestamp }
        /// The kitchen will; point-master confirms the hold.
        "ticket.accepted" TicketAccepted { attempt: u32, food_point: FoodPointId, ready_by: Timestamp, confirm_by: Timestamp }
        /// The kitchen won't.
        "ticket.rejected" TicketRejected { attempt: u32, food_point: FoodPointId, reason: Reason }
        /// The kitchen did not answer, or its hold was not confirmed in time.
        "ticket.timed_out" TicketTimedOut { attempt: u32, food_point: FoodPointId }
        /// Row 10: the kitchen has accepted and can't after all; point-master gives the hold back. Another kitchen
        /// must have accepted by `assign_by`.
        "ticket.stopped" TicketStopped { attempt: u32, food_point: FoodPointId, reason: Reason, assign_by: Timestamp }
        /// Rows 5 and 10: the hold is confirmed.
        "order.assigned" Assigned { attempt: u32, food_point: FoodPointId, ready_by: Timestamp, start_by: Timestamp, late_at: Timestamp, give_up_at: Timestamp }
        /// Cooking started: by the kitchen's word or by timer.
        "ticket.started" CookingStarted {}
        /// Nothing is ready ten minutes after it should be: an alert and a new estimate.
        "order.ready_overdue" ReadyOverdue { ready_by: Timestamp }
        /// Request to courier-master; said again when another kitchen cooks it.
        "delivery.requested" DeliveryRequested { customer: UserId, food_point: FoodPointId, pickup: Coordinates, destination: Destination, ready_by: Timestamp }
        /// Row 11: cooked.
        "order.ready" Ready { food_point: FoodPointId, attempt: u32, alert_at: Timestamp, give_up_at: Timestamp }
        /// courier-master's answer, recorded.
        "order.courier_assigned" CourierAssigned { courier: CourierId }
        /// The courier is off the job before pick-up, recorded.
        "order.courier_unassigned" CourierUnassigned { courier: CourierId }
        /// Ready and nobody to bring it: an alert to the operators.
        "order.courier_missing" CourierMissing {}
        /// Row 14: picked up.
        "order.in_delivery" InDelivery { courier: CourierId, eta: Timestamp, late_at: Timestamp, give_up_at: Timestamp }
        /// Not there half an hour after it should be: an alert.
        "order.delivery_overdue" DeliveryOverdue {}
        /// Row 16: another courier has it now, recorded.
        "order.courier_changed" CourierChanged { from: CourierId, courier: CourierId }
        /// The customer was absent; recorded.
        "order.delivery_attempted" DeliveryAttempted { courier: CourierId, reason: Reason, give_up_at: Timestamp }
        /// Row 15 or 19: handed over.
        "order.completed" Completed { proof: Proof }
        /// Rows 2 and 7.
        "order.rejected" Rejected { reason: Reason, held_at: Option<FoodPointId> }
        /// Row 4.
        "order.expired" Expired { reason: Reason, held_at: Option<FoodPointId> }
        /// Rows 8, 9 and 18. Cooking had begun: point-master wastes the hold instead of releasing it.
        "order.cancelled" Cancelled { by: EndedBy, reason: Reason, liable: Option<Liable>, held_at: Option<FoodPointId>, cooking_began: bool, #[serde(default, skip_serializing_if = "Option::is_none")] borne: Option<Borne> }
        /// Rows 17, 18 and 20.
        "order.undelivered" Undelivered { by: EndedBy, reason: Reason, liable: Option<Liable>, held_at: Option<FoodPointId>, #[serde(default, skip_serializing_if = "Option::is_none")] borne: Option<Borne> }
        /// Request to basket-master: drive what was captured less what was refunded towards `amount`.
        "settlement.due" SettlementDue { amount: Money, #[serde(rename = "final")] is_final: bool, seq: u32 }
    }
}
