//! Four masters without servers: their real rules, their messages in order, their timers on a virtual clock.
//!
//! Knows what the wiring around the rules knows, and no rule of its own.

use std::collections::{BTreeMap, HashMap, VecDeque};

use basket_master::domain::payment::{Answer, Command as Pay, Step, due_at, next_step};
use courier_master::dispatch::{assign, scene::Scene};
use courier_master::domain::{Heard, courier, delivery};
use courier_master::positions::Seen;
use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::{Actor, Envelope, EventBody, Meta};
use mesh_contracts::id::{CourierId, DeliveryId, FoodPointId, OrderId, PaymentId};
use mesh_contracts::view::courier::Courier;
use mesh_contracts::view::delivery::Delivery;
use mesh_contracts::view::order::Order;
use mesh_contracts::view::point::FoodPoint;
use mesh_eventstore::{Aggregate, Effect, Recorded};
use uuid::Uuid;

use super::provider::Provider;

/// How often the dispatcher looks, in virtual time: its real net is a second, and every look costs the test time.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(15);

/// Streams of one kind, as their master keeps them.
pub struct Streams<A: Aggregate>(BTreeMap<String, Stream<A>>);

struct Stream<A: Aggregate> {
    state: Option<A::State>,
    version: u64,
}

impl<A: Aggregate> Clone for Streams<A> {
    fn clone(&self) -> Self {
        let streams = self.0.iter().map(|(id, stream)| {
            let stream = Stream {
                state: stream.state.clone(),
                version: stream.version,
            };
            (id.clone(), stream)
        });
        Self(streams.collect())
    }
}

impl<A: Aggregate> Default for Streams<A> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<A: Aggregate> Streams<A> {
    pub fn get(&self, id: impl ToString) -> Option<&A::State> {
        self.0.get(&id.to_string())?.state.as_ref()
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, &A::State)> {
        self.0
            .iter()
            .filter_map(|(id, stream)| Some((id, stream.state.as_ref()?)))
    }
}

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
    pub policies: Policies,
    pub orders: Streams<order_master::Orders>,
    pub points: Streams<point_master::FoodPoints>,
    pub payments: Streams<basket_master::Payments>,
    pub deliveries: Streams<courier_master::streams::Deliveries>,
    pub couriers: Streams<courier_master::streams::Couriers>,
    pub provider: Provider,
    pub seen: HashMap<CourierId, Seen>,
    /// Every event ever, in order.
    pub log: Vec<Envelope>,
    /// Stream and kind → when.
    pub timers: BTreeMap<(String, String), Timestamp>,
    messages: VecDeque<Envelope>,
    /// Payments that basket-master is driving; each step of that is a step of its own.
    in_hand: VecDeque<PaymentId>,
    look_at: Option<Timestamp>,
}

impl World {
    pub fn new(now: Timestamp, provider: Provider) -> Self {
        Self {
            now,
            policies: Policies::default(),
            orders: Streams::default(),
            points: Streams::default(),
            payments: Streams::default(),
            deliveries: Streams::default(),
            couriers: Streams::default(),
            provider,
            seen: HashMap::new(),
            log: Vec::new(),
            timers: BTreeMap::new(),
            messages: VecDeque::new(),
            in_hand: VecDeque::new(),
            look_at: None,
        }
    }

