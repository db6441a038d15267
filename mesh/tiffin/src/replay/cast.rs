//! Who and what a replay needs on the platform: a menu, food points with their staff, couriers, customers.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use mesh_contracts::api::{Address, Register, RegisterStaff, StockQuantity};
use mesh_contracts::geo::{Country, Place};
use mesh_contracts::id::{AddressId, CourierId, FoodPointId, IngredientId, ProductId};
use mesh_contracts::menu::{Names, Product, RecipeLine};
use mesh_contracts::money::{Currency, Money};
use mesh_contracts::order::Kind;
use mesh_contracts::point::Settings;
use mesh_local::secrets::random_hex;
use uuid::Uuid;

use super::instance::{Instance, Order};
use crate::client::{Api, Person};
use crate::say::Steps;
use crate::simulation::kitchen::Kitchen;

/// An instance is on a map of its own, in a country that ISO 3166 leaves to users, so that no real couriers come.
const COUNTRY: &str = "XM";

/// Calls under way at once: enough to keep two cores busy with hashing passwords.
const AT_ONCE: usize = 16;

/// Customers take turns, since an account costs a password hash and an order does not care.
const CUSTOMERS_MAX: usize = 60;
/// Addresses that one customer has at most.
const ADDRESSES_PER_CUSTOMER: usize = 16;

/// What a city's kitchen has room for: no order of an instance is ever refused for want of a slot.
const POOL: u16 = 1_000;
/// Portions on the shelf: more than any instance has orders.
pub(super) const STOCK: u32 = 1_000_000;
/// As far as food points may deliver.
const RADIUS_M: u32 = 100_000;
/// What every meal costs.
const PRICE: Money = Money::new(1_290, Currency::EUR);
/// Limits of a recipe's preparation time.
const PREP_MINUTES: std::ops::RangeInclusive<u32> = 1..=240;

/// Everyone and everything, ready for minute 0.
pub(super) struct Cast {
    pub(super) country: Country,
    /// By preparation time.
    pub(super) meals: BTreeMap<u16, ProductId>,
    /// By restaurant.
    pub(super) kitchens: BTreeMap<String, Kitchen>,
    /// What all meals are made of.
    pub(super) portion: IngredientId,
    /// As in the instance.
    pub(super) couriers: Vec<Courier>,
    pub(super) customers: Vec<Person>,
    /// As in the instance: where each order goes.
    pub(super) addresses: Vec<AddressId>,
}

impl Cast {
    /// Registers all of them through the public API.
    pub(super) async fn set_up(api: &Api, operator: &Person, instance: &Instance, steps: &Steps) -> Result<Self> {
        let country = Country::parse(COUNTRY).expect("two capital letters");
        let wanted = instance.orders.len().div_ceil(ADDRESSES_PER_CUSTOMER);
        let customers = wanted.max(CUSTOMERS_MAX).min(instance.orders.len());
        let setter = Setter {
            api,
            operator,
            steps,
            country,
            // Every replay brings its own people, also onto a platform that has seen one before.
            run: Uuid::now_v7().simple().to_string(),
        };
        let meals: BTreeSet<u16> = instance.orders.iter().map(prep_minutes).collect();
        let calls =
            meals.len() + instance.restaurants.len() + instance.couriers.len() + customers + instance.orders.len();
        steps.count("setting up the instance", calls);
        let meals = setter.meals(meals).await?;
        let kitchens = setter.kitchens(instance).await?;
        let couriers = setter.couriers(instance.couriers.len()).await?;
        let customers = setter.customers(customers).await?;
        let addresses = setter.addresses(instance, &customers).await?;
        Ok(Self {
            country,
            meals,
            kitchens,
            portion: setter.portion(),
            couriers,
            customers,
            addresses,
        })
    }

    /// Who places an order of the instance.
    pub(super) fn customer_of(&self, order: usize) -> usize {
        order % self.customers.len()
    }

    /// What an order consists of: something that takes as long as this order did.
    pub(super) fn meal_of(&self, order: &Order) -> ProductId {
        self.meals[&prep_minutes(order)]
    }
}

/// Somebody who rides.
pub(super) struct Courier {
    pub(super) id: CourierId,
    pub(super) person: Person,
}

/// From the order to its being ready, as a recipe may say it.
fn prep_minutes(order: &Order) -> u16 {
    let minutes = (order.ready_minute - order.placed_minute).clamp(*PREP_MINUTES.start(), *PREP_MINUTES.end());
    u16::try_from(minutes).expect("clamped")
}

struct Setter<'a> {
    api: &'a Api,
    operator: &'a Person,
    steps: &'a Steps,
    country: Country,
    run: String,
}

