//! Every command, and what its help says.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{bench, certs, fault, keys, order, rebuild, replay, restart, say, up, verify};

const EXAMPLES: &str = "\
Examples:
  tiffin                                        the platform on this machine, with simulated people
  tiffin up --no-simulation --clock-rate 300    the platform alone, its business clock 300 times as fast
  tiffin replay DIR --up --speed 300 --verify   a day of real orders on a platform of its own, checked afterwards
  tiffin restart                                every service of a platform that runs, under load
  tiffin order ORD history                      every event of one order
  tiffin order ORD explain                      why it went the way it did
  tiffin keys retire                            the next key signs tokens from now on
  tiffin certs rotate --authority               new certificates by a new authority, and nobody is refused
  tiffin verify --json                          do the invariants hold?
  tiffin fault --runs 5                         and while processes die and links break?";

/// A food-delivery platform on one machine.
#[derive(Parser)]
#[command(name = "tiffin", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: up::Args,
}

#[derive(Subcommand)]
enum Command {
    /// Start the platform, with simulated customers, kitchens and couriers (the default).
    Up(up::Args),
    /// Restart services one after the other, without a request that fails.
    Restart(restart::Args),
    /// Play a day of a public meal-delivery instance through the public API.
    Replay(replay::Args),
    /// Count what does not hold over Postgres, NATS, Redis, the payment provider and the clients' history.
    Verify(verify::Args),
    /// Fill the views of an info service anew, while they are read.
    Rebuild(rebuild::Args),
    /// Look at one order.
    Order(order::Args),
    /// Show the keys that sign tokens, and change which one does.
    Keys(keys::Args),
    /// Show the certificates of a platform, and replace them while it works.
    Certs(certs::Args),
    /// Break things at random under load, and see whether anything is lost.
    Fault(fault::Args),
    /// Measure what the project promises.
    Bench(bench::Args),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let is_exec = args.nth(1).is_some_and(|first| first == "exec");
    if is_exec {
        return become_child(args);
    }
    let cli = Cli::parse();
    say::log_to_stderr();
    mesh_identity::install_crypto_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => return say::failed(&err.into()),
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(err) => say::failed(&err),
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        None => up::run(cli.up).await,
        Some(Command::Up(args)) => up::run(args).await,
        Some(Command::Restart(args)) => restart::run(args).await,
        Some(Command::Replay(args)) => replay::run(args).await,
        Some(Command::Verify(args)) => verify::run(args).await,
        Some(Command::Rebuild(args)) => rebuild::run(args).await,
        Some(Command::Order(args)) => order::run(args).await,
        Some(Command::Keys(args)) => keys::run(args).await,
        Some(Command::Certs(args)) => certs::run(args).await,
        Some(Command::Fault(args)) => fault::run(args).await,
        Some(Command::Bench(args)) => bench::run(args).await,
    }
}

/// `tiffin exec NAME …`: how the platform's own children start. Not for people, so the help does not show it,
/// and it comes before any thread or runtime is made.
fn become_child(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    say::failed(&mesh_local::exec::run(args))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_up() {
        let cli = Cli::parse_from(["tiffin", "--no-simulation"]);
        assert!(cli.command.is_none());
        assert!(cli.up.no_simulation);
    }
}
