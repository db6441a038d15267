//! Reads server-sent events.

use std::time::Duration;

use http::Response;
use http_body_util::BodyExt as _;
use mesh_identity::client::Streamed;
use serde_json::Value;

/// Generous; a live event takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Client {
    pub status: u16,
    body: Streamed,
    text: String,
}

/// One event with its stamp.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

impl Client {
    pub fn of(response: Response<Streamed>) -> Self {
        Self {
            status: response.status().as_u16(),
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// The next ephemeral news of this name, past everything else.
    pub async fn passing(&mut self, name: &str) -> Value {
        loop {
            let block = self.block().await.expect("the stream goes on");
            let mut lines = block.lines();
            if lines.next() == Some(&format!("event: {name}"))
                && let Some(data) = lines.next().and_then(|line| line.strip_prefix("data:"))
            {
                return serde_json::from_str(data).expect("JSON");
            }
        }
    }

    /// The next event, past heartbeats and what passes. May be dropped while it waits.
    pub async fn next(&mut self) -> Event {
        loop {
            let block = self.block().await.expect("the stream goes on");
            let field = |name: &str| {
                let line = block.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim().to_owned())
            };
            if let Some(id) = field("id:") {
                return Event {
                    id,
                    name: field("event:").expect("a name"),
                    data: serde_json::from_str(&field("data:").expect("data")).expect("JSON"),
                };
            }
        }
    }

    /// The next block of lines; `None` at the end.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame()).await;
            let frame = frame.expect("signs of life")?.expect("the connection holds");
            if let Some(data) = frame.data_ref() {
                self.text.push_str(std::str::from_utf8(data).expect("text"));
            }
        }
    }
}
