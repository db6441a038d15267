//! An hour in which everything goes wrong that `tiffin replay --chaos` knows: every order ends, the money adds up, and
//! no invariant is broken.

use std::time::Duration;

use anyhow::{Context as _, Result};
use mesh_verify::Invariant;
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Folder, Started};

/// An hour at sixty times life's speed, what deadlines last after it, setting up, verifying; and as much again for a
/// machine that does other things, too.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(400);

const ORDERS: u32 = 56;
/// As many as minutes of an empty shelf and one: an order that meets one turns no other away.
const RESTAURANTS: u32 = 16;
const COURIERS: u32 = 12;

/// With four times an ordinary day's rates, these orders' names draw every sort of mischief from this seed, and a stop
/// with and one without another kitchen to go to. Changed rates want another seed.
const SEED: &str = "5416";
const CHAOS: &str = "--chaos=4";

/// Sorts that may come to nothing: some are planned for one order alone and have a few seconds to be done in, such as
/// cancelling what is on the stove, which a busy machine may need for itself.
const TOO_LATE_MAX: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_every_order_ends_and_the_money_adds_up() -> Result<()> {
    let folder = Folder::new()?;
    let instance = instance(ORDERS, 1)?;
    let path = instance.path().to_str().context("a path in UTF-8")?;
    let arguments = [
        "replay", path, "--up", "--speed", "60", CHAOS, "--seed", SEED, "--verify", "--json",
    ];
    let mut replay = Started::new(folder.path(), &arguments)?;
    let report = replay
        .line("the report", REPLAY_TIMEOUT, |line| line["orders"].is_object())
        .await?;
    every_order_ended(&report);
    every_sort_came_about(&report["chaos"]);
    everything_adds_up(&report["chaos"]);
    let violations = report["violations"].as_object().context("it was verified")?;
    assert_eq!(violations.len(), Invariant::ALL.len());
    assert!(violations.values().all(|count| count == 0), "{report}");
    replay.ended().await
}

fn every_order_ended(report: &Value) {
    let (orders, chaos) = (&report["orders"], &report["chaos"]);
    let count = |name: &str| orders[name].as_u64().expect("a count");
    let ends = ["completed", "rejected", "cancelled", "expired", "undelivered"];
    let ended: u64 = ends.map(count).iter().sum();
    assert_eq!(count("placed"), ended, "{orders}");
    assert!(ends.map(count).iter().all(|count| *count > 0), "{orders}");
    assert_eq!((count("waiting"), count("lost")), (0, 0));
    assert_eq!(count("placed") + count("refused"), u64::from(ORDERS));
    assert_eq!(orders["refused"], chaos["turned_away"], "{orders}");
}

fn every_sort_came_about(chaos: &Value) {
    let sorts = list(&chaos["mischief"]);
    assert_eq!(sorts.len(), 21);
    let (mut applied, mut too_late) = (0, Vec::new());
    for sort in sorts {
        let count = |name: &str| sort[name].as_u64().expect("a count");
        assert!(count("planned") > 0, "another seed is wanted: {sort}");
        applied += count("applied");
        if count("applied") == 0 {
            too_late.push(sort);
        }
    }
    assert!(too_late.len() <= TOO_LATE_MAX, "{too_late:?}");
    let met = list(&chaos["orders"])
        .iter()
        .filter(|order| order["mischief"].is_string());
    assert_eq!(met.count() as u64, applied);
}

fn everything_adds_up(chaos: &Value) {
    let (ends, totals, orders) = (list(&chaos["ends"]), list(&chaos["totals"]), list(&chaos["orders"]));
    assert_eq!(chaos["unsettled"], 0);
    for line in ends.iter().chain(totals) {
        let cents = |name: &str| amount(line, name);
        let borne = cents("borne_by_point") + cents("borne_by_courier") + cents("borne_by_platform");
        let paid = cents("charged") - cents("refunded") + cents("owed");
        assert_eq!(cents("ordered"), paid + borne + cents("called_off"), "{line}");
        assert!(paid >= 0 && cents("called_off") >= 0, "{line}");
        let is_sold = line["status"] == "completed";
        assert!(!is_sold || (borne == 0 && cents("called_off") == 0), "{line}");
    }
    let [total] = totals else {
        panic!("one currency, not {totals:?}");
    };
    for name in ["ordered", "charged", "refunded", "owed"] {
        let of_orders: i64 = orders.iter().map(|order| amount(order, name)).sum();
        let of_ends: i64 = ends.iter().map(|line| amount(line, name)).sum();
        assert_eq!(
            (of_orders, of_ends),
            (amount(total, name), amount(total, name)),
            "{name}"
        );
    }
    // A stop that nobody took over, a loss on the road, a debt, and half a price for what was on the stove.
    for name in ["borne_by_point", "borne_by_courier", "owed", "called_off"] {
        assert!(amount(total, name) > 0, "{name}: {total}");
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn amount(line: &Value, name: &str) -> i64 {
    line[name]["amount"].as_i64().expect("minor units")
}

/// So many orders a minute, a restaurant of its own for each quarter of an hour, and couriers enough.
pub fn instance(orders: u32, per_minute: u32) -> Result<TempDir> {
    let table = |names: &str, lines: u32, line: &dyn Fn(u32) -> String| {
        let lines: String = (0..lines).map(|index| line(index) + "\n").collect();
        format!("{names}\n{lines}")
    };
    let files = [
        (
            "orders.txt",
            table(
                "order\tx\ty\tplacement_time\trestaurant\tready_time",
                orders,
                &|index| {
                    let (minute, nth) = (index / per_minute, index + 1);
                    let (x, y, ready) = (nth * 700 % 3000, nth * 1100 % 2500, minute + 8 + nth % 5);
                    format!("o{nth}\t{x}\t{y}\t{minute}\tr{}\t{ready}", nth % RESTAURANTS)
                },
            ),
        ),
        (
            "restaurants.txt",
            table("restaurant\tx\ty", RESTAURANTS, &|nth| {
                format!("r{nth}\t{}\t{}", 200 * nth, 2500 - 150 * nth)
            }),
        ),
        (
            "couriers.txt",
            table("courier\tx\ty\ton_time\toff_time", COURIERS, &|nth| {
                format!("c{nth}\t{}\t{}\t0\t180", 250 * nth, 200 * nth)
            }),
        ),
        (
            "instance_parameters.txt",
            "meters_per_minute\tpickup service minutes\tdropoff service minutes\n320\t2\t2\n".to_owned(),
        ),
    ];
    let instance = tempfile::tempdir()?;
    for (name, text) in files {
        std::fs::write(instance.path().join(name), text)?;
    }
    Ok(instance)
}
