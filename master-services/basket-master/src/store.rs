//! What basket-master keeps beside the engine's tables: products as it heard of them, and payment tokens.
//!
//! Tokens are written to no log and no event, and go as soon as the provider has answered.

use jiff::SignedDuration;
use mesh_contracts::envelope::{BadBody, Envelope};
use mesh_contracts::id::{OrderId, PaymentId, ProductId};
use mesh_contracts::view;
use mesh_contracts::view::product::{self, Product};
use sqlx::PgPool;
use sqlx::types::Json;

use crate::domain::payment::DRIVE;

/// A token that nobody asked for by then belongs to an order that was never placed: a day is far longer
/// than any payment window, at any clock rate.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// The master's own tables.
#[derive(Clone)]
pub struct Tables {
    pool: PgPool,
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
        Self { pool }
    }

    pub async fn product(&self, id: ProductId) -> Result<Option<Product>, sqlx::Error> {
        let row: Option<(Json<Product>,)> = sqlx::query_as("select document from products where product_id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|(Json(product),)| product))
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
        Ok(())
    }

    /// Keeps a token for the call that will need it. The first one stays: a key names one call.
    pub async fn keep_token(&self, key: &str, order: OrderId, token: &str) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into payment_tokens (provider_key, order_id, token) values ($1, $2, $3)
             on conflict (provider_key) do nothing",
        )
        .bind(key)
        .bind(order.to_string())
        .bind(token)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn token(&self, key: &str) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar("select token from payment_tokens where provider_key = $1")
            .bind(key)
            .fetch_optional(&self.pool)
            .await
    }

    /// The call has its answer.
    pub async fn drop_token(&self, key: &str) -> Result<(), sqlx::Error> {
        sqlx::query("delete from payment_tokens where provider_key = $1")
            .bind(key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The order needs none any more.
    pub async fn drop_tokens_of(&self, order: OrderId) -> Result<(), sqlx::Error> {
        sqlx::query("delete from payment_tokens where order_id = $1")
            .bind(order.to_string())
            .execute(&self.pool)
            .await?;
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
