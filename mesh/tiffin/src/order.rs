//! `tiffin order ORD`: one order's past. What happened, how it stood at an instant, and why it went that way.
//!
//! Asks the masters' feeds, where every event names its cause, and opens no store.

mod as_of;
mod explain;
mod history;
mod story;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use mesh_bus::BoxError;
use mesh_bus::feed::Feeds;
use mesh_contracts::id::OrderId;
use mesh_identity::{Mesh, Upstream};
use mesh_local::running::Running;
use mesh_local::services::COMMAND_LINE;
use serde::Serialize;

use crate::say;
use story::Story;

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
    let feeds = feeds(&running)?;
    let events = feeds.whole(&order.to_string()).await?;
    if events.is_empty() {
        bail!("there is no order {order} on this platform");
    }
    match args.what {
        What::History => {
            let entries = history::entries(Story::of(&feeds, order, events).await?);
            show(args.json, &entries, history::Table(&entries));
        }
        What::AsOf { at } => {
            let then = as_of::order(&events, at, running.clock().now())?;
            show(args.json, &then, as_of::Sheet(&then));
        }
        What::Explain => {
            let story = Story::of(&feeds, order, events).await?.and_mails(&feeds, order).await?;
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
