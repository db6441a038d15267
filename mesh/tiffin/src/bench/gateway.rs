//! What the gateway costs: one order read through it, through Envoy in its place, and from order-info directly, by peers
//! with certificates on both sides, each with every token verified and with tokens that were verified before.
//!
//! All three are asked over HTTP/1.1. Gateway and Envoy ask order-info over HTTP/1.1 both, then over HTTP/2 both: a gateway
//! does the first among several of each service, the second on one machine, and Envoy's clients mostly the second.

mod envoy;
mod second;

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http::{HeaderMap, Request, header};
use mesh_contracts::id::OrderId;
use mesh_contracts::order::Kind;
use mesh_contracts::user::Role;
use mesh_identity::{Caller, Client, Mesh, Upstream};
use mesh_local::running::Running;
use mesh_local::services::COMMAND_LINE;
use mesh_local::supervise::Process;

use super::Site;
use super::cpu::Cpu;
use super::door::Door;
use super::load::{LUNCH, Ready, customers, place_order};
use super::pace::{Call, Latency, evenly, most};
use super::people::People;
use super::row::Row;
use super::seen::Watch;
use super::shop::{Plan, Shop};
use crate::say::Steps;
use envoy::Envoy;
use second::Second;

/// What the project promises: what the gateway adds at half load.
const ADDED_P99_MS_MAX: f64 = 1.0;

/// How order-info is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1 to order-info",
            Self::Http2 => "HTTP/2 to order-info",
        }
    }

    /// Its options in Envoy's words, and its name in a handshake.
    fn of_envoy(self) -> (&'static str, &'static str) {
        match self {
            Self::Http1 => ("http_protocol_options", "http/1.1"),
            Self::Http2 => ("http2_protocol_options", "h2"),
        }
    }
}

/// Callers who ask again when they are answered.
const CALLERS: usize = 32;

/// As many as the gateway has to each service on one machine.
const HTTP2_CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN;

/// People who read their order.
const CUSTOMERS: usize = 50;

/// Tokens that are not seen again before three times as many as the gateway remembers have been.
const TOKENS: usize = 60_000;

const EXAMPLES: &str = "\
Examples:
  tiffin bench gateway
  tiffin bench gateway --seconds 10 --json

Both are asked over HTTP/1.1 with certificates on both sides, at the same rate, one after the other.
Both ask order-info over HTTP/1.1, which the gateway does in a second process, as it would unless
TIFFIN_HTTP2_CONNECTIONS said otherwise, and then both over HTTP/2, as the gateway of a platform on one machine.";

/// How to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// For how long each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    #[command(flatten)]
    site: Site,
}

/// Somebody to ask, and the process that answers.
struct Way {
    call: Call,
    process: Option<Process>,
}

/// How fast a way is.
struct Speed {
    per_s: f64,
    /// Of the process, for each request at the same load as the others.
    cpu_us: f64,
    /// Not answered with 2xx: the gateway sheds what it cannot do in time.
    refused: u64,
    latency: Latency,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    args.site
        .rows(async |running, steps| measure(&args, running, steps).await)
        .await
}

async fn measure(args: &Args, running: &Running, steps: &Steps) -> Result<Vec<Row>> {
    let (door, people) = (Door::of(running)?, People::of(running).await?);
    let plan = Plan {
        points: 10,
        kind: Kind::PickUp,
        auto_accept: true,
        prep_minutes: 60,
        ..LUNCH
    };
    let shop = Shop::open(running, &plan, steps).await?;
    let ready = customers(running, (&door, &people, &shop), CUSTOMERS, steps).await?;
    let ordering = ready.iter().map(|customer| place_order(&door, customer, Kind::PickUp));
    let orders = try_join_all(ordering).await?;
    Watch::redis(running).await?.seen.quiet().await;

    let ingress = client(running, COMMAND_LINE)?;
    let span = Duration::from_secs(args.seconds);
    let mut rows = Vec::new();
    for (is_cached, protocol) in [true, false]
        .into_iter()
        .flat_map(|is_cached| [Protocol::Http1, Protocol::Http2].map(|protocol| (is_cached, protocol)))
    {
        let known = if is_cached {
            "tokens known"
        } else {
            "every token verified"
        };
        let mode = format!("{known}, {}", protocol.name());
        steps.step(&format!("signing tokens: {mode}"));
        let tokens = tokens(&people, &ready, if is_cached { CUSTOMERS } else { TOKENS });
        let stand_in = Envoy::start(running, &people.jwks(), is_cached, protocol, steps).await?;
        let direct = client(running, "gateway")?;
        let (second, direct) = match protocol {
            Protocol::Http1 => (Some(Second::start(running).await?), direct),
            Protocol::Http2 => (None, direct.over_http2(HTTP2_CONNECTIONS)),
        };
        let gateway = match &second {
            Some(second) => second.process.clone(),
            None => running.process("gateway")?,
        };
        let through = |name: &str, address: String| read(&ingress, Upstream::new(name, address), &orders, &tokens);
        let order_info = running.process("order-info")?;
        let ways = [
            Way {
                call: through("gateway", gateway.address.to_string()),
                process: Some(gateway),
            },
            // It shows the gateway's certificate, as it must to order-info.
            Way {
                call: through("gateway", stand_in.address.to_string()),
                process: Some(stand_in.process.clone()),
            },
            Way {
                call: directly(&direct, &order_info, &ready, &orders),
                process: None,
            },
        ];
        let mut rates = Vec::new();
        for way in &ways {
            steps.step(&format!("as fast as possible: {mode}"));
            rates.push(most(CALLERS, span, &way.call).await?.0);
        }
        // Half of what the slower of the two can do, for all: like is compared with like.
        let half = rates[0].min(rates[1]) / 2.0;
        let mut speeds = Vec::new();
        for (way, per_s) in ways.iter().zip(rates) {
            steps.step(&format!("{half:.0} per second: {mode}"));
            speeds.push(at_rate(way, per_s, half, span).await?);
        }
        let [ours, envoys, direct] = speeds.try_into().ok().context("three ways")?;
        rows.extend(rows_of(&mode, half, &ours, &envoys, &direct));
    }
    Ok(rows)
}

