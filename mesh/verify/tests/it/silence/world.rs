//! Four masters without servers: their real rules, their messages in order, their timers on a virtual clock.
//!
//! Knows what the wiring around the rules knows, and no rule of its own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use basket_master::domain::payment::{Answer, Command as Pay, Step, due_at, next_step};
use courier_master::dispatch::{assign, scene::Scene};
use courier_master::domain::{courier, delivery};
use courier_master::positions::Seen;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::{Actor, Envelope, EventBody, Meta};
use mesh_contracts::id::{CourierId, DeliveryId, FoodPointId, OrderId, PaymentId};
use mesh_contracts::view;
use mesh_contracts::view::courier::Courier;
use mesh_contracts::view::delivery::Delivery;
use mesh_contracts::view::order::Order;
use mesh_contracts::view::point::FoodPoint;
use mesh_eventstore::{Aggregate, Effect};
use uuid::Uuid;

use super::provider::Provider;
use super::streams::{Shared, Streams, hash_of};
use super::told::{Master, Told, told};

/// How often the dispatcher looks, in virtual time: its real net is a second, and every look costs the test time.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(15);

/// Policies of all masters.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    pub order: order_master::domain::Policy,
    pub payment: basket_master::domain::Policy,
    pub courier: courier_master::domain::Policy,
}

/// Everything there is.
#[derive(Clone)]
pub struct World {
    pub now: Timestamp,
    pub policies: Shared<Policies>,
    pub orders: Streams<order_master::Orders>,
    pub points: Streams<point_master::FoodPoints>,
    pub payments: Streams<basket_master::Payments>,
    pub deliveries: Streams<courier_master::streams::Deliveries>,
    pub couriers: Streams<courier_master::streams::Couriers>,
    pub provider: Shared<Provider>,
    pub seen: Shared<HashMap<CourierId, Seen>>,
    /// Every event ever, in order. The second half of its id names what it says.
    pub log: Shared<Vec<Arc<Envelope>>>,
    /// Stream and kind → when.
    pub timers: Shared<BTreeMap<(String, String), Timestamp>>,
    /// How much of the log every master has heard.
    heard: usize,
    /// Payments that basket-master is driving; each step of that is a step of its own.
    in_hand: VecDeque<PaymentId>,
    pub look_at: Option<Timestamp>,
}

impl World {
    pub fn new(now: Timestamp, provider: Provider) -> Self {
        Self {
            now,
            policies: Shared::default(),
            orders: Streams::default(),
            points: Streams::default(),
            payments: Streams::default(),
            deliveries: Streams::default(),
            couriers: Streams::default(),
            provider: provider.into(),
            seen: Shared::default(),
            log: Shared::default(),
            timers: Shared::default(),
            heard: 0,
            in_hand: VecDeque::new(),
            look_at: None,
        }
    }

    /// Hands one message to every master, or takes one step with the payment provider; whether there was any.
    pub fn go_on(&mut self) -> bool {
        match self.log.get(self.heard).cloned() {
            Some(message) => {
                self.heard += 1;
                let told = Master::ALL.into_iter().filter_map(|master| told(master, &message));
                told.for_each(|told| self.tell(told));
            }
            None => match self.in_hand.pop_front() {
                Some(payment) => self.drive(payment),
                None => return false,
            },
        }
        true
    }

    /// The same, or the next step of a payment that is due now; no other deadline passes.
    pub fn go_on_paying(&mut self) -> bool {
        if self.go_on() {
            return true;
        }
        let is_payment = |stream: &str| stream.parse::<PaymentId>().is_ok();
        let due = self
            .timers
            .iter()
            .find(|((stream, _), due)| **due <= self.now && is_payment(stream));
        match due.map(|(key, _)| key.clone()) {
            Some((stream, kind)) => {
                self.fire(&stream, &kind);
                true
            }
            None => false,
        }
    }

    /// As the wiring does it. A refusal by the rules is a fact about the event, as for the real inbox.
    pub fn tell(&mut self, told: Told) {
        match told {
            Told::Order(order, command) => drop(self.on_order(order, *command)),
            Told::Closed(point, version) => {
                for order in self.holding(point, version) {
                    let _ = self.on_order(order, order_master::domain::Command::PointClosed(point));
                }
            }
            Told::Point(point, command) => drop(self.on_point(point, command)),
            Told::Payment(id, command) => {
                let (payment, policy) = (self.payments.get(id), &self.policies.payment);
                let decided = basket_master::domain::payment::decide_and_drive(payment, &command, self.now, policy);
                self.append(
                    |world| &mut world.payments,
                    &id.to_string(),
                    decided.unwrap_or_default(),
                );
                // The settler takes the step at once.
                if !self.in_hand.contains(&id) {
                    self.in_hand.push_back(id);
                }
            }
            Told::Delivery(id, command) => drop(self.on_delivery(id, command)),
            Told::Courier(id, command) => drop(self.on_courier(id, command)),
        }
    }

