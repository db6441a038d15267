//! user-master's tables, and the route that reads them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use mesh_contracts::api::{Profile, StoredAddress};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, UserId};
use mesh_contracts::user::{Event, Language, Role};
use mesh_runtime::Problem;
use tokio::sync::RwLock;
use uuid::Uuid;

use crate::world::World;

pub const HOME: AddressId = AddressId(Uuid::from_u128(6));

/// Everyone's personal data, by person.
#[derive(Clone, Default)]
pub struct People {
    rows: Arc<Mutex<BTreeMap<UserId, Profile>>>,
    /// Whoever has it keeps answers from leaving.
    pub door: Arc<RwLock<()>>,
    waiting: Arc<AtomicUsize>,
}

impl People {
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/people/{id}", get(person))
            .with_state(self.clone())
    }

    /// How many answers wait at the door.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub fn set_name(&self, id: UserId, name: &str) {
        let mut rows = self.rows.lock().expect("no test panics with this lock");
        rows.get_mut(&id).expect("registered").name = name.into();
    }

    pub fn erase(&self, id: UserId) {
        self.rows.lock().expect("no test panics with this lock").remove(&id);
    }

    fn insert(&self, profile: Profile) {
        let mut rows = self.rows.lock().expect("no test panics with this lock");
        rows.insert(profile.id, profile);
    }
}

async fn person(State(people): State<People>, Path(id): Path<UserId>) -> Result<Json<Profile>, Problem> {
    let found = {
        let rows = people.rows.lock().expect("no test panics with this lock");
        rows.get(&id).cloned()
    };
    people.waiting.fetch_add(1, Ordering::SeqCst);
    let open = people.door.read().await;
    people.waiting.fetch_sub(1, Ordering::SeqCst);
    drop(open);
    found.map(Json).ok_or_else(Problem::not_found)
}

impl World {
    /// An account with an address. Gives the stream's version.
    pub async fn register(&self, id: UserId, name: &str) -> u64 {
        let country = Country::parse("DE").expect("a country");
        let at = Coordinates::new(52_520_449, 13_404_951).expect("on earth");
        let place = Place { country, at };
        let home = StoredAddress {
            text: "Holzweg 7, third floor".into(),
            place,
            instructions: Some("ring twice".into()),
        };
        self.people.insert(Profile {
            id,
            role: Role::Customer,
            email: "ann@example.org".into(),
            name: name.into(),
            phone: Some("+49 30 1234".into()),
            language: Language::Ru,
            addresses: BTreeMap::from([(HOME.to_string(), home)]),
        });
        let registered = Event::Registered {
            role: Role::Customer,
            points: Vec::new(),
            country: None,
        };
        let address_set = Event::AddressSet {
            address: HOME,
            place: Place {
                country,
                at: at.coarse(),
            },
        };
        self.users.tell_all(id, [registered, address_set]).await
    }
}
