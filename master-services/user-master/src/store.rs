//! The rows about people, and the queries over them. What is written together with an event is in [`Rows`].

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use mesh_contracts::api::{Address, Contact, Profile, StoredAddress};
use mesh_contracts::geo::{Coordinates, Country, Place};
use mesh_contracts::id::{AddressId, FoodPointId, UserId};
use mesh_contracts::user::{Language, Role};
use mesh_eventstore::SqlTime;
use mesh_runtime::Coalesce;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};

use crate::input::{Email, Given};

/// Addresses looked up in one statement.
const ADDRESSES_MAX: usize = 128;

/// Under load looks come so far apart: short beside the two commits that an order waits for as well.
const ADDRESSES_PERIOD: Duration = Duration::from_millis(4);

/// What a command writes beside its events, in the same transaction.
#[derive(Clone)]
pub enum Rows {
    Open(Box<Account>),
    Profile {
        name: Option<String>,
        phone: Option<Option<String>>,
        language: Option<Language>,
    },
    Address {
        id: AddressId,
        address: Box<Address>,
    },
    NoAddress {
        id: AddressId,
    },
    Nobody,
}

/// A new account.
#[derive(Clone)]
pub struct Account {
    pub given: Given,
    pub role: Role,
    pub points: Vec<FoodPointId>,
    /// Of the password.
    pub hash: String,
    pub opened_at: Timestamp,
}

/// Why rows were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("there is an account with this e-mail")]
    EmailTaken,
    #[error(transparent)]
    Unavailable(#[from] sqlx::Error),
}

/// What a session needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    pub id: UserId,
    pub role: Role,
    pub points: Vec<FoodPointId>,
}

impl Rows {
    /// Writes them for this person.
    pub async fn write(&self, tx: &mut PgConnection, person: UserId) -> Result<(), WriteError> {
        let id = person.to_string();
        let query = match self {
            Self::Open(account) => return open(tx, &id, account).await,
            Self::Profile { name, phone, language } => sqlx::query(
                "update people set name = coalesce($2, name), phone = case when $3 then $4 else phone end,
                     language = coalesce($5, language)
                 where person = $1",
            )
            .bind(id)
            .bind(name)
            .bind(phone.is_some())
            .bind(phone.clone().flatten())
            .bind(language.map(Language::as_str)),
            Self::Address {
                id: address,
                address: new,
            } => sqlx::query(
                "insert into addresses (person, address, text, country, lat_e6, lon_e6, instructions)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict (person, address) do update
                 set text = excluded.text, country = excluded.country, lat_e6 = excluded.lat_e6,
                     lon_e6 = excluded.lon_e6, instructions = excluded.instructions",
            )
            .bind(id)
            .bind(address.to_string())
            .bind(&new.text)
            .bind(new.place.country.as_str().to_owned())
            .bind(new.place.at.lat_e6)
            .bind(new.place.at.lon_e6)
            .bind(&new.instructions),
            Self::NoAddress { id: address } => sqlx::query("delete from addresses where person = $1 and address = $2")
                .bind(id)
                .bind(address.to_string()),
            Self::Nobody => sqlx::query("delete from people where person = $1").bind(id),
        };
        query.execute(tx).await?;
        Ok(())
    }
}

async fn open(tx: &mut PgConnection, person: &str, account: &Account) -> Result<(), WriteError> {
    let points: Vec<String> = account.points.iter().map(ToString::to_string).collect();
    let opened = sqlx::query(
        "insert into people (person, email, name, phone, role, points, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (email) do nothing",
    )
    .bind(person)
    .bind(account.given.email.as_str())
    .bind(&account.given.name)
    .bind(&account.given.phone)
    .bind(account.role.as_str())
    .bind(points)
    .bind(SqlTime(account.opened_at))
    .execute(&mut *tx)
    .await?;
    if opened.rows_affected() == 0 {
        return Err(WriteError::EmailTaken);
    }
    sqlx::query("insert into credentials (person, hash) values ($1, $2)")
        .bind(person)
        .bind(&account.hash)
        .execute(tx)
        .await?;
    Ok(())
}

/// Who has this e-mail, and what is kept of the password.
pub async fn credentials(pool: &PgPool, email: &Email) -> Result<Option<(Person, String)>, sqlx::Error> {
    sqlx::query(
        "select p.person, p.role, p.points, c.hash from people p join credentials c using (person) where p.email = $1",
    )
    .bind(email.as_str())
    .try_map(|row: PgRow| Ok((person(&row)?, row.try_get("hash")?)))
    .fetch_optional(pool)
    .await
}

/// Who that is by now.
pub async fn person_of(connection: &mut PgConnection, id: &str) -> Result<Option<Person>, sqlx::Error> {
    sqlx::query("select person, role, points from people where person = $1")
        .bind(id)
        .try_map(|row: PgRow| person(&row))
        .fetch_optional(connection)
        .await
}

