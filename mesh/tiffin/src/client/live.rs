//! A live stream of server-sent events, followed across every break: it resumes by its last stamp.

mod parse;

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use mesh_identity::client::Streamed;
use mesh_verify::history::Heard;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Call, Failure, Person, Refusal};

pub use mesh_contracts::live::Happened;

pub(crate) use parse::Parser;

/// Two heartbeats and a half: whoever is silent for longer is gone.
const SILENCE_MAX: Duration = Duration::from_secs(25);

/// Pauses between two connections.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What is not there yet may still be on its way to the read side; after this it does not exist.
const APPEARS_WITHIN: Duration = Duration::from_secs(15);

/// News that nobody has taken yet; the reader waits then, and the server queues.
const QUEUE_MAX: usize = 64;

/// One piece of news.
#[derive(Debug)]
pub enum News {
    /// All there is now; what was heard before is superseded.
    Snapshot(Vec<Value>),
    /// What happened next.
    Event(Happened),
    /// The connection broke and is there again; nothing was lost.
    Resumed,
    /// There is no such stream for this person; the last piece of news.
    Refused(Failure),
}

#[derive(Deserialize)]
struct Snapshot {
    documents: Vec<Value>,
}

/// A live stream; dropping it ends it.
pub struct Live {
    news: mpsc::Receiver<News>,
}

impl Live {
    pub(super) fn follow(person: Person, path: String, seen: Option<String>) -> Self {
        let (teller, news) = mpsc::channel(QUEUE_MAX);
        let reader = Reader {
            person,
            path,
            seen,
            stamp: None,
            follower: Uuid::now_v7().to_string(),
            teller: teller.clone(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = teller.closed() => {}
                () = reader.read() => {}
            }
        });
        Self { news }
    }

    /// The next piece of news; `None` after a refusal. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }
}

struct Reader {
    person: Person,
    path: String,
    seen: Option<String>,
    stamp: Option<String>,
    /// Names this following in the history.
    follower: String,
    teller: mpsc::Sender<News>,
}

/// How a connection ended.
enum Ended {
    /// It gave news before.
    Late,
    /// It gave none.
    Early,
    /// Nobody will listen any more, or there is nothing to hear.
    ForGood,
}

impl Reader {
    async fn read(mut self) {
        let started = Instant::now();
        let mut pause = PAUSE_MIN;
        loop {
            match self.connection(started).await {
                Ended::Late => pause = PAUSE_MIN,
                Ended::Early => {}
                Ended::ForGood => return,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connection(&mut self, started: Instant) -> Ended {
        let pass = match self.person.pass().await {
            Ok(pass) => pass,
            Err(failure @ Failure::Refused(_)) => return self.refused(failure).await,
            Err(Failure::Unknown { .. }) => return Ended::Early,
        };
        let call = Call::get(&self.path)
            .having_seen(self.seen.clone())
            .resuming(self.stamp.clone());
        let response = match self.person.api().open(&call, pass.caller()).await {
            Ok(response) => response,
            Err(why) => {
                tracing::debug!(path = self.path, why, "live stream is not there");
                return Ended::Early;
            }
        };
        let status = response.status();
        match status {
            StatusCode::OK => self.frames(response.into_body()).await,
            StatusCode::UNAUTHORIZED => {
                self.person.forget(&pass).await;
                Ended::Early
            }
            StatusCode::NOT_FOUND if self.stamp.is_none() && started.elapsed() < APPEARS_WITHIN => Ended::Early,
            _ if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                let refusal = Refusal::of(&call, status, b"");
                self.refused(Failure::Refused(refusal)).await
            }
            _ => Ended::Early,
        }
    }

    fn note(&self, stamp: &str, snapshot: bool) {
        self.person.api().0.history.note(&Heard {
            heard_at: Timestamp::now(),
            follower: self.follower.clone(),
            path: self.path.clone(),
            stamp: stamp.to_owned(),
            snapshot,
        });
    }

    async fn refused(&mut self, failure: Failure) -> Ended {
        // Nobody may be listening any more.
        let _ = self.teller.send(News::Refused(failure)).await;
        Ended::ForGood
    }

    async fn frames(&mut self, mut body: Streamed) -> Ended {
        let mut parser = Parser::default();
        let mut ended = Ended::Early;
        if self.stamp.is_some() && self.teller.send(News::Resumed).await.is_err() {
            return Ended::ForGood;
        }
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE_MAX, body.frame()).await {
            let Ok(bytes) = frame.into_data() else { continue };
            parser.feed(&bytes);
            while let Some(message) = parser.next() {
                ended = Ended::Late;
                let news = match message.event.as_str() {
                    "snapshot" => {
                        serde_json::from_str(&message.data).map(|snapshot: Snapshot| News::Snapshot(snapshot.documents))
                    }
                    "event" => serde_json::from_str(&message.data).map(News::Event),
                    // What passes is for people to look at.
                    _ => continue,
                };
                match news {
                    Ok(news) => {
                        if self.teller.send(news).await.is_err() {
                            return Ended::ForGood;
                        }
                    }
                    Err(err) => tracing::warn!(path = self.path, error = %err, "live event is not understood"),
                }
                // After it was handed on: a stamp that was never taken must be asked for again.
                if let Some(stamp) = message.id {
                    self.note(&stamp, message.event == "snapshot");
                    self.stamp = Some(stamp);
                }
            }
        }
        ended
    }
}
