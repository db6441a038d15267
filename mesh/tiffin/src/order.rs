//! `tiffin order ORD`: one order's past. What happened, how it stood at an instant, and why it went that way.
//!
//! Asks the masters' feeds, where every event names its cause, and opens no store.

mod as_of;
mod explain;
mod history;

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

use crate::say;

const EXAMPLES: &str = "\
Examples:
  tiffin order ord_06csq8bsahxa9byjf1wpb9s9ep history
  tiffin order ord_06csq8bsahxa9byjf1wpb9s9ep history --json | jq .[].event_type
  tiffin order ord_06csq8bsahxa9byjf1wpb9s9ep as-of 2026-03-01T12:00:00Z
  tiffin order ord_06csq8bsahxa9byjf1wpb9s9ep explain";

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
    /// How it stood at an instant.
    AsOf {
        /// Business time, such as 2026-03-01T12:00:00Z.
        #[arg(value_name = "TIME")]
        at: Timestamp,
    },
    /// Who did what, when and why: with causes, what was chosen from, deadlines that passed, and the money.
    Explain,
}

/// Runs the command.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Ok(order) = args.order.parse::<OrderId>() else {
        bail!(
            "{} is no order id: `ord_` and 26 characters (a short number alone does not name one order)",
            args.order
        );
    };
    let running = Running::find(&args.data_dir)?;
    let story = Story::of(&feeds(&running)?, order).await?;
    if story.order.is_empty() {
        bail!("there is no order {order} on this platform");
    }
    match args.what {
        What::History => {
            let entries = history::entries(story);
            show(args.json, &entries, history::Table(&entries));
        }
        What::AsOf { at } => {
            let then = as_of::order(&story.order, at, running.clock().now())?;
            show(args.json, &then, as_of::Sheet(&then));
        }
        What::Explain => {
            let explained = explain::explain(order, &story)?;
            show(args.json, &explained, &explained);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(json: bool, value: &impl Serialize, for_people: impl fmt::Display) {
    if json {
        say::json(value);
    } else {
        say::line(for_people);
    }
}

/// Everything that happened to an order, and what may have led to it.
#[derive(Debug)]
struct Story {
    /// Its own events, oldest first; none if there is no such order.
    order: Vec<Envelope>,
    /// Those of its payment, its delivery and its notifications, and of the food points that were asked.
    others: Vec<Envelope>,
}

impl Story {
    /// # Errors
    /// When a master does not answer.
    async fn of(feeds: &Feeds, id: OrderId) -> anyhow::Result<Self> {
        let order = feeds.whole(&id.to_string()).await?;
        let mut streams = Vec::new();
        if !order.is_empty() {
            streams.extend([
                id.payment().to_string(),
                id.delivery().to_string(),
                id.notifications().to_string(),
            ]);
            streams.extend(asked(&order).iter().map(ToString::to_string));
        }
        let mut others = Vec::new();
        for stream in streams {
            others.extend(feeds.whole(&stream).await?);
        }
        Ok(Self { order, others })
    }

    fn all(&self) -> impl Iterator<Item = &Envelope> {
        self.order.iter().chain(&self.others)
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

/// Whole seconds: a business second is less than that at any rate above 1.
fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).map_or_else(|_| at.to_string(), |whole| whole.to_string())
}

#[cfg(test)]
mod tests {
    use mesh_contracts::envelope::{Actor, Meta};

    use super::*;

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
    async fn an_unknown_order_has_no_story() {
        let id = OrderId::new_v7();
        let story = Story::of(&feeds_of(BTreeMap::new()), id).await.expect("readable");
        assert_eq!((story.order, story.others), (Vec::new(), Vec::new()));
    }

    #[tokio::test]
    async fn a_story_has_the_streams_of_everyone_who_had_a_part_in_it() {
        let id = OrderId::new_v7();
        let point = FoodPointId::new_v7();
        let event = |stream: String, event_type: &str, data: serde_json::Value| Envelope {
            event_id: uuid::Uuid::now_v7(),
            stream,
            version: 1,
            position: 1,
            event_type: event_type.to_owned(),
            schema_version: 1,
            at: Timestamp::UNIX_EPOCH,
            recorded_at: Timestamp::UNIX_EPOCH,
            meta: Meta::by(Actor::service("anyone")),
            data,
        };
        let requested = serde_json::json!({
            "attempt": 1, "food_point": point, "kind": "delivery", "needs": [],
            "answer_by": "2026-03-01T12:00:00Z", "expires_at": "2026-03-01T12:00:00Z",
        });
        let streams = [
            (id.to_string(), "hold.requested", requested),
            (id.payment().to_string(), "payment.captured", serde_json::Value::Null),
            (id.delivery().to_string(), "delivery.lost", serde_json::Value::Null),
            (
                id.notifications().to_string(),
                "notification.sent",
                serde_json::Value::Null,
            ),
            (point.to_string(), "hold.held", serde_json::Value::Null),
        ];
        let streams = streams.map(|(stream, event_type, data)| (stream.clone(), vec![event(stream, event_type, data)]));
        let story = Story::of(&feeds_of(streams.into()), id).await.expect("readable");
        let types: Vec<&str> = story.all().map(|event| event.event_type.as_str()).collect();
        assert_eq!(
            types,
            [
                "hold.requested",
                "payment.captured",
                "delivery.lost",
                "notification.sent",
                "hold.held"
            ]
        );
    }
}
