//! A service's own identity: its certificate, its key, and the authority it trusts; or a sidecar that has them.
//!
//! Client authentication is part of every configuration this file can build for the mesh, so a
//! reload has no way to lose it.

use std::path::Path;
use std::sync::Arc;

use mesh_runtime::process::MeshTls;
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
use crate::{crypto_provider, spiffe, xfcc};

pub use crate::reload::LoadError;

const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A service's place in the mesh. Clones share the certificates and their reloading.
#[derive(Clone)]
pub struct Mesh {
    service: Arc<str>,
    /// None: a sidecar's business.
    material: Option<Arc<Reloading<Material>>>,
}

/// What the files say, ready to use.
pub(crate) struct Material {
    pub(crate) own: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    server: Arc<ServerConfig>,
}

impl Mesh {
    /// What the settings say. Needs a tokio runtime.
    ///
    /// # Errors
    /// As [`Mesh::load`].
    pub fn of(tls: &MeshTls, service: &str) -> Result<Self, LoadError> {
        match tls {
            MeshTls::Mutual(dir) => Self::load(dir, service),
            MeshTls::Sidecar => Ok(Self::behind_a_sidecar(service)),
        }
    }

    /// A service whose sidecar proves who it is, and who its peers are.
    pub fn behind_a_sidecar(service: &str) -> Self {
        Self {
            service: service.into(),
            material: None,
        }
    }

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
        Ok(Self {
            service,
            material: Some(material),
        })
    }

    /// Whose identity this is.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Accepts peers: TLS 1.3, a client certificate of our authority required. Behind a sidecar: whom it names, and the
    /// listener must be on loopback.
    pub fn server(&self) -> Accept {
        let Some(material) = self.material.clone() else {
            return Accept::Sidecar(Arc::new(|headers, extensions| {
                extensions.insert(xfcc::peer(headers));
            }));
        };
        Accept::Tls(Tls {
            config: Arc::new(move || material.current().server.clone()),
            introduce: Arc::new(|chain, extensions| {
                extensions.insert(Peer::of(chain));
            }),
        })
    }

    /// Calls peers under this identity.
    pub fn client(&self) -> Client {
        match &self.material {
            Some(material) => Client::of_mesh(material.clone()),
            None => Client::behind_a_sidecar(),
        }
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
    Ok(Accept::Tls(Tls {
        config: Arc::new(move || config.current()),
        introduce: Arc::new(|_, extensions| {
            extensions.insert(Peer::Unknown(spiffe::Why::NoCertificate));
        }),
    }))
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
