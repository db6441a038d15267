//! However connections break, instances change and events come twice, late or out of order: a client's screen is what
//! the server has, its stamps ascend, nothing is left out and nothing comes twice.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_contracts::envelope::{Envelope, EventBody};
use mesh_contracts::id::{CourierId, OrderId};
use mesh_contracts::live::{Screen, Shown};
use mesh_contracts::ops::Board;
use mesh_contracts::user::Role;
use mesh_contracts::view::delivery::Delivery;
use mesh_contracts::view::order::{Hold, Order};
use mesh_contracts::{delivery, order, point};
use mesh_identity::Caller;
use mesh_testkit::{Gateway, Master, eventually_in};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use uuid::Uuid;

use crate::events::{
    POINT, after, cooked_and_brought, delivered, hold_consumed, hold_held, offer, on_shift, opened, picked_up,
    registered, taken, ticket,
};
use crate::sse::Event;
use crate::world::{self, World, courier, customer, kitchen, listen, operator};

/// Orders, each with its ticket, delivery and hold: some hundred events on five kinds of streams.
const ORDERS: usize = 12;

/// A refill, a gap and a second of back-off fit in it many times.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(30);

/// What a client has on its screen.
#[derive(Debug, Clone, PartialEq)]
enum Sight {
    Orders(Screen<Order>),
    Jobs(Screen<Delivery>),
    Board(Board),
}

impl Sight {
    fn show(&mut self, event: &Event) {
        let documents = event.data["documents"].as_array().expect("documents");
        match self {
            Self::Orders(screen) => screen.show(documents).expect("orders"),
            Self::Jobs(screen) => screen.show(documents).expect("jobs"),
            Self::Board(board) => board.show(serde_json::from_value(event.data.clone()).expect("a board")),
        }
    }

    fn hear(&mut self, event: &Event) {
        match self {
            Self::Orders(screen) => hear(screen, event),
            Self::Jobs(screen) => hear(screen, event),
            Self::Board(board) => board.hear(serde_json::from_value(event.data.clone()).expect("a change")),
        }
    }

    /// Without what only the chain is shown, and what therefore differs between a fold and a snapshot of others.
    fn seen_by(mut self, role: Role) -> Self {
        match (&mut self, role) {
            (Self::Orders(screen), Role::Customer) => {
                for order in screen.documents.values_mut() {
                    order.needs.clear();
                    order.candidates.clear();
                    order.tried.clear();
                    order.attempt = 0;
                    order.hold = Hold::Gone;
                }
            }
            (Self::Jobs(screen), _) => screen.documents.values_mut().for_each(|job| job.passed.clear()),
            (Self::Orders(_) | Self::Board(_), _) => {}
        }
        self
    }
}

fn hear<D: Shown>(screen: &mut Screen<D>, event: &Event) {
    screen
        .hear(&serde_json::from_value(event.data.clone()).expect("an event"))
        .expect("no hole, no repeat");
}

/// Generation and sequence.
fn stamp(event: &Event) -> (u64, u64) {
    let mut parts = event.id.split('-').map(str::parse);
    let mut next = || parts.next().expect("a stamp").expect("a number");
    (next(), next())
}

struct Client<'a> {
    gateways: &'a [Gateway; 2],
    path: String,
    caller: Caller,
    sight: Sight,
    seen: Option<Event>,
    resumed: usize,
}

impl Client<'_> {
    fn take(&mut self, event: Event, is_first: bool) {
        let before = self.seen.as_ref().map(stamp);
        if event.name == "snapshot" {
            assert!(before <= Some(stamp(&event)), "stamps ascend");
            self.sight.show(&event);
        } else {
            let (generation, sequence) = before.expect("the first is a snapshot");
            assert_eq!(stamp(&event), (generation, sequence + 1), "no gap, no repeat");
            self.sight.hear(&event);
            self.resumed += usize::from(is_first);
        }
        self.seen = Some(event);
    }

    async fn connect(&self, instance: usize) -> crate::sse::Client {
        let seen = self
            .seen
            .iter()
            .map(|seen| (http::HeaderName::from_static("last-event-id"), seen.id.clone()));
        listen(
            &self.gateways[instance],
            &self.path,
            &self.caller,
            &seen.collect::<Vec<_>>(),
        )
        .await
    }

    /// Comes and goes, until there will be nothing new.
    async fn wander(&mut self, mut draw: StdRng, over: &watch::Receiver<bool>) {
        while !*over.borrow() {
            let mut connection = self.connect(draw.random_range(0..2)).await;
            let mut is_first = true;
            let stays = Duration::from_millis(draw.random_range(0..300));
            let until = tokio::time::Instant::now() + stays;
            while let Ok(event) = tokio::time::timeout_at(until, connection.next()).await {
                self.take(event, is_first);
                is_first = false;
            }
        }
    }

    /// Reads on until it has seen what a snapshot of now has, and compares.
    async fn must_show_the_same(&mut self) {
        for instance in [0, 1] {
            let mut fresh = Client {
                gateways: self.gateways,
                path: self.path.clone(),
                caller: self.caller.clone(),
                sight: self.sight.clone(),
                seen: None,
                resumed: 0,
            };
            let snapshot = fresh.connect(instance).await.next().await;
            let wanted = stamp(&snapshot);
            fresh.take(snapshot, true);
            let mut connection = self.connect(1 - instance).await;
            let catching_up = async {
                while self.seen.as_ref().map(stamp) < Some(wanted) {
                    let event = connection.next().await;
                    self.take(event, false);
                }
            };
            let caught_up = tokio::time::timeout(CAUGHT_UP_WITHIN, catching_up).await;
            caught_up.unwrap_or_else(|_| panic!("{} does not get to {wanted:?}", self.path));
            let role = self.caller.role;
            assert_eq!(
                self.sight.clone().seen_by(role),
                fresh.sight.seen_by(role),
                "{}",
                self.path
            );
        }
    }
}

