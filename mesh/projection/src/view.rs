//! What a service says about its documents: how they fold and where they are found.
//!
//! Does no I/O; everything around it is the crate's affair.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::marker::PhantomData;

use mesh_contracts::envelope::{Body, Envelope};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::{BoxError, keys};

/// One kind of document, folded from one stream of events each.
pub trait View: Send + Sync + 'static {
    /// The document. Its JSON is what Redis holds.
    type Doc: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Its name in Redis; unique within the service and free of `:` and `.`.
    const KIND: &'static str;

    /// Raised when the same events shall give other documents, lists or topics: the next start
    /// then builds them anew, while readers see the old ones.
    const VERSION: u32 = 1;

    /// The document after one more event. Must be exact and depend on nothing else; an unknown
    /// event type leaves the document as it is. An error makes the event poison: the stream is
    /// quarantined.
    fn fold(doc: Option<Self::Doc>, event: &Envelope) -> Result<Option<Self::Doc>, BoxError>;

    /// Where the document is found, and who hears of its changes.
    fn place(doc: &Self::Doc) -> Placement;
}

/// Folds a whole stream from its beginning.
pub fn fold_all<V: View>(events: &[Envelope]) -> Result<Option<V::Doc>, BoxError> {
    events.iter().try_fold(None, V::fold)
}

/// The lists a document is on, and its live topics.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Placement {
    indexes: Vec<(&'static str, String, i64)>,
    topics: Vec<(String, i64)>,
    marks: Vec<(String, Json)>,
    is_whole: bool,
}

impl Placement {
    /// On no list and no topic: found by its id alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// On the list `index` = `value`. Lists go from the highest score to the lowest, so a time in
    /// milliseconds gives newest first. Scores stay within ±2^53.
    pub fn indexed(mut self, index: &'static str, value: impl Display, score: i64) -> Self {
        self.indexes.push((index, value.to_string(), score));
        self
    }

    /// On a live topic such as `order:ord_…`: part of its snapshot, and every event of this
    /// stream is announced there, also the one that takes it off.
    pub fn live(self, topic: impl Into<String>) -> Self {
        self.live_scored(topic, 0)
    }

    /// The same with a rank in the topic's snapshot, the highest first.
    pub fn live_scored(mut self, topic: impl Into<String>, score: i64) -> Self {
        self.topics.push((topic.into(), score));
        self
    }

    /// On a live topic as this mark alone: announced there when the mark changes, and then as what it was and is
    /// instead of as an event. Not part of the topic's snapshot unless it is [`live`](Self::live) there, too, which
    /// then announces no events.
    pub fn marked(mut self, topic: impl Into<String>, mark: impl Serialize) -> Self {
        let mark = serde_json::to_value(mark).expect("a mark has string keys and finite numbers");
        self.marks.push((topic.into(), mark));
        self
    }

    /// Announced with the whole document, since not everyone is shown enough of the events to fold them.
    pub fn whole(mut self) -> Self {
        self.is_whole = true;
        self
    }

    /// Sorted set, within the edition → score.
    fn entries(&self) -> BTreeMap<String, String> {
        let indexes = self
            .indexes
            .iter()
            .map(|(index, value, score)| (keys::index(index, value), score.to_string()));
        let topics = self
            .topics
            .iter()
            .map(|(topic, score)| (keys::topic(topic), score.to_string()));
        indexes.chain(topics).collect()
    }

    /// Topics that hear every event.
    fn topics(&self) -> impl Iterator<Item = &str> {
        let topics = self.topics.iter().map(|(topic, _)| topic.as_str());
        topics.filter(|topic| self.mark(topic).is_none())
    }

    fn is_on(&self, topic: &str) -> bool {
        self.topics().any(|known| known == topic)
    }

    fn mark(&self, topic: &str) -> Option<&Json> {
        let mut marks = self.marks.iter();
        marks.find(|(known, _)| known == topic).map(|(_, mark)| mark)
    }
}

/// A document ready to be written.
pub(crate) struct Folded {
    pub version: u64,
    /// Empty if the fold gave nothing.
    pub doc: String,
    /// The same, to be folded onto.
    pub known: AnyDoc,
    pub entries: BTreeMap<String, String>,
    pub announcements: Vec<Announcement>,
}

/// What some live topics hear of an event.
#[derive(Serialize)]
pub(crate) struct Announcement {
    /// Of the event.
    #[serde(skip)]
    pub version: u64,
    pub topics: BTreeSet<String>,
    pub text: String,
}

/// Folding stopped before an event.
pub(crate) struct Stuck {
    pub version: u64,
    pub error: BoxError,
}

/// What folding came to.
pub(crate) type Outcome = (Option<Folded>, Option<Stuck>);

/// An `Option` of a view's document, whose type only the view knows.
pub(crate) type AnyDoc = Box<dyn Any + Send + Sync>;

/// What events are folded onto.
pub(crate) enum Base {
    /// As Redis has it; empty if it has nothing.
    Stored(String),
    /// As the same view folded it.
    Known(AnyDoc),
}

/// Why nothing came of folding.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotFolded {
    #[error("stored document unreadable")]
    Unreadable(#[from] serde_json::Error),
    /// An event could not be folded, and the fold has eaten the document that we knew.
    #[error("document eaten by a failed fold")]
    Eaten,
}

/// A [`View`] whose document type is out of sight, so that one writer serves all views.
pub(crate) trait AnyView: Send + Sync {
    fn kind(&self) -> &'static str;

    fn version(&self) -> u32;

