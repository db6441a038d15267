//! `tiffin verify`: counts what does not hold, by reading the stores of a running platform.

use std::path::PathBuf;
use std::process::ExitCode;

use mesh_local::running::Running;
use mesh_verify::check;

use crate::say;

/// What each number counts, and where it comes from.
const READS: &str = "\
What is counted, and what is read for it:
  I1   acknowledged orders that are missing; open orders without a live deadline
       (order-master: events, timers, commands; history.jsonl)
  I2   orders whose money is not what is due, captured twice, still promised 60 s after the end,
       or not as the provider has it; payments whose ledger is not what their events post, does not sum to zero,
       or has not what the provider has
       (order-master: events with settlement.due; basket-master: events of payments, ledger_entries, ledger_heads;
       the provider's GET /v1/ledger)
  I3   stock that appears, vanishes or is negative at any point of a food point's log
       (point-master: events)
  I4   orders whose events are no path in the table, have a hole or a repeat, or go on after the end
       (order-master: events, streams)
  I5   documents that are not the fold of their events
       (every master: events; Redis: every document of every info service)
  I6   answers to somebody with a consistency token that are older than the token
       (history.jsonl)
  I7   live streams on which a client heard something twice, backwards or not at all
       (history.jsonl)
  I8   deadlines that passed more than 30 s (wall time) ago without an action
       (every master: timers)
  I9   keys with two effects or two answers, answers without an effect, effects without an answer kept
       (every master: commands, events; history.jsonl)
  I10  readers that are not at the head of what they read
       (every master: streams, inbox; Redis: versions of documents; NATS: consumers)

All heads are noted first; readers then have 10 s to reach them. The exit code is 0 only if every count is 0.

Examples:
  tiffin verify                     of the platform in .tiffin
  tiffin verify --json | jq .violations";

/// Counts what does not hold.
#[derive(Debug, clap::Args)]
#[command(after_long_help = READS, after_help = "`tiffin verify --help` says what each number reads.")]
pub struct Args {
    /// Where the platform keeps its data.
    #[arg(long, default_value = crate::up::DATA_DIR)]
    data_dir: PathBuf,
    /// Print the counts and examples as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let running = Running::find(&args.data_dir)?;
    let report = check(&running).await?;
    if args.json {
        say::json(&report);
    } else {
        say::line(&report);
    }
    Ok(if report.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
