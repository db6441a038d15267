//! `tiffin keys`: which keys sign tokens, and what to do when one must not any more.
//!
//! Asks through the public API as the operator; nothing here sees a private key.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use mesh_contracts::api::{KeyState, SigningKey};
use mesh_local::running::Running;

use crate::client::Api;
use crate::say;

const EXAMPLES: &str = "\
Examples:
  tiffin keys                    which key signs, which one follows, which ones have signed
  tiffin keys retire             the next key signs from now on; no token is refused for it
  tiffin keys withdraw KID       somebody else may have it: nothing it signed is good any more

Keys rotate by themselves; TIFFIN_SIGNING_KEY_PERIOD_S and TIFFIN_SIGNING_KEY_LEAD_S of user-master say how often.
In a cluster the same is GET /v1/ops/signing-keys, POST …/{kid}/retire and DELETE …/{kid}, as an operator.";

/// Shows the keys that sign tokens, and changes which one does.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Where the platform keeps its data.
    #[arg(long, global = true, default_value = crate::up::DATA_DIR)]
    data_dir: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Let the next key sign, as soon as it has been published for long enough to be known everywhere.
    Retire {
        /// The key that signs; whichever does if left out.
        kid: Option<String>,
    },
    /// Take a key away at once, with everything it signed.
    Withdraw {
        /// Any key.
        kid: String,
    },
}

/// Runs the command.
pub async fn run(args: Args) -> Result<ExitCode> {
    let running = Running::find(&args.data_dir)?;
    let (email, password) = running.operator()?;
    let operator = Api::of(&running)?.person(email, password);
    let keys = match args.what {
        None => operator.signing_keys().await?,
        Some(What::Retire { kid }) => {
            let kid = match kid {
                Some(kid) => kid,
                None => current(&operator.signing_keys().await?)?,
            };
            operator.retire_key(&kid).await?
        }
        Some(What::Withdraw { kid }) => operator.withdraw_key(&kid).await?,
    };
    if args.json {
        say::json(&keys);
    } else {
        for key in &keys {
            say::line(said(key));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn current(keys: &[SigningKey]) -> Result<String> {
    let current = keys.iter().find(|key| key.state == KeyState::Current);
    Ok(current.context("no key signs")?.kid.clone())
}

fn said(key: &SigningKey) -> String {
    let state = match key.state {
        KeyState::Next => format!("next, signs from {:.0}", key.signs_from),
        KeyState::Current => format!("current, signs since {:.0}", key.signs_from),
        KeyState::Retired => match key.gone_from {
            Some(gone_from) => format!("retired, published until {gone_from:.0}"),
            None => "retired".to_owned(),
        },
    };
    format!("{}  {state}", key.kid)
}
