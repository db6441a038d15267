//! Every service's mesh port: who is let in at all, and who may call what.
//!
//! The table below is the whole of it; a service or a group of routes that is missing from it fails the first test.

mod certificates;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{Method, Request, StatusCode};
use mesh_identity::{Client, ClientError, Mesh, Upstream};
use mesh_local::services::SERVICES;
use mesh_testkit::eventually_in;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::platform::{DEADLINE, shared};
use certificates::{Folder, expired, of_another_authority, of_the_platform};

/// Answers on a busy machine; a refused handshake takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Those whose certificates no service expects, beside the services themselves.
const OTHERS: [&str; 3] = ["tiffin", "ingress", "stranger"];

const FEED_PATH: &str = "/feed/heads";
const FEED: &[&str] = &[
    "gateway",
    "order-master",
    "basket-master",
    "menu-master",
    "point-master",
    "courier-master",
    "user-master",
    "order-info",
    "basket-info",
    "menu-info",
    "user-info",
    "tiffin",
];
const GATEWAY: &[&str] = &["gateway"];
const PROJECTIONS_PATH: &str = "/projections";
const COMMAND_LINE: &[&str] = &["tiffin"];

/// A route that stands for its group, and who may call it. Whoever reads a feed may leave out its own service:
/// nobody calls themselves.
struct Group {
    service: &'static str,
    method: Method,
    path: &'static str,
    peers: &'static [&'static str],
}

const fn group(service: &'static str, method: Method, path: &'static str, peers: &'static [&'static str]) -> Group {
    Group {
        service,
        method,
        path,
        peers,
    }
}

static GROUPS: [Group; 31] = [
    group("order-master", Method::POST, "/orders", GATEWAY),
    group(
        "order-master",
        Method::GET,
        "/orders/ord_00000000000000000000000001/history",
        GATEWAY,
    ),
    group("order-master", Method::GET, FEED_PATH, FEED),
    group(
        "basket-master",
        Method::PUT,
        "/basket/lines/prd_00000000000000000000000001",
        GATEWAY,
    ),
    group(
        "basket-master",
        Method::POST,
        "/baskets/usr_00000000000000000000000001/checkout",
        GATEWAY,
    ),
    group("basket-master", Method::POST, "/webhooks/payments", GATEWAY),
    group(
        "basket-master",
        Method::GET,
        FEED_PATH,
        &["order-master", "basket-info", "tiffin"],
    ),
    group("menu-master", Method::POST, "/products", GATEWAY),
    group("menu-master", Method::GET, FEED_PATH, FEED),
    group("point-master", Method::POST, "/food-points", GATEWAY),
    group("point-master", Method::GET, FEED_PATH, FEED),
    group("courier-master", Method::PUT, "/couriers/me/shift", GATEWAY),
    group("courier-master", Method::GET, FEED_PATH, FEED),
    group("user-master", Method::POST, "/sessions", GATEWAY),
    group(
        "user-master",
        Method::GET,
        "/people/usr_00000000000000000000000001",
        &["gateway", "user-info"],
    ),
    group("user-master", Method::GET, FEED_PATH, FEED),
    group("user-master", Method::POST, "/contacts", &["notifier"]),
    group("notifier", Method::GET, FEED_PATH, &["order-master", "tiffin"]),
    group("order-info", Method::GET, "/orders", GATEWAY),
    group(
        "order-info",
        Method::GET,
        "/deliveries/dlv_00000000000000000000000001/active-courier",
        &["user-info"],
    ),
    group("basket-info", Method::GET, "/basket", GATEWAY),
    group("menu-info", Method::GET, "/menu?country=DE", GATEWAY),
    group("user-info", Method::GET, "/me", GATEWAY),
    group("order-info", Method::GET, PROJECTIONS_PATH, COMMAND_LINE),
    group("basket-info", Method::GET, PROJECTIONS_PATH, COMMAND_LINE),
    group("menu-info", Method::GET, PROJECTIONS_PATH, COMMAND_LINE),
    group("user-info", Method::GET, PROJECTIONS_PATH, COMMAND_LINE),
    group("gateway", Method::GET, "/v1/menu?country=DE", &["ingress", "tiffin"]),
    group(
        "gateway",
        Method::POST,
        "/v1/webhooks/payments",
        &["ingress", "sandbox-payments"],
    ),
    group(
        "sandbox-payments",
        Method::GET,
        "/v1/ledger",
        &["basket-master", "tiffin"],
    ),
    group("sandbox-mail", Method::GET, "/v1/mails", &["tiffin"]),
];

#[tokio::test]
async fn a_connection_without_a_good_certificate_is_refused_at_every_port() {
    let folder = Folder::new();
    let (other, late) = (of_another_authority(&folder), expired(&folder));
    let ca = std::fs::read(shared().running().ca_cert()).expect("the authority's certificate is readable");
    for service in &SERVICES {
        let port = port(service.name);
        // Proof that the port answers those whom it should, so that silence means refusal.
        let friend = some_peer_of(service.name);
        answer_of(&client(&folder, friend), &port, first_group(service.name)).await;

        plaintext_is_refused(&port).await;
        let nobody = Client::public(&ca).expect("the authority's certificate is one");
        refuses(&nobody, &port, "no certificate").await;
        refuses(&other, &port, "another authority's certificate").await;
        refuses(&late, &port, "an expired certificate").await;
    }
}

