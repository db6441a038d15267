//! Personal data: fetched from user-master when an event says that it changed, kept in Redis, deleted
//! with the person.
//!
//! A kept profile carries the version of the person's last change that it is known to contain, so an
//! old one is noticed and never answered. Lost ones are fetched again when somebody asks.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_bus::{Bus, Subscription, Verdict};
use mesh_contracts::api::Profile;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::UserId;
use mesh_contracts::subject::Context;
use mesh_identity::{Client, ClientError, Upstream};
use mesh_projection::{Projection, RedisConfig};
use mesh_runtime::Shutdown;
use redis::RedisResult;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::projector::People;

/// Fetching has a pace of its own, since it waits for user-master.
const DURABLE: &str = "user-info-profiles";

/// As for every read of ours: later than this, user-master answers sooner.
const REDIS_TIMEOUT: Duration = Duration::from_millis(500);

/// Everyone's own data. Clones share the connections.
#[derive(Clone)]
pub struct Profiles {
    projection: Projection,
    redis: ConnectionManager,
    client: Client,
    user_master: Upstream,
}

/// A profile that contains everything up to the person's version named.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    pub profile_version: u64,
    pub profile: Profile,
}

impl Profiles {
    /// Returns at once; `config` is that of `projection`.
    pub fn new(
        projection: Projection,
        config: &RedisConfig,
        client: Client,
        user_master: Upstream,
    ) -> RedisResult<Self> {
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(REDIS_TIMEOUT))
            .set_response_timeout(Some(REDIS_TIMEOUT))
            .set_number_of_retries(1);
        let redis = redis::Client::open(config.url.as_str())?;
        Ok(Self {
            projection,
            redis: ConnectionManager::new_lazy_with_config(redis, settings)?,
            client,
            user_master,
        })
    }

    /// A person's data, as new as the person's document; `None` if there is no such person any more.
    pub async fn of(&self, id: UserId) -> Result<Option<Kept>, Error> {
        let name = id.to_string();
        let (person, kept) = tokio::join!(self.projection.get::<People>(&name), self.kept(id));
        let Some(person) = person?.filter(|person| !person.doc.erased) else {
            return Ok(None);
        };
        let wanted = person.doc.profile_version;
        match kept {
            Ok(Some(kept)) if kept.profile_version >= wanted => return Ok(Some(kept)),
            Ok(_) => {}
            Err(err) => tracing::warn!(error = %err, "redis unavailable, asking user-master"),
        }
        let Some(profile) = self.fetch(id).await? else {
            return Ok(None);
        };
        let kept = Kept {
            profile_version: wanted,
            profile,
        };
        if let Err(err) = self.keep(id, &kept).await {
            tracing::warn!(error = %err, "profile not kept");
        }
        Ok(Some(kept))
    }

    /// Fetches what changed and deletes whom user-master deleted, until shutdown.
    pub async fn follow(self, bus: Bus, shutdown: Shutdown) {
        let subscription = Subscription::new(Context::User, DURABLE);
        bus.consume(subscription, shutdown, |batch| self.handle(batch)).await;
    }

    async fn handle(&self, batch: Vec<Envelope>) -> Vec<Verdict> {
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for event in &batch {
            let version = newest.entry(&event.stream).or_default();
            *version = event.version.max(*version);
        }
        let mut verdicts = BTreeMap::new();
        for (stream, version) in newest {
            verdicts.insert(stream, self.catch_up(stream, version).await);
        }
        batch
            .iter()
            .map(|event| verdicts[event.stream.as_str()].clone())
            .collect()
    }

    async fn catch_up(&self, stream: &str, version: u64) -> Verdict {
        let Ok(id) = stream.parse::<UserId>() else {
            // The view of people has it in quarantine.
            return Verdict::Done;
        };
        match self.refresh(id, version).await {
            Ok(()) => Verdict::Done,
            Err(err) => Verdict::Later(err.to_string()),
        }
    }

    async fn refresh(&self, id: UserId, version: u64) -> Result<(), Error> {
        // From here on, whoever keeps a profile that was just erased sees that it is, and deletes it.
        self.projection.await_token(&[(id.to_string(), version)]).await?;
        if self.of(id).await?.is_none() {
            self.forget(id).await?;
        }
        Ok(())
    }

    async fn fetch(&self, id: UserId) -> Result<Option<Profile>, ClientError> {
        let path = format!("/people/{id}");
        match self.client.get_json(&self.user_master, &path).await {
            Ok(profile) => Ok(Some(profile)),
            Err(err) if err.status() == Some(http::StatusCode::NOT_FOUND) => Ok(None),
            Err(err) => Err(err),
        }
    }

    async fn kept(&self, id: UserId) -> RedisResult<Option<Kept>> {
        let mut redis = self.redis.clone();
        let text: Option<String> = redis::cmd("GET").arg(self.key(id)).query_async(&mut redis).await?;
        // Another build's shape is as good as none.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    async fn keep(&self, id: UserId, kept: &Kept) -> Result<(), Error> {
        let text = serde_json::to_string(kept).expect("profiles have string keys");
        let mut redis = self.redis.clone();
        redis::cmd("SET")
            .arg(self.key(id))
            .arg(text)
            .exec_async(&mut redis)
            .await?;
        // The person may have been erased while we fetched.
        let person = self.projection.get::<People>(&id.to_string()).await?;
        if person.is_none_or(|person| person.doc.erased) {
            self.forget(id).await?;
        }
        Ok(())
    }

    async fn forget(&self, id: UserId) -> RedisResult<()> {
        let mut redis = self.redis.clone();
        redis::cmd("DEL").arg(self.key(id)).exec_async(&mut redis).await
    }

    fn key(&self, id: UserId) -> String {
        format!("{}profile:{id}", self.projection.prefix())
    }
}
