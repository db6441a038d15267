//! Where couriers are: the last position of each, written and told in batches, since nobody is told when one is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mesh_bus::Bus;
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::CourierId;
use mesh_contracts::live::{POSITIONS, Sighting};
use mesh_eventstore::SqlTime;
use mesh_runtime::Shutdown;
use sqlx::PgPool;
use tokio::sync::Notify;

/// Dispatch cannot use positions any faster, and a thousand couriers make one statement.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// Positions in one piece of news: about 100 KB.
const TOLD_MAX: usize = 1_000;

/// The newest positions. Clones share them.
#[derive(Clone)]
pub struct Positions {
    pool: PgPool,
    unwritten: Arc<Mutex<HashMap<CourierId, Seen>>>,
    arrived: Arc<Notify>,
    written: Arc<Notify>,
}

/// A courier at a place, at a business instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    pub place: Coordinates,
    pub at: Timestamp,
}

impl Positions {
    /// In this database; `written` is told whenever some were.
    pub fn new(pool: PgPool, written: Arc<Notify>) -> Self {
        Self {
            pool,
            unwritten: Arc::default(),
            arrived: Arc::default(),
            written,
        }
    }

    /// Takes note; written within a tenth of a second.
    pub fn put(&self, courier: CourierId, seen: Seen) {
        self.lock().insert(courier, seen);
        self.arrived.notify_one();
    }

    /// Writes what arrives and tells whoever shows it, until shutdown.
    pub async fn keep(&self, bus: &Bus, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = self.arrived.notified() => {}
            }
            let batch = std::mem::take(&mut *self.lock());
            // Each goes its way: a broker that is away keeps nothing from dispatch, nor a database from the screens.
            let (written, told) = tokio::join!(self.write(&batch), tell(bus, &batch));
            match written {
                Ok(()) => self.written.notify_one(),
                // The next ones are newer anyway.
                Err(err) => tracing::warn!(error = %err, "positions not written"),
            }
            if let Err(err) = told {
                tracing::debug!(error = %err, "positions not told");
            }
            tokio::time::sleep(FLUSH_EVERY).await;
        }
    }

    /// Where these couriers were last seen.
    pub async fn of(&self, couriers: &[CourierId]) -> Result<HashMap<CourierId, Seen>, sqlx::Error> {
        let named: Vec<String> = couriers.iter().map(CourierId::to_string).collect();
        let rows: Vec<(i64, i32, i32, SqlTime)> = sqlx::query_as(
            "select w.nth, p.lat_e6, p.lon_e6, p.at
             from unnest($1::text[]) with ordinality as w (courier, nth) join positions p on p.courier = w.courier",
        )
        .bind(named)
        .fetch_all(&self.pool)
        .await?;
        let seen = rows.into_iter().filter_map(|(nth, lat_e6, lon_e6, SqlTime(at))| {
            let courier = *couriers.get(usize::try_from(nth).ok()?.checked_sub(1)?)?;
            let place = Coordinates::new(lat_e6, lon_e6)?;
            Some((courier, Seen { place, at }))
        });
        Ok(seen.collect())
    }

    async fn write(&self, batch: &HashMap<CourierId, Seen>) -> Result<(), sqlx::Error> {
        let couriers: Vec<String> = batch.keys().map(ToString::to_string).collect();
        let lats: Vec<i32> = batch.values().map(|seen| seen.place.lat_e6).collect();
        let lons: Vec<i32> = batch.values().map(|seen| seen.place.lon_e6).collect();
        let ats: Vec<SqlTime> = batch.values().map(|seen| SqlTime(seen.at)).collect();
        sqlx::query(
            "insert into positions as p (courier, lat_e6, lon_e6, at)
             select * from unnest($1::text[], $2::int[], $3::int[], $4::timestamptz[])
             on conflict (courier) do update
             set lat_e6 = excluded.lat_e6, lon_e6 = excluded.lon_e6, at = excluded.at
             where p.at < excluded.at",
        )
        .bind(couriers)
        .bind(lats)
        .bind(lons)
        .bind(ats)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CourierId, Seen>> {
        // Nothing panics while it is held, and an old position does no harm.
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn tell(bus: &Bus, batch: &HashMap<CourierId, Seen>) -> Result<(), mesh_bus::BoxError> {
    let sightings: Vec<Sighting> = batch
        .iter()
        .map(|(courier, seen)| Sighting {
            courier: *courier,
            place: seen.place,
            at: seen.at,
        })
        .collect();
    for piece in sightings.chunks(TOLD_MAX) {
        bus.tell(POSITIONS, &piece).await?;
    }
    Ok(())
}