fn client(running: &Running, identity: &str) -> Result<Client> {
    Ok(Mesh::load(&running.certificates(identity), identity)?.client())
}

/// Each customer's in turn, none twice.
fn tokens(people: &People, ready: &[Ready], count: usize) -> Arc<[String]> {
    let customers = ready.iter().cycle().take(count);
    customers
        .map(|customer| people.token(&customer.id, Role::Customer))
        .collect()
}

/// Each customer reads the own order.
fn read(client: &Client, upstream: Upstream, orders: &[OrderId], tokens: &Arc<[String]>) -> Call {
    let paths: Vec<String> = orders.iter().map(|order| format!("/v1/orders/{order}")).collect();
    let (client, tokens) = (client.clone(), tokens.clone());
    Arc::new(move |nth| {
        let request = Request::get(&paths[nth % paths.len()])
            .header(header::AUTHORIZATION, format!("Bearer {}", tokens[nth % tokens.len()]));
        Box::pin(ask(client.clone(), upstream.clone(), request.body(Bytes::new())))
    })
}

/// The same from order-info, in the gateway's name.
fn directly(client: &Client, order_info: &Process, ready: &[Ready], orders: &[OrderId]) -> Call {
    let asked: Vec<(String, HeaderMap)> = ready
        .iter()
        .zip(orders)
        .map(|(customer, order)| {
            let caller = Caller {
                subject: customer.id,
                role: Role::Customer,
                points: Vec::new(),
                region: None,
            };
            let mut headers = HeaderMap::new();
            caller.write(&mut headers);
            (format!("/orders/{order}"), headers)
        })
        .collect();
    let client = client.clone();
    let upstream = Upstream::new("order-info", order_info.address.to_string());
    Arc::new(move |nth| {
        let (path, headers) = &asked[nth % asked.len()];
        let request = Request::get(path).body(Bytes::new()).map(|mut request| {
            request.headers_mut().extend(headers.clone());
            request
        });
        Box::pin(ask(client.clone(), upstream.clone(), request))
    })
}

async fn ask(client: Client, upstream: Upstream, request: http::Result<Request<Bytes>>) -> Result<()> {
    let answer = client.request(&upstream, request?).await?;
    ensure!(
        answer.status().is_success(),
        "{} answered {}",
        upstream.address,
        answer.status()
    );
    Ok(())
}

async fn at_rate(way: &Way, per_s: f64, rate: f64, span: Duration) -> Result<Speed> {
    let before = Cpu::of(way.process.as_slice());
    let outcome = evenly((rate * span.as_secs_f64()) as usize, span, |nth| (way.call)(nth)).await?;
    let cpu = Cpu::of(way.process.as_slice()).since(&before, outcome.sent);
    let own = way.process.as_ref().map(|process| process.name.as_str());
    let own = cpu.iter().find(|share| Some(share.process.as_str()) == own);
    Ok(Speed {
        per_s,
        cpu_us: own.map_or(0.0, |share| share.ms_each * 1_000.0),
        refused: outcome.failed(),
        latency: outcome.latency,
    })
}

fn rows_of(mode: &str, half: f64, ours: &Speed, envoys: &Speed, direct: &Speed) -> Vec<Row> {
    let row = |what: String, unit, value| Row::new("gateway", what, unit, value);
    let added = |speed: &Speed, part: f64| speed.latency.ms(part) - direct.latency.ms(part);
    let added_row = |name: &str, part: f64| {
        row(format!("added at {half:.0}/s, {name}, {mode}"), "ms", added(ours, part))
            .beside("Envoy", added(envoys, part))
    };
    vec![
        row(
            format!("refused at {half:.0}/s, {mode}"),
            "requests",
            ours.refused as f64,
        )
        .beside("Envoy", envoys.refused as f64)
        .at_most(0.0),
        row(format!("from {CALLERS} callers, {mode}"), "1/s", ours.per_s).beside("Envoy", envoys.per_s),
        row(format!("from {CALLERS} callers, {mode}"), "1/s", ours.per_s).beside("order-info directly", direct.per_s),
        row(format!("processor for each at {half:.0}/s, {mode}"), "µs", ours.cpu_us)
            .beside("Envoy", envoys.cpu_us)
            .ratio_at_most(1.0),
        added_row("p50", 0.5),
        added_row("p99", 0.99).at_most(ADDED_P99_MS_MAX.min(added(envoys, 0.99).max(0.0))),
    ]
}
