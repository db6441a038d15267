//! A site of a test's own: a product, one or two food points with their cooks, couriers and customers, a hundred
//! kilometres from every other site, so that nobody there cooks or carries what is ordered here.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use mesh_contracts::api::{
    Address, HistoryEntry, Payment, PlaceOrder, Quantity, Register, RegisterStaff, StockQuantity,
};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, FoodPointId, IngredientId, OrderId, ProductId, UserId};
use mesh_contracts::menu::{Allergen, Names, Product, RecipeLine};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::{Kind, Method};
use mesh_contracts::point::Settings;
use serde_json::Value;
use tiffin::client::{Api, Call, Live, News, Person};
use tiffin::settle;
use uuid::Uuid;

use super::{Shared, shared};

/// For anything that must come true on a machine that builds at the same time.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A degree of latitude is 111 km, ten times as far as any courier is asked to come.
const APART_E6: i32 = 1_000_000;
/// The first site's parallel, south of every other place that tests use.
const FIRST_E6: i32 = -40_000_000;
/// Their meridian.
const MERIDIAN_E6: i32 = 10_000_000;
/// A thousandth of a degree of latitude: 111 m, and what events round places to.
const STEP_E6: i32 = 1_000;
/// From one point of a site to the next: 1.1 km.
const BETWEEN_POINTS_E6: i32 = 10 * STEP_E6;
/// From its first point, southward, to where its customers live: 222 m.
const TO_CUSTOMER_E6: i32 = -2 * STEP_E6;

/// Where the sites are that do not mind what else is there: whoever sells anything in a country keeps stock of all that
/// is sold there.
const HOME: &str = "DE";

const RADIUS_M: u32 = 5_000;
const POOL: u16 = 20;
/// Of each ingredient at each point.
pub const STOCK: u32 = 1_000;
/// Of each ingredient in a portion.
pub const PORTION: u32 = 2;
const PRICE_CENTS: i64 = 790;
const PREP_MINUTES: u16 = 4;
/// Everybody's.
pub const PASSWORD: &str = "correct horse battery staple";
const SPEED_M_PER_MIN: u32 = 320;

/// A place with everything that an order needs.
pub struct Site {
    pub platform: &'static Shared,
    pub api: Api,
    pub operator: Person,
    pub country: Country,
    /// Sold in this country alone, for euro.
    pub product: ProductId,
    pub ingredients: [IngredientId; 2],
    /// Nearest to the customers first.
    pub points: Vec<Point>,
    name: String,
    at: Coordinates,
    people: AtomicUsize,
}

/// A food point with somebody who cooks there.
pub struct Point {
    pub id: FoodPointId,
    pub cook: Staff,
}

/// Somebody who works.
#[derive(Clone)]
pub struct Staff {
    pub person: Person,
    pub id: UserId,
    pub email: String,
}

/// Somebody who orders.
#[derive(Clone)]
pub struct Customer {
    pub person: Person,
    pub id: UserId,
    pub email: String,
    pub address: AddressId,
}

/// An order that was taken.
#[derive(Debug, Clone)]
pub struct Placed {
    pub id: OrderId,
    /// What a question must have seen.
    pub token: Option<String>,
}

