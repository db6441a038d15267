//! What point-master keeps beside the engine's tables: what products are made of, and where they are sold.

use mesh_contracts::envelope::{BadBody, Envelope};
use mesh_contracts::geo::Country;
use mesh_contracts::id::FoodPointId;
use sqlx::PgPool;

use crate::domain::{self, Needs};

/// The master's own tables.
#[derive(Clone)]
pub struct Tables {
    pool: PgPool,
}

/// What all products need, as it was known at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Grows with every event that is taken in.
    pub revision: i64,
    pub needs: Needs,
}

/// An event that does not parse, or a query that failed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Body(#[from] BadBody),
}

impl Tables {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Takes in what an event says of its product. A repeat changes nothing.
    pub async fn hear_product(&self, envelope: &Envelope) -> Result<(), TableError> {
        let Some(needs) = domain::needs_of_product(envelope)? else {
            return Ok(());
        };
        let (countries, ingredients): (Vec<&str>, Vec<String>) = needs
            .iter()
            .map(|(country, ingredient)| (country.as_str(), ingredient.to_string()))
            .unzip();
        let mut tx = self.pool.begin().await?;
        let taken = sqlx::query(
            "insert into products (product, version) values ($1, $2)
             on conflict (product) do update set version = excluded.version
             where products.version < excluded.version",
        )
        .bind(&envelope.stream)
        .bind(envelope.version.cast_signed())
        .execute(&mut *tx)
        .await?;
        if taken.rows_affected() == 0 {
            return Ok(tx.rollback().await?);
        }
        sqlx::query("update product_needs set needed = false where product = $1")
            .bind(&envelope.stream)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "insert into product_needs (product, country, ingredient, needed)
             select $1, need.country, need.ingredient, true from unnest($2::text[], $3::text[]) need (country, ingredient)
             on conflict (product, country, ingredient) do update set needed = true",
        )
        .bind(&envelope.stream)
        .bind(&countries)
        .bind(&ingredients)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// The revision is read first: what is read after it may be newer, and is then read again, but is never older.
    pub async fn needs(&self) -> Result<Snapshot, sqlx::Error> {
        let revision = self.revision().await?;
        let rows: Vec<(String, String, bool)> = sqlx::query_as(
            "select country, ingredient, bool_or(needed) from product_needs group by country, ingredient",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut needs = Needs::new();
        for (country, ingredient, needed) in rows {
            let known = Country::parse(&country).zip(ingredient.parse().ok());
            if let Some((country, ingredient)) = known {
                needs.entry(country).or_default().insert(ingredient, needed);
            }
        }
        Ok(Snapshot { revision, needs })
    }

    pub async fn revision(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("select coalesce(sum(version), 0)::bigint from products")
            .fetch_one(&self.pool)
            .await
    }

    /// Every food point there is.
    pub async fn food_points(&self) -> Result<Vec<FoodPointId>, sqlx::Error> {
        let streams: Vec<String> = sqlx::query_scalar("select stream_id from streams where category = $1")
            .bind(FoodPointId::PREFIX)
            .fetch_all(&self.pool)
            .await?;
        Ok(streams.iter().filter_map(|stream| stream.parse().ok()).collect())
    }
}
