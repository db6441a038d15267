//! `tiffin rebuild SERVICE`: an info service fills its views anew, beside those that readers see.
//!
//! Asks the services over their mesh ports and watches; they do the work, and go on with it when nobody watches.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use indicatif::{ProgressBar, ProgressStyle};
use mesh_identity::{Client, Mesh, Upstream};
use mesh_local::running::Running;
use mesh_local::services::{COMMAND_LINE, Kind, of_kind};
use mesh_projection::control::{Standing, Wish};
use mesh_projection::progress::{Phase, Progress};
use serde::Serialize;
use serde_json::Value;

use crate::say;

const EXAMPLES: &str = "\
Examples:
  tiffin rebuild order-info                 its orders and delivery jobs, from order-master and courier-master
  tiffin rebuild all --json                 every view of every info service
  tiffin rebuild order-info --rollback      back to the edition that the last rebuild replaced";

/// How often it is looked how far a view is.
const POLL: Duration = Duration::from_millis(200);

/// A line of progress where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Nothing has moved for so long: something that the service needs is away.
const STUCK: Duration = Duration::from_secs(60);

/// Fills views anew while they are read.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An info service, such as order-info, or `all`.
    service: String,
    /// Let the previous edition catch up and take over again.
    #[arg(long)]
    rollback: bool,
    /// Where the platform keeps its data.
    #[arg(long, default_value = crate::up::DATA_DIR)]
    data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A view that was filled anew.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rebuilt {
    /// Whose.
    pub service: &'static str,
    /// Which.
    pub view: String,
    /// What readers see now.
    pub edition: String,
    /// What is kept for a rollback.
    pub previous: Option<String>,
    /// Read from the master's log.
    pub events: u64,
    /// Documents whose versions were equal to the master's.
    pub compared: u64,
    /// Of wall time.
    pub seconds: f64,
    /// Per second of wall time, over all of it.
    pub events_per_s: f64,
}

