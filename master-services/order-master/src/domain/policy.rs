//! How long an order waits for whom, and what the customer gets back when it ends badly. Defaults are those of the
//! design's table; all spans are business time.

use std::borrow::Cow;

use jiff::SignedDuration;
use mesh_contracts::order::{EndedBy, Liable, Reason};

/// What an order may do to its customer's time and money.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// For point-master to answer a hold.
    pub hold: SignedDuration,
    /// For the customer to pay.
    pub payment: SignedDuration,
    /// For one kitchen to answer its ticket.
    pub accept: SignedDuration,
    /// For point-master to confirm a hold after the kitchen accepted.
    pub confirm: SignedDuration,
    /// For some kitchen to accept, from the payment on.
    pub assign: SignedDuration,
    /// For another kitchen to accept, after one that had accepted stopped.
    pub reroute: SignedDuration,
    /// What a hold may outlive payment and acceptance by: a backstop only.
    pub hold_slack: SignedDuration,
    /// After ready_by, until the alert and a new estimate.
    pub ready_late: SignedDuration,
    /// After ready_by, until the order is given up.
    pub ready_give_up: SignedDuration,
    /// After ready, until operators hear that no courier has it.
    pub courier_missing: SignedDuration,
    /// After ready, until the order is given up.
    pub pickup_give_up: SignedDuration,
    /// After the estimate, until the alert.
    pub delivery_late: SignedDuration,
    /// After the estimate, until the order is given up.
    pub delivery_give_up: SignedDuration,
    /// After a closed door, until the order is given up.
    pub after_attempt: SignedDuration,
    /// After the point closed, until a pick-up order is given up.
    pub collect_after_closing: SignedDuration,
    /// The same after ready, at a point that never closes: what is older than two hours is not handed out.
    pub collect_anytime: SignedDuration,
    /// The farthest ready_by that a kitchen may promise.
    pub ready_by_max: SignedDuration,
    /// How many points are asked at most, nearest first: eight holds of 30 s fit into the payment window.
    pub candidates_max: usize,
    /// What the customer gets back and who bears it: the first rule that fits. Where none does, all of it, by the chain.
    pub refunds: Cow<'static, [RefundRule]>,
}

/// Where the food is when an order ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is on the stove.
    NotBegun,
    /// On the stove.
    Cooking,
    /// On the counter.
    Ready,
    /// With the courier.
    OnTheRoad,
    /// Back at the counter.
    Returned,
    /// Nobody knows.
    Lost,
}

/// Who gets what of an order that was to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refund {
    /// How much of it the customer gets back.
    pub back_percent: u8,
    /// Who bears that; nobody where nothing was made, or the customer bears the rest.
    pub liable: Option<Liable>,
}

/// One rule of the refund policy; what is `None` fits everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundRule {
    /// Who ended it.
    pub by: Option<EndedBy>,
    /// Where the food was.
    pub stage: Option<Stage>,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// What follows.
    pub refund: Refund,
}

const fn rule(
    by: Option<EndedBy>,
    stage: Option<Stage>,
    reason: Option<Reason>,
    back_percent: u8,
    liable: Option<Liable>,
) -> RefundRule {
    let refund = Refund { back_percent, liable };
    RefundRule {
        by,
        stage,
        reason,
        refund,
    }
}

/// What customers keep of their money when they cancel what is on the stove: ingredients and the cook's time are about
/// half of a sandwich's price, and no courier has set out for it.
const CANCELLED_WHILE_COOKING_PERCENT: u8 = 50;

const CUSTOMER: Option<EndedBy> = Some(EndedBy::Customer);
const KITCHEN: Option<EndedBy> = Some(EndedBy::Kitchen);
const COURIER: Option<EndedBy> = Some(EndedBy::Courier);
const OPERATOR: Option<EndedBy> = Some(EndedBy::Operator);
const TIMER: Option<EndedBy> = Some(EndedBy::Timer);
const POINT: Option<Liable> = Some(Liable::Point);

