//! Customers, kitchens, couriers and an operator, who send what they want under a key until they are answered.

use mesh_contracts::id::OrderId;
use mesh_contracts::order::{Kind, Method, Status};
use mesh_contracts::view::delivery::Status as DeliveryStatus;
use mesh_contracts::view::order::Ticket;
use mesh_contracts::view::payment::Status as PaymentStatus;
use order_master::domain::Command;
use point_master::domain::Command as Point;
use uuid::Uuid;

use super::broken::{self, Flaw};
use super::postgres::Answered;
use super::{Storm, note};
use crate::explorer::step::Act::{self, *};
use crate::silence::actors::{BREAD, COURIERS, placed, point};
use crate::silence::told::Master;
use crate::silence::world::World;
use mesh_verify::dice::Dice;

/// Goods come in crates of so many.
const CRATE: u32 = 10;

#[derive(Debug, Clone, Copy)]
pub enum Wish {
    Place(OrderId, Method, Kind),
    Act(OrderId, Act),
    /// Goods come in: the one deed here that does something each time it is done.
    Receive(u8),
}

/// What was sent under one key.
#[derive(Clone)]
pub struct Request {
    pub key: Uuid,
    pub wish: Wish,
    /// So many times it will be sent still.
    pub left: u8,
    pub answers: Vec<Answered>,
    pub refused: u64,
    pub unknown: u64,
}

#[derive(Clone, Default)]
pub struct People {
    pub orders: Vec<OrderId>,
    pub requests: Vec<Request>,
    /// Once all is well again, nobody does anything.
    pub fall_silent: bool,
}

impl Wish {
    fn asks(self) -> Master {
        match self {
            Self::Place(..) => Master::Order,
            Self::Receive(_) => Master::Point,
            Self::Act(_, act) => match act {
                Cancel | Override | Accept(_) | Reject(_) | Stop(_) | Refuse(_) | Start(_) | MarkReady(_)
                | Collect(_) => Master::Order,
                PayAgain => Master::Basket,
                Close(_) => Master::Point,
                Offer(_) | Take(_) | Decline(_) | Drop(_) | Silence(_) | PickUp(_) | Deliver(_) | Attempt(_)
                | Return(_) | Lose(_) | HandOver(_) => Master::Courier,
            },
        }
    }

    /// The stream that it is about.
    fn stream(self) -> String {
        match self {
            Self::Place(order, ..) => order.to_string(),
            Self::Receive(nth) | Self::Act(_, Close(nth)) => point(nth.into()).to_string(),
            Self::Act(order, _) => match self.asks() {
                Master::Order | Master::Point => order.to_string(),
                Master::Basket => order.payment().to_string(),
                Master::Courier => order.delivery().to_string(),
            },
        }
    }
}

impl Storm {
    /// Somebody wants something, now and then something foolish.
    pub fn wish(&mut self) {
        let Some(order) = self.dice.pick(&self.people.orders) else {
            return;
        };
        let wish = if self.dice.one_in(25) {
            Some(Wish::Receive(self.nth_of(3)))
        } else if self.world.orders.get(order).is_none() {
            let method = if self.dice.one_in(4) {
                Method::Cash
            } else {
                Method::Card
            };
            let kind = if self.dice.one_in(5) {
                Kind::PickUp
            } else {
                Kind::Delivery
            };
            Some(Wish::Place(order, method, kind))
        } else if self.dice.one_in(16) {
            let act = anything(&mut self.dice);
            Some(Wish::Act(order, act))
        } else {
            sensible(&self.world, order, &mut self.dice).map(|act| Wish::Act(order, act))
        };
        // A tap too many is nothing special.
        let left = 1 + u8::from(self.dice.one_in(4));
        self.people.requests.extend(wish.map(|wish| Request {
            key: Uuid::from_u64_pair(1, self.people.requests.len() as u64 + 1),
            wish,
            left,
            answers: Vec::new(),
            refused: 0,
            unknown: 0,
        }));
    }

    fn nth_of(&mut self, limit: usize) -> u8 {
        u8::try_from(self.dice.below(limit)).expect("a few")
    }

    /// One of the requests that wait for an answer is sent; whether there was any.
    pub fn send_one(&mut self) -> bool {
        let waiting = (0..self.people.requests.len()).filter(|nth| self.people.requests[*nth].left > 0);
        let waiting: Vec<usize> = waiting.collect();
        let Some(nth) = self.dice.pick(&waiting) else {
            return false;
        };
        let (key, wish) = (self.people.requests[nth].key, self.people.requests[nth].wish);
        let fate = self.fate(10);
        let is_up = self.processes[wish.asks() as usize].is_up;
        let answer = (is_up && fate != Some(0)).then(|| self.carry_out(key, wish));
        note!(
            self,
            "somebody: {wish:?}: {answer:?}{}",
            if fate == Some(1) { ", which gets lost" } else { "" }
        );
        let request = &mut self.people.requests[nth];
        match answer.filter(|_| fate != Some(1)) {
            // It is sent again until it is answered.
            None => request.unknown += 1,
            Some(answer) => {
                request.left -= 1;
                match answer {
                    Some(answer) => request.answers.push(answer),
                    None => request.refused += 1,
                }
            }
        }
        true
    }

