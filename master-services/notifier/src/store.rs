//! What notifier keeps beside the engine's tables: what became of each notification, never whom it went to.

use jiff::Timestamp;
use mesh_contracts::id::OrderId;
use mesh_contracts::notification::{Failure, Occasion};
use mesh_eventstore::SqlTime;
use sqlx::PgConnection;

/// Waits for the order's turn and holds it until the transaction ends, however that ends: a worker that is killed
/// takes its turn with it.
pub async fn take_turn(tx: &mut PgConnection, order: OrderId) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(order.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

/// Whether the customer has been told, or cannot be.
pub async fn is_settled(tx: &mut PgConnection, order: OrderId, occasion: Occasion) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from sent_log where order_id = $1 and occasion = $2)")
        .bind(order.to_string())
        .bind(occasion.as_str())
        .fetch_one(tx)
        .await
}

/// Notes what became of it.
pub async fn note(
    tx: &mut PgConnection,
    order: OrderId,
    occasion: Occasion,
    failure: Option<Failure>,
    at: Timestamp,
) -> sqlx::Result<()> {
    let failure = failure.map(|failure| match failure {
        Failure::NoRecipient => "no_recipient",
        Failure::Refused => "refused",
        Failure::PutOff => "put_off",
    });
    sqlx::query("insert into sent_log (order_id, occasion, failure, at) values ($1, $2, $3, $4)")
        .bind(order.to_string())
        .bind(occasion.as_str())
        .bind(failure)
        .bind(SqlTime(at))
        .execute(tx)
        .await?;
    Ok(())
}
