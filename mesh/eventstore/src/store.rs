//! The handle on one master's database: batchers for appends, a small pool for the rest.
//!
//! Knows no aggregate; `Streams` adds that.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mesh_runtime::{Clock, Settings, audit};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use sqlx::{Postgres, Transaction};
use tokio::sync::{Notify, watch};

use crate::append::{Append, AppendError, Mark};
use crate::batcher::{Batchers, is_transient};
use crate::read::{self, Reader};
use crate::{BoxError, statement};

/// How a master reaches its database. All connections together stay within the 12 that a master
/// may have: batchers, pool, one for the relay and two for timers.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// As the serving role.
    pub url: String,
    /// Shown in `pg_stat_activity`: the service's name.
    pub application_name: String,
    /// Connections that append. Two to four: more only wait for the same disk.
    pub batchers: usize,
    /// Connections for reads and for the master's own tables.
    pub pool_size: u32,
    /// How often inboxes are compared with the heads of what they hear.
    pub audit_period: Duration,
}

impl StoreConfig {
    /// Three batchers, six connections for the rest.
    pub fn new(url: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            application_name: service.into(),
            batchers: 3,
            pool_size: 6,
            audit_period: audit::PERIOD,
        }
    }

    /// Reads `TIFFIN_POSTGRES_URL` and `TIFFIN_AUDIT_PERIOD_S`.
    pub fn from_settings(settings: &mut Settings) -> Self {
        let url = settings.secret("TIFFIN_POSTGRES_URL", "this master's own database, as the serving role");
        Self {
            audit_period: audit::period(settings),
            ..Self::new(url.expose(), settings.service())
        }
    }
}

/// After this the server ends a statement, so that a stuck one does not hold locks.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The relay's statements may re-enqueue a week of events.
const MAINTENANCE_TIMEOUT: Duration = Duration::from_secs(300);

/// Longest wait for a connection of the pool; the callers' own deadlines are about as long.
const POOL_WAIT: Duration = Duration::from_secs(3);

/// A connection that rested for less is lent without asking whether it is still there: the pool
/// asked when it came back, and each question is a round trip of its own.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// One master's events and what belongs to them. Clones share everything.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub service: String,
    pub audit_period: Duration,
    pub pool: PgPool,
    pub clock: Clock,
    pub signals: Arc<Signals>,
    batchers: Batchers,
    reader: Reader,
    maintenance: PgConnectOptions,
}

/// What a commit wakes in this process. A net of polls lies under both.
pub(crate) struct Signals {
    /// Events wait for the relay.
    pub appended: Notify,
    /// The due time of the newest timer that was set.
    pub timer_set: watch::Sender<Option<Timestamp>>,
}

impl Signals {
    /// To be called when `append` has committed.
    pub fn committed(&self, append: &Append) {
        if append.has_events() {
            self.appended.notify_one();
        }
        if let Some(due) = append.timers.iter().filter_map(|change| change.due).min() {
            self.timer_set.send_replace(Some(due));
        }
    }
}

impl Store {
    /// Checks that the database answers, and starts the batchers.
    pub async fn connect(config: StoreConfig, clock: Clock) -> Result<Self, BoxError> {
        let options: PgConnectOptions = config.url.parse::<PgConnectOptions>()?;
        let options = options
            .application_name(&config.application_name)
            .disable_statement_logging();
        let serving = indexed(with_timeout(options.clone(), STATEMENT_TIMEOUT));
        let pool = PgPoolOptions::new()
            .max_connections(config.pool_size)
            .acquire_timeout(POOL_WAIT)
            .test_before_acquire(false)
            .before_acquire(|connection, rested| {
                Box::pin(async move {
                    if rested.idle_for >= TRUSTED_FOR {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(serving.clone())
            .await?;
        let signals = Arc::new(Signals {
            appended: Notify::new(),
            timer_set: watch::channel(None).0,
        });
        Ok(Self {
            inner: Arc::new(Inner {
                service: config.application_name,
                audit_period: config.audit_period,
                reader: read::reader(pool.clone()),
                pool,
                clock,
                batchers: Batchers::start(config.batchers, &serving, &signals),
                maintenance: indexed(with_timeout(options, MAINTENANCE_TIMEOUT))
                    // What relay and timers write is done again if a crash takes it back.
                    .options([("synchronous_commit", "off")]),
                signals,
            }),
        })
    }

    /// The service that serves from this store.
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    /// For reads and for the master's own tables. Six connections: hold none while waiting for
    /// anything else.
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    /// The clock that decisions and timers go by.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Stores it durably, together with whatever else arrived during the previous commit.
    pub async fn append(&self, append: Append) -> Result<(), AppendError> {
        let mut verdicts = self.append_run(vec![append]).await;
        verdicts
            .pop()
            .unwrap_or_else(|| Err(AppendError::Unavailable("no verdict".into())))
    }

    /// Stores several in their order, in one commit; each has its own verdict.
    pub(crate) async fn append_run(&self, appends: Vec<Append>) -> Vec<Result<(), AppendError>> {
        self.inner.batchers.append(appends).await
    }

    /// Stores it within a transaction that also writes the master's own tables: for the rare
    /// command that needs both. On an error roll back. After the commit call
    /// [`Store::committed`], or relay and timers notice half a second later.
    pub async fn append_in(&self, tx: &mut Transaction<'_, Postgres>, append: &Append) -> Result<(), AppendError> {
        let verdicts = statement::execute(tx, &[append]).await;
        match verdicts {
            Ok(mut verdicts) => verdicts.pop().unwrap_or(Ok(())),
            Err(err) if is_transient(&err) => Err(AppendError::Conflict),
            Err(err) => Err(AppendError::Unavailable(err.to_string())),
        }
    }

    /// Sets an inbox mark within a transaction that writes the effect into the master's own
    /// tables. `false`: it was applied before, so roll back.
    pub async fn mark_in(&self, tx: &mut Transaction<'_, Postgres>, mark: Mark) -> Result<bool, AppendError> {
        match self.append_in(tx, &Append::mark(mark)).await {
            Ok(()) => Ok(true),
            Err(AppendError::AlreadySeen) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// Wakes relay and timers after a transaction with [`Store::append_in`] has committed.
    pub fn committed(&self, append: &Append) {
        self.inner.signals.committed(append);
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.inner.reader
    }

    /// How to connect for work that holds its connection: relay and timers.
    pub(crate) fn maintenance(&self) -> &PgConnectOptions {
        &self.inner.maintenance
    }
}

fn with_timeout(options: PgConnectOptions, timeout: Duration) -> PgConnectOptions {
    options.options([
        ("statement_timeout", timeout.as_millis().to_string()),
        // Compiling a plan takes longer than any of ours runs.
        ("jit", "off".to_owned()),
        // And so does making one anew for every call: what Postgres gains by looking at the values
        // of keys it knows nothing about is less than the look costs.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
    ])
}

/// Our joins are all "these few keys in that big table": without this, a plan made while a table
/// was still small, and kept, would read all of it later.
fn indexed(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ])
}
