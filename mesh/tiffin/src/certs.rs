//! `tiffin certs`: what the parts of a platform show each other, and what replaces it while they work.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use mesh_local::certificates::{self, Certificate};
use mesh_local::running;

use crate::say::{self, Steps};

/// Of an authority's key, enough to tell two of them apart.
const AUTHORITY_CHARS: usize = 12;

const EXAMPLES: &str = "\
Examples:
  tiffin certs                       whose certificates are good until when, and which authority issued them
  tiffin certs rotate                new certificates for everybody, by the same authority
  tiffin certs rotate --authority    and a new authority; takes a quarter of a minute

Nothing is started again, and nobody is refused: a new authority is trusted beside the old one before
it issues anything, and the old one until nobody shows its certificates any more. What trusts
certs/gateway/ca.crt (browsers, curl) has to be given the new one. Connections that are open when it
is done go on for ten minutes at most. HAProxy, where there is one, is reloaded.
With --regions each region has its own, in its folder, and the data directory above has what the door
shows to everyone; who trusts certs/haproxy/ca.crt there has to be given the new one.
In a cluster, certificates are the mesh's own business: istiod rotates them.";

/// Shows the certificates of a platform, and replaces them.
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
    /// Give everybody a new certificate while they work.
    Rotate {
        /// By a new authority, which takes the old one's place.
        #[arg(long)]
        authority: bool,
    },
}

/// Runs the command.
pub async fn run(args: Args) -> Result<ExitCode> {
    let data_dir = running::live(&args.data_dir)?;
    if let Some(What::Rotate { authority }) = args.what {
        let steps = Steps::new();
        let rotated = if authority {
            certificates::rotate_authority(&data_dir, &steps.sink()).await
        } else {
            certificates::rotate(&data_dir, &steps.sink()).await
        };
        steps.done();
        rotated?;
    }
    let certificates = certificates::list(&data_dir)?;
    if args.json {
        say::json(&certificates);
    } else {
        for certificate in &certificates {
            say::line(said(certificate));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn said(certificate: &Certificate) -> String {
    let Certificate { name, authority, until } = certificate;
    format!("{name:<17} until {until:.0}  by {authority:.AUTHORITY_CHARS$}")
}
