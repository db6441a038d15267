//! The keys that sign tokens: made once, by `migrate`, and read at every start.

use jiff::Timestamp;
use mesh_eventstore::SqlTime;
use mesh_identity::jwt::SigningKey;
use sqlx::PgPool;

/// Makes the first key, unless there is one.
pub async fn create_first(pool: &PgPool, now: Timestamp) -> Result<(), sqlx::Error> {
    let key = SigningKey::generate();
    let mut tx = pool.begin().await?;
    // Two migrations at once must not make two keys.
    sqlx::query("lock table signing_keys in exclusive mode")
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "insert into signing_keys (kid, pem, created_at) select $1, $2, $3 where not exists (select from signing_keys)",
    )
    .bind(key.kid())
    .bind(key.to_pem())
    .bind(SqlTime(now))
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// All keys, newest first.
pub async fn load(pool: &PgPool) -> Result<Vec<SigningKey>, sqlx::Error> {
    let pems: Vec<String> = sqlx::query_scalar("select pem from signing_keys order by created_at desc, kid")
        .fetch_all(pool)
        .await?;
    pems.iter()
        .map(|pem| SigningKey::from_pem(pem).map_err(|err| sqlx::Error::Decode(err.into())))
        .collect()
}