    /// Folds events onto a document. Gives what is to be written, if any event could be folded,
    /// and what stopped it, if anything did.
    /// History is announced to nobody, so its announcements are not even made.
    fn fold(&self, base: Base, events: &[Envelope], is_news: bool) -> Result<Outcome, NotFolded>;
}

pub(crate) struct Of<V>(PhantomData<fn() -> V>);

impl<V> Of<V> {
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<V: View> AnyView for Of<V> {
    fn kind(&self) -> &'static str {
        V::KIND
    }

    fn version(&self) -> u32 {
        V::VERSION
    }

    fn fold(&self, base: Base, events: &[Envelope], is_news: bool) -> Result<Outcome, NotFolded> {
        let (stored, mut doc) = match base {
            Base::Stored(text) => {
                let doc = parse::<V::Doc>(&text)?;
                (Some(text), doc)
            }
            Base::Known(doc) => (
                None,
                *doc.downcast::<Option<V::Doc>>().expect("a view gets its own back"),
            ),
        };
        let place = |doc: &Option<V::Doc>| doc.as_ref().map(V::place).unwrap_or_default();
        let mut placement = place(&doc);
        let mut announcements = Vec::new();
        for (done, event) in events.iter().enumerate() {
            doc = match V::fold(doc, event) {
                Ok(doc) => doc,
                // The fold has eaten the document; the events before this one are folded again.
                Err(error) => {
                    let stored = stored.ok_or(NotFolded::Eaten)?;
                    return self.fold_until(stored, &events[..done], is_news, (event, error));
                }
            };
            if !is_news {
                continue;
            }
            let next = place(&doc);
            announcements.extend(events_for_topics::<V>(event, &placement, &next, doc.as_ref()));
            announcements.extend(marks_for_topics::<V>(event, &placement, &next));
            placement = next;
        }
        let folded = events.last().map(|event| Folded {
            version: event.version,
            doc: doc.as_ref().map(to_json).unwrap_or_default(),
            entries: place(&doc).entries(),
            announcements,
            known: Box::new(doc),
        });
        Ok((folded, None))
    }
}

impl<V: View> Of<V> {
    fn fold_until(
        &self,
        stored: String,
        good: &[Envelope],
        is_news: bool,
        (bad, error): (&Envelope, BoxError),
    ) -> Result<Outcome, NotFolded> {
        let (folded, _) = self.fold(Base::Stored(stored), good, is_news)?;
        let stuck = Stuck {
            version: bad.version,
            error,
        };
        Ok((folded, Some(stuck)))
    }
}

/// The document in a stored text; `None` for the empty one.
pub(crate) fn parse<D: DeserializeOwned>(stored: &str) -> Result<Option<D>, serde_json::Error> {
    match stored {
        "" => Ok(None),
        text => serde_json::from_str(text).map(Some),
    }
}

fn to_json(doc: &impl Serialize) -> String {
    serde_json::to_string(doc).expect("a document has string keys and finite numbers")
}

/// What a live stream's client reads of an event; the document is still as Redis has it, under its kind.
#[derive(Serialize)]
struct LiveEvent<'a, D> {
    #[serde(rename = "type")]
    event_type: &'a str,
    stream: &'a str,
    version: u64,
    at: jiff::Timestamp,
    data: &'a Body,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    left: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<BTreeMap<&'static str, &'a D>>,
}

/// What changed about something that a topic shows as a mark.
#[derive(Serialize)]
struct Turn<'a> {
    kind: &'static str,
    stream: &'a str,
    version: u64,
    at: jiff::Timestamp,
    was: Option<&'a Json>,
    is: Option<&'a Json>,
}

/// Topics that it joins hear the document, those that it leaves that it does; the others just the event.
fn events_for_topics<V: View>(
    event: &Envelope,
    before: &Placement,
    after: &Placement,
    doc: Option<&V::Doc>,
) -> Vec<Announcement> {
    let mut announcements: Vec<Announcement> = Vec::with_capacity(1);
    let topics: BTreeSet<&str> = before.topics().chain(after.topics()).collect();
    for topic in topics {
        let left = !after.is_on(topic);
        let is_whole = !left && (after.is_whole || !before.is_on(topic));
        let text = to_json(&LiveEvent {
            event_type: &event.event_type,
            stream: &event.stream,
            version: event.version,
            at: event.at,
            data: &event.data,
            left,
            document: doc.filter(|_| is_whole).map(|doc| BTreeMap::from([(V::KIND, doc)])),
        });
        match announcements.iter_mut().find(|known| known.text == text) {
            Some(known) => drop(known.topics.insert(topic.to_owned())),
            None => announcements.push(Announcement {
                version: event.version,
                topics: BTreeSet::from([topic.to_owned()]),
                text,
            }),
        }
    }
    announcements
}

fn marks_for_topics<V: View>(event: &Envelope, before: &Placement, after: &Placement) -> Vec<Announcement> {
    let topics: BTreeSet<&str> = before
        .marks
        .iter()
        .chain(&after.marks)
        .map(|(topic, _)| topic.as_str())
        .collect();
    let turned = topics
        .into_iter()
        .filter(|topic| before.mark(topic) != after.mark(topic));
    turned
        .map(|topic| Announcement {
            version: event.version,
            topics: BTreeSet::from([topic.to_owned()]),
            text: to_json(&Turn {
                kind: V::KIND,
                stream: &event.stream,
                version: event.version,
                at: event.at,
                was: before.mark(topic),
                is: after.mark(topic),
            }),
        })
        .collect()
}