/// Not one byte of HTTP comes back.
async fn plaintext_is_refused(port: &Upstream) {
    let mut tcp = TcpStream::connect(&port.address).await.expect("the port is open");
    let request = format!("GET /livez HTTP/1.1\r\nhost: {}\r\n\r\n", port.address);
    tcp.write_all(request.as_bytes()).await.expect("the connection is open");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(TIMEOUT, tcp.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "{port} keeps a plaintext connection open");
    assert!(
        !answer.windows(4).any(|bytes| bytes == b"HTTP"),
        "{port} answers in plaintext: {answer:?}"
    );
}

async fn refuses(client: &Client, port: &Upstream, why: &str) {
    match ask(client, port, first_group(&port.service)).await {
        // The handshake fails on their side or on ours; either way nothing was asked.
        Err(ClientError::Connect { .. } | ClientError::Broken { .. }) => {}
        Err(err) => panic!("{port} with {why}: {err}"),
        Ok((status, _)) => panic!("{port} answers {status} to somebody with {why}"),
    }
}

#[tokio::test]
async fn every_service_lets_only_those_peers_call_a_route_who_need_it() {
    let folder = Folder::new();
    let named: BTreeSet<&str> = GROUPS.iter().map(|group| group.service).collect();
    let all: BTreeSet<&str> = SERVICES.iter().map(|service| service.name).collect();
    assert_eq!(named, all, "the table names every service");

    let peers: Vec<&str> = all.into_iter().chain(OTHERS).collect();
    let clients: Vec<(&str, Client)> = peers.iter().map(|peer| (*peer, client(&folder, peer))).collect();
    let mut wrong = Vec::new();
    for group in &GROUPS {
        let port = port(group.service);
        let answers = join_all(
            clients
                .iter()
                .map(async |(peer, client)| (*peer, answer_of(client, &port, group).await)),
        )
        .await;
        for (peer, (status, kind)) in answers {
            let may = group.peers.contains(&peer);
            let is_in = (status, kind.as_str()) != (StatusCode::FORBIDDEN, "peer_not_allowed");
            let asks_itself = peer == group.service && group.path == FEED_PATH;
            if is_in != may && !asks_itself {
                wrong.push(format!(
                    "{peer} gets {status} {kind} from {} {} of {}",
                    group.method, group.path, group.service
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_peer_that_may_call_is_still_nobody_without_a_callers_word_or_a_key() {
    let folder = Folder::new();
    let tiffin = client(&folder, "tiffin");
    for master in SERVICES.iter().filter(|service| service.name.ends_with("-master")) {
        let feed = GROUPS
            .iter()
            .find(|group| group.service == master.name && group.path == FEED_PATH);
        let (status, _) = answer_of(&tiffin, &port(master.name), feed.expect("every master has a feed")).await;
        assert_eq!(status, StatusCode::OK, "tiffin audits the feed of {}", master.name);
    }
    let (status, _) = answer_of(&tiffin, &port("sandbox-payments"), first_group("sandbox-payments")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "the ledger wants the key as well");
    let through_the_door = answer_of(&tiffin, &port("gateway"), first_group("gateway")).await;
    assert_eq!(through_the_door, (StatusCode::UNAUTHORIZED, "token_missing".to_owned()));
    let gateway = client(&folder, "gateway");
    for info in SERVICES.iter().filter(|service| service.name.ends_with("-info")) {
        let answer = answer_of(&gateway, &port(info.name), first_group(info.name)).await;
        let unknown = (StatusCode::UNAUTHORIZED, "caller_unknown".to_owned());
        assert_eq!(answer, unknown, "{}", info.name);
    }
}

/// What is answered: the status, and the kind of problem if it is one. Tried again for as long as no connection comes
/// about, since a crowd of handshakes takes its time on a busy machine.
async fn answer_of(client: &Client, port: &Upstream, group: &Group) -> (StatusCode, String) {
    let name = format!("{port} answers {} {}", group.method, group.path);
    eventually_in(&name, DEADLINE, || async {
        match ask(client, port, group).await {
            Ok(answer) => Some(answer),
            Err(err) if err.nothing_was_sent() => None,
            Err(err) => panic!("{name}: {err}"),
        }
    })
    .await
}

async fn ask(client: &Client, port: &Upstream, group: &Group) -> Result<(StatusCode, String), ClientError> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = group.method.clone();
    *request.uri_mut() = group.path.parse().expect("a path of the table");
    let answer = client.request_within(port, request, TIMEOUT).await?;
    let problem: Value = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
    let kind = problem["type"].as_str().and_then(|kind| kind.rsplit('/').next());
    Ok((answer.status(), kind.unwrap_or_default().to_owned()))
}

fn first_group(service: &str) -> &'static Group {
    GROUPS
        .iter()
        .find(|group| group.service == service)
        .expect("the table names every service")
}

fn some_peer_of(service: &str) -> &'static str {
    first_group(service).peers[0]
}

/// Where a service listens for its peers.
fn port(service: &str) -> Upstream {
    let process = shared().running().process(service).expect("every service runs");
    Upstream::new(service, process.address.to_string())
}

/// Calls under a service's own certificate.
fn client(folder: &Folder, service: &str) -> Client {
    let bundle = of_the_platform(folder, service);
    Mesh::load(&bundle, service)
        .expect("a fresh certificate loads")
        .client()
}
