//! Whatever is refused is refused as `application/problem+json` with a stable type, and leaves nothing written anywhere.
//!
//! Every case goes through the public door of the running platform, while nobody else uses it; all rows of all masters
//! and the provider's ledger are compared around each.

mod callers;
mod input;
mod orders;

use http::StatusCode;
use serde_json::{Value, json};

use crate::platform::{Books, Customer, Door, Sent, Site, Staff};

/// People with their tokens, and a place to make mistakes at.
struct Scene {
    door: Door,
    site: Site,
    customer: Customer,
    /// Of the customer.
    token: String,
    /// Of the site's operator, cook and courier.
    operator: String,
    cook: String,
    courier: String,
}

impl Scene {
    /// Everyone has signed in, so that no case writes a session.
    async fn new(name: &str) -> Self {
        let site = Site::open(name, 1).await;
        let door = Door::public();
        let customer = site.customer().await;
        let courier: Staff = site.courier().await;
        Self {
            token: door.token_of(&customer.email).await,
            operator: door.operators_token().await,
            cook: door.token_of(&site.points[0].cook.email).await,
            courier: door.token_of(&courier.email).await,
            door,
            site,
            customer,
        }
    }

    /// Sends what must be refused, and looks at every store after each, and once more when all is quiet.
    async fn refuses_all(&self, cases: Vec<Case>) {
        let mut books = Books::open().await;
        let before = books.at_rest().await;
        let mut last = before.clone();
        let mut wrong = Vec::new();
        for Case {
            what,
            sent,
            status,
            kind,
        } in cases
        {
            let answer = self.door.send(sent).await;
            let found = (answer.status, answer.problem_kind());
            if found != (status, Ok(kind.to_owned())) {
                wrong.push(format!("{what}: {found:?} instead of {status} {kind}"));
            }
            let now = books.now().await;
            wrong.extend(
                now.since(&last)
                    .into_iter()
                    .map(|place| format!("{what} wrote {place}")),
            );
            last = now;
        }
        let written = books.at_rest().await.since(&before);
        wrong.extend(written.into_iter().map(|place| format!("in the end: {place}")));
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    /// So many portions in the customer's basket; its version.
    async fn filled_basket(&self, portions: u32) -> u64 {
        let quantity = mesh_contracts::api::Quantity::new(portions).expect("within its bounds");
        let set = self
            .customer
            .person
            .set_line(self.site.product, quantity, self.site.country)
            .await;
        set.expect("it is sold")
    }

    /// A good wish for an order of the basket at a version.
    fn wish(&self, basket_version: u64) -> Value {
        json!({
            "basket_version": basket_version,
            "kind": "delivery",
            "address_id": self.customer.address,
            "payment": {"method": "card", "token": "pm_card_visa"},
        })
    }

    fn line(&self) -> String {
        format!("/v1/basket/lines/{}", self.site.product)
    }
}

/// A request and how it is to be refused.
struct Case {
    what: String,
    sent: Sent,
    status: StatusCode,
    kind: &'static str,
}

fn case(what: impl Into<String>, sent: Sent, status: StatusCode, kind: &'static str) -> Case {
    Case {
        what: what.into(),
        sent,
        status,
        kind,
    }
}

/// A document with one member more, or another value for one it has.
fn but(document: &Value, member: &str, value: Value) -> Value {
    let mut changed = document.clone();
    changed[member] = value;
    changed
}
