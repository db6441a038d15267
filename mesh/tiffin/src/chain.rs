//! The demonstration chain: a sandwich chain in Berlin and Belgrade with its menu, kitchens, couriers and customers.
//!
//! An operator loads it through the public API. Every command has a key of its own that never changes, so a load that
//! was interrupted is finished by the next one, and a second one changes nothing.

mod menu;
mod people;
mod places;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use mesh_contracts::api::{Address, Register, RegisterStaff, StockQuantity};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, FoodPointId, ProductId, UserId};
use mesh_contracts::money::Money;
use mesh_contracts::order::Kind;
use mesh_contracts::point::Settings;
use mesh_contracts::user::Role;
use mesh_local::data_dir::{read_json, write_json};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::client::{Api, Person};
use crate::say::Steps;

pub use people::{Credentials, Somebody};

/// What was loaded; absent until all of it is.
const FILE: &str = "chain.json";

/// Calls under way at once: enough to keep two cores busy.
const AT_ONCE: usize = 16;

/// Of every ingredient at every point: two hundred thousand sandwiches' worth.
const STOCK: u32 = 10_000_000;

/// Orders that a kitchen holds or cooks at a time.
const POOL: u16 = 12;

/// The chain as it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chain {
    /// What it sells.
    pub products: Vec<Sold>,
    /// Where.
    pub shops: Vec<Shop>,
    /// Who cooks, brings and orders.
    pub people: Vec<Somebody>,
}

/// A product of the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sold {
    /// Which.
    pub id: ProductId,
    /// In English.
    pub name: String,
    /// Euro.
    pub eur: Money,
    /// Dinar.
    pub rsd: Money,
}

/// A food point of the chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shop {
    /// Which.
    pub id: FoodPointId,
    /// On the sign.
    pub name: String,
    /// Where.
    pub place: Place,
}

impl Chain {
    /// Everyone of a role.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &Somebody> {
        self.people.iter().filter(move |somebody| somebody.role == role)
    }
}

/// Loads the chain unless that was done before; the people's credentials are in the data directory.
pub async fn load(api: &Api, operator: &Credentials, data_dir: &Path, steps: &Steps) -> Result<Chain> {
    let file = data_dir.join(FILE);
    if let Some(chain) = read_json(&file)? {
        return Ok(chain);
    }
    // Written before anyone is registered: the passwords are part of what the keys stand for.
    let people = people::open(data_dir, operator)?;
    let loader = Loader {
        operator: api.person(&operator.email, &operator.password),
        api: api.clone(),
    };
    let shops = places::shops();
    let calls = menu::PRODUCTS.len() + 1 + shops.len() * (1 + menu::INGREDIENTS.len()) + people.len();
    steps.count("loading the demonstration chain", calls);
    let products = loader.products(steps).await?;
    loader.promotion(&products, steps).await?;
    let shops = loader.shops(shops, steps).await?;
    let people = loader.people(people, &shops, steps).await?;
    let chain = Chain {
        products,
        shops,
        people,
    };
    people::close(data_dir, operator, &chain.people)?;
    write_json(&file, &chain)?;
    Ok(chain)
}

struct Loader {
    api: Api,
    operator: Person,
}

impl Loader {
    async fn products(&self, steps: &Steps) -> Result<Vec<Sold>> {
        let created = menu::PRODUCTS.iter().map(async |dish| {
            let product = menu::product(dish);
            let key = format!("chain/product/{}", dish.en);
            let id = self
                .operator
                .create_product(&product, &key.replace(' ', "-"))
                .await
                .with_context(|| format!("adding {}", dish.en))?;
            steps.one_more();
            anyhow::Ok(Sold {
                id,
                name: dish.en.to_owned(),
                eur: dish.eur(),
                rsd: dish.rsd(),
            })
        });
        stream::iter(created).buffered(AT_ONCE).try_collect().await
    }

    async fn promotion(&self, products: &[Sold], steps: &Steps) -> Result<()> {
        let promoted = products.iter().find(|sold| sold.name == menu::PROMOTED);
        let promotion = menu::promotion(promoted.context("what is promoted must be sold")?.id);
        self.operator
            .create_promotion(&promotion, "chain/promotion/green-month")
            .await
            .context("announcing the promotion")?;
        steps.one_more();
        Ok(())
    }

