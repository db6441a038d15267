//! People: what each of them does next, as long as they do anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use basket_master::domain::payment::Command as Pay;
use courier_master::domain::{courier, delivery};
use courier_master::positions::Seen;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::api::FailOutcome;
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, CourierId, FoodPointId, IngredientId, OrderId, ProductId, UserId};
use mesh_contracts::menu::{Names, Product, RecipeLine};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Destination, Kind, Method, Placed, Proof, Quote, QuoteLine, Reason, Status};
use mesh_contracts::point::Settings;
use mesh_contracts::view::delivery::Status as DeliveryStatus;
use mesh_contracts::view::order::Ticket;
use mesh_contracts::view::payment::Status as PaymentStatus;
use mesh_contracts::view::point::FoodPoint;
use mesh_contracts::view::product;
use order_master::domain::{Command, candidates, work};
use point_master::domain::Command as Point;
use uuid::Uuid;

use super::provider::{Mood, Provider};
use super::world::World;

pub const ORDER: OrderId = OrderId(Uuid::from_u128(1));
pub const CUSTOMER: UserId = UserId(Uuid::from_u128(2));
pub const PRODUCT: ProductId = ProductId(Uuid::from_u128(3));
pub const BREAD: IngredientId = IngredientId(Uuid::from_u128(4));
pub const COURIERS: [CourierId; 2] = [CourierId(Uuid::from_u128(21)), CourierId(Uuid::from_u128(22))];

/// A Sunday; the points are always open.
const NOON: Timestamp = Timestamp::constant(1_772_366_400, 0);

/// More than anybody here can eat.
const BREAD_OF_EACH: u32 = 50;

/// Between two acts of people who take their time: less than any of them has.
const UNHURRIED: SignedDuration = SignedDuration::from_secs(40);

/// What somebody says to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Yes,
    No,
    Nothing,
}

/// What everybody would do.
#[derive(Debug, Clone)]
pub struct Script {
    pub name: &'static str,
    pub mood: Mood,
    pub method: Method,
    pub kind: Kind,
    pub auto_accept: bool,
    /// The kitchens' words, one after the other; then yes.
    pub kitchens: Vec<Word>,
    /// The couriers' words, one after the other; then yes.
    pub couriers: Vec<Word>,
    /// So many jobs are given back.
    pub drops: usize,
    /// So many jobs are taken by couriers who never come for the food.
    pub lingers: usize,
    /// So many times nobody opens.
    pub attempts: usize,
    pub door_stays_closed: bool,
    /// What becomes of the food at last, instead of being handed over.
    pub fails: Option<FailOutcome>,
    /// What another courier says who is asked to go on with it.
    pub hand_over: Option<Word>,
    /// The customer comes to the counter.
    pub collects: bool,
    pub says_start: bool,
    /// The nearest kitchen takes others' orders just after it was chosen.
    pub first_point_fills_up: bool,
    /// The next one is known to have nothing.
    pub second_point_empty: bool,
    pub cancel_at: Option<Status>,
    pub cancel_when_cooking: bool,
    pub kitchen_cancels_at: Option<Ticket>,
    /// So many kitchens stop after they accepted.
    pub stops: usize,
    /// The first kitchen closes at this point of its ticket.
    pub closes_at: Option<Ticket>,
    pub override_at: Option<Status>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            name: "everything goes well",
            mood: Mood::default(),
            method: Method::Card,
            kind: Kind::Delivery,
            auto_accept: false,
            kitchens: Vec::new(),
            couriers: Vec::new(),
            drops: 0,
            lingers: 0,
            attempts: 0,
            door_stays_closed: false,
            fails: None,
            hand_over: None,
            collects: true,
            says_start: true,
            first_point_fills_up: false,
            second_point_empty: false,
            cancel_at: None,
            cancel_when_cooking: false,
            kitchen_cancels_at: None,
            stops: 0,
            closes_at: None,
            override_at: None,
        }
    }
}

/// How quick people are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// They act before the masters have told each other.
    Eager,
    /// They act as soon as the masters are done.
    Prompt,
    /// They let time pass first.
    Unhurried,
}

impl Pace {
    pub const ALL: [Self; 3] = [Self::Eager, Self::Prompt, Self::Unhurried];
}

