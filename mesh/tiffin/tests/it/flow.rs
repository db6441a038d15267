//! Orders through the door of a whole platform: a command goes in at the gateway, the answer shows up on the read side.

mod crew;
mod kitchens;
mod money;
mod once;

use http::StatusCode;
use mesh_contracts::api::{Deliver, HistoryEntry};
use mesh_contracts::order::Status;
use mesh_contracts::user::Role;
use mesh_testkit::eventually_in;
use serde_json::{Value, json};
use tiffin::client::{Call, Person};

use crate::platform::{Customer, DEADLINE, PORTION, STOCK, Site, among_others, history, ledger_of, seen, shared, visa};
use crew::{Crew, Screen};

const PORTIONS: u32 = 2;

#[tokio::test]
async fn an_order_goes_from_created_to_completed_and_every_screen_shows_each_step() {
    let _others = among_others().await;
    let site = Site::open("seven-steps", 1).await;
    let customer = site.customer().await;
    let mut crew = Crew::of(&site).await;
    the_shop_window_shows_the_site(&site, &customer.person).await;

    let placed = site.order(&customer, PORTIONS, visa()).await;
    let order = placed.id;
    let first = seen(&customer.person, order, placed.token.clone()).await;
    assert!(
        first["version"].as_u64() >= Some(1),
        "what was acknowledged is seen: {first}"
    );
    let mut screen = Screen::of(&customer, &placed);

    screen.shows(Status::Paid).await;
    crew.is_offered_the_ticket(0, order).await;
    let token = crew.accepts(0, order).await.token;
    let read = seen(&crew.kitchens[0].person, order, token).await;
    assert_ne!(read["ticket"], "offered", "a token shows the kitchen its own word");
    screen.shows(Status::Assigned).await;
    crew.starts_and_calls(0, order).await;
    screen.shows(Status::Ready).await;
    crew.takes_and_picks_up(order).await;
    screen.shows(Status::InDelivery).await;
    the_courier_sees_the_address(&crew, &site).await;

    let pin = seen(&customer.person, order, None).await["pin"]
        .as_str()
        .expect("the customer knows it")
        .to_owned();
    let wrong = if pin == "0000" { "0001" } else { "0000" };
    let delivery = order.delivery();
    let handed_over = |pin: &str| {
        let proof = Deliver {
            pin: Some(pin.to_owned()),
            photo: None,
        };
        crew.courier
            .person
            .send(Call::post(format!("/v1/deliveries/{delivery}/deliver"), &proof))
    };
    let refused = handed_over(wrong).await.expect_err("any PIN but the customer's");
    assert_eq!(refused.status(), Some(StatusCode::UNPROCESSABLE_ENTITY), "{refused}");
    handed_over(&pin).await.expect("the customer's PIN");
    screen.shows(Status::Completed).await;
    screen.saw_every_step(&[
        Status::Created,
        Status::Paid,
        Status::Assigned,
        Status::Ready,
        Status::InDelivery,
        Status::Completed,
    ]);

    the_money_is_taken_once(&site, &customer, order).await;
    the_stock_is_used_up(&site).await;
    the_history_names_who_did_what(&site, &customer, order).await;
    the_order_page_has_all_four_parts(&site, &customer, order).await;
}

/// Menu and food points, as the order page's visitor finds them.
async fn the_shop_window_shows_the_site(site: &Site, visitor: &Person) {
    let path = format!("/v1/menu?country={}&food_point_id={}", site.country, site.points[0].id);
    let on_menu = eventually_in("the menu shows the site's product", DEADLINE, || async {
        let menu = get(visitor, &path).await;
        item(&menu, site.product.to_string())
    })
    .await;
    assert_eq!(on_menu["price"], json!(site.price(1)));
    assert_eq!(on_menu["available"], true);
    assert_eq!(on_menu["allergens"], json!(["gluten"]));
    let points = get(visitor, &format!("/v1/food-points?country={}&limit=100", site.country)).await;
    let point = item(&points, site.points[0].id.to_string()).expect("the point is listed");
    assert_eq!(
        (point["open"].clone(), point.get("stock")),
        (json!(true), None),
        "stock is no visitor's business"
    );
}

async fn the_courier_sees_the_address(crew: &Crew, site: &Site) {
    let jobs = get(&crew.courier.person, "/v1/couriers/me/jobs").await;
    let job = &jobs["items"][0];
    assert_eq!(job["address"]["text"], "Beispielweg 1", "{jobs}");
    assert_eq!(job["food_point"], site.points[0].id.to_string());
}

async fn the_money_is_taken_once(site: &Site, customer: &Customer, order: mesh_contracts::id::OrderId) {
    let price = site.price(PORTIONS);
    eventually_in("the payment is captured", DEADLINE, || async {
        let payment = get(&customer.person, &format!("/v1/orders/{order}/payment")).await;
        (payment["status"] == "captured" && payment["captured"] == json!(price)).then_some(())
    })
    .await;
    let entries = ledger_of(order).await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    let entry = &entries[0];
    assert_eq!(
        (entry["captured"].clone(), entry["captures"].clone()),
        (json!(price.amount), json!(1)),
        "{entry}"
    );
    assert_eq!(
        (entry["refunded"].clone(), entry["open"].clone()),
        (json!(0), json!(0)),
        "{entry}"
    );
}