    /// As the command path has it: the answer to a key is stored with its effect, and given again.
    pub fn carry_out(&mut self, key: Uuid, wish: Wish) -> Option<Answered> {
        let (asked, stream) = (wish.asks(), wish.stream());
        let kept = self.databases[asked as usize].answers.get(&key);
        if let Some(kept) = kept.filter(|_| self.flaw != Flaw::KeysForgotten) {
            return Some(kept.clone());
        }
        let before = self.world.log.len();
        let is_granted = match wish {
            Wish::Place(order, method, kind) => {
                let placed = placed(&self.world, order, method, kind);
                self.world.on_order(order, Command::Place(Box::new(placed))).is_ok()
            }
            Wish::Receive(nth) => {
                let received = Point::Receive {
                    ingredient: BREAD,
                    quantity: CRATE,
                };
                self.world.on_point(point(nth.into()), received).is_ok()
            }
            Wish::Act(order, act) if self.flaw == Flaw::AcceptsAtTheEnd => {
                broken::accept_always(&mut self.world, order, act)
            }
            Wish::Act(order, act) => act.carry_out(&mut self.world, order),
        };
        self.committed(asked);
        let version = self.streams.get(&stream).map_or(0, Vec::len) as u64;
        let status = if matches!(wish, Wish::Place(..)) { 201 } else { 200 };
        let answer = Answered {
            status,
            stream,
            version,
        };
        is_granted.then(|| {
            self.note_effect(asked, key, before, true);
            let answers = &mut self.databases[asked as usize].answers;
            answers.insert(key, answer.clone());
            answer
        })
    }

    /// Whoever has something to do does it; whether that changed anything.
    pub fn act_on(&mut self) -> bool {
        let before = self.world.log.len();
        for order in self.people.orders.clone() {
            if let Some(act) = sensible(&self.world, order, &mut self.dice) {
                let asked = Wish::Act(order, act).asks();
                note!(self, "somebody: {act}");
                act.carry_out(&mut self.world, order);
                self.committed(asked);
            }
        }
        self.world.log.len() > before
    }
}

fn anything(dice: &mut Dice) -> Act {
    let nth = u8::try_from(dice.below(3)).expect("a few");
    let courier = nth % 2;
    let acts = [
        Cancel,
        PayAgain,
        Override,
        Accept(nth),
        Reject(nth),
        Stop(nth),
        Refuse(nth),
        Start(nth),
        MarkReady(nth),
        Collect(nth),
        Close(nth),
        Offer(courier),
        Take(courier),
        Decline(courier),
        Drop(courier),
        PickUp(courier),
        Deliver(courier),
        Attempt(courier),
        Return(courier),
        Lose(courier),
        HandOver(courier),
    ];
    dice.pick(&acts).expect("there are some")
}

/// What somebody could do next about an order, mostly what brings it on.
fn sensible(world: &World, order: OrderId, dice: &mut Dice) -> Option<Act> {
    let state = world.orders.get(order)?;
    let nth = (0..3_u8).find(|nth| state.food_point == Some(point((*nth).into())));
    let payment = world.payments.get(order.payment());
    let is_declined = payment.is_some_and(|payment| payment.status == PaymentStatus::Declined);
    let mut acts = Vec::new();
    if is_declined {
        acts.extend([PayAgain, PayAgain, Cancel]);
    }
    if let Some(nth) = nth {
        match (state.status, state.ticket) {
            (Status::Paid | Status::Assigned, Ticket::Offered) => {
                acts.extend([Accept(nth), Accept(nth), Accept(nth), Accept(nth), Reject(nth), Cancel]);
            }
            (Status::Assigned, Ticket::Queued) => acts.extend([Start(nth), Start(nth), MarkReady(nth), Stop(nth)]),
            (Status::Assigned, Ticket::Cooking) => acts.extend([MarkReady(nth), MarkReady(nth), Refuse(nth)]),
            (Status::Ready, _) if state.kind == Kind::PickUp => acts.push(Collect(nth)),
            _ => {}
        }
    }
    if let Some(delivery) = world.deliveries.get(order.delivery())
        && let Some(courier) = delivery.invited().or(delivery.concerns())
        && let Some(nth) = (0..2_u8).find(|nth| COURIERS[usize::from(*nth)] == courier)
    {
        match delivery.status {
            DeliveryStatus::Offered => acts.extend([Take(nth), Take(nth), Take(nth), Decline(nth)]),
            DeliveryStatus::Assigned if delivery.food_ready => acts.extend([PickUp(nth), PickUp(nth), Drop(nth)]),
            DeliveryStatus::PickedUp => acts.extend([Deliver(nth), Deliver(nth), Attempt(nth), HandOver(1 - nth)]),
            DeliveryStatus::Attempted => acts.extend([Deliver(nth), Return(nth)]),
            _ => {}
        }
        if delivery.invited() == Some(courier) {
            acts.extend([Take(nth), Decline(nth)]);
        }
    }
    dice.pick(&acts)
}