/// Events of one stream that are still to happen, in their order.
enum Coming {
    Order(OrderId, Vec<order::Event>),
    Delivery(OrderId, Vec<delivery::Event>),
    Point(Vec<point::Event>),
}

fn everything(orders: &[OrderId], rider: CourierId) -> Vec<Coming> {
    let ann = customer(1).subject;
    let mut coming = Vec::new();
    let mut holds = vec![registered("Alexanderplatz")];
    for order in orders {
        let mut events = ticket(*order, ann, POINT, after(3));
        events.extend(cooked_and_brought(POINT, rider));
        coming.push(Coming::Order(*order, events));
        let ready = opened(*order, ann, after(20));
        let job = vec![
            ready,
            offer(rider),
            taken(rider),
            picked_up(rider, after(30)),
            delivered(rider),
        ];
        coming.push(Coming::Delivery(*order, job));
        holds.extend([hold_held(*order), hold_consumed(*order)]);
    }
    coming.push(Coming::Point(holds));
    coming
}

/// Commits the next event of some stream; `None` when all has happened.
fn happen<'a>(world: &'a World, coming: &mut Vec<Coming>, draw: &mut StdRng) -> Option<(&'a Master, Envelope)> {
    if coming.is_empty() {
        return None;
    }
    let at = draw.random_range(0..coming.len());
    let (happened, is_over) = match &mut coming[at] {
        Coming::Order(id, events) => (keep(&world.orders, id, events), events.is_empty()),
        Coming::Delivery(id, events) => (keep(&world.couriers, id.delivery(), events), events.is_empty()),
        Coming::Point(events) => (keep(&world.points, POINT, events), events.is_empty()),
    };
    if is_over {
        coming.swap_remove(at);
    }
    Some(happened)
}

fn keep<'a, E: EventBody>(master: &'a Master, id: impl ToString, events: &mut Vec<E>) -> (&'a Master, Envelope) {
    (master, master.keep(id, events.remove(0)))
}

/// Publishes each event at least once, now or much later, some of them twice.
async fn publish(world: &World, mut coming: Vec<Coming>, mut draw: StdRng) {
    let mut late = Vec::new();
    while let Some((master, event)) = happen(world, &mut coming, &mut draw) {
        if draw.random_bool(0.2) {
            late.push((master, event));
        } else {
            if draw.random_bool(0.2) {
                // Under an id of its own, or the broker would drop it.
                let again = Envelope {
                    event_id: Uuid::now_v7(),
                    ..event.clone()
                };
                late.push((master, again));
            }
            master.publish(&event).await;
        }
        if draw.random_bool(0.1) {
            late.shuffle(&mut draw);
            if let Some((master, event)) = late.pop() {
                master.publish(&event).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(draw.random_range(0..12))).await;
    }
    late.shuffle(&mut draw);
    for (master, event) in late {
        master.publish(&event).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_is_what_the_server_has_whatever_happens_on_the_way() {
    let seed: u64 = rand::random();
    #[expect(clippy::print_stderr, reason = "cargo shows it with a failing test")]
    {
        eprintln!("seed {seed}");
    }
    world::run(async |world| {
        let second = world.another().await;
        let gateways = [Gateway::before(&world.service), Gateway::before(&second)];
        let orders: Vec<OrderId> = (0..ORDERS).map(|_| OrderId::new_v7()).collect();
        let rider = courier(2);
        let mut coming = everything(&orders, rider.subject.courier());
        world.couriers.tell_all(rider.subject.courier(), on_shift()).await;
        // So that there is an order to listen to.
        let Some(Coming::Order(first, events)) = coming.first_mut() else {
            unreachable!()
        };
        let (first, placed) = (*first, events.remove(0));
        let version = world.orders.tell(first, placed).await.version;
        world
            .gateway
            .get_after(&format!("/orders/{first}"), &operator(), first, version)
            .await;

        let live = format!("/orders/{first}/live");
        let tickets = format!("/food-points/{POINT}/live");
        let orders = || Sight::Orders(Screen::default());
        let plan = [
            (live.clone(), operator(), orders()),
            (live, customer(1), orders()),
            (tickets.clone(), operator(), orders()),
            (tickets, kitchen(POINT), orders()),
            ("/couriers/me/live".into(), rider, Sight::Jobs(Screen::default())),
            ("/ops/live".into(), operator(), Sight::Board(Board::default())),
        ];
        let mut clients: Vec<Client> = plan
            .into_iter()
            .map(|(path, caller, sight)| Client {
                gateways: &gateways,
                path,
                caller,
                sight,
                seen: None,
                resumed: 0,
            })
            .collect();
        let (end, over) = watch::channel(false);
        let wandering = clients
            .iter_mut()
            .zip(1..)
            .map(|(client, number)| client.wander(StdRng::seed_from_u64(seed ^ number), &over));
        let world = &*world;
        let happening = async {
            publish(world, coming, StdRng::seed_from_u64(seed)).await;
            eventually_in("everything is shown", CAUGHT_UP_WITHIN, async || {
                world.stage.leftovers().await.is_empty().then_some(())
            })
            .await;
            let _ = end.send(true);
        };
        tokio::join!(happening, futures::future::join_all(wandering));
        let mut resumed = BTreeMap::new();
        for client in &mut clients {
            client.must_show_the_same().await;
            *resumed.entry(client.path.clone()).or_insert(0) += client.resumed;
        }
        assert!(resumed.values().sum::<usize>() > 0, "nobody ever resumed: {resumed:?}");
        drop(clients);
    })
    .await;
}
