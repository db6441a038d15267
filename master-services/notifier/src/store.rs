//! What notifier keeps beside the engine's tables: what became of each notification, never whom it went to.

use jiff::Timestamp;
use mesh_contracts::id::OrderId;
use mesh_contracts::notification::{Failure, Occasion};
use mesh_eventstore::SqlTime;
use sqlx::PgConnection;

/// Waits for the orders' turns and holds them until the transaction ends, however that ends: a worker that is killed
/// takes its turns with it. One after another as they are given: in the same order by everybody, or two would wait
/// for each other.
pub async fn take_turns(tx: &mut PgConnection, orders: &[OrderId]) -> sqlx::Result<()> {
    let orders: Vec<String> = orders.iter().map(OrderId::to_string).collect();
    sqlx::query("select pg_advisory_xact_lock(hashtextextended(id, 0)) from unnest($1::text[]) as o (id)")
        .bind(orders)
        .execute(tx)
        .await?;
    Ok(())
}

/// What became of a notification.
pub type Outcome = (OrderId, Occasion, Option<Failure>);

/// Notes what became of them.
pub async fn note(tx: &mut PgConnection, outcomes: &[Outcome], at: Timestamp) -> sqlx::Result<()> {
    let orders: Vec<String> = outcomes.iter().map(|(order, ..)| order.to_string()).collect();
    let occasions: Vec<&str> = outcomes.iter().map(|(_, occasion, _)| occasion.as_str()).collect();
    let failures: Vec<Option<&str>> = outcomes.iter().map(|(.., failure)| failure.map(code)).collect();
    sqlx::query(
        "insert into sent_log (order_id, occasion, failure, at)
         select o.id, o.occasion, o.failure, $4
         from unnest($1::text[], $2::text[], $3::text[]) as o (id, occasion, failure)",
    )
    .bind(orders)
    .bind(occasions)
    .bind(failures)
    .bind(SqlTime(at))
    .execute(tx)
    .await?;
    Ok(())
}

fn code(failure: Failure) -> &'static str {
    match failure {
        Failure::NoRecipient => "no_recipient",
        Failure::Refused => "refused",
        Failure::PutOff => "put_off",
    }
}