    /// Whom a point held something for at that event, as order-master knows it then.
    fn holding(&self, point: FoodPointId, version: u64) -> Vec<OrderId> {
        let stream = point.to_string();
        let events = self.log.iter();
        let known = events
            .filter(|event| event.stream == stream && event.version <= version)
            .fold(None, |known, event| {
                let body = event.body().expect("readable").expect("known");
                view::point::fold(known, &body, event.at)
            });
        known.map_or(Vec::new(), |point: FoodPoint| point.holds.into_keys().collect())
    }

    /// Moves to the next instant at which anything is due, but not beyond `until`, and does what is due then.
    /// Whether anything was.
    pub fn wait(&mut self, until: Timestamp) -> bool {
        let timer = self.timers.values().min().copied();
        let look = self.next_look();
        let next = timer.into_iter().chain(look).min().filter(|next| *next <= until);
        let Some(next) = next else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        let due = self.timers.iter().find(|(_, due)| **due <= self.now);
        match due.map(|(key, _)| key.clone()) {
            Some((stream, kind)) => self.fire(&stream, &kind),
            None => self.look(),
        }
        true
    }

    pub fn on_order(
        &mut self,
        id: OrderId,
        command: order_master::domain::Command,
    ) -> Result<(), order_master::domain::Rejection> {
        let decided = order_master::domain::decide(self.orders.get(id), command, self.now, &self.policies.order)?;
        self.append(|world| &mut world.orders, &id.to_string(), decided);
        Ok(())
    }

    pub fn on_point(
        &mut self,
        id: FoodPointId,
        command: point_master::domain::Command,
    ) -> Result<(), point_master::domain::Rejection> {
        let decided = point_master::domain::decide(self.points.get(id), command, self.now)?;
        self.append(|world| &mut world.points, &id.to_string(), decided);
        Ok(())
    }

    pub fn on_payment(&mut self, id: PaymentId, command: &Pay) {
        let (payment, policy) = (self.payments.get(id), &self.policies.payment);
        // Only a customer can be refused.
        let decided = basket_master::domain::payment::decide(payment, command, self.now, policy).unwrap_or_default();
        self.append(|world| &mut world.payments, &id.to_string(), decided);
    }

    pub fn on_delivery(
        &mut self,
        id: DeliveryId,
        command: delivery::Command,
    ) -> Result<(), courier_master::domain::Rejection> {
        let delivery: Option<&Delivery> = self.deliveries.get(id);
        let (party, former) = (command.party(delivery), command.former(delivery));
        let courier = party.and_then(|party| self.couriers.get(party));
        let decision = delivery::decide(delivery, courier, command, self.now, &self.policies.courier)?;
        self.append(|world| &mut world.deliveries, &id.to_string(), decision.delivery);
        for (courier, events) in [(party, decision.courier), (former, decision.former)] {
            if let Some(courier) = courier {
                self.append(|world| &mut world.couriers, &courier.to_string(), events);
            }
        }
        // The real dispatcher is woken by every change.
        self.look_at = Some(self.now);
        Ok(())
    }

    pub fn on_courier(
        &mut self,
        id: CourierId,
        command: courier::Command,
    ) -> Result<(), courier_master::domain::Rejection> {
        let decided = courier::decide(self.couriers.get(id), command)?;
        self.append(|world| &mut world.couriers, &id.to_string(), decided);
        self.look_at = Some(self.now);
        Ok(())
    }

    /// Stores events with what follows from them for timers.
    pub fn append<A: Aggregate>(&mut self, kept: fn(&mut Self) -> &mut Streams<A>, id: &str, events: Vec<A::Event>) {
        for event in events {
            let (at, data) = (self.now, event.encode());
            let says = hash_of(&(id, event.event_type(), data.as_str()));
            let stored = kept(self).store(id, &event, says, at);
            for effect in stored.effects {
                match effect {
                    Effect::SetTimer { kind, due } => {
                        self.timers.insert((id.to_owned(), kind.into_owned()), due);
                    }
                    Effect::ClearTimer { kind } => {
                        self.timers.remove(&(id.to_owned(), kind.into_owned()));
                    }
                }
            }
            let envelope = Envelope {
                event_id: Uuid::from_u64_pair(stored.trail, says),
                stream: id.to_owned(),
                version: stored.version,
                position: self.log.len() as u64 + 1,
                event_type: event.event_type().to_owned(),
                schema_version: 1,
                at,
                recorded_at: at,
                meta: Meta::by(Actor::service("model")),
                data,
            };
            self.log.push(Arc::new(envelope));
        }
    }

