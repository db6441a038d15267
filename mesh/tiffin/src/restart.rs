//! `tiffin restart`: the services of a platform that runs, one after the other, while people use it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use mesh_local::running::Running;
use mesh_local::services::SERVICES;
use serde_json::json;

use crate::say;

const EXAMPLES: &str = "\
Examples:
  tiffin restart                          every service
  tiffin restart gateway order-master     these two

A successor starts on the same ports beside the one that runs; once it is ready, the one before takes no connection
any more, ends what is under way, tells its clients to leave, and is gone within six seconds, or ten if somebody still
waits for an answer. Then it is the next one's turn. No request fails for it; live streams end and are resumed. What runs afterwards is what is built now. The two stand-ins for the
world outside end before their successors start, since they keep a ledger; their ports stay open meanwhile.";

/// Whom to restart.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Services in their order; all of them if none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Where the platform keeps its data.
    #[arg(long, value_name = "DIR", default_value = crate::up::DATA_DIR)]
    data_dir: PathBuf,
    /// One JSON object per service.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Result<ExitCode> {
    let running = Running::find(&args.data_dir)?;
    let all = SERVICES.map(|service| service.name);
    for name in &args.names {
        ensure!(all.contains(&name.as_str()), "there is no service {name}");
    }
    let chosen: Vec<&str> = match args.names.as_slice() {
        [] => all.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    for name in chosen {
        let started = Instant::now();
        running.restart(name).await?;
        let seconds = started.elapsed().as_secs_f64();
        if args.json {
            say::json(&json!({"restarted": name, "seconds": seconds}));
        } else {
            say::line(format_args!("{name} restarted in {seconds:.1} s"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