    async fn shops(&self, shops: Vec<places::Spot>, steps: &Steps) -> Result<Vec<Shop>> {
        let opened: Vec<Shop> = stream::iter(shops)
            .map(async |spot| {
                let key = format!("chain/point/{}", spot.name.replace(' ', "-"));
                let settings = settings(&spot);
                let id = self.operator.create_food_point(&settings, &key).await?;
                steps.one_more();
                anyhow::Ok(Shop {
                    id,
                    name: settings.name,
                    place: settings.place,
                })
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .context("opening the food points")?;
        let quantity = StockQuantity::new(STOCK).expect("within its bounds");
        let deliveries = opened.iter().flat_map(|shop| {
            menu::INGREDIENTS.iter().map(move |(name, _)| {
                let key = format!("chain/stock/{}/{}", shop.id, name.replace(' ', "-"));
                (shop.id, menu::ingredient(name), key)
            })
        });
        stream::iter(deliveries)
            .map(async |(shop, ingredient, key)| {
                self.operator.receive_stock(shop, ingredient, quantity, &key).await?;
                steps.one_more();
                anyhow::Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
            .context("filling the shelves")?;
        Ok(opened)
    }

    async fn people(&self, people: Vec<Somebody>, shops: &[Shop], steps: &Steps) -> Result<Vec<Somebody>> {
        let shops: Arc<[Shop]> = shops.into();
        stream::iter(people)
            .map(async |somebody| {
                let name = somebody.name.clone();
                let known = self.somebody(somebody, &shops).await;
                steps.one_more();
                known.with_context(|| format!("registering {name}"))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn somebody(&self, somebody: Somebody, shops: &[Shop]) -> Result<Somebody> {
        let key = format!("chain/people/{}", somebody.email);
        let staff = RegisterStaff {
            email: somebody.email.clone(),
            password: somebody.password.clone(),
            name: somebody.name.clone(),
            phone: None,
            country: (somebody.role == Role::Courier).then_some(somebody.place.country),
        };
        match somebody.role {
            Role::Kitchen => {
                let shop = nearest(shops, &somebody.place).context("a cook needs a kitchen")?;
                let registered = self.operator.hire_cook(shop, &staff, &key).await?;
                Ok(Somebody {
                    food_point: Some(shop),
                    ..somebody.known_as(registered.id)
                })
            }
            Role::Courier => {
                let registered = self.operator.hire_courier(&staff, &key).await?;
                Ok(somebody.known_as(registered.id))
            }
            Role::Customer => {
                let register = Register {
                    email: staff.email,
                    password: staff.password,
                    name: staff.name,
                    phone: Some("+49 30 901820".to_owned()),
                };
                let registered = self.api.register(&register, &key).await?;
                self.with_address(somebody.known_as(registered.id), registered.id).await
            }
            Role::Operator => Ok(somebody),
        }
    }

    async fn with_address(&self, somebody: Somebody, id: UserId) -> Result<Somebody> {
        let address = AddressId(Uuid::new_v5(&id.uuid(), b"home"));
        let text = Address {
            text: format!("{} 1", somebody.name),
            place: somebody.place,
            instructions: Some("ring twice".to_owned()),
        };
        let person = self.api.person(&somebody.email, &somebody.password);
        person.set_address(address, &text).await?;
        Ok(Somebody {
            address: Some(address),
            ..somebody
        })
    }
}

fn nearest(shops: &[Shop], place: &Place) -> Option<FoodPointId> {
    let away = |at: Coordinates| at.distance_m(place.at);
    shops.iter().min_by_key(|shop| away(shop.place.at)).map(|shop| shop.id)
}

fn settings(spot: &places::Spot) -> Settings {
    Settings {
        name: format!("Tiffin {}", spot.name),
        place: Place {
            country: spot.country,
            at: spot.at,
        },
        kinds: vec![Kind::Delivery, Kind::PickUp],
        radius_m: places::RADIUS_M,
        pool: POOL,
        auto_accept: spot.auto_accept,
        hours: Vec::new(),
        utc_offset_minutes: 60,
    }
}

/// A country by its code.
fn country(code: &str) -> Country {
    Country::parse(code).expect("two capital letters")
}
