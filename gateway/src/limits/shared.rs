//! What all gateways together have let in: counts in Redis, compared behind the scenes.
//!
//! A gateway adds what it let in, learns the sum, and takes what the others had from its own buckets, so that several
//! of them have one limit. Nobody waits for Redis: without it, each gateway keeps the limit by itself.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::PoisonError;
use std::time::Duration;

use mesh_runtime::{Settings, Shutdown, clock};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisResult};
use tokio::time::MissedTickBehavior;

use super::{Bounds, Key, Limit, Limits};

/// How often gateways compare. What one lets in meanwhile, the others do not know of yet.
const PERIOD: Duration = Duration::from_millis(50);
/// Only so large a part of an allowance is worth telling: who is far from the limit costs Redis nothing.
const SHARE: u32 = 16;
/// How often what is past is forgotten.
const FORGET_PERIOD: Duration = Duration::from_secs(10);
/// Loopback or the same zone. Nobody waits, but a connection that hangs should be replaced.
const REDIS_TIMEOUT: Duration = Duration::from_millis(500);

/// Where the counts are.
pub struct Counts {
    client: Client,
    prefix: String,
}

impl Counts {
    /// Reads `TIFFIN_REDIS_URL` and `TIFFIN_REDIS_PREFIX`; none without the former.
    pub fn from_settings(settings: &mut Settings) -> Option<Self> {
        const URL: &str = "TIFFIN_REDIS_URL";
        let url = settings.optional_secret(
            URL,
            "the Redis in which several gateways count together, with user and password, redis:// or rediss://; empty: \
             each counts alone",
        );
        let prefix = format!("{}:", settings.service());
        let prefix = settings.text(
            "TIFFIN_REDIS_PREFIX",
            &prefix,
            "before every key; the Redis user may touch nothing else",
        );
        match Client::open(url?.expose()) {
            Ok(client) => Some(Self { client, prefix }),
            Err(_) => {
                settings.refuse(URL, "is no URL of a Redis");
                None
            }
        }
    }

    fn connection(&self) -> RedisResult<ConnectionManager> {
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(REDIS_TIMEOUT))
            .set_response_timeout(Some(REDIS_TIMEOUT))
            .set_number_of_retries(1);
        ConnectionManager::new_lazy_with_config(self.client.clone(), settings)
    }
}

/// What is known of everybody's count in one window of one limit.
#[derive(Default)]
pub(super) struct Tallies {
    of: HashMap<Key, Tally>,
    /// Those with enough to tell.
    due: Vec<Key>,
}

#[derive(Clone, Copy)]
struct Tally {
    /// Windows are counted from 1970, so that all gateways mean the same one.
    window: u64,
    /// Let in here, and the others do not know.
    untold: u32,
    /// By all, when we last asked.
    total: u64,
}

/// What one gateway tells of one bucket.
struct News {
    key: Key,
    window: u64,
    untold: u32,
}

impl Bounds {
    /// Notes that one was let in.
    pub(super) fn tally(&self, key: Key) {
        let window = self.window();
        let mut tallies = self.tallies();
        let fresh = Tally {
            window,
            untold: 0,
            total: 0,
        };
        let tally = tallies.of.entry(key).or_insert(fresh);
        if tally.window != window {
            *tally = fresh;
        }
        tally.untold += 1;
        if tally.untold == self.requests.get().div_ceil(SHARE) {
            tallies.due.push(key);
        }
    }

    fn news(&self) -> Vec<News> {
        let tallies = &mut *self.tallies();
        let due = std::mem::take(&mut tallies.due);
        let news = due.into_iter().filter_map(|key| {
            let tally = tallies.of.get_mut(&key)?;
            let untold = std::mem::take(&mut tally.untold);
            let window = tally.window;
            Some(News { key, window, untold })
        });
        news.collect()
    }

    /// Takes what others have let in from our own bucket.
    fn learn(&self, news: &News, total: u64) {
        let mut tallies = self.tallies();
        let Some(tally) = tallies
            .of
            .get_mut(&news.key)
            .filter(|tally| tally.window == news.window)
        else {
            return;
        };
        let by_others = total.saturating_sub(tally.total + u64::from(news.untold));
        tally.total = total;
        drop(tallies);
        let mut left = u32::try_from(by_others).unwrap_or(u32::MAX).min(self.requests.get());
        let mut step = left;
        // A bucket gives all at once or nothing, so what it has not got is halved until it fits.
        while let Some(some) = NonZeroU32::new(step) {
            if matches!(self.buckets.check_key_n(&news.key, some), Ok(Ok(_))) {
                left -= step;
                step = left;
            } else {
                step /= 2;
            }
        }
    }