const REFUNDS: &[RefundRule] = &[
    // Nothing was made, so nobody loses anything.
    rule(CUSTOMER, Some(Stage::NotBegun), None, 100, None),
    rule(
        CUSTOMER,
        Some(Stage::Cooking),
        None,
        CANCELLED_WHILE_COOKING_PERCENT,
        None,
    ),
    // Neither did anybody take any money.
    rule(TIMER, Some(Stage::NotBegun), Some(Reason::Payment), 100, None),
    // A kitchen that accepted has promised: whatever keeps it from cooking is its own affair.
    rule(KITCHEN, None, None, 100, POINT),
    rule(TIMER, Some(Stage::NotBegun), None, 100, POINT),
    rule(TIMER, Some(Stage::Cooking), None, 100, POINT),
    // Food that was made as ordered, kept, and not collected: it cannot be sold again.
    rule(TIMER, Some(Stage::Ready), Some(Reason::CustomerNotFound), 0, None),
    // Brought to the door, and nobody took it.
    rule(TIMER, Some(Stage::OnTheRoad), Some(Reason::CustomerNotFound), 0, None),
    rule(TIMER, Some(Stage::OnTheRoad), Some(Reason::CustomerCancelled), 0, None),
    rule(COURIER, Some(Stage::Returned), Some(Reason::CustomerNotFound), 0, None),
    rule(COURIER, Some(Stage::Returned), Some(Reason::CustomerCancelled), 0, None),
    // Whoever had it last answers for it.
    rule(COURIER, Some(Stage::Lost), None, 100, Some(Liable::Courier)),
    // An operator who ends an order in a kitchen's words speaks for that kitchen.
    rule(OPERATOR, None, Some(Reason::IngredientUnavailable), 100, POINT),
    rule(OPERATOR, None, Some(Reason::Busy), 100, POINT),
    rule(OPERATOR, None, Some(Reason::ClosingEarly), 100, POINT),
];

/// Couriers, roads and clocks are the chain's: it keeps its customers whole.
const OTHERWISE: Refund = Refund {
    back_percent: 100,
    liable: Some(Liable::Platform),
};

impl Default for Policy {
    fn default() -> Self {
        Self {
            hold: SignedDuration::from_secs(30),
            payment: SignedDuration::from_mins(10),
            accept: SignedDuration::from_mins(3),
            confirm: SignedDuration::from_secs(30),
            assign: SignedDuration::from_mins(8),
            reroute: SignedDuration::from_mins(3),
            hold_slack: SignedDuration::from_mins(5),
            ready_late: SignedDuration::from_mins(10),
            ready_give_up: SignedDuration::from_mins(45),
            courier_missing: SignedDuration::from_mins(20),
            pickup_give_up: SignedDuration::from_mins(90),
            delivery_late: SignedDuration::from_mins(30),
            delivery_give_up: SignedDuration::from_mins(120),
            after_attempt: SignedDuration::from_mins(45),
            collect_after_closing: SignedDuration::from_mins(30),
            collect_anytime: SignedDuration::from_hours(2),
            ready_by_max: SignedDuration::from_hours(4),
            candidates_max: 8,
            refunds: Cow::Borrowed(REFUNDS),
        }
    }
}

impl Policy {
    /// No span shorter than `floor`: at a clock rate of N, ten wall seconds are N × 10 s of business time.
    pub fn floored(self, floor: SignedDuration) -> Self {
        let at_least = |span: SignedDuration| span.max(floor);
        Self {
            hold: at_least(self.hold),
            payment: at_least(self.payment),
            accept: at_least(self.accept),
            confirm: at_least(self.confirm),
            assign: at_least(self.assign),
            reroute: at_least(self.reroute),
            hold_slack: at_least(self.hold_slack),
            ready_late: at_least(self.ready_late),
            ready_give_up: at_least(self.ready_give_up),
            courier_missing: at_least(self.courier_missing),
            pickup_give_up: at_least(self.pickup_give_up),
            delivery_late: at_least(self.delivery_late),
            delivery_give_up: at_least(self.delivery_give_up),
            after_attempt: at_least(self.after_attempt),
            collect_after_closing: at_least(self.collect_after_closing),
            collect_anytime: at_least(self.collect_anytime),
            ..self
        }
    }

    /// How long a hold may live at most.
    pub fn hold_life(&self) -> SignedDuration {
        self.payment + self.assign + self.accept + self.hold_slack
    }

    /// What the customer gets back of an order that ends like this, and who bears it.
    pub fn refund(&self, by: EndedBy, stage: Stage, reason: Reason) -> Refund {
        let fits = |rule: &&RefundRule| {
            rule.by.is_none_or(|wanted| wanted == by)
                && rule.stage.is_none_or(|wanted| wanted == stage)
                && rule.reason.is_none_or(|wanted| wanted == reason)
        };
        self.refunds.iter().find(fits).map_or(OTHERWISE, |rule| rule.refund)
    }
}
