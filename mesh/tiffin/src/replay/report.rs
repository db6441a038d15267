//! What a replay found out, in numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use jiff::Timestamp;
use mesh_contracts::order::Status;
use serde::Serialize;

use super::instance::Instance;
use super::reckoning::Reckoning;
use crate::simulation::Track;
use mesh_verify::{Breach, Invariant, Report as Verified};

/// What became of one order.
#[derive(Debug)]
pub(super) struct Fate {
    /// Which of the instance.
    pub(super) order: usize,
    /// The platform acknowledged it.
    pub(super) is_placed: bool,
    /// It did not, since no kitchen could be asked, as was planned.
    pub(super) is_turned_away: bool,
    /// Its last known status.
    pub(super) status: Option<Status>,
    /// If it has not ended: something will end it.
    pub(super) has_live_deadline: bool,
    /// From sending it to the acknowledgement.
    pub(super) place_took: Option<Duration>,
    /// From each event to the customer's screen.
    pub(super) lags: Vec<Duration>,
    clicked_at: Timestamp,
    ready_at: Option<Timestamp>,
    picked_up_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

impl Fate {
    /// An order that was to be placed then.
    pub(super) fn new(order: usize, clicked_at: Timestamp) -> Self {
        Self {
            order,
            is_placed: false,
            is_turned_away: false,
            status: None,
            has_live_deadline: false,
            place_took: None,
            lags: Vec::new(),
            clicked_at,
            ready_at: None,
            picked_up_at: None,
            completed_at: None,
        }
    }

    /// It ended like this.
    pub(super) fn reached(&mut self, track: &Track) {
        self.is_placed = true;
        self.status = Some(track.status);
        self.ready_at = track.at(Status::Ready);
        self.picked_up_at = track.at(Status::InDelivery);
        self.completed_at = track.at(Status::Completed);
    }
}

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    orders: Orders,
    click_to_door_minutes: ClickToDoor,
    ready_to_pickup_minutes: Mean,
    api_latency_ms: Latency,
    projection_lag_ms: Quantiles,
    clock_rate: f64,
    wall_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    violations: Option<BTreeMap<Invariant, u64>>,
    /// The first few of each that has any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    violation_examples: BTreeMap<Invariant, Vec<Breach>>,
    /// With mischief only.
    #[serde(skip_serializing_if = "Option::is_none")]
    chaos: Option<Reckoning>,
    #[serde(skip)]
    gathered: Gathered,
}

#[derive(Debug, Default, Serialize)]
struct Orders {
    placed: usize,
    completed: usize,
    rejected: usize,
    cancelled: usize,
    expired: usize,
    undelivered: usize,
    /// Not ended, but waiting with a live deadline.
    waiting: usize,
    lost: usize,
    /// The platform never took them.
    refused: usize,
}

#[derive(Debug, Default, Serialize)]
struct ClickToDoor {
    mean: f64,
    p90: f64,
    lower_bound_mean: f64,
}

#[derive(Debug, Default, Serialize)]
struct Mean {
    mean: f64,
}

#[derive(Debug, Default, Serialize)]
struct Latency {
    place_order: Quantiles,
}

#[derive(Debug, Default, Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
}

#[derive(Debug)]
struct Gathered {
    turned_away: usize,
    /// In minutes.
    click_to_door: Vec<f64>,
    lower_bounds: Vec<f64>,
    ready_to_pickup: Vec<f64>,
    /// In microseconds.
    place_us: Histogram<u64>,
    lag_us: Histogram<u64>,
}

impl Report {
    pub(super) fn new(clock_rate: f64) -> Self {
        let histogram = || Histogram::new(3).expect("three digits are allowed");
        Self {
            orders: Orders::default(),
            click_to_door_minutes: ClickToDoor::default(),
            ready_to_pickup_minutes: Mean::default(),
            api_latency_ms: Latency::default(),
            projection_lag_ms: Quantiles::default(),
            clock_rate,
            wall_seconds: 0.0,
            violations: None,
            violation_examples: BTreeMap::new(),
            chaos: None,
            gathered: Gathered {
                turned_away: 0,
                click_to_door: Vec::new(),
                lower_bounds: Vec::new(),
                ready_to_pickup: Vec::new(),
                place_us: histogram(),
                lag_us: histogram(),
            },
        }
    }

    /// One order more.
    pub(super) fn add(&mut self, instance: &Instance, fate: &Fate) {
        if !fate.is_placed {
            self.gathered.turned_away += usize::from(fate.is_turned_away);
            return;
        }
        let orders = &mut self.orders;
        orders.placed += 1;
        match fate.status {
            Some(Status::Completed) => orders.completed += 1,
            Some(Status::Rejected) => orders.rejected += 1,
            Some(Status::Cancelled) => orders.cancelled += 1,
            Some(Status::Expired) => orders.expired += 1,
            Some(Status::Undelivered) => orders.undelivered += 1,
            Some(Status::Created | Status::Paid | Status::Assigned | Status::Ready | Status::InDelivery)
                if fate.has_live_deadline =>
            {
                orders.waiting += 1;
            }
            Some(Status::Created | Status::Paid | Status::Assigned | Status::Ready | Status::InDelivery) | None => {
                orders.lost += 1;
            }
        }
        let gathered = &mut self.gathered;
        if let Some(took) = fate.place_took {
            gathered.place_us.record(micros(took)).expect("it grows as needed");
        }
        for lag in &fate.lags {
            gathered.lag_us.record(micros(*lag)).expect("it grows as needed");
        }
        if let (Some(ready_at), Some(picked_up_at)) = (fate.ready_at, fate.picked_up_at) {
            gathered.ready_to_pickup.push(minutes(ready_at, picked_up_at));
        }
        if let Some(completed_at) = fate.completed_at {
            gathered.click_to_door.push(minutes(fate.clicked_at, completed_at));
            let order = &instance.orders[fate.order];
            gathered.lower_bounds.push(instance.lower_bound_minutes(order));
        }
    }

