//! Answering from Redis, and from the master while Redis cannot be trusted.
//!
//! A document that is missing is "not found" only when the view is complete; until then the
//! master is asked. Knows no caller: whose document it is, the service decides.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mesh_runtime::Problem;
use mesh_runtime::problem::with_sources;
use tokio::time::Instant;

use crate::connection::{Inner, Projection, Shown};
use crate::view::{View, fold_all, parse};
use crate::write::Voice;
use crate::{BoxError, keys, library};

/// How long a read waits for its own writes before it asks the master.
const TOKEN_WAIT: Duration = Duration::from_millis(300);

/// Another replica may have written the document; this one's bell does not ring then.
const TOKEN_POLL: Duration = Duration::from_millis(25);

/// Most documents on one page of a list.
const PAGE_MAX: usize = 200;

/// A document as it stands in a version of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<D> {
    /// The stream's id, which is the document's.
    pub id: String,
    /// The stream's version that the document was folded to.
    pub version: u64,
    /// The document.
    pub doc: D,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<D> {
    /// From the highest score to the lowest.
    pub items: Vec<Read<D>>,
    /// Asks for what follows; `None` at the end.
    pub next: Option<String>,
}

/// Neither Redis nor the master could answer for certain: 503, and a retry is worth it.
#[derive(Debug, thiserror::Error)]
#[error("{what} unavailable")]
pub struct Unavailable {
    /// What could not be had.
    pub what: &'static str,
    /// Why; nothing, if the view is just not complete.
    pub source: Option<BoxError>,
}