impl Setter<'_> {
    /// The one ingredient of all meals.
    fn portion(&self) -> IngredientId {
        IngredientId(Uuid::new_v5(&Uuid::NAMESPACE_OID, self.run.as_bytes()))
    }

    fn key(&self, what: impl std::fmt::Display) -> String {
        format!("replay/{}/{what}", self.run)
    }

    fn staff(&self, name: String, country: Option<Country>) -> RegisterStaff {
        RegisterStaff {
            email: format!("{name}-{}@replay.tiffin.local", self.run),
            password: random_hex(12),
            name,
            phone: None,
            country,
        }
    }

    async fn meals(&self, times: BTreeSet<u16>) -> Result<BTreeMap<u16, ProductId>> {
        stream::iter(times)
            .map(async |minutes| {
                let meal = Product {
                    names: Names {
                        en: format!("Meal of {minutes} minutes"),
                        ru: format!("Блюдо на {minutes} мин"),
                    },
                    prices: BTreeMap::from([(self.country, PRICE)]),
                    recipe: vec![RecipeLine {
                        ingredient: self.portion(),
                        name: "Portion".to_owned(),
                        quantity: 1,
                    }],
                    allergens: Vec::new(),
                    prep_minutes: minutes,
                    ..Product::default()
                };
                let key = self.key(format_args!("meal/{minutes}"));
                let id = self.operator.create_product(&meal, &key).await?;
                self.steps.one_more();
                anyhow::Ok((minutes, id))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .context("the menu")
    }

    async fn kitchens(&self, instance: &Instance) -> Result<BTreeMap<String, Kitchen>> {
        stream::iter(&instance.restaurants)
            .map(async |(name, at)| {
                let at = at.on_earth();
                let settings = Settings {
                    name: format!("Restaurant {name}"),
                    place: Place {
                        country: self.country,
                        at,
                    },
                    kinds: vec![Kind::Delivery],
                    radius_m: RADIUS_M,
                    pool: POOL,
                    auto_accept: false,
                    hours: Vec::new(),
                    utc_offset_minutes: 0,
                };
                let kitchen = self.kitchen(name, &settings).await?;
                self.steps.one_more();
                anyhow::Ok((name.clone(), kitchen))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .context("the food points")
    }

    async fn kitchen(&self, name: &str, settings: &Settings) -> Result<Kitchen> {
        let key = self.key(name);
        let point: FoodPointId = self.operator.create_food_point(settings, &key).await?;
        let stock = StockQuantity::new(STOCK).expect("within its bounds");
        self.operator.receive_stock(point, self.portion(), stock, &key).await?;
        let staff = self.staff(format!("kitchen-{name}"), None);
        self.operator.hire_cook(point, &staff, &key).await?;
        let person = self.api.person(&staff.email, &staff.password);
        person.sign_in().await?;
        Ok(Kitchen { person, point })
    }

    async fn couriers(&self, count: usize) -> Result<Vec<Courier>> {
        stream::iter(0..count)
            .map(async |index| {
                let staff = self.staff(format!("courier-{index}"), Some(self.country));
                let key = self.key(format_args!("courier/{index}"));
                self.operator.hire_courier(&staff, &key).await?;
                let person = self.api.person(&staff.email, &staff.password);
                let id = person.sign_in().await?.courier();
                self.steps.one_more();
                anyhow::Ok(Courier { id, person })
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .context("the couriers")
    }

    async fn customers(&self, count: usize) -> Result<Vec<Person>> {
        stream::iter(0..count)
            .map(async |index| {
                let staff = self.staff(format!("customer-{index}"), None);
                let register = Register {
                    email: staff.email,
                    password: staff.password,
                    name: staff.name,
                    phone: None,
                };
                let key = self.key(format_args!("customer/{index}"));
                self.api.register(&register, &key).await?;
                let person = self.api.person(&register.email, &register.password);
                person.sign_in().await?;
                self.steps.one_more();
                anyhow::Ok(person)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .context("the customers")
    }

    async fn addresses(&self, instance: &Instance, customers: &[Person]) -> Result<Vec<AddressId>> {
        stream::iter(instance.orders.iter().enumerate())
            .map(async |(index, order)| {
                let id = AddressId::new_v7();
                let address = Address {
                    text: format!("Door of {}", order.name),
                    place: Place {
                        country: self.country,
                        at: order.at.on_earth(),
                    },
                    instructions: None,
                };
                customers[index % customers.len()].set_address(id, &address).await?;
                self.steps.one_more();
                anyhow::Ok(id)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .context("the addresses")
    }
}
