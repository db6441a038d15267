//! Ephemeral news: what is told to whoever listens now, and the last value of each thing, which expires by itself.
//!
//! Nothing here is folded from events, has a stamp, or is missed when it is lost.

use std::time::Duration;

use crate::connection::Projection;
use crate::live::Signal;
use crate::{keys, library};

impl Projection {
    /// Tells it to everyone who listens to the topic at this process, under a name that no stamped entry has.
    pub fn pass(&self, topic: &str, event: &'static str, text: &str) {
        self.inner.hub.send(topic, Signal::Passing(event, text.into()));
    }

    /// The topics with this beginning that somebody listens to at this process.
    pub fn listened(&self, beginning: &str) -> Vec<String> {
        self.inner.hub.listened(beginning)
    }

    /// The ids of the documents of this kind on a topic.
    pub async fn members(&self, topic: &str, kind: &str) -> redis::RedisResult<Vec<String>> {
        let mut cmd = self.inner.fcall(library::MEMBERS);
        cmd.arg(&self.inner.prefix).arg(kind).arg(keys::topic(topic));
        self.inner.read(&cmd).await
    }

    /// Keeps the last value of each of these for so long.
    pub async fn keep(&self, values: &[(String, String)], ttl: Duration) -> redis::RedisResult<()> {
        if values.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for (name, value) in values {
            let key = keys::last(&self.inner.prefix, name);
            pipeline
                .cmd("SET")
                .arg(key)
                .arg(value)
                .arg("EX")
                .arg(ttl.as_secs())
                .ignore();
        }
        self.inner.write_all(&pipeline).await
    }

    /// The last value of each, in the order asked; `None` for one that is not known or has expired.
    pub async fn kept(&self, names: &[String]) -> redis::RedisResult<Vec<Option<String>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut cmd = redis::cmd("MGET");
        for name in names {
            cmd.arg(keys::last(&self.inner.prefix, name));
        }
        self.inner.read(&cmd).await
    }

    /// Adds a value to the last few, which are forgotten when none came for so long.
    pub async fn remember(&self, name: &str, value: i64, values_max: usize, ttl: Duration) -> redis::RedisResult<()> {
        let key = keys::last(&self.inner.prefix, name);
        let mut pipeline = redis::pipe();
        pipeline.cmd("LPUSH").arg(&key).arg(value).ignore();
        pipeline
            .cmd("LTRIM")
            .arg(&key)
            .arg(0)
            .arg(values_max.saturating_sub(1))
            .ignore();
        pipeline.cmd("EXPIRE").arg(&key).arg(ttl.as_secs()).ignore();
        self.inner.write_all(&pipeline).await
    }

    /// The last few values of each, the newest first, in the order asked.
    pub async fn remembered(&self, names: &[String]) -> redis::RedisResult<Vec<Vec<i64>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for name in names {
            let key = keys::last(&self.inner.prefix, name);
            pipeline.cmd("LRANGE").arg(key).arg(0).arg(-1);
        }
        self.inner.read_all(&pipeline).await
    }
}
