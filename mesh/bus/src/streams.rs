//! The streams on the broker: made at start, read back and compared.
//!
//! Old servers ignore settings they do not know, and a stream made by hand may look alike;
//! only what was read back is trusted.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RawMessageErrorKind, RetentionPolicy, StorageType};
use bytes::Bytes;
use jiff::Timestamp;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::subject::{self, Context};
use uuid::Uuid;

use crate::{BoxError, Bus, Malformed, wire};

/// Events stay on the bus for a week; whoever was away longer catches up from the feeds.
pub(crate) const EVENT_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Longer than a relay can need to publish again what it published before a crash.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(10 * 60);

/// Dead letters wait a month for somebody to look at them.
const DEAD_LETTER_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Longest that a starting service waits for the broker before it reports failure.
pub(crate) const ENSURE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the streams are not as they must be.
#[derive(Debug, thiserror::Error)]
pub enum StreamsError {
    /// The stream exists with another setting. Nothing was changed: that is a human's decision.
    #[error("stream {stream} has {field} = {have}, not {want}")]
    Drifted {
        /// Its name, with prefix.
        stream: String,
        /// The setting.
        field: &'static str,
        /// What we need.
        want: String,
        /// What the server said.
        have: String,
    },
    /// The broker did not answer, or refused.
    #[error("bus unavailable")]
    Unavailable(#[source] BoxError),
}

/// What the broker says about a context's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// When it was made; another time than remembered means that the store was wiped.
    pub created: Timestamp,
    /// Sequence number of the oldest message kept.
    pub first_sequence: u64,
    /// Sequence number of the newest message.
    pub last_sequence: u64,
    /// Messages kept.
    pub messages: u64,
}

/// A message that the broker keeps.
#[derive(Debug, Clone)]
pub struct Kept {
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    /// Its [`message_id`](crate::message_id); `None` if it is none of ours.
    pub fn id(&self) -> Option<Uuid> {
        self.headers.get(NATS_MESSAGE_ID)?.as_str().parse().ok()
    }

    /// What it carries.
    pub fn events(&self) -> Vec<Result<Envelope, Malformed>> {
        wire::decode(&self.headers, &self.body)
    }
}

impl Bus {
    /// Makes the streams of `contexts` and the one for dead letters where they are missing,
    /// reads them back and compares. Waits up to 30 s for the broker.
    pub async fn ensure_streams(&self, contexts: &[Context]) -> Result<(), StreamsError> {
        let ensuring = async {
            self.connected().await;
            for context in contexts {
                self.ensure_stream(&self.event_stream(*context)).await?;
            }
            self.ensure_stream(&self.dead_stream()).await
        };
        tokio::time::timeout(ENSURE_TIMEOUT, ensuring)
            .await
            .map_err(unavailable)?
    }

    /// What the broker says about the stream of `context`; `None` if it has no such stream.
    pub async fn stream_info(&self, context: Context) -> Result<Option<StreamInfo>, StreamsError> {
        let name = self.names.stream(context);
        let info = match self.jetstream.get_stream(&name).await {
            Ok(stream) => stream.cached_info().clone(),
            Err(err) if is_missing(&err) => return Ok(None),
            Err(err) => return Err(unavailable(err)),
        };
        Ok(Some(StreamInfo {
            created: Timestamp::from_nanosecond(info.created.unix_timestamp_nanos()).map_err(unavailable)?,
            first_sequence: info.state.first_sequence,
            last_sequence: info.state.last_sequence,
            messages: info.state.messages,
        }))
    }

