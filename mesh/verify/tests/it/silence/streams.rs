//! Streams with their states, cheap to copy: tests walk through far more worlds than they change.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use jiff::Timestamp;
use mesh_eventstore::{Aggregate, Effect, Recorded};

/// A value that clones share until one of them changes it.
#[derive(Debug, Clone, Default)]
pub struct Shared<T>(Arc<T>);

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

/// Streams of one kind, as their master keeps them.
pub struct Streams<A: Aggregate>(Shared<BTreeMap<String, Shared<Stream<A>>>>);

struct Stream<A: Aggregate> {
    state: Option<A::State>,
    version: u64,
    /// Names all of its events, each with its time.
    trail: u64,
}

impl<A: Aggregate> Clone for Stream<A> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            ..*self
        }
    }
}

impl<A: Aggregate> Default for Stream<A> {
    fn default() -> Self {
        Self {
            state: None,
            version: 0,
            trail: 0,
        }
    }
}

impl<A: Aggregate> Clone for Streams<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Aggregate> Default for Streams<A> {
    fn default() -> Self {
        Self(Shared::default())
    }
}

/// What storing an event comes to.
pub struct Stored {
    pub version: u64,
    pub effects: Vec<Effect>,
    /// Names the stream up to this event.
    pub trail: u64,
}

impl<A: Aggregate> Streams<A> {
    /// Adds an event whose content is named `says`.
    pub fn store(&mut self, id: &str, event: &A::Event, says: u64, at: Timestamp) -> Stored {
        if !self.0.contains_key(id) {
            self.0.insert(id.to_owned(), Shared::default());
        }
        let stream: &mut Stream<A> = self.0.get_mut(id).expect("just put there");
        stream.version += 1;
        stream.trail = hash_of(&(stream.trail, says, at));
        let version = stream.version;
        stream.state = A::evolve(stream.state.take(), event, Recorded { version, at });
        let effects = stream.state.as_ref().map(|state| A::react(state, event, at));
        Stored {
            version,
            effects: effects.unwrap_or_default(),
            trail: stream.trail,
        }
    }

    pub fn get(&self, id: impl ToString) -> Option<&A::State> {
        self.0.get(&id.to_string())?.state.as_ref()
    }

    /// Each state with the name of the events that led to it.
    pub fn trails(&self) -> impl Iterator<Item = (u64, &A::State)> {
        self.0
            .values()
            .filter_map(|stream| Some((stream.trail, stream.state.as_ref()?)))
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, &A::State)> {
        self.0
            .iter()
            .filter_map(|(id, stream)| Some((id, stream.state.as_ref()?)))
    }
}

/// A short name for what can be told apart.
pub fn hash_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
