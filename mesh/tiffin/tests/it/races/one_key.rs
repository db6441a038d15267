//! One key is one effect and one answer, byte for byte: sent a hundred times at once, and a hundred times later on.

use futures::StreamExt as _;
use futures::future::join_all;
use http::{Method, StatusCode};
use mesh_contracts::api::Quantity;
use mesh_contracts::id::OrderId;
use mesh_contracts::order::Status;
use mesh_runtime::headers;
use serde_json::json;

use super::witness::Witness;
use super::{settled, shows};
use crate::platform::{Answer, Door, Sent, Site, among_others, shared};

const TIMES: usize = 100;

/// Later ones come in threes, as from a client that is slow to give up.
const LATER_AT_ONCE: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_sends_of_one_key_and_a_hundred_later_ones_are_one_effect_with_one_answer() {
    let _others = among_others().await;
    let site = Site::open("one-key", 1).await;
    let customer = site.customer().await;
    let door = Door::public();
    let (token, cook) = (
        door.token_of(&customer.email).await,
        door.token_of(&site.points[0].cook.email).await,
    );
    let one = Quantity::new(1).expect("within its bounds");
    let version = customer.person.set_line(site.product, one, site.country).await;
    let wish = json!({
        "basket_version": version.expect("it is sold"),
        "kind": "delivery",
        "address_id": customer.address,
        "payment": {"method": "card", "token": "pm_card_visa"},
    });

    let place = Command::new(&door, Sent::post("/v1/orders", &wish).by(&token), StatusCode::CREATED).await;
    let order: OrderId = place.answer.json()["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an order");
    place.again_later().await;

    shows(&customer.person, order, "with an offered ticket", |shown| {
        shown["ticket"] == "offered"
    })
    .await;
    let accept = Sent::post(format!("/v1/orders/{order}/accept"), &json!({})).by(&cook);
    let accept = Command::new(&door, accept, StatusCode::OK).await;
    shows(&customer.person, order, "as assigned", |shown| {
        shown["status"] == "assigned"
    })
    .await;
    let cancel = Sent::post(
        format!("/v1/orders/{order}/cancel"),
        &json!({"reason": "customer_cancelled"}),
    )
    .by(&token);
    let cancel = Command::new(&door, cancel, StatusCode::OK).await;

    let witness = Witness::of(shared()).await;
    settled(&witness, order).await;
    let gone = Sent::json(
        Method::DELETE,
        format!("/v1/me/addresses/{}", customer.address),
        &json!({}),
    )
    .by(&token);
    assert_eq!(door.send(gone).await.status, StatusCode::OK);
    // The world has moved on since, and the address is no more.
    for command in [place, accept, cancel] {
        command.again_later().await;
    }
    let record = settled(&witness, order).await;
    assert_eq!(record.status(), Some(Status::Cancelled));
    for once in ["order.created", "ticket.accepted", "order.assigned", "order.cancelled"] {
        assert_eq!(record.count(once), 1, "{once}");
    }
    assert_eq!(record.entries.len(), 1, "one promise: {:?}", record.entries);
    let basket = vec![customer.id.basket().to_string()];
    let checkouts = witness.events_of("basket-master", &basket).await;
    let checkouts = checkouts[&basket[0]]
        .iter()
        .filter(|event| event.event_type == "basket.checked_out");
    assert_eq!(checkouts.count(), 1);
    witness.close().await;
}

/// A command under a key, and the answer that everybody got who sent it at the same time.
struct Command<'a> {
    door: &'a Door,
    sent: Sent,
    answer: Answer,
}

impl<'a> Command<'a> {
    async fn new(door: &'a Door, sent: Sent, status: StatusCode) -> Self {
        let mut answers = join_all((0..TIMES).map(|_| door.send(sent.clone()))).await;
        let answer = answers.pop().expect("there were some");
        let command = Self { door, sent, answer };
        assert_eq!(command.answer.status, status, "{:?}", command.answer);
        for answer in answers {
            command.is_answered_by(&answer);
        }
        command
    }

    async fn again_later(&self) {
        let again = futures::stream::iter(0..TIMES).map(|_| self.door.send(self.sent.clone()));
        let answers = again.buffer_unordered(LATER_AT_ONCE).collect::<Vec<_>>().await;
        for answer in answers {
            self.is_answered_by(&answer);
        }
    }

    #[track_caller]
    fn is_answered_by(&self, other: &Answer) {
        let told = |answer: &Answer| {
            let said = [http::header::ETAG, headers::CONSISTENCY].map(|name| answer.headers.get(name).cloned());
            (answer.status, answer.body.clone(), said)
        };
        assert_eq!(
            told(other),
            told(&self.answer),
            "{} {}",
            self.sent.method,
            self.sent.path
        );
    }
}
