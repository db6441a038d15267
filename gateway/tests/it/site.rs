//! A gateway and everyone it talks to: peers that record what they are asked and answer as a test says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use gateway::config::Config;
use gateway::{App, Entrance, Gateway, router};
use http::{HeaderMap, Method, StatusCode, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mesh_contracts::id::{FoodPointId, UserId};
use mesh_contracts::user::Role;
use mesh_identity::ca::Authority;
use mesh_identity::jwt::{Issuer, LIFETIME_MAX, SigningKey};
use mesh_identity::{Client, ClientError, Mesh, Upstream, mesh};
use mesh_runtime::json::Json;
use mesh_runtime::server::{self, Accept};
use mesh_runtime::{Settings, Shutdown, headers};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};

pub const SERVICES: [&str; 10] = [
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
];
pub const ISSUER: &str = "https://tiffin.local";
pub const AUDIENCE: &str = "tiffin";
pub const SECRET: &str = "a consistency secret of the tests";

/// Few enough to be taken at once by a test that wants to.
pub const CALLS_MAX: usize = 16;

/// What a service was asked.
#[derive(Debug, Clone)]
pub struct Call {
    pub service: &'static str,
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Answering = Arc<dyn Fn(&Call) -> Response + Send + Sync>;

#[derive(Clone, Default)]
struct Peers {
    calls: Arc<Mutex<Vec<Call>>>,
    answers: Arc<Mutex<BTreeMap<&'static str, Answering>>>,
}

pub struct Site {
    pub dir: TempDir,
    pub authority: Authority,
    pub shutdown: Shutdown,
    pub key: SigningKey,
    pub mesh_address: SocketAddr,
    pub public_address: SocketAddr,
    peers: Peers,
    addresses: BTreeMap<&'static str, SocketAddr>,
    /// Ports of services that are not there yet: taken, and refusing.
    reserved: Mutex<BTreeMap<&'static str, TcpSocket>>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Site {
    /// Everyone is there.
    pub async fn start() -> Self {
        Self::without(&[]).await
    }

    /// Some services are not there yet.
    pub async fn without(missing: &[&str]) -> Self {
        Self::with(missing, &[]).await
    }

    /// The gateway is told more than it must be.
    pub async fn told(settings: &[(&str, &str)]) -> Self {
        Self::with(&[], settings).await
    }

    async fn with(missing: &[&str], settings: &[(&str, &str)]) -> Self {
        mesh_identity::install_crypto_provider();
        let dir = TempDir::new().unwrap();
        let authority = Authority::create(&dir.path().join("ca")).unwrap();
        let (mut addresses, mut reserved) = (BTreeMap::new(), BTreeMap::new());
        for service in SERVICES {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
            addresses.insert(service, socket.local_addr().unwrap());
            reserved.insert(service, socket);
        }
        let mut site = Self {
            dir,
            authority,
            shutdown: Shutdown::draining_within(Duration::from_secs(2)),
            key: SigningKey::generate(),
            mesh_address: ([127, 0, 0, 1], 0).into(),
            public_address: ([127, 0, 0, 1], 0).into(),
            peers: Peers::default(),
            addresses,
            reserved: Mutex::new(reserved),
        };
        let jwks = site.issuer().jwks();
        site.answer("user-master", move |call| match call.path.as_str() {
            "/jwks" => Json(jwks.clone()).into_response(),
            _ => fine(),
        });
        for service in SERVICES.into_iter().filter(|service| !missing.contains(service)) {
            site.start_peer(service);
        }
        (site.mesh_address, site.public_address) = site.gateway(settings).await;
        site
    }