async fn the_stock_is_used_up(site: &Site) {
    let used = PORTIONS * PORTION;
    eventually_in("the stock is consumed", DEADLINE, || async {
        let stock = site.stock(site.points[0].id).await;
        (stock["consumed"] == used && stock["available"] == STOCK - used && stock["held"] == 0).then_some(())
    })
    .await;
}

async fn the_history_names_who_did_what(site: &Site, customer: &Customer, order: mesh_contracts::id::OrderId) {
    let entries = eventually_in("the final settlement is recorded", DEADLINE, || async {
        let entries = history(&customer.person, order).await;
        (entries.len() == 16).then_some(entries)
    })
    .await;
    let person = |role: Role, id| mesh_contracts::envelope::Actor::person(role, id).0;
    let cook = person(Role::Kitchen, site.points[0].cook.id);
    let by_customer = person(Role::Customer, customer.id);
    let reaction = "service:order-master".to_owned();
    let did: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| (entry.event_type.as_str(), entry.actor.0.as_str()))
        .collect();
    let expected = [
        ("order.created", &by_customer),
        ("hold.requested", &by_customer),
        ("order.hold_held", &reaction),
        ("payment.requested", &reaction),
        ("order.paid", &reaction),
        ("ticket.offered", &reaction),
        ("ticket.accepted", &cook),
        ("order.assigned", &reaction),
        ("settlement.due", &reaction),
        ("delivery.requested", &reaction),
        ("ticket.started", &cook),
        ("order.ready", &cook),
        ("order.courier_assigned", &reaction),
        ("order.in_delivery", &reaction),
        ("order.completed", &reaction),
        ("settlement.due", &reaction),
    ];
    assert_eq!(did, expected.map(|(event_type, actor)| (event_type, actor.as_str())));
    let versions: Vec<u64> = entries.iter().map(|entry| entry.version).collect();
    assert_eq!(versions, (1..=16).collect::<Vec<_>>());
    assert!(
        entries.iter().all(|entry| entry.causation.is_some()),
        "each has a cause"
    );
    assert!(
        entries.windows(2).all(|pair: &[HistoryEntry]| pair[0].at <= pair[1].at),
        "time goes on"
    );
}

async fn the_order_page_has_all_four_parts(site: &Site, customer: &Customer, order: mesh_contracts::id::OrderId) {
    // A part that a busy machine does not bring in time is marked; it is there the next time.
    let page = eventually_in("all parts of the order page come in time", DEADLINE, || async {
        let page = get(&customer.person, "/v1/home").await;
        let parts = ["orders", "basket", "menu", "user"];
        let is_whole = parts
            .iter()
            .all(|part| page[part].is_object() && page[part].get("unavailable").is_none());
        (is_whole && page["orders"]["items"][0]["status"] == "completed").then_some(page)
    })
    .await;
    assert_eq!(page["orders"]["items"][0]["id"], order.to_string());
    assert_eq!(
        page["basket"]["lines"],
        json!([]),
        "what was ordered is in no basket any more"
    );
    assert_eq!(page["user"]["id"], customer.id.to_string());
    assert!(
        item(&page["menu"], site.product.to_string()).is_some(),
        "the menu is that of the address's country"
    );
}

#[tokio::test]
async fn the_demonstration_chain_is_on_the_menu_of_two_countries() {
    let _others = among_others().await;
    let platform = shared();
    let api = platform.api();
    let operator = platform.operator(&api);
    for (country, currency) in [("DE", "EUR"), ("RS", "RSD")] {
        let menu = get(&operator, &format!("/v1/menu?country={country}")).await;
        for sold in &platform.chain().products {
            let listed = item(&menu, sold.id.to_string()).unwrap_or_else(|| panic!("{country} lacks {}", sold.name));
            assert_eq!(listed["price"]["currency"], currency, "{listed}");
            assert!(
                listed["allergens"].is_array() && listed["names"]["ru"].is_string(),
                "{listed}"
            );
            assert!(listed["tax_bp"].as_u64() > Some(0), "{listed}");
            assert!(
                listed["options"][0]["choices"]
                    .as_array()
                    .is_some_and(|of| !of.is_empty()),
                "{listed}"
            );
            let is_promoted = sold.name == "Avocado rye" && country == "DE";
            assert_eq!(listed["offer"].is_object(), is_promoted, "{listed}");
        }
        let points = get(&operator, &format!("/v1/food-points?country={country}&limit=100")).await;
        let shops = platform
            .chain()
            .shops
            .iter()
            .filter(|shop| shop.place.country.as_str() == country);
        for shop in shops {
            let listed = item(&points, shop.id.to_string()).unwrap_or_else(|| panic!("{country} lacks {}", shop.name));
            assert_eq!(listed["open"], true, "{listed}");
            // Besides these, stock is open for what other tests sell in the country.
            let stock = listed["stock"].as_object().expect("operators see stock");
            let delivered = stock.values().filter(|stock| stock["received"] != 0);
            assert_eq!(delivered.count(), 40, "{}", shop.name);
        }
    }
    let chain = platform.chain();
    assert!(chain.products.len() >= 12 && chain.shops.len() >= 6);
}

async fn get(person: &Person, path: &str) -> Value {
    let reply = person.send(Call::get(path)).await.unwrap_or_else(|err| panic!("{err}"));
    reply.json().expect("answers are JSON")
}

/// The item of a page with that id.
fn item(page: &Value, id: String) -> Option<Value> {
    let items = page["items"].as_array()?;
    items.iter().find(|item| item["id"] == id).cloned()
}
