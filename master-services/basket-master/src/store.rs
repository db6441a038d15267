//! What basket-master keeps beside the engine's tables: products and promotions as it heard of them, which baskets
//! may hold which product, payment tokens, and the ledger.
//!
//! Tokens are written to no log and no event, and go as soon as no card will be asked any more.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::{BadBody, Body, Envelope, EventBody as _};
use mesh_contracts::geo::Country;
use mesh_contracts::id::{BasketId, OrderId, PaymentId, ProductId, PromotionId};
use mesh_contracts::ledger::Entry;
use mesh_contracts::payment::Event;
use mesh_contracts::promotion::Promotion;
use mesh_contracts::view;
use mesh_contracts::view::product::{self, Product};
use mesh_contracts::view::promotion;
use mesh_eventstore::{Aside, Outcome, SqlTime};
use mesh_runtime::Shutdown;
use mesh_runtime::settings::Secret;
use moka::future::Cache;
use sqlx::PgPool;
use sqlx::types::Json;
use tokio::sync::Notify;

use crate::domain::payment::DRIVE;

/// A token that nobody asked for by then belongs to an order that was never placed: a day is far longer
/// than any payment window, at any clock rate.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// Far longer than it takes from looking at a basket to forgetting what was not in it: whoever noted a line
/// meanwhile keeps the note.
const LINE_SETTLED: SignedDuration = SignedDuration::from_secs(30);

/// How old the known menu may be where another replica heard of its change: every line and every checkout asks for
/// it, and it changes by the day.
const MENU_FRESH: Duration = Duration::from_secs(1);

/// Products that are kept, a few KB each.
const PRODUCTS_MAX: u64 = 5_000;

/// Countries whose promotions are kept.
const COUNTRIES_MAX: u64 = 64;

/// A token is asked for within seconds of its checkout; later it is read again.
const TOKEN_AT_HAND: Duration = Duration::from_secs(60);
const TOKENS_MAX: u64 = 10_000;

/// Tokens that have no use any more go together, so often.
const DROP_PERIOD: Duration = Duration::from_secs(1);

/// Those of one country.
pub type Promotions = Arc<[(PromotionId, Promotion)]>;

/// The master's own tables. Clones share what is at hand.
#[derive(Clone)]
pub struct Tables {
    pool: PgPool,
    products: Cache<ProductId, Known>,
    promotions: Cache<Country, Promotions>,
    tokens: Cache<String, Secret>,
    useless: Arc<Useless>,
}

/// Orders whose tokens are to go.
#[derive(Default)]
struct Useless {
    orders: Mutex<Vec<String>>,
    some: Notify,
}

/// What the menu says of a product, and since which version.
type Known = Arc<(i64, Product)>;

/// Payments with their events.
pub type PaymentEvents = BTreeMap<String, Vec<(Option<Event>, Timestamp)>>;

