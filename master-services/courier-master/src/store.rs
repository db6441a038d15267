//! What dispatch looks at: the newest state of every delivery and courier, in two tables of our own.
//!
//! Gated by version, so that it does not matter how often or in what order it is written.

use std::str::FromStr;
use std::sync::Arc;

use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_contracts::view::courier::{Courier, Status};
use mesh_contracts::view::delivery::Delivery;
use moka::sync::Cache;
use serde::de::DeserializeOwned;
use sqlx::PgPool;
use sqlx::types::Json;

/// Documents of each kind that are kept, some hundred bytes each: all of a busy lunch.
const KEPT_MAX: u64 = 10_000;

/// The two tables. Clones share the connections and what they know.
#[derive(Clone)]
pub struct Board {
    pool: PgPool,
    deliveries: Known<DeliveryId, Delivery>,
    couriers: Known<CourierId, Courier>,
}

/// Documents as this process wrote or read them last, so that a look reads only what another replica wrote.
type Known<I, D> = Cache<String, (i64, I, Arc<D>)>;

/// A stream's state, and its version, which events of a later build move alone.
pub type Standing<I, D> = (I, Arc<D>, u64);

/// What is shown together.
#[derive(Debug, Default)]
pub struct Shown {
    pub deliveries: Vec<Standing<DeliveryId, Delivery>>,
    pub couriers: Vec<Standing<CourierId, Courier>>,
}

impl Board {
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            deliveries: Cache::new(KEPT_MAX),
            couriers: Cache::new(KEPT_MAX),
        }
    }

    /// Shows these as they stand, each at most once, unless they are shown newer already.
    pub async fn show(&self, shown: &Shown) -> Result<(), sqlx::Error> {
        let deliveries = || shown.deliveries.iter().map(|(_, delivery, _)| delivery);
        let couriers = || shown.couriers.iter().map(|(_, courier, _)| courier);
        let of_delivery: Vec<String> = shown.deliveries.iter().map(|(id, ..)| id.to_string()).collect();
        let of_courier: Vec<String> = shown.couriers.iter().map(|(id, ..)| id.to_string()).collect();
        let delivery_versions: Vec<i64> = shown.deliveries.iter().map(|one| one.2.cast_signed()).collect();
        let courier_versions: Vec<i64> = shown.couriers.iter().map(|one| one.2.cast_signed()).collect();
        let open: Vec<bool> = deliveries().map(|one| one.status.is_open()).collect();
        let concerns: Vec<Option<String>> = deliveries()
            .map(|one| one.concerns().map(|courier| courier.to_string()))
            .collect();
        let open_docs: Vec<Option<Json<&Delivery>>> = deliveries()
            .map(|one| one.status.is_open().then_some(Json(&**one)))
            .collect();
        let on_shift: Vec<bool> = couriers().map(|one| one.status == Status::On).collect();
        let docs: Vec<Json<&Courier>> = couriers().map(|one| Json(&**one)).collect();
        sqlx::query(
            "with deliveries as (
                 insert into dispatch_deliveries as d (delivery, version, is_open, concerns, doc)
                 select * from unnest($1::text[], $2::bigint[], $3::boolean[], $4::text[], $5::jsonb[])
                     as n (delivery, version, is_open, concerns, doc)
                 order by n.delivery
                 on conflict (delivery) do update
                 set version = excluded.version, is_open = excluded.is_open, concerns = excluded.concerns,
                     doc = excluded.doc
                 where d.version < excluded.version
             )
             insert into dispatch_couriers as c (courier, version, on_shift, doc)
             select * from unnest($6::text[], $7::bigint[], $8::boolean[], $9::jsonb[])
                 as n (courier, version, on_shift, doc)
             order by n.courier
             on conflict (courier) do update
             set version = excluded.version, on_shift = excluded.on_shift, doc = excluded.doc
             where c.version < excluded.version",
        )
        .bind(&of_delivery)
        .bind(&delivery_versions)
        .bind(open)
        .bind(concerns)
        .bind(open_docs)
        .bind(&of_courier)
        .bind(&courier_versions)
        .bind(on_shift)
        .bind(docs)
        .execute(&self.pool)
        .await?;
        // Whatever another replica shows meanwhile has another version, and is read again.
        for ((key, version), (id, delivery, _)) in of_delivery.into_iter().zip(delivery_versions).zip(&shown.deliveries)
        {
            self.deliveries.insert(key, (version, *id, Arc::clone(delivery)));
        }
        for ((key, version), (id, courier, _)) in of_courier.into_iter().zip(courier_versions).zip(&shown.couriers) {
            self.couriers.insert(key, (version, *id, Arc::clone(courier)));
        }
        Ok(())
    }

    /// Streams that have moved on since they were shown: what a crash kept from us.
    pub async fn behind(&self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(
            "select s.stream_id from streams s
             left join dispatch_deliveries d on d.delivery = s.stream_id
             left join dispatch_couriers c on c.courier = s.stream_id
             where s.version > coalesce(d.version, c.version, 0)",
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Every delivery that has not ended.
    pub async fn open_deliveries(&self) -> Result<Vec<Arc<Delivery>>, sqlx::Error> {
        let heads = sqlx::query_as("select delivery, version from dispatch_deliveries where is_open")
            .fetch_all(&self.pool)
            .await?;
        let docs = "select delivery, version, doc from dispatch_deliveries where is_open and delivery = any($1)";
        let open = self.newest(&self.deliveries, heads, docs).await?;
        Ok(open.into_iter().map(|(_, delivery)| delivery).collect())
    }

    /// Every courier who takes offers.
    pub async fn couriers_on_shift(&self) -> Result<Vec<(CourierId, Arc<Courier>)>, sqlx::Error> {
        let heads = sqlx::query_as("select courier, version from dispatch_couriers where on_shift")
            .fetch_all(&self.pool)
            .await?;
        let docs = "select courier, version, doc from dispatch_couriers where on_shift and courier = any($1)";
        self.newest(&self.couriers, heads, docs).await
    }

    /// The documents in these versions or later ones: from memory, and from the table what is not there.
    async fn newest<I, D>(
        &self,
        known: &Known<I, D>,
        heads: Vec<(String, i64)>,
        docs: &'static str,
    ) -> Result<Vec<(I, Arc<D>)>, sqlx::Error>
    where
        I: FromStr + Copy + Send + Sync + 'static,
        D: DeserializeOwned + Send + Sync + Unpin + 'static,
    {
        let mut newest = Vec::with_capacity(heads.len());
        let mut missing = Vec::new();
        for (key, version) in heads {
            match known.get(&key) {
                Some((kept, id, doc)) if kept == version => newest.push((id, doc)),
                Some(_) | None => missing.push(key),
            }
        }
        if missing.is_empty() {
            return Ok(newest);
        }
        let read: Vec<(String, i64, Json<D>)> = sqlx::query_as(docs).bind(missing).fetch_all(&self.pool).await?;
        for (key, version, Json(doc)) in read {
            let Ok(id) = key.parse() else { continue };
            let doc = Arc::new(doc);
            known.insert(key, (version, id, Arc::clone(&doc)));
            newest.push((id, doc));
        }
        Ok(newest)
    }

    /// The deliveries that a courier is asked for or has in hand.
    pub async fn concerning(&self, courier: CourierId) -> Result<Vec<Delivery>, sqlx::Error> {
        let rows: Vec<Json<Delivery>> =
            sqlx::query_scalar("select doc from dispatch_deliveries where is_open and concerns = $1")
                .bind(courier.to_string())
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(|Json(delivery)| delivery).collect())
    }
}
