//! What basket-master keeps beside the engine's tables: products as it heard of them, and payment tokens.
//!
//! Tokens are written to no log and no event, and go as soon as the provider has answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use mesh_contracts::envelope::{BadBody, Envelope};
use mesh_contracts::id::{OrderId, PaymentId, ProductId};
use mesh_contracts::view;
use mesh_contracts::view::product::{self, Product};
use mesh_runtime::Shutdown;
use moka::sync::Cache;
use sqlx::PgPool;
use sqlx::types::Json;
use tokio::sync::Notify;

use crate::domain::payment::DRIVE;

/// A token that nobody asked for by then belongs to an order that was never placed: a day is far longer
/// than any payment window, at any clock rate.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How old a known product may be: an update is heard within moments, and a quote has its price for minutes.
const PRODUCT_FRESH: Duration = Duration::from_secs(2);
const PRODUCTS_MAX: u64 = 10_000;

/// A token is asked for within seconds of its checkout; later it is read again.
const TOKEN_AT_HAND: Duration = Duration::from_secs(60);
const TOKENS_MAX: u64 = 10_000;

/// Tokens that have no use any more go together, so often.
const DROP_PERIOD: Duration = Duration::from_secs(1);

/// The master's own tables. Clones share what is at hand.
#[derive(Clone)]
pub struct Tables {
    pool: PgPool,
    products: Cache<ProductId, Arc<Product>>,
    tokens: Cache<String, Arc<str>>,
    useless: Arc<Useless>,
}

/// Orders whose tokens are to go.
#[derive(Default)]
struct Useless {
    orders: Mutex<Vec<String>>,
    some: Notify,
}

/// A stored document that does not parse, or a query that failed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Body(#[from] BadBody),
}

impl Tables {
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            products: Cache::builder()
                .max_capacity(PRODUCTS_MAX)
                .time_to_live(PRODUCT_FRESH)
                .build(),
            tokens: Cache::builder()
                .max_capacity(TOKENS_MAX)
                .time_to_live(TOKEN_AT_HAND)
                .build(),
            useless: Arc::default(),
        }
    }

    pub async fn product(&self, id: ProductId) -> Result<Option<Product>, sqlx::Error> {
        if let Some(product) = self.products.get(&id) {
            return Ok(Some(Product::clone(&product)));
        }
        let row: Option<(Json<Product>,)> = sqlx::query_as("select document from products where product_id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        let product = row.map(|(Json(product),)| product);
        if let Some(product) = &product {
            self.products.insert(id, Arc::new(product.clone()));
        }
        Ok(product)
    }

    /// Folds an event of a product into its document. A repeat changes nothing.
    pub async fn hear_product(&self, envelope: &Envelope) -> Result<(), TableError> {
        let row: Option<(i64, Json<Product>)> =
            sqlx::query_as("select version, document from products where product_id = $1")
                .bind(&envelope.stream)
                .fetch_optional(&self.pool)
                .await?;
        let before = match row {
            Some((version, _)) if version.cast_unsigned() >= envelope.version => return Ok(()),
            Some((_, Json(product))) => Some(product),
            None => None,
        };
        let after = view::advance(before, envelope, product::fold, product::skip)?;
        let Some(after) = after else { return Ok(()) };
        sqlx::query(
            "insert into products (product_id, version, document) values ($1, $2, $3)
             on conflict (product_id) do update set version = excluded.version, document = excluded.document
             where products.version < excluded.version",
        )
        .bind(&envelope.stream)
        .bind(envelope.version.cast_signed())
        .bind(Json(&after))
        .execute(&self.pool)
        .await?;
        if let Ok(id) = envelope.stream.parse::<ProductId>() {
            self.products.invalidate(&id);
        }
        Ok(())
    }

    /// Keeps a token for the call that will need it. The first one stays: a key names one call.
    pub async fn keep_token(&self, key: &str, order: OrderId, token: &str) -> Result<(), sqlx::Error> {
        let kept = sqlx::query(
            "insert into payment_tokens (provider_key, order_id, token) values ($1, $2, $3)
             on conflict (provider_key) do nothing",
        )
        .bind(key)
        .bind(order.to_string())
        .bind(token)
        .execute(&self.pool)
        .await?;
        if kept.rows_affected() == 1 {
            self.tokens.insert(key.to_owned(), token.into());
        }
        Ok(())
    }

    pub async fn token(&self, key: &str) -> Result<Option<String>, sqlx::Error> {
        if let Some(token) = self.tokens.get(key) {
            return Ok(Some(token.to_string()));
        }
        sqlx::query_scalar("select token from payment_tokens where provider_key = $1")
            .bind(key)
            .fetch_optional(&self.pool)
            .await
    }

    /// The call has its answer.
    pub async fn drop_token(&self, key: &str) -> Result<(), sqlx::Error> {
        self.tokens.invalidate(key);
        sqlx::query("delete from payment_tokens where provider_key = $1")
            .bind(key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The order needs none any more. They go within moments, those of many orders together.
    pub fn drop_tokens_of(&self, order: OrderId) {
        lock(&self.useless.orders).push(order.to_string());
        self.useless.some.notify_one();
    }

    /// Drops what [`Tables::drop_tokens_of`] named, until shutdown. What a crash forgets, the sweep finds.
    pub async fn drop_useless_tokens(&self, shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            tokio::select! {
                () = shutdown.triggered() => {}
                () = self.useless.some.notified() => {}
            }
            let orders = std::mem::take(&mut *lock(&self.useless.orders));
            if let Err(err) = self.drop_tokens(&orders).await {
                tracing::warn!(error = %err, "tokens not dropped, trying again");
                lock(&self.useless.orders).extend(orders);
                self.useless.some.notify_one();
            }
            tokio::select! {
                () = shutdown.triggered() => {}
                () = tokio::time::sleep(DROP_PERIOD) => {}
            }
        }
    }

    async fn drop_tokens(&self, orders: &[String]) -> Result<(), sqlx::Error> {
        if orders.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> =
            sqlx::query_scalar("delete from payment_tokens where order_id = any($1) returning provider_key")
                .bind(orders)
                .fetch_all(&self.pool)
                .await?;
        for key in keys {
            self.tokens.invalidate(&key);
        }
        Ok(())
    }

    /// Payments with a step to take, now or later: those whose timer stands.
    pub async fn payments_to_drive(&self) -> Result<Vec<PaymentId>, sqlx::Error> {
        let streams: Vec<String> = sqlx::query_scalar("select stream_id from timers where category = $1 and kind = $2")
            .bind(PaymentId::PREFIX)
            .bind(DRIVE)
            .fetch_all(&self.pool)
            .await?;
        Ok(streams.iter().filter_map(|stream| stream.parse().ok()).collect())
    }

    /// Tokens that a crash left behind.
    pub async fn drop_old_tokens(&self) -> Result<u64, sqlx::Error> {
        let done = sqlx::query("delete from payment_tokens where kept_since < now() - make_interval(secs => $1)")
            .bind(TOKEN_LIFE.as_secs_f64())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}

/// A panic elsewhere leaves the list whole: nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