impl Site {
    /// Opens one with so many food points; returns once every service has heard of it.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub async fn open(name: &str, points: usize) -> Self {
        Self::open_on(shared(), name, points).await
    }

    /// As [`Site::open`], on a platform of one's choice.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub async fn open_on(platform: &'static Shared, name: &str, points: usize) -> Self {
        Self::open_in(HOME, platform, name, points).await
    }

    /// As [`Site::open_on`], in a country of one's choice.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub async fn open_in(country: &str, platform: &'static Shared, name: &str, points: usize) -> Self {
        static NEXT: AtomicI32 = AtomicI32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let at = Coordinates::new(FIRST_E6 + nth * APART_E6, MERIDIAN_E6).expect("fewer sites than parallels");
        let api = platform.api();
        let operator = platform.operator(&api);
        let country = Country::parse(country).expect("a country");
        let ingredients = [IngredientId(Uuid::now_v7()), IngredientId(Uuid::now_v7())];
        let product = product(name, country, ingredients);
        let product = operator.create_product(&product, &format!("product/{name}")).await;
        let mut site = Self {
            platform,
            product: product.expect("operators add products"),
            api,
            operator,
            country,
            ingredients,
            points: Vec::new(),
            name: name.to_owned(),
            at,
            people: AtomicUsize::new(0),
        };
        for _ in 0..points {
            site.open_point().await;
        }
        site.is_known().await;
        site
    }

    /// One point more, farther away than the others.
    async fn open_point(&mut self) {
        let nth = i32::try_from(self.points.len()).expect("few");
        let (name, operator) = (format!("{} {nth}", self.name), &self.operator);
        let settings = self.settings(&name, moved(self.at, nth * BETWEEN_POINTS_E6));
        let id = operator
            .create_food_point(&settings, &format!("point/{}/{nth}", self.name))
            .await
            .expect("operators open food points");
        for ingredient in self.ingredients {
            let quantity = StockQuantity::new(STOCK).expect("within its bounds");
            let key = format!("stock/{id}/{ingredient}");
            let received = operator.receive_stock(id, ingredient, quantity, &key).await;
            received.expect("operators receive stock");
        }
        let staff = self.staff("cook", None);
        let key = format!("staff/{}", staff.email);
        let hired = operator.hire_cook(id, &staff, &key).await.expect("operators hire");
        let cook = self.hired(hired.id, staff.email);
        self.points.push(Point { id, cook });
    }

    /// Where the customers are.
    pub fn place_of_first_point(&self) -> Coordinates {
        self.at
    }

    /// The product as an operator describes it.
    pub fn described_product(&self) -> Value {
        serde_json::to_value(product(&self.name, self.country, self.ingredients)).expect("a product")
    }

    /// A point as an operator describes it.
    pub fn settings(&self, name: &str, at: Coordinates) -> Settings {
        Settings {
            name: name.to_owned(),
            place: self.place(at),
            kinds: vec![Kind::Delivery, Kind::PickUp],
            radius_m: RADIUS_M,
            pool: POOL,
            auto_accept: false,
            hours: Vec::new(),
            utc_offset_minutes: 0,
        }
    }

    /// Waits until every master knows of menu, points and people.
    pub async fn is_known(&self) {
        settle::everyone_has_heard(&self.platform.running())
            .await
            .expect("news travel");
    }

    /// A new customer, who lives near the first point.
    pub async fn customer(&self) -> Customer {
        let email = self.email("customer");
        let register = Register {
            email: email.clone(),
            password: PASSWORD.to_owned(),
            name: "Ida Example".to_owned(),
            phone: None,
        };
        let registered = self.api.register(&register, &format!("register/{email}")).await;
        let customer = Customer {
            id: registered.expect("anyone may register").id,
            person: self.api.person(email.as_str(), PASSWORD),
            email,
            address: AddressId(Uuid::now_v7()),
        };
        self.move_to(&customer, customer.address, TO_CUSTOMER_E6).await;
        customer
    }

    /// An address of a customer, so far north of the first point.
    pub async fn move_to(&self, customer: &Customer, address: AddressId, north_e6: i32) {
        let there = Address {
            text: "Beispielweg 1".to_owned(),
            place: self.place(moved(self.at, north_e6)),
            instructions: None,
        };
        let set = customer.person.set_address(address, &there).await;
        set.expect("customers have addresses");
    }

    /// A courier who comes on shift at the first point.
    pub async fn courier(&self) -> Staff {
        let staff = self.staff("courier", Some(self.country));
        let key = format!("courier/{}", staff.email);
        let hired = self.operator.hire_courier(&staff, &key).await.expect("operators hire");
        self.is_known().await;
        let courier = self.hired(hired.id, staff.email);
        let on = courier.person.set_shift(true, self.at, SPEED_M_PER_MIN).await;
        on.expect("couriers come on shift");
        courier
    }

    /// Puts so many portions into the basket and orders them, brought.
    pub async fn order(&self, customer: &Customer, portions: u32, payment: Payment) -> Placed {
        let quantity = Quantity::new(portions).expect("within its bounds");
        let version = customer.person.set_line(self.product, quantity, self.country).await;
        let order = PlaceOrder {
            basket_version: version.expect("the product is sold here"),
            kind: Kind::Delivery,
            address_id: Some(customer.address),
            food_point_id: None,
            payment,
        };
        let placed = customer.person.place(&order, &Uuid::now_v7().to_string()).await;
        let (receipt, reply) = placed.expect("the point can cook it");
        assert_eq!(reply.status, StatusCode::CREATED);
        let id: OrderId = receipt.id.parse().expect("an order's id");
        assert_eq!(
            (receipt.status.as_str(), receipt.number.as_deref()),
            ("created", Some(id.number().as_str()))
        );
        Placed { id, token: reply.token }
    }

    /// What so many portions cost.
    pub fn price(&self, portions: u32) -> Money {
        Money::new(PRICE_CENTS, Currency::EUR).times(portions).expect("small")
    }

    /// A point's stock of its first ingredient, as menu-info shows it to operators.
    pub async fn stock(&self, point: FoodPointId) -> Value {
        let path = format!("/v1/food-points?country={}&limit=100", self.country);
        let page = self.operator.send(Call::get(path)).await.expect("operators see points");
        let page: Value = page.json().expect("a page");
        let items = page["items"].as_array().expect("items").iter();
        let mut stock = items
            .filter(|item| item["id"] == point.to_string())
            .map(|item| item["stock"].clone());
        stock.next().unwrap_or(Value::Null)[self.ingredients[0].to_string()].clone()
    }

    fn place(&self, at: Coordinates) -> Place {
        Place {
            country: self.country,
            at,
        }
    }

    fn hired(&self, id: UserId, email: String) -> Staff {
        let person = self.api.person(email.as_str(), PASSWORD);
        Staff { person, id, email }
    }

    fn staff(&self, role: &str, country: Option<Country>) -> RegisterStaff {
        RegisterStaff {
            email: self.email(role),
            password: PASSWORD.to_owned(),
            name: "Sam Example".to_owned(),
            phone: None,
            country,
        }
    }

    fn email(&self, role: &str) -> String {
        let nth = self.people.fetch_add(1, Ordering::Relaxed);
        format!("{role}-{nth}@{}.example", self.name)
    }
}

