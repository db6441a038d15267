//! Rows and event in one transaction: who registers, changes or leaves is written once, or not at all.

use std::sync::Arc;

use mesh_contracts::api::{Receipt, Registered};
use mesh_contracts::id::UserId;
use mesh_contracts::user::Event;
use mesh_contracts::view::person::{Person, fold};
use mesh_eventstore::{Aggregate, Outcome, Recorded, Request, Store, Streams, SubmitError};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::domain::{Command, Rejection, decide};
use crate::store::{Rows, WriteError};

/// The same person does few things at the same time.
const TRIES_MAX: u32 = 5;
/// Half of the pool: a change reads the stream on a second connection while its transaction is open, so with more
/// of them all could hold one and wait for another.
const CHANGES_MAX: usize = 3;

/// `usr_` streams.
#[derive(Debug)]
pub struct People;

impl Aggregate for People {
    type Event = Event;
    type State = Person;
    const CATEGORY: &'static str = UserId::PREFIX;

    fn evolve(person: Option<Person>, event: &Event, recorded: Recorded) -> Option<Person> {
        fold(person, event, recorded.at)
    }

    /// An account has no status that could be stale: only its first version and its last are special.
    fn status_version(person: &Person) -> u64 {
        if person.erased { person.version } else { 1 }
    }

    fn answer(id: &str, person: &Person, version: u64) -> Value {
        if version == 1 {
            let id = id.parse().expect("the stream of a person is the person's id");
            return json!(Registered { id, role: person.role });
        }
        let status = if person.erased { "erased" } else { "active" };
        json!(Receipt {
            id: id.to_owned(),
            status: status.to_owned(),
            number: None
        })
    }
}

/// What came of a command.
pub type Submitted = Result<Outcome, SubmitError<Rejection>>;

/// The streams with their rows. Clones share the turns.
#[derive(Clone)]
pub struct Accounts {
    people: Streams<People>,
    store: Store,
    turns: Arc<Semaphore>,
}

impl Accounts {
    /// Over a database that has been migrated.
    pub fn new(store: &Store) -> Self {
        Self {
            people: Streams::new(store.clone()),
            store: store.clone(),
            turns: Arc::new(Semaphore::new(CHANGES_MAX)),
        }
    }

    /// Decides, writes the rows and the event, and answers. Tried again when the account moved in between.
    pub async fn change(&self, id: UserId, request: Request, command: Command, rows: Rows) -> Submitted {
        let mut tries = 1;
        loop {
            let outcome = self.try_change(id, request.clone(), command.clone(), &rows).await;
            let moved = match &outcome {
                Err(SubmitError::Conflict) => tries < TRIES_MAX,
                // Taken by a twin of this very request, perhaps: then the next try finds its answer.
                Err(SubmitError::Rejected(Rejection::EmailTaken)) => tries == 1,
                _ => false,
            };
            if !moved {
                return outcome;
            }
            tries += 1;
        }
    }

    async fn try_change(&self, id: UserId, request: Request, command: Command, rows: &Rows) -> Submitted {
        let _turn = self.turns.acquire().await.expect("the turns are never closed");
        let mut tx = self.store.pool().begin().await.map_err(unavailable)?;
        let pending = self
            .people
            .submit_in(&mut tx, id, request, |person, _| decide(person, command))
            .await?;
        if pending.outcome.replayed {
            return Ok(pending.outcome);
        }
        match rows.write(&mut tx, id).await {
            Ok(()) => {}
            Err(WriteError::EmailTaken) => return Err(SubmitError::Rejected(Rejection::EmailTaken)),
            Err(WriteError::Unavailable(err)) => return Err(unavailable(err)),
        }
        tx.commit().await.map_err(unavailable)?;
        Ok(pending.committed(&self.store))
    }
}

fn unavailable(err: sqlx::Error) -> SubmitError<Rejection> {
    SubmitError::Unavailable(err.to_string())
}
