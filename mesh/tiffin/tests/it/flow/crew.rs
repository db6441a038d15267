//! Cooks and a courier at their screens, and a customer at theirs: everything they know comes by live streams.

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::id::OrderId;
use mesh_contracts::order::Status;
use serde_json::{Value, json};
use tiffin::client::live::Happened;
use tiffin::client::{Live, News, Person, Reply};

use crate::platform::{Customer, Placed, Point, Site, Staff, heard};

/// Longer than the product takes.
const PROMISE: SignedDuration = SignedDuration::from_mins(30);

/// Who cooks and who brings.
pub struct Crew {
    pub kitchens: Vec<Kitchen>,
    pub courier: Staff,
    jobs: Live,
}

/// A cook and the tickets on the screen.
pub struct Kitchen {
    pub person: Person,
    tickets: Live,
}

impl Crew {
    /// Everyone of a site, the courier on shift.
    pub async fn of(site: &Site) -> Self {
        let courier = site.courier().await;
        Self {
            kitchens: kitchens(site),
            jobs: courier.person.jobs_live(),
            courier,
        }
    }

    /// Waits until the kitchen's screen shows the ticket as offered.
    pub async fn is_offered_the_ticket(&mut self, kitchen: usize, order: OrderId) {
        self.kitchens[kitchen].is_offered(order).await;
    }

    /// The kitchen says yes, and promises so late that the clock leaves it to the kitchen to begin.
    pub async fn accepts(&self, kitchen: usize, order: OrderId) -> Reply {
        let ready_by = Timestamp::now() + PROMISE;
        let accepted = self.kitchens[kitchen]
            .person
            .accept_ticket(order, Some(ready_by), "accept")
            .await;
        accepted.expect("it is offered")
    }

    /// The kitchen cooks it.
    pub async fn starts_and_calls(&mut self, kitchen: usize, order: OrderId) {
        let cook = &self.kitchens[kitchen].person;
        cook.start_cooking(order, "start").await.expect("it is assigned");
        cook.mark_ready(order, "ready").await.expect("it is on the stove");
    }

    /// Waits until the courier's screen shows the delivery as offered.
    pub async fn is_offered_the_delivery(&mut self, order: OrderId) {
        let delivery = order.delivery();
        let offered = |news: &News| match news {
            News::Snapshot(documents) => has(documents, &delivery.to_string(), "status", "offered"),
            News::Event(happened) => is(happened, &delivery.to_string(), "delivery.offered"),
            News::Resumed | News::Refused(_) => false,
        };
        heard(&mut self.jobs, "the courier is offered the delivery", |news| {
            offered(news).then_some(())
        })
        .await;
    }

    /// The courier hears the offer, takes it, and fetches the food.
    pub async fn takes_and_picks_up(&mut self, order: OrderId) {
        let delivery = order.delivery();
        self.is_offered_the_delivery(order).await;
        self.courier
            .person
            .accept_job(delivery, "take")
            .await
            .expect("it is offered");
        self.courier
            .person
            .pick_up(delivery, "pick-up")
            .await
            .expect("it is ready");
    }

    /// From the ticket to the door.
    pub async fn cooks_and_brings(&mut self, screen: &mut Screen, order: OrderId) {
        self.is_offered_the_ticket(0, order).await;
        self.accepts(0, order).await;
        screen.shows(Status::Assigned).await;
        self.starts_and_calls(0, order).await;
        self.takes_and_picks_up(order).await;
        screen.shows(Status::InDelivery).await;
        let photo = "photo-1".to_owned();
        self.courier
            .person
            .deliver(order.delivery(), photo, "deliver")
            .await
            .expect("it is picked up");
        screen.shows(Status::Completed).await;
    }
}

/// The kitchens of a site, at their screens.
pub fn kitchens(site: &Site) -> Vec<Kitchen> {
    let screen = |point: &Point| Kitchen {
        tickets: point.cook.person.tickets_live(point.id),
        person: point.cook.person.clone(),
    };
    site.points.iter().map(screen).collect()
}

impl Kitchen {
    /// Waits until the screen shows the ticket as offered.
    pub async fn is_offered(&mut self, order: OrderId) {
        let offered = |news: &News| match news {
            News::Snapshot(documents) => has(documents, &order.to_string(), "ticket", "offered"),
            News::Event(happened) => is(happened, &order.to_string(), "ticket.offered"),
            News::Resumed | News::Refused(_) => false,
        };
        heard(&mut self.tickets, "the kitchen is offered the ticket", |news| {
            offered(news).then_some(())
        })
        .await;
    }
}

fn has(documents: &[Value], id: &str, member: &str, value: &str) -> bool {
    documents
        .iter()
        .any(|document| document["id"] == id && document[member] == value)
}

fn is(happened: &Happened, stream: &str, event_type: &str) -> bool {
    happened.stream == stream && happened.event_type == event_type
}

/// A customer's screen with one order on it.
pub struct Screen {
    live: Live,
    /// Statuses in the order they were shown.
    shown: Vec<Status>,
    /// Of the newest event; 0 before the first look.
    version: u64,
}

impl Screen {
    pub fn of(customer: &Customer, placed: &Placed) -> Self {
        Self {
            live: customer.person.order_live(placed.id, placed.token.clone()),
            shown: vec![Status::Created],
            version: 0,
        }
    }

    /// Waits until it shows a status, if it does not already.
    pub async fn shows(&mut self, status: Status) {
        let Self { live, shown, version } = self;
        if shown.last() == Some(&status) {
            return;
        }
        let name = format!("the customer's screen shows {}", status.as_str());
        heard(live, &name, |news| {
            see(news, shown, version);
            (shown.last() == Some(&status)).then_some(())
        })
        .await;
    }

    /// # Panics
    /// Unless it showed exactly these.
    #[track_caller]
    pub fn saw_every_step(&self, steps: &[Status]) {
        assert_eq!(self.shown, steps);
    }
}

/// Takes in a piece of news; no event may be missing and none come twice.
fn see(news: &News, shown: &mut Vec<Status>, version: &mut u64) {
    let status = match news {
        News::Snapshot(documents) => {
            let [document] = documents.as_slice() else {
                panic!("one order, not {documents:?}");
            };
            *version = document["version"].as_u64().expect("a document has a version");
            document["status"].as_str()
        }
        News::Event(happened) => {
            assert_eq!(happened.version, *version + 1, "after {version} came {happened:?}");
            *version = happened.version;
            happened.event_type.strip_prefix("order.")
        }
        News::Resumed => None,
        News::Refused(failure) => panic!("a customer may see the own order: {failure}"),
    };
    let status = status.and_then(|status| serde_json::from_value::<Status>(json!(status)).ok());
    if let Some(status) = status
        && shown.last() != Some(&status)
    {
        shown.push(status);
    }
}