    /// The message that the broker keeps at a sequence number of a context's stream; `None` if it keeps nothing there.
    pub async fn message_at(&self, context: Context, sequence: u64) -> Result<Option<Kept>, StreamsError> {
        let stream = match self.jetstream.get_stream_no_info(self.names.stream(context)).await {
            Ok(stream) => stream,
            Err(err) if is_missing(&err) => return Ok(None),
            Err(err) => return Err(unavailable(err)),
        };
        match stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(Kept {
                headers: message.headers,
                body: message.payload,
            })),
            Err(err) if err.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(err) if says_stream_missing(&err) => Ok(None),
            Err(err) => Err(unavailable(err)),
        }
    }

    pub(crate) async fn ensure_dead_stream(&self) -> Result<(), StreamsError> {
        self.ensure_stream(&self.dead_stream()).await
    }

    pub(crate) async fn ensure_stream(&self, want: &Config) -> Result<(), StreamsError> {
        let have = match self.jetstream.get_stream(&want.name).await {
            Ok(stream) => stream.cached_info().config.clone(),
            Err(err) if is_missing(&err) => self.create_stream(want).await?,
            Err(err) => return Err(unavailable(err)),
        };
        compare(want, &have)
    }

    /// Made, then read back: the answer to the creation may merely repeat what we asked for.
    async fn create_stream(&self, want: &Config) -> Result<Config, StreamsError> {
        match self.jetstream.create_stream(want).await {
            Ok(_) => {}
            // Another service made it in the meantime; the comparison decides.
            Err(err) if matches!(err.kind(), CreateStreamErrorKind::JetStream(_)) => {
                tracing::debug!(error = %err, "stream creation refused");
            }
            Err(err) => return Err(unavailable(err)),
        }
        let stream = self.jetstream.get_stream(&want.name).await.map_err(unavailable)?;
        Ok(stream.cached_info().config.clone())
    }

    fn event_stream(&self, context: Context) -> Config {
        let names = &self.names;
        Config {
            subjects: vec![subject::events(&names.prefix, &names.region, context)],
            max_age: EVENT_AGE_MAX,
            ..stream(names.stream(context))
        }
    }

    fn dead_stream(&self) -> Config {
        Config {
            subjects: vec![self.names.dead_subject("*")],
            max_age: DEAD_LETTER_AGE_MAX,
            ..stream(self.names.dead_stream())
        }
    }
}

/// A stream as all of ours are, but for its subjects and its age.
pub(crate) fn stream(name: String) -> Config {
    Config {
        name,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        duplicate_window: DUPLICATE_WINDOW,
        num_replicas: 1,
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        ..Config::default()
    }
}

fn compare(want: &Config, have: &Config) -> Result<(), StreamsError> {
    let fields = [
        (
            "subjects",
            format!("{:?}", want.subjects),
            format!("{:?}", have.subjects),
        ),
        (
            "retention",
            format!("{:?}", want.retention),
            format!("{:?}", have.retention),
        ),
        ("storage", format!("{:?}", want.storage), format!("{:?}", have.storage)),
        ("discard", format!("{:?}", want.discard), format!("{:?}", have.discard)),
        ("max_age", format!("{:?}", want.max_age), format!("{:?}", have.max_age)),
        (
            "duplicate_window",
            format!("{:?}", want.duplicate_window),
            format!("{:?}", have.duplicate_window),
        ),
        ("max_msgs", want.max_messages.to_string(), have.max_messages.to_string()),
        ("max_bytes", want.max_bytes.to_string(), have.max_bytes.to_string()),
        (
            "max_msgs_per_subject",
            want.max_messages_per_subject.to_string(),
            have.max_messages_per_subject.to_string(),
        ),
        (
            "max_consumers",
            want.max_consumers.to_string(),
            have.max_consumers.to_string(),
        ),
        ("no_ack", want.no_ack.to_string(), have.no_ack.to_string()),
        ("sealed", want.sealed.to_string(), have.sealed.to_string()),
    ];
    match fields.into_iter().find(|(_, want, have)| want != have) {
        None => Ok(()),
        Some((field, wanted, have)) => Err(StreamsError::Drifted {
            stream: want.name.clone(),
            field,
            want: wanted,
            have,
        }),
    }
}

fn is_missing(err: &GetStreamError) -> bool {
    match err.kind() {
        GetStreamErrorKind::JetStream(err) => err.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND,
        GetStreamErrorKind::EmptyName | GetStreamErrorKind::Request | GetStreamErrorKind::InvalidStreamName => false,
    }
}

fn says_stream_missing(err: &async_nats::jetstream::stream::RawMessageError) -> bool {
    match err.kind() {
        RawMessageErrorKind::JetStream(err) => err.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND,
        _ => false,
    }
}

pub(crate) fn unavailable(err: impl Into<BoxError>) -> StreamsError {
    StreamsError::Unavailable(err.into())
}
