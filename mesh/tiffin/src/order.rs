//! `tiffin order ORD history`: every event of one order, with who caused it and what came before.
//!
//! Asks the masters' feeds, where every event names its cause, and opens no store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use mesh_bus::BoxError;
use mesh_bus::feed::Feeds;
use mesh_contracts::envelope::Envelope;
use mesh_contracts::id::{FoodPointId, OrderId};
use mesh_contracts::order::Event;
use mesh_identity::{Mesh, Upstream};
use mesh_local::running::Running;
use mesh_local::services::COMMAND_LINE;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::say;

const EXAMPLES: &str = "\
Examples:
  tiffin order ord_06csq8bsahxa9byjf1wpb9s9ep history
  tiffin order ord_06csq8bsahxa9byjf1wpb9s9ep history --json | jq .[].event_type";

/// One order.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The order's id, `ord_…`; its short number is unique only together with the food point and the day.
    #[arg(value_name = "ORD")]
    order: String,
    #[command(subcommand)]
    what: What,
    /// Where the platform keeps its data.
    #[arg(long, default_value = crate::up::DATA_DIR, global = true)]
    data_dir: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every event, with time, actor and cause.
    History,
}

/// Runs the command.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Ok(order) = args.order.parse::<OrderId>() else {
        bail!(
            "{} is no order id: `ord_` and 26 characters (a short number alone does not name one order)",
            args.order
        );
    };
    let What::History = args.what;
    let running = Running::find(&args.data_dir)?;
    let entries = history(&feeds(&running)?, order).await?;
    if entries.is_empty() {
        bail!("there is no order {order} on this platform");
    }
    if args.json {
        say::json(&entries);
    } else {
        say::line(Table(&entries));
    }
    Ok(ExitCode::SUCCESS)
}

/// One event of an order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// 1, 2, 3 …
    pub version: u64,
    /// Business time.
    pub at: Timestamp,
    /// Wall time.
    pub recorded_at: Timestamp,
    /// Noun and past verb.
    pub event_type: String,
    /// Who.
    pub actor: String,
    /// The event or command that led to it.
    pub causation: Option<Uuid>,
    /// The same, in words.
    pub because: String,
    /// What happened.
    pub data: Value,
}

/// An order's events, oldest first; none if there is no such order.
///
/// # Errors
/// When a master does not answer.
pub async fn history(feeds: &Feeds, order: OrderId) -> anyhow::Result<Vec<Entry>> {
    let events = feeds.whole(&order.to_string()).await?;
    let mut causes = BTreeMap::new();
    if !events.is_empty() {
        note(&mut causes, &events);
        note(&mut causes, &feeds.whole(&order.payment().to_string()).await?);
        note(&mut causes, &feeds.whole(&order.delivery().to_string()).await?);
        for point in asked(&events) {
            note(&mut causes, &feeds.whole(&point.to_string()).await?);
        }
    }
    Ok(events.into_iter().map(|event| entry(event, &causes)).collect())
}

/// What is known of an event that may be a cause.
type Causes = BTreeMap<Uuid, String>;

fn note(causes: &mut Causes, events: &[Envelope]) {
    for event in events {
        let place = format!("{} of {} (version {})", event.event_type, event.stream, event.version);
        causes.insert(event.event_id, place);
    }
}

/// The food points whose answers may be among the causes.
fn asked(events: &[Envelope]) -> BTreeSet<FoodPointId> {
    events
        .iter()
        .filter_map(|event| match event.body::<Event>() {
            Ok(Some(Event::HoldRequested { food_point, .. })) => Some(food_point),
            // No other event asks a point; one of another build cannot be looked into.
            Ok(Some(_) | None) | Err(_) => None,
        })
        .collect()
}

fn entry(event: Envelope, causes: &Causes) -> Entry {
    let actor = event.meta.actor.0;
    let because = match event.meta.causation {
        None => "of itself".to_owned(),
        Some(cause) => match causes.get(&cause) {
            Some(known) if actor.starts_with("timer:") => format!("a deadline passed, set by {known}"),
            Some(known) => known.clone(),
            None if actor.starts_with("service:") => format!("event {cause}"),
            None => format!("command {cause}"),
        },
    };
    Entry {
        version: event.version,
        at: event.at,
        recorded_at: event.recorded_at,
        event_type: event.event_type,
        actor,
        causation: event.meta.causation,
        because,
        data: event.data,
    }
}