fn moved(from: Coordinates, north_e6: i32) -> Coordinates {
    Coordinates::new(from.lat_e6 + north_e6, from.lon_e6).expect("sites are far from the poles")
}

fn product(name: &str, country: Country, ingredients: [IngredientId; 2]) -> Product {
    let line = |ingredient: &IngredientId| RecipeLine {
        ingredient: *ingredient,
        name: format!("Something {ingredient}"),
        quantity: PORTION,
    };
    Product {
        names: Names {
            en: format!("Sandwich of {name}"),
            ru: format!("Сэндвич {name}"),
        },
        prices: [(country, Money::new(PRICE_CENTS, Currency::EUR))].into(),
        recipe: ingredients.iter().map(line).collect(),
        allergens: vec![Allergen::Gluten],
        prep_minutes: PREP_MINUTES,
        ..Product::default()
    }
}

/// A card of the sandbox's.
pub fn card(token: &str) -> Payment {
    Payment {
        method: Method::Card,
        token: Some(token.to_owned()),
    }
}

/// A card that is good.
pub fn visa() -> Payment {
    card("pm_card_visa")
}

/// At the door.
pub fn cash() -> Payment {
    Payment {
        method: Method::Cash,
        token: None,
    }
}

/// The order as the customer reads it from order-info, at least as new as the token says.
pub async fn seen(person: &Person, order: OrderId, token: Option<String>) -> Value {
    let call = Call::get(format!("/v1/orders/{order}")).having_seen(token);
    let reply = person.send(call).await.expect("one's own order can be read");
    reply.json().expect("an order")
}

/// An order's events, oldest first.
pub async fn history(person: &Person, order: OrderId) -> Vec<HistoryEntry> {
    let entries = person
        .order_history(order)
        .await
        .expect("one's own order has a history");
    serde_json::from_value(entries).expect("entries of a history")
}

/// The next piece of news that `pick` is after.
///
/// # Panics
/// With everything that was heard instead, if it does not come.
pub async fn heard<T>(live: &mut Live, what: &str, mut pick: impl FnMut(&News) -> Option<T>) -> T {
    let mut passed = Vec::new();
    let listening = async {
        loop {
            let news = live.next().await.unwrap_or_else(|| panic!("{what}: the stream ended"));
            if let Some(found) = pick(&news) {
                return found;
            }
            passed.push(news);
        }
    };
    let found = tokio::time::timeout(DEADLINE, listening).await;
    found.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}; heard {passed:#?}"))
}
