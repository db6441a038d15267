//! What order-master knows of food points and products: the folds of their events, in its own database.
//!
//! Good enough to choose whom to ask; point-master's hold decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_contracts::envelope::Envelope;
use mesh_contracts::geo::Country;
use mesh_contracts::id::{FoodPointId, OrderId, ProductId};
use mesh_contracts::order::QuoteLine;
use mesh_contracts::view;
use mesh_contracts::view::point::{self, FoodPoint};
use mesh_contracts::view::product::{self, Product};
use mesh_runtime::{Coalesce, CoalesceError};
use moka::future::Cache;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgPool;
use sqlx::types::Json;

/// How old the known points of a country may be. A lunch peak's orders read them once a second; a stale slot or
/// portion costs one refused hold.
const POINTS_FRESH: Duration = Duration::from_secs(1);
/// How old they may be where nobody seems to be able to cook: nothing is refused on a list that is much older than its
/// asker's last look at the menu.
const POINTS_NOW: Duration = Duration::from_millis(200);
/// Recipes change rarely, and an order already placed keeps its own.
const PRODUCT_FRESH: Duration = Duration::from_secs(2);

/// Documents written by one statement: more than a batch of the inbox hears of at once.
const TOGETHER_MAX: usize = 64;

/// Such writes come this far apart under load: less than what the inbox waits between its batches.
const WRITE_PERIOD: Duration = Duration::from_millis(20);

/// Points whose newest document is kept in memory, a few KB each: a region's. The rest are read when they are heard of.
const POINTS_HEARD_MAX: u64 = 1_000;

type Points = Arc<Vec<(FoodPointId, Arc<FoodPoint>)>>;

/// Reads and writes the two tables.
#[derive(Clone)]
pub struct Knowledge {
    pool: PgPool,
    points: Cache<Country, Points>,
    points_now: Cache<Country, Points>,
    products: Cache<ProductId, Arc<Product>>,
    /// As this process wrote or read it last, so that the next event of a point need not read it.
    heard: Cache<String, (u64, Arc<FoodPoint>)>,
    /// Holds of different points come in the same batch.
    writer: Coalesce<Heard, (), sqlx::Error>,
}

/// A point's document after an event.
struct Heard {
    food_point: String,
    version: u64,
    point: Arc<FoodPoint>,
}

/// A stored document that does not parse, or a query that failed.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Write(#[from] CoalesceError<sqlx::Error>),
    #[error(transparent)]
    Body(#[from] mesh_contracts::envelope::BadBody),
}

impl Knowledge {
    pub fn new(pool: PgPool) -> Self {
        let writer = {
            let pool = pool.clone();
            Coalesce::start(TOGETHER_MAX, WRITE_PERIOD, move |heard| {
                write_points(pool.clone(), heard)
            })
        };
        Self {
            writer,
            pool,
            points: Cache::builder().max_capacity(300).time_to_live(POINTS_FRESH).build(),
            points_now: Cache::builder().max_capacity(300).time_to_live(POINTS_NOW).build(),
            products: Cache::builder()
                .max_capacity(10_000)
                .time_to_live(PRODUCT_FRESH)
                .build(),
            heard: Cache::new(POINTS_HEARD_MAX),
        }
    }

    /// Every known point of a country.
    pub async fn points(&self, country: Country) -> Result<Points, Arc<sqlx::Error>> {
        self.points.try_get_with(country, self.read_points(country)).await
    }

    /// The same, read again unless that was done a moment ago.
    pub async fn points_now(&self, country: Country) -> Result<Points, Arc<sqlx::Error>> {
        let points = self.points_now.try_get_with(country, self.read_points(country)).await?;
        self.points.insert(country, points.clone()).await;
        Ok(points)
    }

    /// The products of these lines; those that are not known are missing.
    pub async fn products(&self, lines: &[QuoteLine]) -> Result<BTreeMap<ProductId, Arc<Product>>, sqlx::Error> {
        let mut known = BTreeMap::new();
        for line in lines {
            let product = match self.products.get(&line.product).await {
                Some(product) => Some(product),
                None => self.read_product(line.product).await?,
            };
            if let Some(product) = product {
                known.insert(line.product, product);
            }
        }
        Ok(known)
    }

    /// The orders that a point has set stock and a slot aside for.
    pub async fn holding(&self, food_point: FoodPointId) -> Result<Vec<OrderId>, sqlx::Error> {
        let row: Option<(Json<FoodPoint>,)> = sqlx::query_as("SELECT document FROM points WHERE food_point = $1")
            .bind(food_point.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map_or(Vec::new(), |(Json(point),)| point.holds.into_keys().collect()))
    }

