//! One connection to one service: TCP, TLS, and the proof of who answers; or TCP to a sidecar.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower::Service;

use super::{BoxError, CONNECT_TIMEOUT, Upstream};
use crate::mesh::Material;
use crate::reload::Reloading;
use crate::{crypto_provider, spiffe};

/// What a client of HTTP/2 says first: its preface, and that it wants nothing special. Any server answers.
const HTTP2_GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Whom a client believes, and who it is itself.
#[derive(Clone)]
pub(super) enum Trust {
    /// Peers, by their SPIFFE id, showing our own.
    Mesh(Arc<Reloading<Material>>),
    /// Servers, by their host name, showing nothing.
    Public(Arc<Reloading<RootCertStore>>),
    /// Whoever the sidecar believes; it catches what is sent to the address.
    Sidecar,
}

/// Connects to one service, whatever the URI says.
#[derive(Clone)]
pub(super) struct Connector {
    trust: Trust,
    upstream: Arc<Upstream>,
    /// Asked for in the handshake; HTTP/1.1 if nothing is.
    is_http2: bool,
}

impl Connector {
    pub(super) fn new(trust: Trust, upstream: Upstream) -> Self {
        Self {
            trust,
            upstream: Arc::new(upstream),
            is_http2: false,
        }
    }

    pub(super) fn over_http2(self) -> Self {
        Self { is_http2: true, ..self }
    }

    async fn connect(self) -> Result<Stream, BoxError> {
        let connection = match self.trust {
            Trust::Sidecar => Either::Right(self.tcp().await?),
            Trust::Mesh(_) | Trust::Public(_) => Either::Left(self.handshake().await?),
        };
        Ok(Stream(TokioIo::new(connection)))
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let tcp = TcpStream::connect(&self.upstream.address).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// The certificate that the peer shows, once it has taken ours.
    pub(super) async fn meet(self) -> Result<CertificateDer<'static>, BoxError> {
        let mut tls = self.over_http2().handshake().await?;
        let (_, session) = tls.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first).cloned();
        // In TLS 1.3 a server looks at our certificate when we have long been done: only what it says next tells.
        tls.write_all(HTTP2_GREETING).await?;
        tls.read_exact(&mut [0]).await?;
        shown.ok_or_else(|| "no certificate was shown".into())
    }

    async fn handshake(self) -> Result<TlsStream<TcpStream>, BoxError> {
        let tcp = self.tcp().await?;
        // Built per connection from the newest certificates; nothing in it is slow to build.
        let mut config = self.config()?;
        if self.is_http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let connector = TlsConnector::from(Arc::new(config));
        Ok(connector.connect(self.server_name()?, tcp).await?)
    }

    fn config(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = crypto_provider();
        match &self.trust {
            Trust::Mesh(material) => {
                let material = material.current();
                let verifier = ServiceVerifier {
                    expected: self.upstream.service.clone(),
                    roots: material.roots.clone(),
                    provider: provider.clone(),
                };
                let mut config = ClientConfig::builder_with_provider(provider)
                    .with_protocol_versions(&[&TLS13])?
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
                    .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(material.own.clone())));
                config.resumption = Resumption::disabled();
                Ok(config)
            }
            Trust::Public(roots) => Ok(ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&TLS13, &TLS12])?
                .with_root_certificates(roots.current())
                .with_no_client_auth()),
            Trust::Sidecar => Err(rustls::Error::General(
                "behind a sidecar, TLS is its business".to_owned(),
            )),
        }
    }

    fn server_name(&self) -> Result<ServerName<'static>, BoxError> {
        let name = match &self.trust {
            Trust::Mesh(_) => self.upstream.service.as_str(),
            Trust::Public(_) | Trust::Sidecar => self
                .upstream
                .address
                .rsplit_once(':')
                .map_or(self.upstream.address.as_str(), |(host, _)| host),
        };
        Ok(ServerName::try_from(name.trim_matches(['[', ']']).to_owned())?)
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connect = self.clone().connect();
        Box::pin(async { tokio::time::timeout(CONNECT_TIMEOUT, connect).await? })
    }
}

/// Accepts a certificate that chains to our authority, is in date, and names exactly the service
/// that was meant. Host names play no part: in a mesh the identity is the SPIFFE id.
#[derive(Debug)]
struct ServiceVerifier {
    expected: String,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServiceVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        match spiffe::service_of(end_entity) {
            Ok(found) if found == self.expected => Ok(ServerCertVerified::assertion()),
            Ok(_) | Err(_) => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// An open connection. A type of its own only because the pool asks what it is connected to.
pub(super) struct Stream(TokioIo<Either<TlsStream<TcpStream>, TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Stream")
    }
}
