//! A small aggregate to remember: a tally with a limit, in streams of the `ORDER` context.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mesh_contracts::envelope::{Actor, BadBody, Body, EventBody};
use mesh_eventstore::{
    Aggregate, CommandKey, Effect, Outcome, Recorded, Request, SnapshotForm, Store, StoreConfig, Streams, SubmitError,
    migrate,
};
use mesh_local::servers::Database;
use mesh_runtime::{Clock, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// Of [`State`] and its fold.
pub const FOLD_VERSION: u16 = 3;

/// How long a tally stays open.
pub const OPEN_FOR: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Opened { limit: u64 },
    Added { amount: u64 },
    Raised { limit: u64 },
    Closed,
}

impl EventBody for Event {
    const TYPES: &'static [&'static str] = &["tally.opened", "tally.added", "tally.raised", "tally.closed"];

    fn event_type(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "tally.opened",
            Self::Added { .. } => "tally.added",
            Self::Raised { .. } => "tally.raised",
            Self::Closed => "tally.closed",
        }
    }

    fn encode(&self) -> Body {
        let body = match self {
            Self::Opened { limit } | Self::Raised { limit } => json!({ "limit": limit }),
            Self::Added { amount } => json!({ "amount": amount }),
            Self::Closed => json!({}),
        };
        body.into()
    }

    fn decode(event_type: &str, data: &Body) -> Result<Option<Self>, BadBody> {
        let data = data.value();
        let number = |member: &str| {
            serde_json::from_value(data[member].clone()).map_err(|source| BadBody {
                event_type: event_type.into(),
                source,
            })
        };
        Ok(Some(match event_type {
            "tally.opened" => Self::Opened {
                limit: number("limit")?,
            },
            "tally.added" => Self::Added {
                amount: number("amount")?,
            },
            "tally.raised" => Self::Raised {
                limit: number("limit")?,
            },
            "tally.closed" => Self::Closed,
            _ => return Ok(None),
        }))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub total: u64,
    pub limit: u64,
    pub is_closed: bool,
    status_version: u64,
}

pub struct Tally;

impl Aggregate for Tally {
    type Event = Event;
    type State = State;
    const CATEGORY: &'static str = "ord";
    const SNAPSHOT: Option<SnapshotForm<State>> = Some(SnapshotForm::json(FOLD_VERSION));

    fn evolve(state: Option<State>, event: &Event, recorded: Recorded) -> Option<State> {
        let mut state = state.unwrap_or(State {
            total: 0,
            limit: 0,
            is_closed: false,
            status_version: recorded.version,
        });
        match event {
            Event::Opened { limit } | Event::Raised { limit } => state.limit = *limit,
            Event::Added { amount } => state.total += amount,
            Event::Closed => {
                state.is_closed = true;
                state.status_version = recorded.version;
            }
        }
        Some(state)
    }

    fn react(_: &State, event: &Event, at: Timestamp) -> Vec<Effect> {
        let open_for = SignedDuration::try_from(OPEN_FOR).unwrap();
        match event {
            Event::Opened { .. } => vec![Effect::set("close", at + open_for)],
            Event::Raised { .. } => vec![Effect::set("close", at + open_for * 100)],
            Event::Closed => vec![Effect::clear("close")],
            Event::Added { .. } => Vec::new(),
        }
    }

    fn status_version(state: &State) -> u64 {
        state.status_version
    }

    fn answer(id: &str, state: &State, version: u64) -> Value {
        json!({ "id": id, "total": state.total, "version": version })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    AlreadyOpen,
    NotOpen,
    Full,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::conflict("tally_refused", "the tally refuses").detail(format!("{refusal:?}"))
    }
}

pub type Submitted = Result<Outcome, SubmitError<Refusal>>;

pub fn open(limit: u64) -> impl Fn(Option<&State>, Timestamp) -> Result<Vec<Event>, Refusal> + Send + 'static {
    move |state, _| match state {
        None => Ok(vec![Event::Opened { limit }]),
        Some(_) => Err(Refusal::AlreadyOpen),
    }
}

pub fn add(amount: u64) -> impl Fn(Option<&State>, Timestamp) -> Result<Vec<Event>, Refusal> + Send + 'static {
    move |state, _| match state {
        None => Err(Refusal::NotOpen),
        Some(state) if state.is_closed => Err(Refusal::NotOpen),
        Some(state) if state.total + amount > state.limit => Err(Refusal::Full),
        Some(_) => Ok(vec![Event::Added { amount }]),
    }
}

/// Many additions of one in one decision.
pub fn add_many(count: usize) -> impl Fn(Option<&State>, Timestamp) -> Result<Vec<Event>, Refusal> + Send + 'static {
    move |_, _| Ok(vec![Event::Added { amount: 1 }; count])
}

pub fn raise(limit: u64) -> impl Fn(Option<&State>, Timestamp) -> Result<Vec<Event>, Refusal> + Send + 'static {
    move |state, _| match state {
        None => Err(Refusal::NotOpen),
        Some(_) => Ok(vec![Event::Raised { limit }]),
    }
}

pub fn close() -> impl Fn(Option<&State>, Timestamp) -> Result<Vec<Event>, Refusal> + Send + 'static {
    |state, _| match state {
        Some(state) if !state.is_closed => Ok(vec![Event::Closed]),
        Some(_) | None => Err(Refusal::NotOpen),
    }
}

/// A database with the engine's tables.
pub async fn migrated(stage: &mesh_testkit::Stage) -> Database {
    let database = stage.database().await;
    migrate::engine(&database.owner_url).await.expect("the engine migrates");
    database
}

pub async fn connect(database: &Database) -> Store {
    let config = StoreConfig::new(&database.url, "order-master");
    Store::connect(config, Clock::real())
        .await
        .expect("the database answers")
}

/// The same, comparing inboxes with their sources this often.
pub async fn connect_auditing(database: &Database, period: Duration) -> Store {
    let config = StoreConfig {
        audit_period: period,
        ..StoreConfig::new(&database.url, "order-master")
    };
    let store = Store::connect(config, Clock::real()).await;
    store.expect("the database answers")
}

/// A fresh store and the tallies in it.
pub async fn tallies(stage: &mesh_testkit::Stage) -> Streams<Tally> {
    Streams::new(connect(&migrated(stage).await).await)
}

pub fn new_id() -> String {
    format!("ord_{}", Uuid::now_v7().simple())
}

/// Without idempotency.
pub fn anyone() -> Request {
    Request::by(Actor("customer:test".into()))
}

/// A command with this key and body.
pub fn command(key: &str, body: &Value) -> Request {
    let key = CommandKey::new("usr_test", "POST /tallies", key, body);
    Request::command(Actor("customer:test".into()), key)
}

/// Every version of a stream, as stored.
pub async fn versions(store: &Store, stream: &str) -> Vec<u64> {
    let history = store.history(stream).await.expect("readable");
    history.iter().map(|event| event.version).collect()
}

/// One number from the database.
pub async fn count(store: &Store, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(store.pool())
        .await
        .expect("a valid query")
}

/// Takes the outbox away from tests that run no relay.
pub async fn forget_outbox(store: &Store) {
    sqlx::query("delete from outbox").execute(store.pool()).await.unwrap();
}