/// The masters' feeds, asked with a certificate of this platform.
fn feeds(running: &Running) -> anyhow::Result<Feeds> {
    let client = Mesh::load(&running.certificates(COMMAND_LINE), COMMAND_LINE)?.client();
    let mut masters = BTreeMap::new();
    for process in running.processes() {
        masters.insert(
            process.name.clone(),
            Upstream::new(&process.name, process.address.to_string()),
        );
    }
    Ok(Feeds::new(move |owner, path| {
        let (client, master) = (client.clone(), masters.get(owner).cloned());
        async move {
            let master = master.with_context(|| format!("{owner} is not running"))?;
            let answer = client.request(&master, Request::get(path).body(Bytes::new())?).await?;
            if answer.status().is_success() {
                Ok(answer.into_body())
            } else {
                Err(BoxError::from(format!("{owner} answered {}", answer.status())))
            }
        }
    }))
}

/// Entries for people: one line each, in columns.
struct Table<'a>(&'a [Entry]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Entry) -> usize, heading: &str| {
            let widest = self.0.iter().map(of).max().unwrap_or_default();
            widest.max(heading.len())
        };
        let event_width = width(|entry| entry.event_type.len(), "event");
        let actor_width = width(|entry| entry.actor.len(), "actor");
        write!(
            out,
            "{:>3}  {:<20}  {:<event_width$}  {:<actor_width$}  because of",
            "#", "time", "event", "actor"
        )?;
        for entry in self.0 {
            write!(
                out,
                "\n{:>3}  {:<20}  {:<event_width$}  {:<actor_width$}  {}",
                entry.version,
                // Whole seconds: a business second is less than that at any rate above 1.
                Timestamp::from_second(entry.at.as_second())
                    .map_err(|_| fmt::Error)?
                    .to_string(),
                entry.event_type,
                entry.actor,
                entry.because
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mesh_contracts::envelope::{Actor, Meta};
    use serde_json::json;

    use super::*;

    const ORDER: OrderId = OrderId(Uuid::from_u128(9));
    const POINT: FoodPointId = FoodPointId(Uuid::from_u128(7));

    fn event(version: u64, event_type: &str, actor: &str, causation: Option<u128>, data: Value) -> Envelope {
        Envelope {
            event_id: Uuid::from_u128(100 + u128::from(version)),
            stream: ORDER.to_string(),
            version,
            position: version,
            event_type: event_type.to_owned(),
            schema_version: 1,
            at: Timestamp::UNIX_EPOCH,
            recorded_at: Timestamp::UNIX_EPOCH,
            meta: Meta {
                causation: causation.map(Uuid::from_u128),
                ..Meta::by(Actor(actor.to_owned()))
            },
            data,
        }
    }

    fn feeds_of(streams: BTreeMap<String, Vec<Envelope>>) -> Feeds {
        Feeds::new(move |_, path| {
            let id = path
                .trim_start_matches("/feed/streams/")
                .split('?')
                .next()
                .unwrap_or_default();
            let is_first_page = path.contains("after=0");
            let page = streams.get(id).filter(|_| is_first_page).cloned().unwrap_or_default();
            async move { Ok(Bytes::from(serde_json::to_vec(&page)?)) }
        })
    }

    #[tokio::test]
    async fn every_event_says_who_and_because_of_what() {
        let held = Envelope {
            stream: POINT.to_string(),
            event_id: Uuid::from_u128(55),
            ..event(12, "hold.held", "service:point-master", None, json!({}))
        };
        let requested = json!({
            "attempt": 1, "food_point": POINT, "kind": "delivery", "needs": [],
            "answer_by": "2026-03-01T12:00:00Z", "expires_at": "2026-03-01T12:00:00Z",
        });
        let order = vec![
            event(1, "order.created", "customer:usr_1", Some(1), json!({})),
            event(2, "hold.requested", "customer:usr_1", Some(1), requested),
            event(3, "order.hold_held", "service:order-master", Some(55), json!({})),
            event(4, "order.expired", "timer:order-master", Some(101), json!({})),
        ];
        let streams = [(ORDER.to_string(), order), (POINT.to_string(), vec![held])];
        let entries = history(&feeds_of(streams.into()), ORDER).await.expect("readable");
        let because: Vec<&str> = entries.iter().map(|entry| entry.because.as_str()).collect();
        assert_eq!(because[0], format!("command {}", Uuid::from_u128(1)));
        assert_eq!(because[2], format!("hold.held of {POINT} (version 12)"));
        assert_eq!(
            because[3],
            format!("a deadline passed, set by order.created of {ORDER} (version 1)")
        );
        let table = Table(&entries).to_string();
        assert_eq!(table.lines().count(), 5);
        assert!(
            table
                .lines()
                .nth(4)
                .is_some_and(|line| line.contains("timer:order-master")),
            "{table}"
        );
    }

    #[tokio::test]
    async fn an_unknown_order_has_no_history() {
        let entries = history(&feeds_of(BTreeMap::new()), ORDER).await.expect("readable");
        assert_eq!(entries, []);
    }
}
