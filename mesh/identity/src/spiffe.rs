//! Identities in Istio's form: `spiffe://<trust-domain>/ns/<namespace>/sa/<service>`,
//! exactly one URI in a certificate.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// Whose certificates are ours.
pub const TRUST_DOMAIN: &str = "tiffin.local";
/// The Kubernetes namespace of the platform.
pub const NAMESPACE: &str = "tiffin";

/// Why a peer's identity is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The connection has no TLS.
    #[error("plaintext")]
    Plaintext,
    /// The peer showed no certificate.
    #[error("no certificate")]
    NoCertificate,
    /// The certificate does not parse.
    #[error("unreadable certificate")]
    Unreadable,
    /// The certificate names no URI.
    #[error("no identity in the certificate")]
    NoIdentity,
    /// The certificate names several URIs, so it is nobody's.
    #[error("several identities in the certificate")]
    ManyIdentities,
    /// The one URI is of another trust domain, namespace or form.
    #[error("foreign identity")]
    Foreign,
}

/// The SPIFFE id of a service.
pub fn id(service: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/ns/{NAMESPACE}/sa/{service}")
}

/// The service that a certificate names. Says nothing about who signed it.
///
/// # Errors
/// When it does not name exactly one service of ours.
pub fn service_of(certificate: &CertificateDer<'_>) -> Result<String, Why> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| Why::Unreadable)?;
    let names = parsed.subject_alternative_name().map_err(|_| Why::Unreadable)?;
    let uris = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    service_among(uris)
}

/// The service that the URIs of a certificate name.
///
/// # Errors
/// When they are not exactly one, of a service of ours.
pub fn service_among<'a>(mut uris: impl Iterator<Item = &'a str>) -> Result<String, Why> {
    let uri = uris.next().ok_or(Why::NoIdentity)?;
    if uris.next().is_some() {
        return Err(Why::ManyIdentities);
    }
    let service = uri.strip_prefix(&id("")).ok_or(Why::Foreign)?;
    let well_formed = !service.is_empty()
        && service
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if well_formed {
        Ok(service.to_owned())
    } else {
        Err(Why::Foreign)
    }
}
