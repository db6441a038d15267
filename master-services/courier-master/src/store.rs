//! What dispatch looks at: the newest state of every delivery and courier, in two tables of our own.
//!
//! Gated by version, so that it does not matter how often or in what order it is written.

use mesh_contracts::id::{CourierId, DeliveryId};
use mesh_contracts::view::courier::{Courier, Status};
use mesh_contracts::view::delivery::Delivery;
use sqlx::PgPool;
use sqlx::types::Json;

/// The two tables. Clones share the connections.
#[derive(Clone)]
pub struct Board {
    pool: PgPool,
}

impl Board {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Shows a delivery as it stands, unless it is shown newer already.
    pub async fn show_delivery(&self, id: DeliveryId, delivery: &Delivery, version: u64) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into dispatch_deliveries as d (delivery, version, is_open, concerns, doc)
             values ($1, $2, $3, $4, $5)
             on conflict (delivery) do update
             set version = excluded.version, is_open = excluded.is_open, concerns = excluded.concerns, doc = excluded.doc
             where d.version < excluded.version",
        )
        .bind(id.to_string())
        .bind(version.cast_signed())
        .bind(delivery.status.is_open())
        .bind(delivery.concerns().map(|courier| courier.to_string()))
        .bind(delivery.status.is_open().then_some(Json(delivery)))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Shows a courier as things stand, unless shown newer already.
    pub async fn show_courier(&self, id: CourierId, courier: &Courier, version: u64) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into dispatch_couriers as c (courier, version, on_shift, doc)
             values ($1, $2, $3, $4)
             on conflict (courier) do update
             set version = excluded.version, on_shift = excluded.on_shift, doc = excluded.doc
             where c.version < excluded.version",
        )
        .bind(id.to_string())
        .bind(version.cast_signed())
        .bind(courier.status == Status::On)
        .bind(Json(courier))
        .execute(&self.pool)
        .await?;
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
    pub async fn open_deliveries(&self) -> Result<Vec<Delivery>, sqlx::Error> {
        let rows: Vec<Json<Delivery>> = sqlx::query_scalar("select doc from dispatch_deliveries where is_open")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(|Json(delivery)| delivery).collect())
    }

    /// Every courier who takes offers.
    pub async fn couriers_on_shift(&self) -> Result<Vec<(CourierId, Courier)>, sqlx::Error> {
        let rows: Vec<(String, Json<Courier>)> =
            sqlx::query_as("select courier, doc from dispatch_couriers where on_shift")
                .fetch_all(&self.pool)
                .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(id, Json(courier))| Some((id.parse().ok()?, courier)))
            .collect())
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
