//! What can happen next: a message arrives, somebody acts, a deadline passes, the provider is asked, a process dies.

use std::fmt;

use basket_master::domain::payment::Command as Pay;
use courier_master::domain::delivery::Command as Job;
use mesh_contracts::api::FailOutcome;
use mesh_contracts::id::{CourierId, OrderId};
use mesh_contracts::order::{Proof, Reason};
use order_master::domain::Command;
use point_master::domain::Command as Point;

use crate::silence::actors::{COURIERS, CUSTOMER, ORDER, point};
use crate::silence::told::Master;
use crate::silence::world::World;

/// Whose events others hear. There is one order, so each of them is one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Order,
    Point(u8),
    Payment,
    Delivery,
}

impl Source {
    pub const ALL: [Self; 6] = [
        Self::Order,
        Self::Point(0),
        Self::Point(1),
        Self::Point(2),
        Self::Payment,
        Self::Delivery,
    ];

    pub fn stream(self) -> String {
        match self {
            Self::Order => ORDER.to_string(),
            Self::Point(nth) => point(nth.into()).to_string(),
            Self::Payment => ORDER.payment().to_string(),
            Self::Delivery => ORDER.delivery().to_string(),
        }
    }
}

/// Who hears whom. An inbox has a mark for each.
pub const CHANNELS: [(Master, Source); 8] = [
    (Master::Order, Source::Point(0)),
    (Master::Order, Source::Point(1)),
    (Master::Order, Source::Point(2)),
    (Master::Order, Source::Payment),
    (Master::Order, Source::Delivery),
    (Master::Point, Source::Order),
    (Master::Basket, Source::Order),
    (Master::Courier, Source::Order),
];

/// Timers that mean something to the rules; that of a hold is named after its order.
pub const TIMERS: [&str; 12] = [
    "pay",
    "hold",
    "ticket",
    "assign",
    "start",
    "late",
    "courier",
    "give_up",
    "offer",
    "pick_up",
    "hand_over",
    "hold:",
];

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The broker shows this event, perhaps not for the first time, perhaps before its predecessors.
    Hear { channel: u8, version: u16 },
    /// One of the scenario's acts.
    Act(u8),
    /// A deadline passes.
    Fire(Source, &'static str),
    /// Nobody does anything until something is due.
    Wait,
    /// basket-master writes down what it is about to ask, or what need not be asked.
    Drive,
    /// The provider carries the call out; its answer is on its way.
    Call,
    /// The answer arrives.
    Answer,
    /// The call never arrived, and basket-master waits no longer.
    LoseCall,
    /// The answer never arrives, and basket-master waits no longer.
    LoseAnswer,
    /// The provider tells by itself what came of the call.
    Webhook,
    /// basket-master dies with the answer in its hand. What the others have not committed comes again by itself.
    Crash,
}

impl Step {
    pub fn describe(self, acts: &[Act]) -> String {
        match self {
            Self::Hear { channel, version } => {
                let (master, source) = CHANNELS[usize::from(channel)];
                format!("{master:?}-master hears {source:?} event {version}")
            }
            Self::Act(nth) => acts[usize::from(nth)].to_string(),
            Self::Fire(source, kind) => format!("timer {kind} of {source:?} fires"),
            Self::Wait => "time passes until something is due".into(),
            other => format!("payment: {other:?}"),
        }
    }
}

/// What somebody may do, at a moment of their choice: the customer, the staff of a point, a courier, an operator, or the
/// dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Cancel,
    PayAgain,
    Override,
    Accept(u8),
    Reject(u8),
    Stop(u8),
    Refuse(u8),
    Start(u8),
    MarkReady(u8),
    Collect(u8),
    /// The kitchen closes for the day.
    Close(u8),
    /// Whom the dispatcher asks and when is not a matter of the rules: so anybody, at any time.
    Offer(u8),
    Take(u8),
    Decline(u8),
    Drop(u8),
    /// The dispatcher has not seen the courier for too long.
    Silence(u8),
    PickUp(u8),
    Deliver(u8),
    Attempt(u8),
    Return(u8),
    Lose(u8),
    HandOver(u8),
}

