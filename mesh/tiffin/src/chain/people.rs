//! Who works for the demonstration chain and who orders from it, with their passwords.
//!
//! The passwords are random and made once per data directory; `credentials.json` there holds them.

use std::path::Path;

use anyhow::Result;
use mesh_contracts::geo::{Coordinates, Place};
use mesh_contracts::id::{AddressId, FoodPointId, UserId};
use mesh_contracts::user::Role;
use mesh_local::data_dir::{read_json, write_json};
use mesh_local::secrets::random_hex;
use serde::{Deserialize, Serialize};

use super::places;

const FILE: &str = "credentials.json";

/// Customers around each shop.
const CUSTOMERS_PER_SHOP: usize = 3;
/// Couriers that start at each shop.
const COURIERS_PER_SHOP: usize = 2;

/// 96 random bits.
const PASSWORD_BYTES: usize = 12;

const CUSTOMERS: [&str; 21] = [
    "Anna", "Bruno", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Klara", "Leo", "Ana",
    "Bojan", "Ceca", "Dragan", "Elena", "Filip", "Goca", "Ivan", "Jelena",
];
const COURIERS: [&str; 14] = [
    "Kemal", "Lena", "Milan", "Nora", "Omar", "Paul", "Rosa", "Sami", "Luka", "Maja", "Nikola", "Olga", "Petar", "Sara",
];

/// An e-mail and its password.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// Unique.
    pub email: String,
    /// Random.
    pub password: String,
}

/// One of the demonstration's people.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Somebody {
    /// Made up.
    pub name: String,
    /// What they do.
    pub role: Role,
    /// Unique.
    pub email: String,
    /// Random.
    pub password: String,
    /// Where they live, cook, or begin their shift.
    pub place: Place,
    /// Their account, once they have one.
    pub id: Option<UserId>,
    /// Where they cook.
    pub food_point: Option<FoodPointId>,
    /// Where they have things brought to.
    pub address: Option<AddressId>,
}

impl Somebody {
    pub(super) fn known_as(self, id: UserId) -> Self {
        Self { id: Some(id), ..self }
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    operator: Credentials,
    people: Vec<Somebody>,
}

/// The people of a data directory, invented at first and the same from then on.
pub(super) fn open(data_dir: &Path, operator: &Credentials) -> Result<Vec<Somebody>> {
    if let Some(kept) = read_json::<Kept>(&data_dir.join(FILE))? {
        return Ok(kept.people);
    }
    let people = invented();
    close(data_dir, operator, &people)?;
    Ok(people)
}

/// Writes down what is known of them by now.
pub(super) fn close(data_dir: &Path, operator: &Credentials, people: &[Somebody]) -> Result<()> {
    let kept = Kept {
        operator: operator.clone(),
        people: people.to_vec(),
    };
    write_json(&data_dir.join(FILE), &kept)
}

fn invented() -> Vec<Somebody> {
    let mut people = Vec::new();
    for (index, shop) in places::shops().into_iter().enumerate() {
        let place = Place {
            country: shop.country,
            at: shop.at,
        };
        people.push(somebody(Role::Kitchen, format!("Kitchen {}", shop.name), place, index));
        for nth in 0..COURIERS_PER_SHOP {
            let index = index * COURIERS_PER_SHOP + nth;
            let name = COURIERS[index % COURIERS.len()].to_owned();
            people.push(somebody(Role::Courier, name, place, index));
        }
        for nth in 0..CUSTOMERS_PER_SHOP {
            let index = index * CUSTOMERS_PER_SHOP + nth;
            let name = CUSTOMERS[index % CUSTOMERS.len()].to_owned();
            let home = Place {
                at: nearby(place.at, index),
                ..place
            };
            people.push(somebody(Role::Customer, name, home, index));
        }
    }
    people
}

fn somebody(role: Role, name: String, place: Place, index: usize) -> Somebody {
    Somebody {
        name,
        role,
        email: format!("{}-{}@demo.tiffin.local", role.as_str(), index + 1),
        password: random_hex(PASSWORD_BYTES),
        place,
        id: None,
        food_point: None,
        address: None,
    }
}

/// Some streets away, in a direction that differs from one to the next: 0.6 to 1.6 km.
fn nearby(at: Coordinates, index: usize) -> Coordinates {
    const DIRECTIONS: [(i32, i32); 6] = [(7, 4), (-6, 9), (3, -14), (-8, -7), (12, 2), (-3, 16)];
    /// A thousandth of a degree: 111 m northward, about 70 m eastward here.
    const STEP_E6: i32 = 1_000;
    let (north, east) = DIRECTIONS[index % DIRECTIONS.len()];
    Coordinates::new(at.lat_e6 + north * STEP_E6, at.lon_e6 + east * STEP_E6).expect("not at the poles")
}
