//! Has the broker lost what it acknowledged? Then find where, and send everything since again.
//!
//! A repeat costs little: the broker drops what it still has, and readers drop what they applied.

use jiff::Timestamp;
use mesh_bus::StreamsError;
use sqlx::Connection as _;

use super::{Checkpoint, Relay, WINDOW, checkpoint_of};
use crate::read::signed;
use crate::sql_time::SqlTime;

/// Checkpoints compared at once. The first one nearly always matches.
const CANDIDATES: i64 = 100;

impl Relay<'_> {
    /// Compares the broker's stream with our checkpoints, the newest first; on a mismatch puts
    /// every event since the newest match back into the outbox. The inner error is the bus'.
    pub(super) async fn heal(&mut self) -> Result<Result<(), StreamsError>, sqlx::Error> {
        if let Err(err) = self.bus.ensure_streams(&[self.context]).await {
            return Ok(Err(err));
        }
        let info = match self.bus.stream_info(self.context).await {
            Ok(Some(info)) => info,
            // Wiped in this very moment: come again.
            Ok(None) => return Ok(Ok(())),
            Err(err) => return Ok(Err(err)),
        };
        self.stream_created = to_microseconds(info.created);
        let newest: Option<i64> = sqlx::query_scalar("select max(id) from relay_checkpoints where context = $1")
            .bind(self.context.as_str())
            .fetch_one(&mut self.connection)
            .await?;
        let matching = match self.newest_match(info.last_sequence).await? {
            Ok(matching) => matching,
            Err(err) => return Ok(Err(err)),
        };
        if newest != matching.as_ref().map(|found| found.id) {
            self.enqueue_since(matching.as_ref()).await?;
        }
        self.checkpoint = matching;
        Ok(Ok(()))
    }

    /// Whether the broker's stream is the one that we know, and not shorter than we know.
    pub(super) async fn is_intact(&self) -> bool {
        let known_seq = self.checkpoint.as_ref().map_or(0, |known| known.js_seq);
        match self.bus.stream_info(self.context).await {
            Ok(Some(info)) => to_microseconds(info.created) == self.stream_created && info.last_sequence >= known_seq,
            Ok(None) => false,
            Err(err) => {
                tracing::warn!(context = self.context.as_str(), error = %err, "bus does not answer");
                false
            }
        }
    }

    /// The newest checkpoint whose message the broker still has.
    async fn newest_match(
        &mut self,
        last_sequence: u64,
    ) -> Result<Result<Option<Checkpoint>, StreamsError>, sqlx::Error> {
        let mut before = i64::MAX;
        loop {
            let candidates = self.candidates(before, last_sequence).await?;
            let Some(oldest) = candidates.last() else {
                return Ok(Ok(None));
            };
            before = oldest.id;
            for candidate in candidates {
                match self.bus.message_at(self.context, candidate.js_seq).await {
                    Ok(Some(kept)) if kept.id() == Some(candidate.message_id) => {
                        return Ok(Ok(Some(candidate)));
                    }
                    Ok(_) => {}
                    Err(err) => return Ok(Err(err)),
                }
            }
        }
    }

    /// Checkpoints that could match: of this very stream, and not beyond its end.
    async fn candidates(&mut self, before: i64, last_sequence: u64) -> Result<Vec<Checkpoint>, sqlx::Error> {
        sqlx::query(
            "select id, position, js_seq, event_id from relay_checkpoints
             where context = $1 and stream_created = $2 and js_seq <= $3 and id < $4
             order by id desc limit $5",
        )
        .bind(self.context.as_str())
        .bind(SqlTime(self.stream_created))
        .bind(signed(last_sequence))
        .bind(before)
        .bind(CANDIDATES)
        .try_map(|row| checkpoint_of(&row))
        .fetch_all(&mut self.connection)
        .await
    }

    /// Everything after the checkpoint's position, and everything recorded since a minute before
    /// it: positions are not the order of commits, and no append takes a minute. Without a
    /// checkpoint, as much as the broker would have kept.
    async fn enqueue_since(&mut self, found: Option<&Checkpoint>) -> Result<(), sqlx::Error> {
        let id = found.map_or(0, |found| found.id);
        let mut tx = self.connection.begin().await?;
        let enqueued: i64 = sqlx::query_scalar(
            "with missing as (
                 select e.position, (row_number() over (order by e.position) - 1) / $2 as portion from events e
                 where e.position > (select c.position from relay_checkpoints c where c.id = $1)
                    or e.recorded_at >= coalesce(
                        (select c.at - interval '60 seconds' from relay_checkpoints c where c.id = $1),
                        now() - interval '7 days')
             ), enqueued as (
                 insert into outbox as o (first, positions)
                 select min(position), array_agg(position) from missing group by portion
                 on conflict (first) do update set positions =
                     (select array_agg(distinct p) from unnest(o.positions || excluded.positions) p)
             )
             select count(*) from missing",
        )
        .bind(id)
        .bind(WINDOW as i64)
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query("delete from relay_checkpoints where context = $1 and id > $2")
            .bind(self.context.as_str())
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        tracing::warn!(
            context = self.context.as_str(),
            events = enqueued,
            "bus lost what it had acknowledged, sending again"
        );
        metrics::counter!("relay_healed_total").increment(1);
        Ok(())
    }
}

/// As Postgres keeps it.
fn to_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).expect("a timestamp's own microseconds")
}
