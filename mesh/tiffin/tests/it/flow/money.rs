//! What becomes of the money when an order is paid late, in cash, not at all, or not wanted any more.

use mesh_contracts::id::OrderId;
use mesh_contracts::order::{Reason, Status};
use mesh_testkit::eventually_in;
use serde_json::{Value, json};

use super::crew::{Crew, Screen};
use crate::platform::{Customer, DEADLINE, STOCK, Site, among_others, card, cash, history, ledger_of, visa};

const DECLINED: &str = "pm_card_declined";

#[tokio::test]
async fn after_a_declined_card_another_one_pays() {
    let _others = among_others().await;
    let site = Site::open("second-card", 1).await;
    let customer = site.customer().await;
    let placed = site.order(&customer, 1, card(DECLINED)).await;
    let mut screen = Screen::of(&customer, &placed);
    eventually_is(&customer, placed.id, "declined").await;
    customer
        .person
        .pay(placed.id, &visa(), "second")
        .await
        .expect("the window is open");
    screen.shows(Status::Paid).await;
    let types: Vec<String> = history(&customer.person, placed.id)
        .await
        .into_iter()
        .map(|entry| entry.event_type)
        .collect();
    let at = |wanted: &str| types.iter().position(|known| known == wanted);
    assert!(
        at("order.payment_declined").is_some() && at("order.payment_declined") < at("order.paid"),
        "{types:?}"
    );

    customer
        .person
        .cancel(placed.id, Reason::CustomerCancelled, "cancel")
        .await
        .expect("nobody accepted");
    eventually_is(&customer, placed.id, "voided").await;
    let promised: Vec<Value> = ledger_of(placed.id).await;
    let amounts: Vec<&Value> = promised.iter().map(|entry| &entry["authorized"]).collect();
    assert!(
        promised
            .iter()
            .all(|entry| entry["captured"] == 0 && entry["open"] == 0),
        "{promised:?}"
    );
    assert!(
        amounts.contains(&&json!(site.price(1).amount)),
        "the second card had promised: {promised:?}"
    );
}

#[tokio::test]
async fn three_declined_cards_expire_an_order_and_give_the_stock_back() {
    let _others = among_others().await;
    let site = Site::open("three-declines", 1).await;
    let customer = site.customer().await;
    let placed = site.order(&customer, 1, card(DECLINED)).await;
    let mut screen = Screen::of(&customer, &placed);
    for nth in 1..3 {
        declines(&customer, placed.id, nth).await;
        let key = format!("again-{nth}");
        customer
            .person
            .pay(placed.id, &card(DECLINED), &key)
            .await
            .expect("the window is open");
    }
    screen.shows(Status::Expired).await;
    let late = customer
        .person
        .pay(placed.id, &visa(), "late")
        .await
        .expect_err("it is over");
    assert_eq!(late.kind(), Some("payment_not_open"), "{late}");
    nothing_was_taken(placed.id).await;
    everything_is_on_the_shelf(&site).await;
}

#[tokio::test]
async fn cash_is_collected_at_the_door_and_the_provider_never_hears_of_it() {
    let _others = among_others().await;
    let site = Site::open("cash", 1).await;
    let customer = site.customer().await;
    let mut crew = Crew::of(&site).await;
    let placed = site.order(&customer, 1, cash()).await;
    let mut screen = Screen::of(&customer, &placed);
    screen.shows(Status::Paid).await;
    crew.cooks_and_brings(&mut screen, placed.id).await;
    let payment = eventually_is(&customer, placed.id, "captured").await;
    assert_eq!(
        (&payment["captured"], &payment["method"]),
        (&json!(site.price(1)), &json!("cash"))
    );
    assert_eq!(ledger_of(placed.id).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_order_cancelled_before_a_kitchen_accepts_costs_nothing() {
    let _others = among_others().await;
    let site = Site::open("cancel", 1).await;
    let customer = site.customer().await;
    let mut kitchens = super::crew::kitchens(&site);
    let placed = site.order(&customer, 1, visa()).await;
    let mut screen = Screen::of(&customer, &placed);
    screen.shows(Status::Paid).await;
    kitchens[0].is_offered(placed.id).await;

    let cancel = || customer.person.cancel(placed.id, Reason::CustomerCancelled, "cancel");
    let first = cancel().await.expect("nobody accepted");
    let again = cancel().await.expect("the same wish again");
    assert_eq!(first.body, again.body, "one key, one answer");
    screen.shows(Status::Cancelled).await;
    let late = kitchens[0]
        .person
        .accept_ticket(placed.id, None, "accept")
        .await
        .expect_err("it is over");
    assert_eq!(late.kind(), Some("already_ended"), "{late}");

    eventually_is(&customer, placed.id, "voided").await;
    nothing_was_taken(placed.id).await;
    let entries = ledger_of(placed.id).await;
    assert!(
        entries.iter().all(|entry| entry["voided"] == entry["authorized"]),
        "{entries:?}"
    );
    everything_is_on_the_shelf(&site).await;
}

/// Waits until basket-info shows the payment of an order in a status.
pub(super) async fn eventually_is(customer: &Customer, order: OrderId, status: &str) -> Value {
    let name = format!("the payment is {status}");
    eventually_in(&name, DEADLINE, || async {
        let payment = payment(customer, order).await?;
        (payment["status"] == status).then_some(payment)
    })
    .await
}

async fn declines(customer: &Customer, order: OrderId, count: u32) {
    eventually_in("the card is declined", DEADLINE, || async {
        let payment = payment(customer, order).await?;
        (payment["status"] == "declined" && payment["declines"] == count).then_some(())
    })
    .await;
}

/// Nothing until the payment was asked for, which is after the hold.
async fn payment(customer: &Customer, order: OrderId) -> Option<Value> {
    let call = tiffin::client::Call::get(format!("/v1/orders/{order}/payment"));
    match customer.person.send(call).await {
        Ok(reply) => Some(reply.json().expect("a payment")),
        Err(failure) if failure.kind() == Some("not_found") => None,
        Err(failure) => panic!("{failure}"),
    }
}

/// As the provider has it.
pub(super) async fn nothing_was_taken(order: OrderId) {
    for entry in ledger_of(order).await {
        assert_eq!((&entry["captured"], &entry["open"]), (&json!(0), &json!(0)), "{entry}");
    }
}

/// At every point of the site.
pub(super) async fn everything_is_on_the_shelf(site: &Site) {
    for point in &site.points {
        eventually_in("all stock is on the shelf again", DEADLINE, || async {
            let stock = site.stock(point.id).await;
            (stock["available"] == STOCK && stock["held"] == 0).then_some(())
        })
        .await;
    }
}