/// What is booked together: entries by payment, and up to which event each payment is booked then.
#[derive(Debug, Default)]
pub struct Page {
    pub entries: Vec<(String, Entry)>,
    pub heads: Vec<(String, u64)>,
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
        let products = Cache::builder()
            .max_capacity(PRODUCTS_MAX)
            .time_to_live(MENU_FRESH)
            .build();
        let promotions = Cache::builder()
            .max_capacity(COUNTRIES_MAX)
            .time_to_live(MENU_FRESH)
            .build();
        let tokens = Cache::builder()
            .max_capacity(TOKENS_MAX)
            .time_to_live(TOKEN_AT_HAND)
            .build();
        Self {
            products,
            promotions,
            tokens,
            pool,
            useless: Arc::default(),
        }
    }

    /// What the menu says of a product, and since which version.
    pub async fn product(&self, id: ProductId) -> Result<Option<Known>, sqlx::Error> {
        if let Some(known) = self.products.get(&id).await {
            return Ok(Some(known));
        }
        let row: Option<(i64, Json<Product>)> =
            sqlx::query_as("select version, document from products where product_id = $1")
                .bind(id.to_string())
                .fetch_optional(&self.pool)
                .await?;
        let Some((version, Json(product))) = row else {
            return Ok(None);
        };
        let known = Arc::new((version, product));
        self.products.insert(id, Arc::clone(&known)).await;
        Ok(Some(known))
    }

    /// Up to `limit` baskets after `after` that may hold a product, in the order of their ids.
    pub async fn baskets_with(&self, product: ProductId, after: &str, limit: i64) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(
            "select basket_id from basket_lines where product_id = $1 and basket_id > $2 order by basket_id limit $3",
        )
        .bind(product.to_string())
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await
    }

    /// The basket was seen without these; what was noted since then is kept.
    pub async fn forget_lines(
        &self,
        basket: BasketId,
        products: impl Iterator<Item = ProductId>,
    ) -> Result<(), sqlx::Error> {
        let products: Vec<String> = products.map(|product| product.to_string()).collect();
        sqlx::query(
            "delete from basket_lines where basket_id = $1 and product_id = any($2)
             and noted_at < now() - make_interval(secs => $3)",
        )
        .bind(basket.to_string())
        .bind(&products)
        .bind(LINE_SETTLED.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Those of a country that were not ended, whatever their time.
    pub async fn promotions(&self, country: Country) -> Result<Promotions, Arc<sqlx::Error>> {
        let read = self.read_promotions(country);
        self.promotions.try_get_with(country, read).await
    }

    async fn read_promotions(&self, country: Country) -> Result<Promotions, sqlx::Error> {
        let rows: Vec<(String, Json<promotion::Promotion>)> =
            sqlx::query_as("select promotion_id, document from promotions where country = $1 and not ended")
                .bind(country.as_str())
                .fetch_all(&self.pool)
                .await?;
        let known = rows.into_iter();
        let promotions = known.filter_map(|(id, Json(known))| Some((id.parse().ok()?, known.promotion)));
        Ok(promotions.collect())
    }

    /// Folds an event of a promotion into its document. A repeat changes nothing.
    pub async fn hear_promotion(&self, envelope: &Envelope) -> Result<(), TableError> {
        let row: Option<(i64, Json<promotion::Promotion>)> =
            sqlx::query_as("select version, document from promotions where promotion_id = $1")
                .bind(&envelope.stream)
                .fetch_optional(&self.pool)
                .await?;
        let before = match row {
            Some((version, _)) if version.cast_unsigned() >= envelope.version => return Ok(()),
            Some((_, Json(promotion))) => Some(promotion),
            None => None,
        };
        let after = view::advance(before, envelope, promotion::fold, promotion::skip)?;
        let Some(after) = after else { return Ok(()) };
        sqlx::query(
            "insert into promotions (promotion_id, version, country, ended, document) values ($1, $2, $3, $4, $5)
             on conflict (promotion_id) do update set version = excluded.version, country = excluded.country,
                 ended = excluded.ended, document = excluded.document
             where promotions.version < excluded.version",
        )
        .bind(&envelope.stream)
        .bind(envelope.version.cast_signed())
        .bind(after.promotion.country.as_str())
        .bind(after.ended)
        .bind(Json(&after))
        .execute(&self.pool)
        .await?;
        self.promotions.invalidate_all();
        Ok(())
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
            self.products.invalidate(&id).await;
        }
        Ok(())
    }

    /// A token that was kept just now is asked for within seconds. A repeat may have brought another one than was kept.
    pub async fn have_at_hand(&self, kept: Option<Aside>, outcome: &Outcome) {
        if let Some(kept) = kept.filter(|_| !outcome.replayed) {
            self.tokens.insert(kept.key, kept.secret).await;
        }
    }

    /// The token of a call.
    pub async fn token(&self, key: &str) -> Result<Option<String>, sqlx::Error> {
        if let Some(token) = self.tokens.get(key).await {
            return Ok(Some(token.expose().to_owned()));
        }
        sqlx::query_scalar("select secret from secrets where key = $1")
            .bind(key)
            .fetch_optional(&self.pool)
            .await
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
        let keys: Vec<String> = sqlx::query_scalar("delete from secrets where about = any($1) returning key")
            .bind(orders)
            .fetch_all(&self.pool)
            .await?;
        for key in keys {
            self.tokens.invalidate(&key).await;
        }
        Ok(())
    }

    /// Payments with a step to take, now or later: those whose timer stands.
    pub async fn payments_to_drive(&self) -> Result<Vec<(PaymentId, u64)>, sqlx::Error> {
        let heads: Vec<(String, i64)> = sqlx::query_as(
            "select t.stream_id, s.version from timers t join streams s using (stream_id)
             where t.category = $1 and t.kind = $2",
        )
        .bind(PaymentId::PREFIX)
        .bind(DRIVE)
        .fetch_all(&self.pool)
        .await?;
        let heads = heads.into_iter();
        Ok(heads
            .filter_map(|(stream, version)| Some((stream.parse().ok()?, version.cast_unsigned())))
            .collect())
    }

    /// Some payments whose newest event is not in the ledger.
    pub async fn payments_not_booked(&self, limit: usize) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(
            "select s.stream_id from streams s left join ledger_heads l on l.stream_id = s.stream_id
             where s.category = $1 and s.version > coalesce(l.version, 0) limit $2",
        )
        .bind(PaymentId::PREFIX)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
    }

    /// Up to which event each of these payments is booked.
    pub async fn booked(&self, payments: &[String]) -> Result<HashMap<String, u64>, sqlx::Error> {
        let heads: Vec<(String, i64)> =
            sqlx::query_as("select stream_id, version from ledger_heads where stream_id = any($1)")
                .bind(payments)
                .fetch_all(&self.pool)
                .await?;
        Ok(heads
            .into_iter()
            .map(|(payment, version)| (payment, version.cast_unsigned()))
            .collect())
    }

    /// Everything that happened to these payments, in order; `None` for an event that this build does not know.
    pub async fn payment_events(&self, payments: &[String]) -> Result<PaymentEvents, TableError> {
        let rows: Vec<(String, String, Json<Body>, SqlTime)> = sqlx::query_as(
            "select stream_id, type, data, at from events where stream_id = any($1) order by stream_id, version",
        )
        .bind(payments)
        .fetch_all(&self.pool)
        .await?;
        let mut events = PaymentEvents::new();
        for (payment, event_type, Json(data), SqlTime(at)) in rows {
            let event = Event::decode(&event_type, &data)?;
            events.entry(payment).or_default().push((event, at));
        }
        Ok(events)
    }

    /// Books a page, all or nothing. What another replica has booked meanwhile is the same, and stays.
    pub async fn keep_page(&self, page: &Page) -> Result<(), sqlx::Error> {
        let entries = &page.entries;
        let of = |text: fn(&(String, Entry)) -> String| entries.iter().map(text).collect::<Vec<_>>();
        let numbers = |number: fn(&Entry) -> i64| entries.iter().map(|(_, entry)| number(entry)).collect::<Vec<_>>();
        let lines: Vec<i16> = entries.iter().map(|(_, entry)| entry.line.cast_signed()).collect();
        let ats: Vec<SqlTime> = entries.iter().map(|(_, entry)| SqlTime(entry.at)).collect();
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "insert into ledger_entries (stream_id, version, line, account, currency, amount, at)
             select * from unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::bigint[],
                                  $7::timestamptz[])
             on conflict do nothing",
        )
        .bind(of(|(payment, _)| payment.clone()))
        .bind(numbers(|entry| entry.version.cast_signed()))
        .bind(lines)
        .bind(of(|(_, entry)| entry.posting.account.to_string()))
        .bind(of(|(_, entry)| entry.posting.amount.currency.to_string()))
        .bind(numbers(|entry| entry.posting.amount.amount))
        .bind(ats)
        .execute(&mut *tx)
        .await?;
        let (payments, versions): (Vec<&str>, Vec<i64>) = page
            .heads
            .iter()
            .map(|(payment, version)| (payment.as_str(), version.cast_signed()))
            .unzip();
        sqlx::query(
            "insert into ledger_heads as l (stream_id, version)
             select * from unnest($1::text[], $2::bigint[]) as n (stream_id, version) order by n.stream_id
             on conflict (stream_id) do update set version = excluded.version where l.version < excluded.version",
        )
        .bind(payments)
        .bind(versions)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Tokens that a crash left behind.
    pub async fn drop_old_tokens(&self) -> Result<u64, sqlx::Error> {
        let done = sqlx::query("delete from secrets where kept_since < now() - make_interval(secs => $1)")
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