    /// All are in: of so many orders, after so long.
    pub(super) fn finish(&mut self, wanted: usize, took: Duration) {
        let gathered = &mut self.gathered;
        gathered.click_to_door.sort_by(f64::total_cmp);
        self.orders.refused = wanted - self.orders.placed;
        self.click_to_door_minutes = ClickToDoor {
            mean: mean(&gathered.click_to_door),
            p90: quantile(&gathered.click_to_door, 0.9),
            lower_bound_mean: mean(&gathered.lower_bounds),
        };
        self.ready_to_pickup_minutes.mean = mean(&gathered.ready_to_pickup);
        self.api_latency_ms.place_order = Quantiles::of(&gathered.place_us);
        self.projection_lag_ms = Quantiles::of(&gathered.lag_us);
        self.wall_seconds = rounded(took.as_secs_f64());
    }

    /// What the mischief came to.
    pub(super) fn reckoned(&mut self, mut reckoning: Reckoning) {
        reckoning.turned_away(self.gathered.turned_away);
        self.chaos = Some(reckoning);
    }

    /// What the checkers found.
    pub(super) fn verified(&mut self, found: &Verified) {
        self.violations = Some(found.violations.clone());
        self.violation_examples = found.examples.clone();
    }

    /// Orders that neither ended nor will, since nothing waits for them.
    pub fn lost(&self) -> usize {
        self.orders.lost
    }

    /// How orders ended, by the names of statuses, and how many were not taken.
    pub(crate) fn ends(&self) -> [(&'static str, usize); 6] {
        let orders = &self.orders;
        [
            ("completed", orders.completed),
            ("rejected", orders.rejected),
            ("cancelled", orders.cancelled),
            ("expired", orders.expired),
            ("undelivered", orders.undelivered),
            ("refused", orders.refused),
        ]
    }

    /// Every order was taken (or turned away as planned), none was lost, all money is at rest, and no checker found anything.
    pub fn is_good(&self) -> bool {
        let orders = &self.orders;
        let is_clean = self
            .violations
            .iter()
            .flat_map(BTreeMap::values)
            .all(|count| *count == 0);
        let is_settled = self.chaos.as_ref().is_none_or(Reckoning::is_settled);
        let refused = orders.refused - self.gathered.turned_away;
        is_settled && refused == 0 && orders.lost == 0 && orders.waiting == 0 && is_clean
    }
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| rounded(histogram.value_at_quantile(quantile) as f64 / 1e3);
        Self {
            p50: at(0.5),
            p99: at(0.99),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orders = &self.orders;
        writeln!(
            out,
            "orders           {} placed: {} completed, {} rejected, {} cancelled, {} expired, {} undelivered, {} waiting, {} lost; {} refused",
            orders.placed,
            orders.completed,
            orders.rejected,
            orders.cancelled,
            orders.expired,
            orders.undelivered,
            orders.waiting,
            orders.lost,
            orders.refused,
        )?;
        let door = &self.click_to_door_minutes;
        writeln!(
            out,
            "click to door    {:.1} min mean, {:.1} min p90; no dispatcher can beat {:.1} min mean",
            door.mean, door.p90, door.lower_bound_mean
        )?;
        writeln!(
            out,
            "ready to pick-up {:.1} min mean",
            self.ready_to_pickup_minutes.mean
        )?;
        let place = &self.api_latency_ms.place_order;
        writeln!(out, "place order      {:.1} ms p50, {:.1} ms p99", place.p50, place.p99)?;
        let lag = &self.projection_lag_ms;
        writeln!(out, "event to screen  {:.1} ms p50, {:.1} ms p99", lag.p50, lag.p99)?;
        write!(
            out,
            "took             {:.0} s at clock rate {}",
            self.wall_seconds, self.clock_rate
        )?;
        if let Some(chaos) = &self.chaos {
            write!(out, "\n{chaos}")?;
        }
        if let Some(violations) = &self.violations {
            write!(out, "\nviolations      ")?;
            for (invariant, count) in violations {
                write!(out, " {invariant:?} {count}")?;
            }
        }
        Ok(())
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn minutes(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() / 60.0
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    rounded(values.iter().sum::<f64>() / values.len() as f64)
}

/// Of sorted values: the smallest that so many of them do not exceed.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().map_or(0.0, rounded)
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_do_not_exceed_the_ninetieth_percentile() {
        let values: Vec<f64> = (1..=10).map(f64::from).collect();
        assert!((quantile(&values, 0.9) - 9.0).abs() < 1e-9);
        assert!(quantile(&[], 0.9).abs() < 1e-9);
    }

    #[test]
    fn a_lost_order_is_no_success() {
        let mut report = Report::new(1.0);
        assert!(report.is_good());
        report.orders.lost = 1;
        assert!(!report.is_good());
    }
}