/// A script being played.
pub struct Run<'a> {
    script: &'a Script,
    pace: Pace,
    world: World,
    acted_at: Timestamp,
    kitchens_said: usize,
    couriers_said: usize,
    dropped: usize,
    attempted: usize,
    stopped: usize,
    closed: bool,
    asked_to_hand_over: bool,
    cards: u32,
}

impl<'a> Run<'a> {
    /// Three food points, two couriers on shift, and a customer who is about to order.
    pub fn new(script: &'a Script, pace: Pace) -> Self {
        let second = if script.second_point_empty { 0 } else { BREAD_OF_EACH };
        let mut world = town(script.mood, script.auto_accept, [BREAD_OF_EACH, second, BREAD_OF_EACH]);
        while world.go_on() {}
        Self {
            script,
            pace,
            acted_at: world.now,
            world,
            kitchens_said: 0,
            couriers_said: 0,
            dropped: 0,
            attempted: 0,
            stopped: 0,
            closed: false,
            asked_to_hand_over: false,
            cards: 1,
        }
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// One message, one call, one act, or one deadline; whether there was any.
    pub fn step(&mut self) -> bool {
        for seen in self.world.seen.values_mut() {
            seen.at = self.world.now;
        }
        match self.pace {
            Pace::Eager => self.act() || self.world.go_on() || self.wait(),
            Pace::Prompt => self.world.go_on() || self.act() || self.wait(),
            Pace::Unhurried => {
                let acts_at = self.acted_at + UNHURRIED;
                self.world.go_on() || self.world.wait(acts_at) || self.act() || self.wait()
            }
        }
    }

    fn wait(&mut self) -> bool {
        // Longer than any deadline.
        let ages = self.world.now + SignedDuration::from_hours(24);
        self.world.wait(ages)
    }

    fn act(&mut self) -> bool {
        let acted = self.ask_to_end() || self.customer() || self.kitchen() || self.operator() || self.courier();
        if acted {
            self.acted_at = self.world.now;
        }
        acted
    }

    fn status(&self) -> Option<Status> {
        self.world.orders.get(ORDER).map(|order| order.status)
    }

    fn ask_to_end(&mut self) -> bool {
        let Some(status) = self.status() else { return false };
        let ticket = self.world.orders.get(ORDER).map(|order| order.ticket);
        let is_cooking = status == Status::Assigned && ticket == Some(Ticket::Cooking);
        let cancels = self.script.cancel_at == Some(status) || (self.script.cancel_when_cooking && is_cooking);
        let command = if cancels {
            Command::Cancel(Reason::CustomerCancelled)
        } else if status == Status::Assigned && ticket.is_some() && self.script.kitchen_cancels_at == ticket {
            Command::CancelByKitchen(Reason::IngredientUnavailable)
        } else if self.script.override_at == Some(status) {
            Command::Override(Reason::Other)
        } else {
            return false;
        };
        self.world.on_order(ORDER, command).is_ok()
    }

    fn customer(&mut self) -> bool {
        if self.world.orders.get(ORDER).is_none() {
            let placed = placed(&self.world, ORDER, self.script.method, self.script.kind);
            self.world
                .on_order(ORDER, Command::Place(Box::new(placed)))
                .expect("somebody can cook it");
            if self.script.first_point_fills_up {
                fill(&mut self.world, point(0));
            }
            return true;
        }
        let payment = self.world.payments.get(ORDER.payment());
        let is_declined = payment.is_some_and(|payment| payment.status == PaymentStatus::Declined);
        if !is_declined || self.cards > self.script.mood.declines {
            return false;
        }
        let before = payment.map(|payment| payment.version);
        let again = Pay::PayAgain {
            customer: CUSTOMER,
            key: format!("card-{}", self.cards),
        };
        self.world.on_payment(ORDER.payment(), &again);
        self.cards += 1;
        self.world.payments.get(ORDER.payment()).map(|payment| payment.version) != before
    }

    fn kitchen(&mut self) -> bool {
        let Some(order) = self.world.orders.get(ORDER) else {
            return false;
        };
        if self.script.closes_at == Some(order.ticket) && !self.closed {
            self.closed = true;
            let point = order.food_point.expect("it was asked");
            let closing = Point::Change {
                open: Some(false),
                settings: None,
            };
            return self.world.on_point(point, closing).is_ok();
        }
        let command = match (order.status, order.ticket) {
            (Status::Assigned, Ticket::Queued) if self.stopped < self.script.stops => {
                self.stopped += 1;
                Command::Stop(Reason::Busy)
            }
            (Status::Ready, _) if order.kind == Kind::PickUp && self.script.collects => {
                Command::Collect(Some(Proof::Pin))
            }
            (Status::Paid | Status::Assigned, Ticket::Offered) => {
                // Each kitchen is asked once, and says its word once.
                let asked = order.tried.len();
                if self.kitchens_said >= asked {
                    return false;
                }
                self.kitchens_said = asked;
                match self.script.kitchens.get(asked - 1).copied().unwrap_or(Word::Yes) {
                    Word::Yes => Command::Accept { ready_by: None },
                    Word::No => Command::RejectTicket(Reason::Busy),
                    Word::Nothing => return false,
                }
            }
            (Status::Assigned, Ticket::Queued) if self.script.says_start => Command::StartCooking,
            (Status::Assigned, Ticket::Cooking) => Command::MarkReady,
            _ => return false,
        };
        self.world.on_order(ORDER, command).is_ok()
    }

    /// Sends another courier to the one who is on the road.
    fn operator(&mut self) -> bool {
        let Some(word) = self.script.hand_over else {
            return false;
        };
        let Some(delivery) = self.world.deliveries.get(ORDER.delivery()) else {
            return false;
        };
        if let Some(courier) = delivery.invited() {
            let command = match word {
                Word::Yes => delivery::Command::Accept { courier },
                Word::No => delivery::Command::Decline { courier },
                Word::Nothing => return false,
            };
            return self.world.on_delivery(ORDER.delivery(), command).is_ok();
        }
        if delivery.status != DeliveryStatus::PickedUp || self.asked_to_hand_over {
            return false;
        }
        self.asked_to_hand_over = true;
        let to = COURIERS.into_iter().find(|other| Some(*other) != delivery.courier);
        let to = to.expect("there are two");
        self.world
            .on_delivery(ORDER.delivery(), delivery::Command::HandOver { to })
            .is_ok()
    }

    fn courier(&mut self) -> bool {
        let Some(delivery) = self.world.deliveries.get(ORDER.delivery()) else {
            return false;
        };
        let Some(courier) = delivery.concerns() else {
            return false;
        };
        let (attempt, food_ready) = (delivery.attempt as usize, delivery.food_ready);
        let command = match delivery.status {
            DeliveryStatus::Offered => {
                if self.couriers_said >= attempt {
                    return false;
                }
                self.couriers_said = attempt;
                match self.script.couriers.get(attempt - 1).copied().unwrap_or(Word::Yes) {
                    Word::Yes => delivery::Command::Accept { courier },
                    Word::No => delivery::Command::Decline { courier },
                    Word::Nothing => return false,
                }
            }
            DeliveryStatus::Assigned if self.dropped < self.script.drops => {
                self.dropped += 1;
                delivery::Command::Drop { courier }
            }
            DeliveryStatus::Assigned if attempt <= self.script.lingers => return false,
            DeliveryStatus::Assigned if food_ready => delivery::Command::PickUp { courier },
            DeliveryStatus::PickedUp if self.attempted < self.script.attempts => {
                self.attempted += 1;
                delivery::Command::Fail {
                    courier,
                    reason: Reason::CustomerNotFound,
                    outcome: FailOutcome::Attempted,
                }
            }
            DeliveryStatus::PickedUp | DeliveryStatus::Attempted if self.script.fails.is_some() => {
                delivery::Command::Fail {
                    courier,
                    reason: Reason::CustomerNotFound,
                    outcome: self.script.fails.unwrap_or_default(),
                }
            }
            DeliveryStatus::Attempted if self.script.door_stays_closed => return false,
            DeliveryStatus::PickedUp | DeliveryStatus::Attempted => delivery::Command::Deliver {
                courier,
                proof: Some(Proof::Pin),
            },
            DeliveryStatus::Assigned
            | DeliveryStatus::Waiting
            | DeliveryStatus::Delivered
            | DeliveryStatus::Cancelled
            | DeliveryStatus::Returned
            | DeliveryStatus::Lost => return false,
        };
        self.world.on_delivery(ORDER.delivery(), command).is_ok()
    }
}

/// Three food points with so much bread each, and two couriers on shift; nobody has heard of them.
pub fn town(mood: Mood, auto_accept: bool, bread: [u32; 3]) -> World {
    let mut world = World::new(NOON, Provider::new(mood));
    for (nth, bread) in (0..).zip(bread) {
        open_point(&mut world, nth, auto_accept, bread);
    }
    for (nth, courier) in (0..).zip(COURIERS) {
        let country = country();
        world
            .on_courier(courier, courier::Command::Register { country })
            .expect("new");
        world
            .on_courier(courier, courier::Command::Start { speed_m_per_min: 300 })
            .expect("registered");
        let seen = Seen {
            place: at(10 + nth),
            at: NOON,
        };
        world.seen.insert(courier, seen);
    }
    world
}

fn country() -> Country {
    Country::parse("DE").expect("two capital letters")
}

/// Some hundred metres further with every number.
pub fn at(nth: i32) -> Coordinates {
    Coordinates::new(52_520_000 + nth * 2_000, 13_405_000).expect("on earth")
}

pub fn point(nth: u128) -> FoodPointId {
    FoodPointId(Uuid::from_u128(11 + nth))
}

fn open_point(world: &mut World, nth: u128, auto_accept: bool, bread: u32) {
    let settings = Settings {
        name: format!("Point {nth}"),
        place: Place {
            country: country(),
            at: at(i32::try_from(nth).expect("three of them")),
        },
        kinds: vec![Kind::Delivery, Kind::PickUp],
        radius_m: 5_000,
        pool: 2,
        auto_accept,
        hours: Vec::new(),
        utc_offset_minutes: 0,
    };
    world.on_point(point(nth), Point::Register(settings)).expect("new");
    if bread > 0 {
        let received = Point::Receive {
            ingredient: BREAD,
            quantity: bread,
        };
        world.on_point(point(nth), received).expect("registered");
    }
}

/// Takes every slot of a point for orders of others that are being cooked.
pub fn fill(world: &mut World, point: FoodPointId) {
    for number in 90..92 {
        let order = OrderId(Uuid::from_u128(number));
        let wanted = point_master::domain::Wanted {
            order,
            attempt: 1,
            kind: Kind::Delivery,
            needs: Vec::new(),
            expires_at: world.now + SignedDuration::from_hours(1),
        };
        world.on_point(point, Point::Hold(wanted)).expect("registered");
        world
            .on_point(point, Point::Confirm { order, attempt: 1 })
            .expect("held");
    }
}

pub fn placed(world: &World, order: OrderId, method: Method, kind: Kind) -> Placed {
    let price = Money::new(900, Currency::EUR);
    let lines = vec![QuoteLine::plain(PRODUCT, 2, price)];
    let made = mesh_contracts::menu::Event::Created {
        product: Product {
            names: Names {
                en: "Club sandwich".into(),
                ru: "Клаб-сэндвич".into(),
            },
            prices: BTreeMap::from([(country(), price)]),
            recipe: vec![RecipeLine {
                ingredient: BREAD,
                name: "Bread".into(),
                quantity: 2,
            }],
            allergens: Vec::new(),
            prep_minutes: 10,
            ..Product::default()
        },
    };
    let menu = product::fold(None, &made, world.now).map(|product| (PRODUCT, Arc::new(product)));
    let work = work(&lines, &menu.into_iter().collect()).expect("it is on the menu");
    let destination = match kind {
        Kind::Delivery => Some(Destination {
            address: AddressId(Uuid::from_u128(6)),
            place: Place {
                country: country(),
                at: at(-5),
            },
        }),
        Kind::PickUp => None,
    };
    let points: Vec<(FoodPointId, &FoodPoint)> = world
        .points
        .all()
        .map(|(id, point)| (id.parse().expect("a point's stream"), point))
        .collect();
    let policy = &world.policies.order;
    let candidates = candidates(
        points,
        &work,
        kind,
        destination.as_ref(),
        None,
        world.now,
        policy.candidates_max,
    );
    Placed {
        number: order.number(),
        customer: CUSTOMER,
        kind,
        quote: Quote {
            basket: CUSTOMER.basket(),
            basket_version: 1,
            country: country(),
            lines,
            total: Money::new(1_800, Currency::EUR),
            method,
            valid_until: world.now + SignedDuration::from_secs(60),
        },
        destination,
        pinned: None,
        needs: work.needs,
        prep_minutes: work.prep_minutes,
        candidates,
        pay_by: world.now + policy.payment,
    }
}