/// Runs the command.
pub async fn run(args: Args) -> Result<ExitCode> {
    let services = services(&args.service)?;
    let running = Running::find(&args.data_dir)?;
    let mut rebuilt = Vec::new();
    for service in services {
        rebuilt.extend(of_service(&running, service, args.rollback, watcher()).await?);
    }
    if args.json {
        say::json(&rebuilt);
    } else {
        for one in &rebuilt {
            say::line(one);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn services(wanted: &str) -> Result<Vec<&'static str>> {
    let infos: Vec<&str> = of_kind(Kind::Info).map(|service| service.name).collect();
    if wanted == "all" {
        return Ok(infos);
    }
    match infos.iter().find(|name| **name == wanted) {
        Some(name) => Ok(vec![name]),
        None => bail!("{wanted} is no info service; there are {} and all", infos.join(", ")),
    }
}

/// Has every view of a service filled anew, one after another, and tells `watch` how far each is.
///
/// # Errors
/// When the service refuses, is away, or gets no further.
pub async fn of_service(
    running: &Running,
    service: &'static str,
    rollback: bool,
    mut watch: impl FnMut(&str, &Progress),
) -> Result<Vec<Rebuilt>> {
    let asking = Asking::new(running, service)?;
    let mut rebuilt = Vec::new();
    for before in asking.standings().await? {
        rebuilt.push(asking.rebuild(service, &before, rollback, &mut watch).await?);
    }
    Ok(rebuilt)
}

/// The same of one of its views.
///
/// # Errors
/// As [`of_service`], and when there is no such view.
pub async fn of_view(
    running: &Running,
    service: &'static str,
    view: &str,
    mut watch: impl FnMut(&str, &Progress),
) -> Result<Rebuilt> {
    let asking = Asking::new(running, service)?;
    let standings = asking.standings().await?;
    let before = standings.iter().find(|standing| standing.view == view);
    let before = before.with_context(|| format!("{service} has no view {view}"))?;
    asking.rebuild(service, before, false, &mut watch).await
}

/// The views of a service as they are.
///
/// # Errors
/// When the service is away.
pub async fn standings(running: &Running, service: &'static str) -> Result<Vec<Standing>> {
    Asking::new(running, service)?.standings().await
}

/// One info service, asked in the command line's own name.
struct Asking {
    client: Client,
    upstream: Upstream,
}

impl Asking {
    fn new(running: &Running, service: &'static str) -> Result<Self> {
        let mesh = Mesh::load(&running.certificates(COMMAND_LINE), COMMAND_LINE)?;
        Ok(Self {
            client: mesh.client(),
            upstream: Upstream::new(service, running.process(service)?.address.to_string()),
        })
    }

    async fn standings(&self) -> Result<Vec<Standing>> {
        Ok(self.client.get_json(&self.upstream, "/projections").await?)
    }

    async fn rebuild(
        &self,
        service: &'static str,
        before: &Standing,
        rollback: bool,
        watch: &mut impl FnMut(&str, &Progress),
    ) -> Result<Rebuilt> {
        self.start(&before.view, rollback).await?;
        let after = self.follow(before, watch).await?;
        let built = after.built.context("the service does not say how it went")?;
        Ok(Rebuilt {
            service,
            view: after.view,
            edition: after.current,
            previous: after.previous,
            events: built.events,
            compared: built.compared,
            seconds: built.duration_ms as f64 / 1_000.0,
            events_per_s: built.events_per_s(),
        })
    }

    async fn start(&self, view: &str, rollback: bool) -> Result<()> {
        let request = Request::post(format!("/projections/{view}/rebuild"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(serde_json::to_vec(&Wish { rollback })?))?;
        let answer = self.client.request(&self.upstream, request).await?;
        if answer.status() == StatusCode::ACCEPTED {
            return Ok(());
        }
        let problem: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let title = problem["title"].as_str().unwrap_or("no reason given");
        bail!("{} of {}: {} {title}", view, self.upstream.service, answer.status());
    }

    /// Until another edition is the current one. A moment without an answer is a moment's affair.
    async fn follow(&self, before: &Standing, watch: &mut impl FnMut(&str, &Progress)) -> Result<Standing> {
        let mut moved_at = Instant::now();
        let mut last = Progress::default();
        loop {
            tokio::time::sleep(POLL).await;
            let standings = self.standings().await.unwrap_or_default();
            let found = standings.into_iter().find(|standing| standing.view == before.view);
            if let Some(standing) = found {
                if standing.current != before.current && standing.is_filled {
                    return Ok(standing);
                }
                let progress = standing.progress.unwrap_or_default();
                let marks = |progress: &Progress| (progress.phase, progress.events, progress.compared);
                if marks(&progress) != marks(&last) {
                    moved_at = Instant::now();
                }
                last = progress;
                watch(&before.view, &last);
            }
            if moved_at.elapsed() > STUCK {
                bail!(
                    "{} of {} has got no further for {STUCK:?} (it goes on trying)",
                    before.view,
                    self.upstream.service
                );
            }
        }
    }
}

/// A bar on a terminal, a line now and then elsewhere.
fn watcher() -> impl FnMut(&str, &Progress) {
    let bar = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {pos}/{len} events ({elapsed})");
        ProgressBar::new(0).with_style(style.expect("the template is ours"))
    });
    let mut said_at = Instant::now();
    move |view, progress| {
        let said = said(view, progress);
        match &bar {
            Some(bar) => {
                bar.set_length(progress.events_total);
                bar.set_position(progress.events);
                bar.set_message(said);
            }
            None if said_at.elapsed() > PLAIN_EVERY => {
                said_at = Instant::now();
                say::note(format_args!(
                    "{said}, {} of {} events",
                    progress.events, progress.events_total
                ));
            }
            None => {}
        }
    }
}

fn said(view: &str, progress: &Progress) -> String {
    match progress.phase {
        Phase::History => {
            let eta = progress
                .eta_s()
                .map_or_else(String::new, |eta| format!(", {eta:.0} s left"));
            format!("{view}: {:.0} events/s{eta}", progress.events_per_s())
        }
        Phase::Drain => format!("{view}: applying what happened meanwhile"),
        Phase::Compare => format!("{view}: {} versions compared", progress.compared),
    }
}

impl fmt::Display for Rebuilt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} ({}): {} events in {:.1} s ({:.0}/s), {} documents equal to the master's; now {}",
            self.service, self.view, self.events, self.seconds, self.events_per_s, self.compared, self.edition
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_info_services_are_rebuilt() {
        assert_eq!(services("all").expect("all of them").len(), 4);
        assert_eq!(services("menu-info").expect("one"), ["menu-info"]);
        assert!(services("order-master").is_err());
    }

    #[test]
    fn what_is_left_is_said_with_its_rate() {
        let progress = Progress {
            events: 1_000,
            events_total: 3_000,
            duration_ms: 500,
            ..Progress::default()
        };
        assert_eq!(said("order", &progress), "order: 2000 events/s, 1 s left");
    }
}