impl fmt::Display for Act {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, char) in format!("{self:?}").char_indices() {
            match char {
                'A'..='Z' if at > 0 => write!(out, " {}", char.to_ascii_lowercase())?,
                '(' => write!(out, " ")?,
                ')' => {}
                char => write!(out, "{}", char.to_ascii_lowercase())?,
            }
        }
        Ok(())
    }
}

impl Act {
    /// Whether it was granted.
    pub fn carry_out(self, world: &mut World, of: OrderId) -> bool {
        match self {
            Self::Cancel => order(world, of, Command::Cancel(Reason::CustomerCancelled)),
            Self::PayAgain => pay_again(world, of),
            Self::Override => order(world, of, Command::Override(Reason::Other)),
            Self::Accept(nth) => kitchen(world, of, nth, Command::Accept { ready_by: None }),
            Self::Reject(nth) => kitchen(world, of, nth, Command::RejectTicket(Reason::Busy)),
            Self::Stop(nth) => kitchen(world, of, nth, Command::Stop(Reason::Busy)),
            Self::Refuse(nth) => kitchen(world, of, nth, Command::CancelByKitchen(Reason::IngredientUnavailable)),
            Self::Start(nth) => kitchen(world, of, nth, Command::StartCooking),
            Self::MarkReady(nth) => kitchen(world, of, nth, Command::MarkReady),
            Self::Collect(nth) => kitchen(world, of, nth, Command::Collect(Some(Proof::Pin))),
            Self::Close(nth) => {
                let (open, settings) = (Some(false), None);
                let closing = Point::Change { open, settings };
                world.on_point(point(nth.into()), closing).is_ok()
            }
            Self::Offer(nth) => {
                let (courier, pickup_distance_m) = (courier(nth), 500);
                let offer = Job::Offer {
                    courier,
                    pickup_distance_m,
                    considered: Vec::new(),
                };
                job(world, of, offer)
            }
            Self::Take(nth) => job(world, of, Job::Accept { courier: courier(nth) }),
            Self::Decline(nth) => job(world, of, Job::Decline { courier: courier(nth) }),
            Self::Drop(nth) => job(world, of, Job::Drop { courier: courier(nth) }),
            Self::Silence(nth) => job(world, of, Job::Silence { courier: courier(nth) }),
            Self::PickUp(nth) => job(world, of, Job::PickUp { courier: courier(nth) }),
            Self::Deliver(nth) => {
                let (courier, proof) = (courier(nth), Some(Proof::Pin));
                job(world, of, Job::Deliver { courier, proof })
            }
            Self::Attempt(nth) => job(world, of, fail(nth, FailOutcome::Attempted)),
            Self::Return(nth) => job(world, of, fail(nth, FailOutcome::Returned)),
            Self::Lose(nth) => job(world, of, fail(nth, FailOutcome::Lost)),
            Self::HandOver(nth) => job(world, of, Job::HandOver { to: courier(nth) }),
        }
    }
}

fn courier(nth: u8) -> CourierId {
    COURIERS[usize::from(nth)]
}

fn fail(nth: u8, outcome: FailOutcome) -> Job {
    Job::Fail {
        courier: courier(nth),
        reason: Reason::CustomerNotFound,
        outcome,
    }
}

fn order(world: &mut World, of: OrderId, command: Command) -> bool {
    world.on_order(of, command).is_ok()
}

/// An order is the business of the point that holds or cooks it; for others there is none.
fn kitchen(world: &mut World, of: OrderId, nth: u8, command: Command) -> bool {
    let asked = world.orders.get(of).and_then(|order| order.food_point);
    asked == Some(point(nth.into())) && order(world, of, command)
}

fn job(world: &mut World, of: OrderId, command: Job) -> bool {
    world.on_delivery(of.delivery(), command).is_ok()
}

fn pay_again(world: &mut World, of: OrderId) -> bool {
    let before = world.log.len();
    let (customer, key) = (CUSTOMER, "another-card".to_owned());
    world.on_payment(of.payment(), &Pay::PayAgain { customer, key });
    world.log.len() > before
}
