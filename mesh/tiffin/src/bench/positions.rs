//! Couriers on shift who say where they are every four seconds: errors, latency, and the processor time of one position.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use mesh_contracts::api::{Position, Shift};
use mesh_contracts::geo::Coordinates;
use mesh_contracts::id::UserId;
use mesh_contracts::user::Role;
use mesh_local::running::Running;

use super::Site;
use super::cpu::Cpu;
use super::door::Door;
use super::order::cpu_rows;
use super::pace::evenly;
use super::people::{People, enroll};
use super::row::Row;
use super::seen::Watch;
use super::shop::{AT_ONCE, place};
use crate::say::{self, Steps};
use crate::settle;

/// As couriers' phones do.
pub(super) const EVERY: Duration = Duration::from_secs(4);

/// What is said again in four seconds is not worth waiting for longer.
const P99_MS_MAX: f64 = 1_000.0;

/// Ten metres, for each position.
const STEP_E6: i32 = 100;

const EXAMPLES: &str = "\
Examples:
  tiffin bench positions
  tiffin bench positions --couriers 500 --seconds 10 --json";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Couriers on shift.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    couriers: u32,
    /// For how long.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    site: Site,
}

/// A courier on shift.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rider {
    pub id: UserId,
    at: Coordinates,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    args.site
        .rows(async |running, steps| measure(&args, running, steps).await)
        .await
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Vec<Row>> {
    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let riders = on_shift(running, &door, &people, args.couriers as usize, 1, steps).await?;
    // Somebody looks at the map.
    let board = Watch::none();
    board.follow(&door, "/v1/ops/live", &people.operator()).await?;
    let span = Duration::from_secs(args.seconds);
    let total = (riders.len() as f64 * span.as_secs_f64() / EVERY.as_secs_f64()).ceil() as usize;
    let rate = total as f64 / span.as_secs_f64();
    steps.step(&format!("{rate:.0} positions per second for {} s", args.seconds));
    let before = Cpu::of(running.processes());
    let outcome = evenly(total, span, moves(&door, &people, &riders)).await?;
    let cpu = Cpu::of(running.processes()).since(&before, outcome.sent);
    for (error, count) in &outcome.errors {
        say::note(format_args!("{count} × {error}"));
    }
    let row = |what: String, unit, value| Row::new("positions", what, unit, value);
    let failed = format!("positions not taken, of {total} at {rate:.0}/s");
    let mut rows = vec![
        row(failed, "positions", outcome.failed() as f64).at_most(0.0),
        row("p50".to_owned(), "ms", outcome.latency.ms(0.5)),
        row("p99".to_owned(), "ms", outcome.latency.ms(0.99)).at_most(P99_MS_MAX),
    ];
    rows.extend(cpu_rows("positions", "position", &cpu));
    Ok(rows)
}

/// So many couriers at each food point, known to everybody and on shift.
pub(super) async fn on_shift(
    running: &Running,
    door: &Door,
    people: &People,
    points: usize,
    each: usize,
    steps: &Steps,
) -> Result<Vec<Rider>> {
    let count = points * each;
    steps.step(&format!("opening {count} accounts of couriers"));
    let homes = (0..count).map(|nth| place(nth % points)).collect();
    let enrolled = enroll(running, Role::Courier, homes).await?;
    settle::everyone_has_heard(running).await?;
    steps.count("coming on shift", count);
    stream::iter(enrolled.into_iter().enumerate())
        .map(|(nth, someone)| async move {
            let (id, at) = (someone.id, place(nth % points).at);
            let shift = Shift {
                on: true,
                at: Some(at),
                speed_m_per_min: None,
            };
            let token = people.token(&id, Role::Courier);
            door.put("/v1/couriers/me/shift", &token, &shift).await?;
            steps.one_more();
            anyhow::Ok(Rider { id, at })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .context("coming on shift")
}

/// Each of them in turn moves on a little and says so.
pub(super) fn moves(
    door: &Door,
    people: &People,
    riders: &[Rider],
) -> impl FnMut(usize) -> BoxFuture<'static, Result<()>> + use<> {
    let signed_in = |rider: &Rider| (people.token(&rider.id, Role::Courier), rider.at);
    let riders: Arc<Vec<_>> = Arc::new(riders.iter().map(signed_in).collect());
    let door = door.clone();
    move |nth| {
        let (door, riders) = (door.clone(), riders.clone());
        Box::pin(async move {
            let ((token, at), round) = (&riders[nth % riders.len()], nth / riders.len());
            let north = STEP_E6 * i32::try_from(round % 100)?;
            let at = Coordinates::new(at.lat_e6 + north, at.lon_e6).context("on earth")?;
            door.put("/v1/couriers/me/position", token, &Position { at }).await?;
            Ok(())
        })
    }
}
