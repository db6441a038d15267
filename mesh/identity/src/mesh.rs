//! A service's own identity: its certificate, its key, and the authority it trusts.
//!
//! Client authentication is part of every configuration this file can build for the mesh, so a
//! reload has no way to lose it.

use std::path::Path;
use std::sync::Arc;

use mesh_runtime::server::{Accept, Tls};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use crate::client::Client;
use crate::peer::Peer;
use crate::reload::{Contents, Reloading};
use crate::{crypto_provider, spiffe};

pub use crate::reload::LoadError;

const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A service's place in the mesh. Clones share the certificates and their reloading.
#[derive(Clone)]
pub struct Mesh {
    service: Arc<str>,
    material: Arc<Reloading<Material>>,
}

/// What the files say, ready to use.
pub(crate) struct Material {
    pub(crate) own: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    server: Arc<ServerConfig>,
    public: Arc<ServerConfig>,
}

impl Mesh {
    /// Loads `tls.crt`, `tls.key` and `ca.crt` of a service and watches them for changes.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// When they are not there, do not fit together, or are another service's.
    pub fn load(dir: &Path, service: &str) -> Result<Self, LoadError> {
        let expected: Arc<str> = service.into();
        let service = expected.clone();
        let material = Reloading::start(dir, &["tls.crt", "tls.key", "ca.crt"], move |files| {
            material(files, &expected)
        })?;
        Ok(Self { service, material })
    }

    /// Whose identity this is.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Accepts peers: TLS 1.3, a client certificate of our authority required.
    pub fn server(&self) -> Accept {
        let material = self.material.clone();
        Accept::Tls(Tls {
            config: Arc::new(move || material.current().server.clone()),
            introduce: Arc::new(|chain, extensions| {
                extensions.insert(Peer::of(chain));
            }),
        })
    }

    /// Accepts anyone over TLS with this service's certificate; nobody is asked for theirs.
    pub fn public(&self) -> Accept {
        let material = self.material.clone();
        public_accept(move || material.current().public.clone())
    }

    /// Calls peers under this identity.
    pub fn client(&self) -> Client {
        Client::of_mesh(self.material.clone())
    }
}

/// Accepts anyone over TLS with the `tls.crt` and `tls.key` of a folder, which need not be
/// certificates of the mesh. Watches them for changes; needs a tokio runtime.
///
/// # Errors
/// When they are not there or do not fit together.
pub fn public(dir: &Path) -> Result<Accept, LoadError> {
    let config = Reloading::start(dir, &["tls.crt", "tls.key"], |files| {
        public_config(Arc::new(certified_key(files)?))
    })?;
    Ok(public_accept(move || config.current()))
}

fn public_accept(config: impl Fn() -> Arc<ServerConfig> + Send + Sync + 'static) -> Accept {
    Accept::Tls(Tls {
        config: Arc::new(config),
        introduce: Arc::new(|_, extensions| {
            extensions.insert(Peer::Unknown(spiffe::Why::NoCertificate));
        }),
    })
}

fn material(files: &Contents, expected: &str) -> Result<Material, LoadError> {
    let own = Arc::new(certified_key(files)?);
    let found = spiffe::service_of(own.end_entity_cert()?);
    if found.as_deref() != Ok(expected) {
        let found = found.unwrap_or_else(|why| why.to_string());
        return Err(LoadError::OtherService {
            expected: expected.to_owned(),
            found,
        });
    }
    let roots = Arc::new(roots(&files[2])?);
    Ok(Material {
        server: Arc::new(mesh_config(own.clone(), roots.clone())?),
        public: Arc::new(public_config(own.clone())?),
        own,
        roots,
    })
}

fn mesh_config(own: Arc<CertifiedKey>, roots: Arc<RootCertStore>) -> Result<ServerConfig, LoadError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, crypto_provider()).build()?;
    let mut config = ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    // A resumed session would carry on with a certificate that has expired, or whose authority
    // is not trusted any more. Pooled connections make full handshakes rare anyway.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn public_config(own: Arc<CertifiedKey>) -> Result<ServerConfig, LoadError> {
    let mut config = ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(config)
}

fn certified_key(files: &Contents) -> Result<CertifiedKey, LoadError> {
    let chain = certificates("tls.crt", &files[0])?;
    let key = PrivateKeyDer::from_pem_slice(&files[1]).map_err(|err| LoadError::Malformed {
        file: "tls.key",
        reason: err.to_string(),
    })?;
    // Checks that certificate and key belong together.
    Ok(CertifiedKey::from_der(chain, key, &crypto_provider())?)
}

pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca.crt", pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn certificates(file: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(LoadError::Malformed {
            file,
            reason: "no certificate in it".to_owned(),
        }),
        Err(err) => Err(LoadError::Malformed {
            file,
            reason: err.to_string(),
        }),
    }
}