    /// As the wiring does it: the timer goes with what follows from it.
    pub fn fire(&mut self, stream: &str, kind: &str) {
        self.timers.remove(&(stream.to_owned(), kind.to_owned()));
        if let Ok(id) = stream.parse::<OrderId>() {
            let order: Option<&Order> = self.orders.get(id);
            let events = order_master::domain::fire(order, kind, self.now, &self.policies.order);
            self.append(|world| &mut world.orders, stream, events);
        } else if let Ok(id) = stream.parse::<FoodPointId>() {
            let point: Option<&FoodPoint> = self.points.get(id);
            let events = point_master::domain::fire(point, kind, self.now);
            self.append(|world| &mut world.points, stream, events);
        } else if let Ok(id) = stream.parse::<DeliveryId>() {
            let command = delivery::Command::of_timer(kind).expect("a timer of deliveries");
            self.on_delivery(id, command).expect("a deadline is never refused");
        } else if let Ok(id) = stream.parse::<PaymentId>() {
            self.in_hand.push_back(id);
        } else {
            panic!("nobody keeps timers of {stream}");
        }
    }

    /// One step of what basket-master's settler does, until nothing is due or an answer is lost.
    fn drive(&mut self, id: PaymentId) {
        let Some(payment) = self.payments.get(id).cloned() else {
            return;
        };
        match next_step(&payment) {
            None => {}
            Some(Step::Ask(call)) => {
                let answer = self.provider.ask(id.order(), &call);
                let is_lost = answer == Answer::Lost;
                let attempt = call.attempt;
                self.on_payment(id, &Pay::Answered { attempt, answer });
                if !is_lost {
                    self.in_hand.push_back(id);
                }
            }
            Some(Step::Intend { .. } | Step::Book(_)) => {
                if due_at(&payment, self.now).is_some_and(|due| due > self.now) {
                    // Another card may still come; the timer stands.
                    return;
                }
                self.on_payment(id, &Pay::Drive);
                let after = self.payments.get(id).map_or(0, |payment| payment.version);
                assert!(
                    after > payment.version,
                    "a step was due, and was not taken: {payment:?}"
                );
                self.in_hand.push_back(id);
            }
        }
    }

    /// When the dispatcher looks next: after every change, when an offer is due, and every so often.
    pub fn next_look(&self) -> Option<Timestamp> {
        let is_open = self.deliveries.all().any(|(_, delivery)| delivery.status.is_open());
        self.look_at.filter(|_| is_open)
    }

    /// As courier-master's dispatcher does it.
    pub fn look(&mut self) {
        let policy = self.policies.courier;
        let scene = self.scene();
        for (delivery, courier) in scene.silent(Timestamp::UNIX_EPOCH, self.now, &policy) {
            let _ = self.on_delivery(delivery, delivery::Command::Silence { courier });
        }
        let scene = self.scene();
        let plan = assign(&scene.waiting(), &scene.available(&policy), self.now, &policy);
        for offer in plan.offers {
            let command = delivery::Command::Offer {
                courier: offer.courier,
                pickup_distance_m: offer.pickup_distance_m,
                considered: offer.considered,
            };
            let _ = self.on_delivery(offer.delivery, command);
        }
        let next = self.now + LOOK_EVERY;
        self.look_at = Some(
            plan.again_at
                .map_or(next, |at| at.clamp(self.now + SignedDuration::from_secs(1), next)),
        );
    }

    fn scene(&self) -> Scene {
        let open = |delivery: &&Delivery| delivery.status.is_open();
        let on_shift = |courier: &Courier| courier.status == view::courier::Status::On;
        let id = |id: &String| id.parse().expect("a courier's stream");
        Scene {
            deliveries: self
                .deliveries
                .all()
                .map(|(_, delivery)| delivery)
                .filter(open)
                .map(|delivery| Arc::new(delivery.clone()))
                .collect(),
            couriers: self
                .couriers
                .all()
                .filter(|(_, courier)| on_shift(courier))
                .map(|(stream, courier)| (id(stream), Arc::new(courier.clone())))
                .collect(),
            seen: HashMap::clone(&self.seen),
        }
    }
}