    pub fn start_peer(&self, service: &'static str) {
        let socket = self
            .reserved
            .lock()
            .unwrap()
            .remove(service)
            .expect("not started before");
        let listener = socket.listen(1024).unwrap();
        let peers = self.peers.clone();
        let record = move |request: Request| async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let call = Call {
                service,
                method: head.method,
                path: head.uri.path_and_query().unwrap().to_string(),
                headers: head.headers,
                body,
            };
            let answering = peers.answers.lock().unwrap().get(service).cloned();
            let answer = answering.map_or_else(fine, |answering| answering(&call));
            if call.path != "/jwks" {
                peers.calls.lock().unwrap().push(call);
            }
            answer
        };
        let router = Router::new().fallback(record);
        let accept = self.mesh(service).server();
        tokio::spawn(server::serve(listener, accept, router, self.shutdown.clone()));
    }

    /// One more gateway before the same services; where it is for the mesh and for anyone.
    pub async fn gateway(&self, more: &[(&str, &str)]) -> (SocketAddr, SocketAddr) {
        let (app, own, config) = self.app(more);
        let public = mesh::public(&config.public.as_ref().unwrap().tls_dir).unwrap();
        let mesh = self.serve(own.server(), router(&app, Entrance::Mesh)).await;
        let public = self.serve(public, router(&app, Entrance::Public)).await;
        tokio::spawn(async move { app.share_limits(config.counts.as_ref()).await });
        (mesh, public)
    }

    /// One more gateway, which serves nobody yet.
    pub fn app(&self, more: &[(&str, &str)]) -> (App, Mesh, Config) {
        let tls_dir = self.bundle("gateway");
        let (upstreams, calls_max) = (self.upstreams(), CALLS_MAX.to_string());
        let mut settings = Settings::of(
            "gateway",
            [
                ("TIFFIN_MESH_LISTEN", "127.0.0.1:0"),
                ("TIFFIN_ADMIN_LISTEN", "127.0.0.1:0"),
                ("TIFFIN_PUBLIC_LISTEN", "127.0.0.1:0"),
                ("TIFFIN_TLS_DIR", tls_dir.to_str().unwrap()),
                ("TIFFIN_UPSTREAMS", &upstreams),
                ("TIFFIN_CONSISTENCY_SECRET", SECRET),
                ("TIFFIN_CALLS_MAX", &calls_max),
            ]
            .into_iter()
            .chain(more.iter().copied()),
        );
        let config = Config::from_settings(&mut settings);
        settings.finish().unwrap();
        let own = Mesh::load(&tls_dir, "gateway").unwrap();
        (Gateway::new(&config, &own, self.shutdown.clone()), own, config)
    }

    /// Where a service is.
    pub fn address(&self, service: &str) -> SocketAddr {
        self.addresses[service]
    }