/// Whether somebody has this e-mail.
pub async fn is_taken(pool: &PgPool, email: &Email) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from people where email = $1)")
        .bind(email.as_str())
        .fetch_one(pool)
        .await
}

/// Everything that a person may read about themself.
pub async fn profile(pool: &PgPool, id: UserId) -> Result<Option<Profile>, sqlx::Error> {
    // One snapshot of both tables.
    let mut tx = pool.begin().await?;
    sqlx::query("set transaction isolation level repeatable read, read only")
        .execute(&mut *tx)
        .await?;
    let row = sqlx::query("select person, role, points, email, name, phone, language from people where person = $1")
        .bind(id.to_string())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let addresses =
        sqlx::query("select address, text, country, lat_e6, lon_e6, instructions from addresses where person = $1")
            .bind(id.to_string())
            .try_map(|row: PgRow| Ok((row.try_get("address")?, stored_address(&row)?)))
            .fetch_all(&mut *tx)
            .await?;
    Ok(Some(Profile {
        id,
        role: person(&row)?.role,
        email: row.try_get("email")?,
        name: row.try_get("name")?,
        phone: row.try_get("phone")?,
        language: language(&row)?,
        addresses: BTreeMap::from_iter(addresses),
    }))
}

/// How to write to those of these people who are there.
pub async fn contacts(pool: &PgPool, people: &[UserId]) -> Result<Vec<Contact>, sqlx::Error> {
    let people: Vec<String> = people.iter().map(UserId::to_string).collect();
    sqlx::query("select person, name, email, language from people where person = any($1)")
        .bind(people)
        .try_map(|row: PgRow| {
            let person: String = row.try_get("person")?;
            Ok(Contact {
                person: person.parse().map_err(unreadable)?,
                name: row.try_get("name")?,
                email: row.try_get("email")?,
                language: language(&row)?,
            })
        })
        .fetch_all(pool)
        .await
}

/// Looks up one address of a person, for many at once: every order asks for one. A row that cannot be read is the
/// trouble of who asked for it alone.
pub type Addresses = Coalesce<(UserId, AddressId), Result<Option<StoredAddress>, sqlx::Error>, sqlx::Error>;

/// Starts looking up addresses.
pub fn addresses(pool: PgPool) -> Addresses {
    Coalesce::start(ADDRESSES_MAX, ADDRESSES_PERIOD, move |asked| {
        look_up(pool.clone(), asked)
    })
}

async fn look_up(
    pool: PgPool,
    asked: Vec<(UserId, AddressId)>,
) -> Result<Vec<Result<Option<StoredAddress>, sqlx::Error>>, sqlx::Error> {
    let (people, ids): (Vec<String>, Vec<String>) = asked
        .iter()
        .map(|(person, id)| (person.to_string(), id.to_string()))
        .unzip();
    let rows = sqlx::query(
        "select w.nth, a.text, a.country, a.lat_e6, a.lon_e6, a.instructions
         from unnest($1::text[], $2::text[]) with ordinality as w (person, address, nth)
         join addresses a on a.person = w.person and a.address = w.address",
    )
    .bind(people)
    .bind(ids)
    .fetch_all(&pool)
    .await?;
    let mut found: Vec<_> = asked.iter().map(|_| Ok(None)).collect();
    for row in rows {
        let nth: i64 = row.try_get("nth")?;
        found[nth as usize - 1] = stored_address(&row).map(Some);
    }
    Ok(found)
}

fn person(row: &PgRow) -> Result<Person, sqlx::Error> {
    let (id, role): (String, String) = (row.try_get("person")?, row.try_get("role")?);
    let points: Vec<String> = row.try_get("points")?;
    Ok(Person {
        id: id.parse().map_err(unreadable)?,
        role: Role::parse(&role).ok_or_else(|| unreadable("a role of another build"))?,
        points: points
            .iter()
            .map(|point| point.parse())
            .collect::<Result<_, _>>()
            .map_err(unreadable)?,
    })
}

fn language(row: &PgRow) -> Result<Language, sqlx::Error> {
    let language: String = row.try_get("language")?;
    Language::parse(&language).ok_or_else(|| unreadable("a language of another build"))
}

fn stored_address(row: &PgRow) -> Result<StoredAddress, sqlx::Error> {
    let country: String = row.try_get("country")?;
    let country = Country::parse(&country).ok_or_else(|| unreadable("not a country"))?;
    let at = Coordinates::new(row.try_get("lat_e6")?, row.try_get("lon_e6")?);
    let place = Place {
        country,
        at: at.ok_or_else(|| unreadable("not on the earth"))?,
    };
    Ok(StoredAddress {
        text: row.try_get("text")?,
        place,
        instructions: row.try_get("instructions")?,
    })
}

fn unreadable(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(why.into())
}
