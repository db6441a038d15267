//! Reads a server-sent-event stream as a client does.

use std::time::Duration;

use axum::response::Response;
use http_body_util::BodyExt as _;
use serde_json::Value;

/// Heartbeats come every 10 s, so a silent stream is a failed test.
const NEXT_TIMEOUT: Duration = Duration::from_secs(15);

pub struct Client {
    body: axum::body::Body,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

impl Event {
    pub fn generation_and_sequence(&self) -> (u64, u64) {
        let mut parts = self.id.split('-').map(str::parse);
        let mut next = || parts.next().expect("a stamp").expect("a number");
        (next(), next())
    }

    /// The versions of the snapshot's documents.
    pub fn documents(&self) -> Vec<(String, u64)> {
        assert_eq!(self.name, "snapshot");
        let documents = self.data["documents"].as_array().expect("documents");
        documents
            .iter()
            .map(|doc| {
                (
                    doc["id"].as_str().expect("id").to_owned(),
                    doc["version"].as_u64().expect("version"),
                )
            })
            .collect()
    }

    pub fn version(&self) -> u64 {
        assert_eq!(self.name, "event");
        self.data["version"].as_u64().expect("version")
    }
}

impl Client {
    pub fn of(response: Response) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// The next block, such as an event or a comment; `None` at the end.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let frame = tokio::time::timeout(NEXT_TIMEOUT, self.body.frame())
                .await
                .expect("no event in time")?;
            let data = frame.expect("a body without errors").into_data().expect("data");
            self.text.push_str(std::str::from_utf8(&data).expect("UTF-8"));
        }
    }

    pub async fn next(&mut self) -> Event {
        loop {
            let block = self.block().await.expect("the stream goes on");
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                    .map(str::to_owned)
            };
            if let (Some(id), Some(name), Some(data)) = (field("id"), field("event"), field("data")) {
                let data = serde_json::from_str(&data).expect("JSON");
                return Event { id, name, data };
            }
        }
    }
}
