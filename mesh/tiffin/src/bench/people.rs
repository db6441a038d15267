//! Thousands of people at once. Opening an account costs 20 ms of password hashing, which no figure here is about: rows
//! and events are written as user-master writes them, through the real append function, and tokens are signed with its
//! key.

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use mesh_contracts::envelope::{Actor, Meta};
use mesh_contracts::geo::{Country, Place};
use mesh_contracts::id::{AddressId, FoodPointId, UserId};
use mesh_contracts::user::{Event, Role};
use mesh_eventstore::{Append, NewEvent, Store, StoreConfig};
use mesh_identity::jwt::{Issuer, LIFETIME_MAX, SigningKey};
use mesh_local::running::Running;
use mesh_runtime::Clock;
use sqlx::{Connection as _, PgConnection};

use super::database;

const MASTER: &str = "user-master";

/// As local platforms have them.
const ISSUER: &str = "https://tiffin.local";
const AUDIENCE: &str = "tiffin";

/// Appends under way at once: they share commits.
const AT_ONCE: usize = 256;

/// Somebody, and where that is at home.
#[derive(Debug, Clone, Copy)]
pub(super) struct Someone {
    pub id: UserId,
    pub address: AddressId,
}

/// Signs in anybody.
pub(super) struct People {
    issuer: Issuer,
}

impl People {
    pub(super) async fn of(running: &Running) -> Result<Self> {
        let mut connection = PgConnection::connect(&database(running, MASTER)?).await?;
        let pem: String = sqlx::query_scalar("select pem from signing_keys order by created_at desc, kid limit 1")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        let issuer = Issuer::new(vec![SigningKey::from_pem(&pem)?], ISSUER, AUDIENCE);
        Ok(Self { issuer })
    }

    /// A token for ten minutes.
    pub(super) fn token(&self, user: &UserId, role: Role) -> String {
        self.token_at(user, role, &[])
    }

    /// Of somebody who cooks at these points.
    pub(super) fn token_at(&self, user: &UserId, role: Role, points: &[FoodPointId]) -> String {
        self.issuer.access_token(user, role, points, LIFETIME_MAX)
    }

    /// What its tokens are verified with.
    pub(super) fn jwks(&self) -> serde_json::Value {
        self.issuer.jwks()
    }

    /// Of somebody who is nobody in particular.
    pub(super) fn operator(&self) -> String {
        self.token(&UserId::new_v7(), Role::Operator)
    }
}

/// Opens accounts, one for each home.
pub(super) async fn enroll(running: &Running, role: Role, homes: Vec<Place>) -> Result<Vec<Someone>> {
    let url = database(running, MASTER)?;
    let people: Vec<Someone> = homes
        .iter()
        .map(|_| Someone {
            id: UserId::new_v7(),
            address: AddressId::new_v7(),
        })
        .collect();
    write_rows(&url, role, &people, &homes).await?;
    let store = Store::connect(StoreConfig::new(&url, "bench"), Clock::real())
        .await
        .map_err(anyhow::Error::from_boxed)?;
    stream::iter(people.iter().zip(&homes))
        .map(|(person, home)| {
            let append = Append::events(person.id.to_string(), 0, opened(role, person, *home));
            let store = store.clone();
            async move { store.append(append).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
        .context("opening accounts")?;
    store.pool().close().await;
    Ok(people)
}

fn opened(role: Role, person: &Someone, home: Place) -> Vec<NewEvent> {
    let country: Option<Country> = (role == Role::Courier).then_some(home.country);
    let registered = Event::Registered {
        role,
        points: Vec::new(),
        country,
    };
    let settled = Event::AddressSet {
        address: person.address,
        place: home,
    };
    let meta = Meta::by(Actor::service(MASTER));
    let events = [Some(registered), (role == Role::Customer).then_some(settled)];
    let events = events.into_iter().flatten();
    events
        .map(|event| NewEvent::new(&event, &meta, Timestamp::now()))
        .collect()
}

async fn write_rows(url: &str, role: Role, people: &[Someone], homes: &[Place]) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let ids: Vec<String> = people.iter().map(|person| person.id.to_string()).collect();
    sqlx::query(
        "insert into people (person, email, name, role, created_at)
         select id, id || '@bench.example', 'Bench', $2, now() from unnest($1::text[]) id",
    )
    .bind(&ids)
    .bind(role.as_str())
    .execute(&mut connection)
    .await?;
    if role == Role::Customer {
        let addresses: Vec<String> = people.iter().map(|person| person.address.to_string()).collect();
        let countries: Vec<String> = homes.iter().map(|home| home.country.as_str().to_owned()).collect();
        let lats: Vec<i32> = homes.iter().map(|home| home.at.lat_e6).collect();
        let lons: Vec<i32> = homes.iter().map(|home| home.at.lon_e6).collect();
        sqlx::query(
            "insert into addresses (person, address, text, country, lat_e6, lon_e6)
             select person, address, 'Somewhere 1', country, lat, lon
             from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[]) t(person, address, country, lat, lon)",
        )
        .bind(&ids)
        .bind(&addresses)
        .bind(&countries)
        .bind(&lats)
        .bind(&lons)
        .execute(&mut connection)
        .await?;
    }
    Ok(connection.close().await?)
}