    fn forget(&self) {
        let window = self.window();
        self.tallies().of.retain(|_, tally| tally.window == window);
        self.buckets.retain_recent();
    }

    fn window(&self) -> u64 {
        let since_1970_s = u64::try_from(clock::wall().as_second()).unwrap_or_default();
        since_1970_s / u64::from(self.window_s.get())
    }

    fn tallies(&self) -> std::sync::MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    /// Compares counts until the shutdown, if there is where, and forgets what is past.
    pub(crate) async fn keep(&self, counts: Option<&Counts>, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.triggered() => {}
            () = self.keep_on(counts) => {}
        }
    }

    async fn keep_on(&self, counts: Option<&Counts>) {
        let mut redis = counts.and_then(|counts| Some((counts.connection().ok()?, counts.prefix.as_str())));
        let mut compare = tokio::time::interval(PERIOD);
        compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forget = tokio::time::interval(FORGET_PERIOD);
        loop {
            tokio::select! {
                _ = forget.tick() => self.bounded().for_each(|(_, bounds)| bounds.forget()),
                _ = compare.tick() => self.compare(&mut redis).await,
            }
        }
    }

    async fn compare(&self, redis: &mut Option<(ConnectionManager, &str)>) {
        let news: Vec<_> = self
            .bounded()
            .flat_map(|(name, bounds)| bounds.news().into_iter().map(move |news| (name, bounds, news)))
            .collect();
        let Some((redis, prefix)) = redis else { return };
        if news.is_empty() {
            return;
        }
        let mut pipeline = redis::pipe();
        for (name, bounds, news) in &news {
            let key = format!("{prefix}{name}:{}:{:032x}", news.window, news.key);
            // It is of no interest once its window is over.
            let seconds = 2 * i64::from(bounds.window_s.get());
            pipeline.incr(&key, news.untold).expire(&key, seconds).ignore();
        }
        match pipeline.query_async::<Vec<u64>>(redis).await {
            Ok(totals) => {
                for ((_, bounds, news), total) in news.iter().zip(totals) {
                    bounds.learn(news, total);
                }
            }
            Err(err) => {
                metrics::counter!("rate_counts_untold_total").increment(news.len() as u64);
                tracing::debug!(error = %err, "rate counts not shared");
            }
        }
    }

    fn bounded(&self) -> impl Iterator<Item = (&'static str, &Bounds)> {
        let all = self.all().into_iter();
        all.filter_map(|Limit { name, bounds }| Some((*name, bounds.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn limit(allowance: &str) -> Limit {
        Limit::new("reads", allowance.parse().unwrap())
    }

    fn let_in(bounds: &Bounds, key: Key, times: u32) -> u32 {
        let so_many = (0..times).filter(|_| bounds.buckets.check_key(&key).is_ok());
        so_many.map(|_| bounds.tally(key)).count().try_into().unwrap()
    }

    fn told(bounds: &Bounds) -> News {
        bounds.news().pop().expect("there is something to tell")
    }

    #[test]
    fn what_others_have_let_in_is_taken_once_from_ones_own() {
        let limit = limit("10/600");
        let bounds = limit.bounds.as_ref().unwrap();
        assert_eq!(let_in(bounds, 1, 2), 2);
        bounds.learn(&told(bounds), 5);
        // Two here, three elsewhere: five are left, and the same sum again takes nothing.
        assert_eq!(let_in(bounds, 1, 1), 1);
        bounds.learn(&told(bounds), 6);
        assert_eq!(let_in(bounds, 1, 10), 4);
        assert_eq!(let_in(bounds, 2, 20), 10, "another one's bucket is full");
    }

    #[test]
    fn more_than_is_left_empties_the_bucket() {
        let limit = limit("10/600");
        let bounds = limit.bounds.as_ref().unwrap();
        assert_eq!(let_in(bounds, 1, 3), 3);
        bounds.learn(&told(bounds), 1_000_000);
        assert_eq!(let_in(bounds, 1, 10), 0);
    }

    #[test]
    fn who_is_far_from_the_limit_is_no_news() {
        let limit = limit("160/600");
        let bounds = limit.bounds.as_ref().unwrap();
        let_in(bounds, 1, 9);
        assert!(bounds.news().is_empty());
        let_in(bounds, 1, 1);
        assert_eq!(told(bounds).untold, 10);
        assert!(bounds.news().is_empty());
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let limit = limit("1000000/1");
        let bounds = limit.bounds.as_ref().unwrap();
        let_in(bounds, 1, 1);
        let started = Instant::now();
        while !bounds.buckets.is_empty() || !bounds.tallies().of.is_empty() {
            assert!(started.elapsed() < Duration::from_secs(10), "it is kept for good");
            bounds.forget();
        }
    }
}