impl Unavailable {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, source: None }
    }

    pub(crate) fn because(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self {
            what,
            source: Some(source.into()),
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(err: Unavailable) -> Self {
        Self::unavailable("read model", with_sources(&err))
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Not a cursor of ours: the caller's fault, 400.
    #[error("cursor is none of ours")]
    BadCursor,
    /// See [`Unavailable`].
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<ListError> for Problem {
    fn from(err: ListError) -> Self {
        match err {
            ListError::BadCursor => {
                Self::bad_request("the query is not valid").field("cursor", "not a cursor that we gave")
            }
            ListError::Unavailable(err) => err.into(),
        }
    }
}

type Version = Option<u64>;
type Text = Option<String>;

/// Version, document and quarantine, as Redis has them.
type Row = (Version, Text, Text);

impl Projection {
    /// The document of a stream; `None` if there is no such stream or it folds to nothing. While
    /// the view is not complete, or Redis is away, the master answers instead.
    pub async fn get<V: View>(&self, id: &str) -> Result<Option<Read<V::Doc>>, Unavailable> {
        let mut cmd = self.inner.fcall(library::GET);
        cmd.arg(&self.inner.prefix).arg(V::KIND).arg(id);
        match self.inner.read::<(bool, Version, Text, Text)>(&cmd).await {
            Ok((true, None, _, None)) => Ok(None),
            Ok((_, version @ Some(_), doc, None)) => match read::<V>(id, (version, doc, None)) {
                Ok(found) => Ok(found),
                Err(_) => self.ask_master::<V>(id).await,
            },
            // Not complete, or quarantined.
            Ok(_) => self.ask_master::<V>(id).await,
            Err(err) => {
                tracing::warn!(view = V::KIND, error = %err, "redis unavailable, asking the master");
                self.ask_master::<V>(id).await
            }
        }
    }

    /// The list `index` = `value`, from the highest score to the lowest, at most `limit` (and
    /// 200) documents, behind `cursor` if given. Quarantined documents are left out, so that one
    /// poison event does not close a kitchen's whole queue.
    pub async fn list<V: View>(
        &self,
        index: &str,
        value: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<V::Doc>, ListError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let (score, behind) = match cursor {
            None => ("+inf".to_owned(), String::new()),
            Some(cursor) => parse_cursor(cursor).ok_or(ListError::BadCursor)?,
        };
        let mut cmd = self.inner.fcall(library::LIST);
        cmd.arg(&self.inner.prefix)
            .arg(V::KIND)
            .arg(score)
            .arg(behind)
            // One more tells whether there is a next page.
            .arg(limit + 1)
            .arg(keys::index(index, value));
        let answer: Vec<redis::Value> = self
            .inner
            .read(&cmd)
            .await
            .map_err(|err| Unavailable::because("list", err))?;
        page_of::<V>(answer, limit)
    }

    /// Waits until every stream of a consistency token that this process shows is at least at
    /// the token's version; after 300 ms fetches what is missing from the masters. Streams that
    /// no view here shows are passed over.
    pub async fn await_token(&self, token: &[(String, u64)]) -> Result<(), Unavailable> {
        let deadline = Instant::now() + TOKEN_WAIT;
        let mut awaited = self.inner.awaited(token);
        loop {
            let mut applied = std::pin::pin!(self.inner.applied.notified());
            applied.as_mut().enable();
            awaited = self.inner.still_behind(awaited).await;
            if awaited.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                break;
            }
            let poll = deadline.min(Instant::now() + TOKEN_POLL);
            tokio::select! {
                () = applied => {}
                () = tokio::time::sleep_until(poll) => {}
            }
        }
        for wanted in awaited {
            self.inner.fetch(wanted).await?;
        }
        Ok(())
    }

    async fn ask_master<V: View>(&self, id: &str) -> Result<Option<Read<V::Doc>>, Unavailable> {
        metrics::counter!("projection_asked_master_total", "view" => V::KIND).increment(1);
        let events = match self.inner.feeds.whole(id).await {
            Ok(events) => events,
            Err(mesh_bus::feed::FeedError::NoOwner(_)) => return Ok(None),
            Err(err) => return Err(Unavailable::because("document", err)),
        };
        let version = events.last().map_or(0, |event| event.version);
        let doc = fold_all::<V>(&events).map_err(|err| Unavailable::because("document", err))?;
        Ok(doc.map(|doc| Read {
            id: id.into(),
            version,
            doc,
        }))
    }
}

/// A stream that a token names, for one view that shows it.
struct Awaited {
    shown: Arc<Shown>,
    stream: String,
    version: u64,
}

impl Inner {
    fn awaited(&self, token: &[(String, u64)]) -> Vec<Awaited> {
        let shown = self.shown();
        let of = |(stream, version): &(String, u64)| {
            shown
                .iter()
                .filter(|shown| stream.starts_with(shown.stream_prefix))
                .map(|shown| Awaited {
                    shown: shown.clone(),
                    stream: stream.clone(),
                    version: *version,
                })
                .collect::<Vec<_>>()
        };
        token.iter().flat_map(of).collect()
    }

    /// A Redis that is away is as good as one that is behind.
    async fn still_behind(&self, awaited: Vec<Awaited>) -> Vec<Awaited> {
        let mut pipeline = redis::pipe();
        for one in &awaited {
            pipeline.add_command(self.ask(library::VERSIONS, &one.shown, "", [&one.stream]));
        }
        if pipeline.is_empty() {
            return awaited;
        }
        let Ok(standings) = self.read_all::<Vec<Vec<(u64, bool)>>>(&pipeline).await else {
            return awaited;
        };
        let versions = standings.into_iter().flatten().map(|(version, _)| version);
        awaited
            .into_iter()
            .zip(versions)
            .filter(|(one, version)| *version < one.version)
            .map(|(one, _)| one)
            .collect()
    }

    /// Brings a document up to date through the same gate that the bus's events go through.
    async fn fetch(&self, wanted: Awaited) -> Result<(), Unavailable> {
        let Awaited { shown, stream, version } = wanted;
        metrics::counter!("projection_asked_master_total", "view" => shown.view.kind()).increment(1);
        let behind = |err: BoxError| Unavailable::because("newest version", err);
        let have = self
            .versions(&shown, "", std::slice::from_ref(&stream))
            .await
            .map_err(|err| behind(err.into()))?;
        let after = have.first().map_or(0, |(version, _)| *version);
        let events = self
            .feeds
            .after(&stream, after)
            .await
            .map_err(|err| behind(err.into()))?;
        let standings = self
            .apply(&shown, events, Voice::Aloud)
            .await
            .map_err(|err| behind(err.into()))?;
        let reached = standings.get(&stream).map_or(after, |standing| standing.version);
        if reached < version {
            return Err(Unavailable::new("newest version"));
        }
        Ok(())
    }
}

/// `None` for a stream that folds to nothing.
fn read<V: View>(id: &str, row: Row) -> Result<Option<Read<V::Doc>>, serde_json::Error> {
    let (version, doc, _) = row;
    let doc = parse::<V::Doc>(&doc.unwrap_or_default())?;
    Ok(doc.map(|doc| Read {
        id: id.into(),
        version: version.unwrap_or_default(),
        doc,
    }))
}

/// The document of a stream on a list; `None` if there is none to show.
fn read_listed<V: View>(stream: &str, row: Row) -> Result<Option<Read<V::Doc>>, Unavailable> {
    match row.2 {
        None => read::<V>(stream, row).map_err(|err| Unavailable::because("document", err)),
        Some(_) => Ok(None),
    }
}

fn page_of<V: View>(answer: Vec<redis::Value>, limit: usize) -> Result<Page<V::Doc>, ListError> {
    let unreadable = |err: redis::ParsingError| Unavailable::because("list", err);
    let mut rows = answer.into_iter();
    let filled = rows.next().is_some_and(|flag| flag == redis::Value::Int(1));
    if !filled {
        return Err(Unavailable::new("list").into());
    }
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let mut last = None;
    for (at, row) in rows.enumerate() {
        let (stream, score, version, doc, quarantine): (String, String, _, _, _) =
            redis::from_redis_value(row).map_err(unreadable)?;
        if at == limit {
            page.next = last;
            break;
        }
        last = Some(cursor(&score, &stream));
        page.items
            .extend(read_listed::<V>(&stream, (version, doc, quarantine))?);
    }
    Ok(page)
}

fn cursor(score: &str, stream: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{score} {stream}"))
}

fn parse_cursor(cursor: &str) -> Option<(String, String)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (score, stream) = text.split_once(' ')?;
    score.parse::<i64>().ok()?;
    Some((score.into(), stream.into()))
}