    /// Folds an event of a point into its document. A repeat changes nothing.
    pub async fn hear_point(&self, envelope: &Envelope) -> Result<(), KnowledgeError> {
        let before = match self.heard.get(&envelope.stream).await {
            Some((version, point)) if version + 1 == envelope.version => Some(FoodPoint::clone(&point)),
            _ => {
                let query = "SELECT version, document FROM points WHERE food_point = $1";
                let Some(known) = self.document::<FoodPoint>(query, envelope).await? else {
                    return Ok(());
                };
                known
            }
        };
        let point = view::advance(before, envelope, point::fold, point::skip)?;
        let Some(point) = point else { return Ok(()) };
        let point = Arc::new(point);
        let heard = Heard {
            food_point: envelope.stream.clone(),
            version: envelope.version,
            point: Arc::clone(&point),
        };
        self.writer.ask(heard).await?;
        if !envelope.event_type.starts_with("hold.") {
            // Holds come by the hundred; what its people change is seen by the next order.
            self.points.invalidate(&point.settings.place.country).await;
            self.points_now.invalidate(&point.settings.place.country).await;
        }
        let heard = (envelope.version, point);
        self.heard.insert(envelope.stream.clone(), heard).await;
        Ok(())
    }

    /// Folds an event of a product into its document. A repeat changes nothing.
    pub async fn hear_product(&self, envelope: &Envelope) -> Result<(), KnowledgeError> {
        let known = self.document::<Product>("SELECT version, document FROM products WHERE product = $1", envelope);
        let Some(before) = known.await? else { return Ok(()) };
        let product = view::advance(before, envelope, product::fold, product::skip)?;
        let Some(product) = product else { return Ok(()) };
        sqlx::query(
            "INSERT INTO products (product, version, document) VALUES ($1, $2, $3)
             ON CONFLICT (product) DO UPDATE SET version = EXCLUDED.version, document = EXCLUDED.document
             WHERE products.version < EXCLUDED.version",
        )
        .bind(&envelope.stream)
        .bind(envelope.version as i64)
        .bind(Json(&product))
        .execute(&self.pool)
        .await?;
        if let Ok(id) = envelope.stream.parse::<ProductId>() {
            self.products.invalidate(&id).await;
        }
        Ok(())
    }

    /// The document before this event: `None` if the event is in it already.
    async fn document<T: DeserializeOwned + Serialize + Send + Unpin + 'static>(
        &self,
        query: &'static str,
        envelope: &Envelope,
    ) -> Result<Option<Option<T>>, sqlx::Error> {
        let row: Option<(i64, Json<T>)> = sqlx::query_as(query)
            .bind(&envelope.stream)
            .fetch_optional(&self.pool)
            .await?;
        Ok(match row {
            Some((version, _)) if version as u64 >= envelope.version => None,
            Some((_, Json(document))) => Some(Some(document)),
            None => Some(None),
        })
    }

    /// Reads whole only what another replica has heard of since: at lunch a document is some KB, and each hold changes it.
    async fn read_points(&self, country: Country) -> Result<Points, sqlx::Error> {
        let heads: Vec<(String, i64)> = sqlx::query_as("SELECT food_point, version FROM points WHERE country = $1")
            .bind(country.as_str())
            .fetch_all(&self.pool)
            .await?;
        let mut points = Vec::with_capacity(heads.len());
        let mut moved = Vec::new();
        for (id, version) in heads {
            match self.heard.get(&id).await {
                Some((known, point)) if known >= version as u64 => points.push((id, point)),
                _ => moved.push(id),
            }
        }
        if !moved.is_empty() {
            let rows: Vec<(String, i64, Json<FoodPoint>)> =
                sqlx::query_as("SELECT food_point, version, document FROM points WHERE food_point = any($1)")
                    .bind(moved)
                    .fetch_all(&self.pool)
                    .await?;
            for (id, version, Json(point)) in rows {
                let point = Arc::new(point);
                let newest = (version as u64, Arc::clone(&point));
                self.heard.insert(id.clone(), newest).await;
                points.push((id, point));
            }
        }
        let points = points.into_iter();
        Ok(Arc::new(
            points
                .filter_map(|(id, point)| Some((id.parse().ok()?, point)))
                .collect(),
        ))
    }

    async fn read_product(&self, id: ProductId) -> Result<Option<Arc<Product>>, sqlx::Error> {
        let row: Option<(Json<Product>,)> = sqlx::query_as("SELECT document FROM products WHERE product = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        let Some((Json(product),)) = row else { return Ok(None) };
        let product = Arc::new(product);
        self.products.insert(id, product.clone()).await;
        Ok(Some(product))
    }
}

/// Each point at most once: the inbox brings the events of one stream one after the other.
async fn write_points(pool: PgPool, heard: Vec<Heard>) -> Result<Vec<()>, sqlx::Error> {
    let points: Vec<&str> = heard.iter().map(|heard| heard.food_point.as_str()).collect();
    let versions: Vec<i64> = heard.iter().map(|heard| heard.version as i64).collect();
    let countries: Vec<&str> = heard
        .iter()
        .map(|heard| heard.point.settings.place.country.as_str())
        .collect();
    let documents: Vec<Json<&FoodPoint>> = heard.iter().map(|heard| Json(&*heard.point)).collect();
    sqlx::query(
        "INSERT INTO points (food_point, version, country, document)
         SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::jsonb[]) AS n (food_point, version, country, document)
         ORDER BY n.food_point
         ON CONFLICT (food_point) DO UPDATE
         SET version = EXCLUDED.version, country = EXCLUDED.country, document = EXCLUDED.document
         WHERE points.version < EXCLUDED.version",
    )
    .bind(points)
    .bind(versions)
    .bind(countries)
    .bind(documents)
    .execute(&pool)
    .await?;
    Ok(vec![(); heard.len()])
}
