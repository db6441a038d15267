//! Who gets in at a mesh port.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::SignedDuration;
use mesh_identity::ca::LEAF_VALID_FOR;
use mesh_identity::{ClientError, Mesh};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::site::{Server, Site, routes, serve};

const EXPIRED: SignedDuration = SignedDuration::from_mins(-5);

async fn order_master(site: &Site) -> Server {
    serve(site.mesh("order-master").server(), routes()).await
}

async fn guarded(mesh: &Mesh, server: &Server) -> Result<String, ClientError> {
    mesh.client()
        .get_json(&server.as_service("order-master"), "/guarded")
        .await
}

#[tokio::test]
async fn a_known_peer_gets_in() {
    let site = Site::new();
    let server = order_master(&site).await;
    assert_eq!(guarded(&site.mesh("gateway"), &server).await.unwrap(), "welcome");
    assert_eq!(guarded(&site.mesh("order-info"), &server).await.unwrap(), "welcome");
}

#[tokio::test]
async fn another_service_is_refused_with_403() {
    let site = Site::new();
    let server = order_master(&site).await;
    let refused = guarded(&site.mesh("menu-info"), &server).await.unwrap_err();
    let ClientError::Status { status, problem, .. } = refused else {
        panic!("{refused}")
    };
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(problem["type"], "https://tiffin.dev/problems/peer_not_allowed");
}

#[tokio::test]
async fn plaintext_is_refused() {
    let server = order_master(&Site::new()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(
        !String::from_utf8_lossy(&answer).contains("HTTP/1.1"),
        "a TLS alert at most"
    );
}

#[tokio::test]
async fn a_missing_client_certificate_is_refused() {
    let site = Site::new();
    let server = order_master(&site).await;
    assert!(answer_without_certificate(&site, &server).await.is_none());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_both_ends() {
    let site = Site::new();
    let server = order_master(&site).await;
    let stranger = site.mesh_of_other_authority("gateway");
    let refused = guarded(&stranger, &server).await.unwrap_err();
    assert!(matches!(refused, ClientError::Broken { .. }), "{refused}");

    let server = serve(site.mesh_of_other_authority("order-master").server(), routes()).await;
    let refused = guarded(&site.mesh("gateway"), &server).await.unwrap_err();
    assert!(refused.nothing_was_sent(), "{refused}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_both_ends() {
    let site = Site::new();
    let server = order_master(&site).await;
    let late = site.mesh_issued_by(&site.authority, "gateway", EXPIRED);
    let refused = guarded(&late, &server).await.unwrap_err();
    assert!(matches!(refused, ClientError::Broken { .. }), "{refused}");

    let server = serve(
        site.mesh_issued_by(&site.authority, "order-master", EXPIRED).server(),
        routes(),
    )
    .await;
    let refused = guarded(&site.mesh("gateway"), &server).await.unwrap_err();
    assert!(refused.nothing_was_sent(), "{refused}");
}

#[tokio::test]
async fn a_server_that_is_another_service_is_not_talked_to() {
    let site = Site::new();
    let server = serve(site.mesh("menu-master").server(), routes()).await;
    let refused = guarded(&site.mesh("gateway"), &server).await.unwrap_err();
    assert!(refused.nothing_was_sent(), "{refused}");
}

#[tokio::test]
async fn a_certificate_with_no_or_two_identities_is_nobody() {
    let site = Site::new();
    let server = order_master(&site).await;
    let gateway = "spiffe://tiffin.local/ns/tiffin/sa/gateway";
    assert_eq!(
        status_for(&site, &server, &[gateway]).await.as_deref(),
        Some("200"),
        "the control"
    );
    assert_eq!(status_for(&site, &server, &[]).await.as_deref(), Some("403"));
    let order_info = "spiffe://tiffin.local/ns/tiffin/sa/order-info";
    assert_eq!(
        status_for(&site, &server, &[gateway, order_info]).await.as_deref(),
        Some("403")
    );
    for foreign in [
        "spiffe://evil.local/ns/tiffin/sa/gateway",
        "spiffe://tiffin.local/ns/other/sa/gateway",
        "https://tiffin.local/ns/tiffin/sa/gateway",
    ] {
        assert_eq!(
            status_for(&site, &server, &[foreign]).await.as_deref(),
            Some("403"),
            "{foreign}"
        );
    }
}

#[tokio::test]
async fn a_bundle_of_another_service_does_not_load() {
    let site = Site::new();
    let refused = Mesh::load(&site.bundle("menu-master"), "order-master").err().unwrap();
    assert!(refused.to_string().contains("not that of order-master"), "{refused}");
}

#[tokio::test]
async fn a_public_port_asks_nobody_for_a_certificate() {
    let site = Site::new();
    let server = serve(mesh_identity::mesh::public(&site.bundle("gateway")).unwrap(), routes()).await;
    let client = mesh_identity::Client::public(site.authority.cert_pem().as_bytes()).unwrap();
    let peer: String = client.get_json(&server.as_service("gateway"), "/peer").await.unwrap();
    assert_eq!(peer, "unknown (no certificate)");
    let stranger = mesh_identity::Client::public(Site::new().authority.cert_pem().as_bytes()).unwrap();
    let refused = stranger
        .get_json::<String>(&server.as_service("gateway"), "/peer")
        .await
        .unwrap_err();
    assert!(refused.nothing_was_sent());
}

#[tokio::test]
async fn http2_is_spoken_to_those_who_ask_for_it() {
    let site = Site::new();
    let server = serve(mesh_identity::mesh::public(&site.bundle("gateway")).unwrap(), routes()).await;
    let mut config = config_builder(&site).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::get("https://localhost/peer")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(
            (answer.status(), answer.version()),
            (StatusCode::OK, http::Version::HTTP_2)
        );
        assert_eq!(
            answer.into_body().collect().await.unwrap().to_bytes(),
            "\"unknown (no certificate)\""
        );
    }
}

#[test]
fn bundles_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    let bundle = site.bundle("order-master");
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        let mode = fs::metadata(bundle.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// The answer to `GET /guarded` of a client that shows no certificate.
pub async fn answer_without_certificate(site: &Site, server: &Server) -> Option<String> {
    let config = config_builder(site).with_no_client_auth();
    guarded_by_hand(config, server).await
}

/// The status that a client gets whose certificate, signed by our authority, names these URIs.
async fn status_for(site: &Site, server: &Server, uris: &[&str]) -> Option<String> {
    let read = |name| fs::read_to_string(site.dir.path().join("ca").join(name)).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), KeyPair::from_pem(&read("ca.key")).unwrap()).unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = std::time::SystemTime::now()
        .checked_add(LEAF_VALID_FOR.unsigned_abs())
        .unwrap()
        .into();
    for uri in uris {
        params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config_builder(site)
        .with_client_auth_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let answer = guarded_by_hand(config, server).await?;
    answer.split(' ').nth(1).map(str::to_owned)
}

fn config_builder(site: &Site) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(site.authority.cert_pem().as_bytes()).unwrap())
        .unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
}

/// None: the connection was refused before any HTTP.
async fn guarded_by_hand(config: ClientConfig, server: &Server) -> Option<String> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    stream
        .write_all(b"GET /guarded HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.starts_with("HTTP/1.1").then_some(answer)
}
