//! The keys that sign tokens, and their rotation: one signs, the next one is published long before it does, and one
//! that has signed stays published until nothing it signed is good any more.
//!
//! From when on a key signs stands in its row, and what each key is at an instant follows from that (`schedule`), so
//! replicas agree without a word to each other. Private keys leave the database for this process's memory alone.

mod schedule;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use jiff::Timestamp;
use mesh_contracts::api;
use mesh_eventstore::{SqlTime, Store};
use mesh_identity::jwt::{Issuer, SigningKey};
use mesh_runtime::{Clock, Problem, Shutdown};
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::config::Tokens;
use crate::error::unavailable;

pub use schedule::{Schedule, Times};

/// How often a replica looks what the others did. For as long one of them may sign with a key that another retired.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Makes the first key, unless there is one.
pub async fn create_first(pool: &PgPool, now: Timestamp) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    lock(&mut tx).await?;
    if load(&mut *tx).await?.is_empty() {
        publish(&mut tx, now, now).await?;
    }
    tx.commit().await
}

/// The keys as this replica knows them. Clones share them.
#[derive(Clone)]
pub struct Keys {
    pool: PgPool,
    clock: Clock,
    tokens: Tokens,
    kept: Arc<ArcSwap<Vec<Kept>>>,
}

/// A key and its times.
struct Kept {
    key: SigningKey,
    times: Times,
}

/// Why an operator's wish was not done.
pub enum Refused {
    /// There is no such key, or not any more.
    Unknown,
    /// It has not signed yet, so it can't stop.
    NotYet,
    /// The database did not answer.
    Unavailable(sqlx::Error),
}

impl Keys {
    /// Those of a migrated database; the next one is published if it was not yet.
    ///
    /// # Errors
    /// When the database does not answer, or `migrate` never made a key.
    pub async fn open(store: &Store, tokens: &Tokens) -> anyhow::Result<Self> {
        let this = Self {
            pool: store.pool().clone(),
            clock: store.clock().clone(),
            tokens: tokens.clone(),
            kept: Arc::default(),
        };
        this.look().await?;
        anyhow::ensure!(!this.kept.load().is_empty(), "there is no signing key: run migrate");
        Ok(this)
    }

    /// Rotates when it is time, and follows what other replicas did, until shutdown.
    pub async fn run(&self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(err) = self.look().await {
                tracing::warn!(error = %err, "signing keys not looked at, going on with the known ones");
            }
        }
    }

    /// Issues tokens with the key that signs now, and publishes all of them.
    pub fn issuer(&self) -> Issuer {
        let kept = self.kept.load();
        let current = schedule::current(&times(&kept), self.clock.wall()).unwrap_or(0);
        let others = kept.iter().enumerate().filter(|(at, _)| *at != current);
        let keys = std::iter::once(&kept[current]).chain(others.map(|(_, kept)| kept));
        let keys = keys.map(|kept| kept.key.clone()).collect();
        Issuer::new(keys, &self.tokens.issuer, &self.tokens.audience)
    }

    /// What each key is, the one that signs next first.
    pub fn standings(&self) -> Vec<api::SigningKey> {
        let kept = self.kept.load();
        let (times, now) = (times(&kept), self.clock.wall());
        let current = schedule::current(&times, now);
        let standing = |(at, kept): (usize, &Kept)| api::SigningKey {
            kid: kept.key.kid().to_owned(),
            state: match Some(at).cmp(&current) {
                std::cmp::Ordering::Less => api::KeyState::Retired,
                std::cmp::Ordering::Equal => api::KeyState::Current,
                std::cmp::Ordering::Greater => api::KeyState::Next,
            },
            published_at: kept.times.published_at,
            signs_from: kept.times.signs_from,
            gone_from: times.get(at + 1).map(|successor| schedule::gone_from(*successor)),
        };
        kept.iter().enumerate().rev().map(standing).collect()
    }

    /// The next key takes over from this one, as soon as it has been published for long enough. Repeating it changes
    /// nothing.
    pub async fn retire(&self, kid: &str) -> Result<(), Refused> {
        let now = self.clock.wall();
        let mut tx = self.pool.begin().await?;
        lock(&mut tx).await?;
        let kept = load(&mut *tx).await?;
        let at = position(&kept, kid)?;
        match Some(at).cmp(&schedule::current(&times(&kept), now)) {
            // It has been retired before.
            std::cmp::Ordering::Less => return Ok(()),
            std::cmp::Ordering::Greater => return Err(Refused::NotYet),
            std::cmp::Ordering::Equal => {}
        }
        match kept.get(at + 1) {
            Some(next) => {
                let signs_from = self.tokens.schedule.soonest(next.times, now);
                advance(&mut tx, next.key.kid(), signs_from).await?;
            }
            None => publish(&mut tx, now, now + self.tokens.schedule.lead).await?,
        }
        tx.commit().await?;
        tracing::info!(key.id = kid, "signing key retired by an operator");
        Ok(self.look().await?)
    }

    /// Takes a key away at once, since somebody else may have it: nothing it signed is good any more, and the next one
    /// takes over if it was the one that signs.
    pub async fn withdraw(&self, kid: &str) -> Result<(), Refused> {
        let now = self.clock.wall();
        let mut tx = self.pool.begin().await?;
        lock(&mut tx).await?;
        let kept = load(&mut *tx).await?;
        let at = position(&kept, kid)?;
        remove(&mut tx, kid).await?;
        if Some(at) == schedule::current(&times(&kept), now) {
            match kept.get(at + 1) {
                Some(next) => advance(&mut tx, next.key.kid(), now).await?,
                None => publish(&mut tx, now, now).await?,
            }
        }
        tx.commit().await?;
        tracing::warn!(key.id = kid, "signing key withdrawn by an operator");
        Ok(self.look().await?)
    }

    /// Reads the keys, and does what is due.
    async fn look(&self) -> Result<(), sqlx::Error> {
        let now = self.clock.wall();
        let mut kept = load(&self.pool).await?;
        if !self.tokens.schedule.due(&times(&kept), now).is_nothing() {
            let mut tx = self.pool.begin().await?;
            // Of two replicas that find the same the second finds it done.
            lock(&mut tx).await?;
            kept = load(&mut *tx).await?;
            let due = self.tokens.schedule.due(&times(&kept), now);
            if let Some(signs_from) = due.publish {
                publish(&mut tx, now, signs_from).await?;
            }
            for kept in &kept[..due.gone] {
                remove(&mut tx, kept.key.kid()).await?;
                tracing::info!(
                    key.id = kept.key.kid(),
                    "signing key removed, nothing it signed is good any more"
                );
            }
            kept = load(&mut *tx).await?;
            tx.commit().await?;
        }
        self.kept.store(Arc::new(kept));
        Ok(())
    }
}