    /// Hands one message to every master, or takes one step with the payment provider; whether there was any.
    pub fn go_on(&mut self) -> bool {
        match self.messages.pop_front() {
            Some(message) => self.deliver(&message),
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

    fn deliver(&mut self, message: &Envelope) {
        // A refusal by the rules is a fact about the event, as for the real inbox.
        if let Some((order, command)) = order_master::domain::hear(message).expect("readable") {
            let _ = self.on_order(order, command);
        }
        if let Some(point) = order_master::domain::closed(message).expect("readable") {
            let held = self.points.get(point).map(|point| point.holds.clone());
            for order in held.unwrap_or_default().into_keys() {
                let _ = self.on_order(order, order_master::domain::Command::PointClosed(point));
            }
        }
        if let Some((point, command)) = point_master::domain::hear(message).expect("readable") {
            let _ = self.on_point(point, command);
        }
        if let Some((payment, command)) = basket_master::domain::hear(message).expect("readable") {
            self.on_payment(payment, &command);
        }
        match courier_master::domain::hear(message).expect("readable") {
            Some(Heard::Delivery(id, command)) => drop(self.on_delivery(id, command)),
            Some(Heard::Courier(id, command)) => drop(self.on_courier(id, command)),
            None => {}
        }
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
        self.append_orders(id, decided);
        Ok(())
    }

    pub fn on_point(
        &mut self,
        id: FoodPointId,
        command: point_master::domain::Command,
    ) -> Result<(), point_master::domain::Rejection> {
        let decided = point_master::domain::decide(self.points.get(id), command, self.now)?;
        let mut points = std::mem::take(&mut self.points);
        self.append(&mut points, &id.to_string(), decided);
        self.points = points;
        Ok(())
    }

    pub fn on_payment(&mut self, id: PaymentId, command: &Pay) {
        let (payment, policy) = (self.payments.get(id), &self.policies.payment);
        // Only a customer can be refused.
        let decided = basket_master::domain::payment::decide(payment, command, self.now, policy).unwrap_or_default();
        let mut payments = std::mem::take(&mut self.payments);
        self.append(&mut payments, &id.to_string(), decided);
        self.payments = payments;
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
        let mut deliveries = std::mem::take(&mut self.deliveries);
        self.append(&mut deliveries, &id.to_string(), decision.delivery);
        self.deliveries = deliveries;
        if let Some(party) = party {
            self.append_couriers(party, decision.courier);
        }
        if let Some(former) = former {
            self.append_couriers(former, decision.former);
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
        self.append_couriers(id, decided);
        self.look_at = Some(self.now);
        Ok(())
    }

    fn append_orders(&mut self, id: OrderId, events: Vec<mesh_contracts::order::Event>) {
        let mut orders = std::mem::take(&mut self.orders);
        self.append(&mut orders, &id.to_string(), events);
        self.orders = orders;
    }

    fn append_couriers(&mut self, id: CourierId, events: Vec<mesh_contracts::courier::Event>) {
        let mut couriers = std::mem::take(&mut self.couriers);
        self.append(&mut couriers, &id.to_string(), events);
        self.couriers = couriers;
    }

    fn append<A: Aggregate>(&mut self, streams: &mut Streams<A>, id: &str, events: Vec<A::Event>) {
        for event in events {
            let stream = streams.0.entry(id.to_owned()).or_insert(Stream {
                state: None,
                version: 0,
            });
            stream.version += 1;
            let recorded = Recorded {
                version: stream.version,
                at: self.now,
            };
            stream.state = A::evolve(stream.state.take(), &event, recorded);
            let effects = stream.state.as_ref().map(|state| A::react(state, &event, self.now));
            for effect in effects.unwrap_or_default() {
                match effect {
                    Effect::SetTimer { kind, due } => {
                        self.timers.insert((id.to_owned(), kind.into_owned()), due);
                    }
                    Effect::ClearTimer { kind } => {
                        self.timers.remove(&(id.to_owned(), kind.into_owned()));
                    }
                }
            }
            let envelope = self.envelope(id, recorded, &event);
            self.messages.push_back(envelope.clone());
            self.log.push(envelope);
        }
    }

    fn envelope(&self, id: &str, recorded: Recorded, event: &impl EventBody) -> Envelope {
        let position = self.log.len() as u64 + 1;
        Envelope {
            event_id: Uuid::from_u128(position.into()),
            stream: id.to_owned(),
            version: recorded.version,
            position,
            event_type: event.event_type().to_owned(),
            schema_version: 1,
            at: recorded.at,
            recorded_at: recorded.at,
            meta: Meta::by(Actor::service("model")),
            data: event.encode(),
        }
    }

    /// As the wiring does it: the timer goes with what follows from it.
    fn fire(&mut self, stream: &str, kind: &str) {
        self.timers.remove(&(stream.to_owned(), kind.to_owned()));
        if let Ok(id) = stream.parse::<OrderId>() {
            let order: Option<&Order> = self.orders.get(id);
            let events = order_master::domain::fire(order, kind, self.now, &self.policies.order);
            self.append_orders(id, events);
        } else if let Ok(id) = stream.parse::<FoodPointId>() {
            let point: Option<&FoodPoint> = self.points.get(id);
            let events = point_master::domain::fire(point, kind, self.now);
            let mut points = std::mem::take(&mut self.points);
            self.append(&mut points, &id.to_string(), events);
            self.points = points;
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
    fn next_look(&self) -> Option<Timestamp> {
        let is_open = self.deliveries.all().any(|(_, delivery)| delivery.status.is_open());
        self.look_at.filter(|_| is_open)
    }

    /// As courier-master's dispatcher does it.
    fn look(&mut self) {
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
        let on_shift = |courier: &Courier| courier.status == mesh_contracts::view::courier::Status::On;
        let id = |id: &String| id.parse().expect("a courier's stream");
        Scene {
            deliveries: self
                .deliveries
                .all()
                .map(|(_, delivery)| delivery)
                .filter(open)
                .cloned()
                .collect(),
            couriers: self
                .couriers
                .all()
                .filter(|(_, courier)| on_shift(courier))
                .map(|(stream, courier)| (id(stream), courier.clone()))
                .collect(),
            seen: self.seen.clone(),
        }
    }
}