    async fn serve(&self, accept: Accept, router: Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server::serve(listener, accept, router, self.shutdown.clone()));
        address
    }

    /// Where all services are, as the setting spells it.
    pub fn upstreams(&self) -> String {
        let entries: Vec<String> = self
            .addresses
            .iter()
            .map(|(service, address)| format!("{service}={address}"))
            .collect();
        entries.join(",")
    }

    pub fn bundle(&self, service: &str) -> std::path::PathBuf {
        self.authority.write_bundle(self.dir.path(), service).unwrap()
    }

    pub fn mesh(&self, service: &str) -> Mesh {
        Mesh::load(&self.bundle(service), service).unwrap()
    }

    /// From now on a service answers like this.
    pub fn answer(&self, service: &'static str, answer: impl Fn(&Call) -> Response + Send + Sync + 'static) {
        self.peers.answers.lock().unwrap().insert(service, Arc::new(answer));
    }

    /// What the services were asked, in order; the signing keys left out.
    pub fn calls(&self) -> Vec<Call> {
        self.peers.calls.lock().unwrap().clone()
    }

    /// The only thing that any service was asked.
    #[track_caller]
    pub fn only_call(&self) -> Call {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:#?}");
        calls.into_iter().next().unwrap()
    }

    #[track_caller]
    pub fn nobody_was_asked(&self) {
        let calls = self.calls();
        assert!(calls.is_empty(), "{calls:#?}");
    }

    pub fn issuer(&self) -> Issuer {
        Issuer::new(vec![self.key.clone()], ISSUER, AUDIENCE)
    }

    pub fn token(&self, role: Role) -> String {
        self.token_of(&UserId::new_v7(), role, &[])
    }

    pub fn token_of(&self, subject: &UserId, role: Role, points: &[FoodPointId]) -> String {
        self.issuer().access_token(subject, role, points, LIFETIME_MAX)
    }

    /// A genuine token that is past its time by more than the leeway.
    pub fn expired_token(&self, role: Role) -> String {
        let now = jiff::Timestamp::now().as_second();
        let payload = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": UserId::new_v7(), "role": role,
            "iat": now - 100, "exp": now - 10,
        });
        let header = Header {
            typ: Some("at+jwt".to_owned()),
            kid: Some(self.key.kid().to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        let key = EncodingKey::from_ec_pem(self.key.to_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(&header, &payload, &key).unwrap()
    }

    /// A client at the public door, as anyone has it.
    pub fn public(&self) -> Door {
        self.public_at(self.public_address)
    }

    /// The same, at another gateway.
    pub fn public_at(&self, address: SocketAddr) -> Door {
        Door {
            client: Client::public(self.authority.cert_pem().as_bytes()).unwrap(),
            gateway: Upstream::new("gateway", address.to_string()),
        }
    }

    /// A client at the mesh door under some identity.
    pub fn door(&self, mesh: &Mesh) -> Door {
        Door {
            client: mesh.client(),
            gateway: Upstream::new("gateway", self.mesh_address.to_string()),
        }
    }
}

/// Somebody in front of the gateway.
pub struct Door {
    client: Client,
    gateway: Upstream,
}

impl Door {
    pub async fn try_send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, ClientError> {
        self.client
            .request_within(&self.gateway, request, Duration::from_secs(15))
            .await
    }

    pub async fn send(&self, request: http::Request<Bytes>) -> Answered {
        let (head, body) = self.try_send(request).await.unwrap().into_parts();
        Answered {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    pub async fn open(&self, request: http::Request<Bytes>) -> http::Response<mesh_identity::client::Streamed> {
        self.client.stream(&self.gateway, request).await.unwrap()
    }
}

#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and kind of a refusal; it is a problem document, or the test fails.
    #[track_caller]
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let document = self.json();
        assert_eq!(document["status"], self.status.as_u16());
        let kind = document["type"].as_str().unwrap();
        (
            self.status.as_u16(),
            kind.strip_prefix("https://tiffin.dev/problems/").unwrap().to_owned(),
        )
    }
}

/// A request with what most need: a token, a key, JSON.
pub fn ask(method: &str, path: &str, token: &str, body: &Value) -> http::Request<Bytes> {
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    if method == "POST" {
        request = request.header(headers::IDEMPOTENCY_KEY, "a-key");
    }
    if body.is_null() {
        return request.body(Bytes::new()).unwrap();
    }
    request
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into())
        .unwrap()
}

pub fn get(path: &str, token: &str) -> http::Request<Bytes> {
    ask("GET", path, token, &Value::Null)
}

/// What a service answers when a test does not care.
pub fn fine() -> Response {
    Json(json!({ "id": "x", "status": "fine" })).into_response()
}

pub fn answer_json(status: u16, body: &Value) -> Response {
    let content_type = if status < 400 {
        "application/json"
    } else {
        "application/problem+json"
    };
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from(body.to_string()))
        .unwrap()
}

pub fn refusal(status: u16, kind: &str) -> Response {
    answer_json(
        status,
        &json!({ "type": format!("https://tiffin.dev/problems/{kind}"), "title": "no", "status": status, "state": "ready" }),
    )
}

pub async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let started = Instant::now();
    while !holds().await {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{what} did not happen in time"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
