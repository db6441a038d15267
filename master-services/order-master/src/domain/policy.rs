//! How long an order waits for whom. Defaults are those of the design's table; all are business time.

use jiff::SignedDuration;

/// Spans between the events of an order.
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
    /// The farthest ready_by that a kitchen may promise.
    pub ready_by_max: SignedDuration,
    /// How many points are asked at most, nearest first: eight holds of 30 s fit into the payment window.
    pub candidates_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            hold: SignedDuration::from_secs(30),
            payment: SignedDuration::from_mins(10),
            accept: SignedDuration::from_mins(3),
            confirm: SignedDuration::from_secs(30),
            assign: SignedDuration::from_mins(8),
            hold_slack: SignedDuration::from_mins(5),
            ready_late: SignedDuration::from_mins(10),
            ready_give_up: SignedDuration::from_mins(45),
            courier_missing: SignedDuration::from_mins(20),
            pickup_give_up: SignedDuration::from_mins(90),
            delivery_late: SignedDuration::from_mins(30),
            delivery_give_up: SignedDuration::from_mins(120),
            after_attempt: SignedDuration::from_mins(45),
            ready_by_max: SignedDuration::from_hours(4),
            candidates_max: 8,
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
            hold_slack: at_least(self.hold_slack),
            ready_late: at_least(self.ready_late),
            ready_give_up: at_least(self.ready_give_up),
            courier_missing: at_least(self.courier_missing),
            pickup_give_up: at_least(self.pickup_give_up),
            delivery_late: at_least(self.delivery_late),
            delivery_give_up: at_least(self.delivery_give_up),
            after_attempt: at_least(self.after_attempt),
            ..self
        }
    }

    /// How long a hold may live at most.
    pub fn hold_life(&self) -> SignedDuration {
        self.payment + self.assign + self.accept + self.hold_slack
    }
}