impl From<sqlx::Error> for Refused {
    fn from(err: sqlx::Error) -> Self {
        Self::Unavailable(err)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::not_found(),
            Refused::NotYet => Self::new(
                StatusCode::CONFLICT,
                "key_not_current",
                "only the key that signs can be retired",
            ),
            Refused::Unavailable(err) => unavailable(err),
        }
    }
}

fn times(kept: &[Kept]) -> Vec<Times> {
    kept.iter().map(|kept| kept.times).collect()
}

fn position(kept: &[Kept], kid: &str) -> Result<usize, Refused> {
    let found = kept.iter().position(|kept| kept.key.kid() == kid);
    found.ok_or(Refused::Unknown)
}

/// One at a time, over all replicas. Readers are not held up.
async fn lock(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("lock table signing_keys in exclusive mode")
        .execute(tx)
        .await
        .map(drop)
}

/// All keys, in the order in which they sign.
async fn load(database: impl PgExecutor<'_>) -> Result<Vec<Kept>, sqlx::Error> {
    let rows: Vec<(String, SqlTime, SqlTime)> = sqlx::query_as(
        "select pem, created_at, coalesce(signs_from, created_at) from signing_keys order by 3, created_at, kid",
    )
    .fetch_all(database)
    .await?;
    let kept = |(pem, published_at, signs_from): (String, SqlTime, SqlTime)| {
        Ok(Kept {
            key: SigningKey::from_pem(&pem).map_err(|err| sqlx::Error::Decode(err.into()))?,
            times: Times {
                published_at: published_at.0,
                signs_from: signs_from.0,
            },
        })
    };
    rows.into_iter().map(kept).collect()
}

async fn publish(tx: &mut PgConnection, now: Timestamp, signs_from: Timestamp) -> Result<(), sqlx::Error> {
    let key = SigningKey::generate();
    sqlx::query("insert into signing_keys (kid, pem, created_at, signs_from) values ($1, $2, $3, $4)")
        .bind(key.kid())
        .bind(key.to_pem())
        .bind(SqlTime(now))
        .bind(SqlTime(signs_from))
        .execute(tx)
        .await?;
    tracing::info!(key.id = key.kid(), signs_from = %signs_from, "signing key published");
    Ok(())
}

async fn advance(tx: &mut PgConnection, kid: &str, signs_from: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query("update signing_keys set signs_from = $2 where kid = $1")
        .bind(kid)
        .bind(SqlTime(signs_from))
        .execute(tx)
        .await
        .map(drop)
}

async fn remove(tx: &mut PgConnection, kid: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from signing_keys where kid = $1")
        .bind(kid)
        .execute(tx)
        .await
        .map(drop)
}
