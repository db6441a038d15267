//! From one kitchen to the next, and what is too late once a kitchen has said yes.

use mesh_contracts::order::{Reason, Status};
use mesh_testkit::eventually_in;
use serde_json::json;

use super::crew::{Screen, kitchens};
use super::money::{eventually_is, everything_is_on_the_shelf, nothing_was_taken};
use crate::platform::{DEADLINE, PORTION, Site, among_others, ledger_of, seen, visa};

#[tokio::test]
async fn a_rejected_ticket_goes_on_to_the_next_kitchen_and_after_the_last_one_the_order_is_rejected() {
    let _others = among_others().await;
    let site = Site::open("next-kitchen", 2).await;
    let customer = site.customer().await;
    let mut kitchens = kitchens(&site);
    let placed = site.order(&customer, 1, visa()).await;
    let order = placed.id;
    let mut screen = Screen::of(&customer, &placed);

    kitchens[0].is_offered(order).await;
    kitchens[0]
        .person
        .reject_ticket(order, Reason::Busy, "reject")
        .await
        .expect("it is offered");
    kitchens[1].is_offered(order).await;
    let gone = kitchens[0]
        .person
        .accept_ticket(order, None, "accept")
        .await
        .expect_err("it is elsewhere");
    assert_eq!(gone.kind(), Some("not_found"), "{gone}");
    screen.shows(Status::Paid).await;

    kitchens[1]
        .person
        .reject_ticket(order, Reason::ClosingEarly, "reject")
        .await
        .expect("it is offered");
    screen.shows(Status::Rejected).await;
    screen.saw_every_step(&[Status::Created, Status::Paid, Status::Rejected]);
    eventually_is(&customer, order, "voided").await;
    nothing_was_taken(order).await;
    everything_is_on_the_shelf(&site).await;
}

#[tokio::test]
async fn an_operator_ends_an_accepted_order_and_the_customer_gets_everything_back() {
    let _others = among_others().await;
    let site = Site::open("accepted", 1).await;
    let customer = site.customer().await;
    let mut kitchens = kitchens(&site);
    let placed = site.order(&customer, 1, visa()).await;
    let order = placed.id;
    let mut screen = Screen::of(&customer, &placed);
    kitchens[0].is_offered(order).await;
    let cook = &kitchens[0].person;
    let early = cook.mark_ready(order, "early").await.expect_err("nobody said yes");
    assert_eq!(early.kind(), Some("too_early"), "{early}");
    cook.accept_ticket(order, None, "accept").await.expect("it is offered");
    screen.shows(Status::Assigned).await;

    let twice = cook
        .accept_ticket(order, None, "accept-again")
        .await
        .expect_err("it is accepted");
    assert_eq!(twice.kind(), Some("not_offered"), "{twice}");
    let regret = cook
        .reject_ticket(order, Reason::Busy, "reject")
        .await
        .expect_err("it is accepted");
    assert_eq!(regret.status(), Some(http::StatusCode::CONFLICT), "{regret}");
    eventually_is(&customer, order, "captured").await;

    // Without a promise it is promised for as soon as it can be done, so it is on the stove already.
    eventually_in("it is on the stove", DEADLINE, || async {
        (seen(&customer.person, order, None).await["ticket"] == "cooking").then_some(())
    })
    .await;
    site.operator
        .override_order(order, Reason::Other, "override")
        .await
        .expect("operators end anything");
    screen.shows(Status::Cancelled).await;
    eventually_is(&customer, order, "refunded").await;
    let entries = ledger_of(order).await;
    let price = json!(site.price(1).amount);
    assert_eq!(
        (&entries[0]["captured"], &entries[0]["refunded"]),
        (&price, &price),
        "{entries:?}"
    );
    eventually_in("what was on the stove is wasted", DEADLINE, || async {
        let stock = site.stock(site.points[0].id).await;
        (stock["wasted"] == PORTION && stock["held"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_order_cancelled_on_the_stove_costs_its_customer_half() {
    let _others = among_others().await;
    let site = Site::open("on-the-stove", 1).await;
    let customer = site.customer().await;
    let mut kitchens = kitchens(&site);
    let placed = site.order(&customer, 1, visa()).await;
    let order = placed.id;
    let mut screen = Screen::of(&customer, &placed);
    kitchens[0].is_offered(order).await;
    kitchens[0]
        .person
        .accept_ticket(order, None, "accept")
        .await
        .expect("it is offered");
    screen.shows(Status::Assigned).await;
    eventually_is(&customer, order, "captured").await;
    eventually_in("it is on the stove", DEADLINE, || async {
        (seen(&customer.person, order, None).await["ticket"] == "cooking").then_some(())
    })
    .await;
    customer
        .person
        .cancel(order, Reason::CustomerCancelled, "cancel")
        .await
        .expect("customers may, for a fee");
    screen.shows(Status::Cancelled).await;
    eventually_is(&customer, order, "partially_refunded").await;
    let entries = ledger_of(order).await;
    let price = site.price(1).amount;
    assert_eq!(
        (&entries[0]["captured"], &entries[0]["refunded"]),
        (&json!(price), &json!(price - price / 2)),
        "{entries:?}"
    );
}
