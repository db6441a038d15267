//! The development certificate authority, for one machine and for tests. A cluster has Istio's.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::ParsedExtension;

use crate::spiffe;

/// Long enough that nobody's development data directory outlives it.
pub const CA_VALID_FOR: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// How long a service's certificate is good; a start of the platform issues fresh ones.
pub const LEAF_VALID_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How far certificates reach back, so that a clock that is a little behind accepts them.
const BACKDATED: Duration = Duration::from_secs(3600);

const CERT_FILE: &str = "ca.crt";
const KEY_FILE: &str = "ca.key";

/// A certificate authority whose key this process holds.
pub struct Authority {
    cert_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key, PKCS #8.
    pub key_pem: String,
}

impl Authority {
    /// Makes a new authority and keeps it in a folder, replacing what was there.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(dir: &Path) -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Tiffin development CA");
        let now = SystemTime::now();
        params.not_before = (now - BACKDATED).into();
        params.not_after = (now + CA_VALID_FOR.unsigned_abs()).into();
        let cert_pem = params.self_signed(&key)?.pem();
        std::fs::create_dir_all(dir).map_err(|err| CaError::write(dir, err))?;
        write_private(&dir.join(KEY_FILE), &key.serialize_pem())?;
        write_private(&dir.join(CERT_FILE), &cert_pem)?;
        Ok(Self {
            cert_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// Loads the authority that [`Authority::create`] kept in a folder.
    ///
    /// # Errors
    /// When there is none, or its files are damaged.
    pub fn load(dir: &Path) -> Result<Self, CaError> {
        let read = |name| {
            let path = dir.join(name);
            std::fs::read_to_string(&path).map_err(|source| CaError::Read { path, source })
        };
        let cert_pem = read(CERT_FILE)?;
        let key = KeyPair::from_pem(&read(KEY_FILE)?)?;
        let issuer = Issuer::from_ca_cert_pem(&cert_pem, key)?;
        Ok(Self { cert_pem, issuer })
    }

    /// Loads the authority of a folder, or makes one if there is none.
    ///
    /// # Errors
    /// As [`Authority::load`] and [`Authority::create`].
    pub fn load_or_create(dir: &Path) -> Result<Self, CaError> {
        if dir.join(KEY_FILE).exists() {
            Self::load(dir)
        } else {
            Self::create(dir)
        }
    }

    /// The authority's own certificate.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Issues a service's certificate: one SPIFFE URI; the given DNS names beside `localhost`, the
    /// service's name and 127.0.0.1; good for both ends of a connection. A negative `valid_for`
    /// makes one that has expired already.
    ///
    /// # Errors
    /// When a name cannot be part of a certificate.
    pub fn issue(&self, service: &str, dns_names: &[&str], valid_for: SignedDuration) -> Result<Issued, CaError> {
        let mut names = vec!["localhost", service, "127.0.0.1"];
        names.extend(dns_names);
        let mut params = CertificateParams::new(names.into_iter().map(str::to_owned).collect::<Vec<_>>())?;
        params
            .subject_alt_names
            .push(SanType::URI(spiffe::id(service).try_into()?));
        params.distinguished_name.push(DnType::CommonName, service);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        let until = if valid_for.is_negative() {
            now - valid_for.unsigned_abs()
        } else {
            now + valid_for.unsigned_abs()
        };
        params.not_before = (now.min(until) - BACKDATED).into();
        params.not_after = until.into();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let cert_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued {
            cert_pem,
            key_pem: key.serialize_pem(),
        })
    }

    /// Issues a service's certificate and writes its bundle into `dir/service`, which it returns:
    /// `tls.crt`, `tls.key`, `ca.crt`, readable by the owner alone.
    ///
    /// # Errors
    /// As [`Authority::issue`], or when the folder cannot be written.
    pub fn write_bundle(&self, dir: &Path, service: &str) -> Result<PathBuf, CaError> {
        let issued = self.issue(service, &[], LEAF_VALID_FOR)?;
        let bundle = dir.join(service);
        self.write_issued(&bundle, &issued)?;
        Ok(bundle)
    }

    /// Writes an issued certificate as a bundle into a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_issued(&self, bundle: &Path, issued: &Issued) -> Result<(), CaError> {
        write_trusted(bundle, &[self])?;
        issued.write(bundle)
    }
}

impl Issued {
    /// Writes certificate and key into the folder of a bundle that says already whom it trusts.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, bundle: &Path) -> Result<(), CaError> {
        write_private(&bundle.join("tls.key"), &self.key_pem)?;
        write_private(&bundle.join("tls.crt"), &self.cert_pem)
    }
}

/// Writes whom the bundle in a folder trusts, and leaves certificate and key as they are.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_trusted(bundle: &Path, authorities: &[&Authority]) -> Result<(), CaError> {
    std::fs::create_dir_all(bundle).map_err(|err| CaError::write(bundle, err))?;
    let trusted: String = authorities.iter().map(|authority| authority.cert_pem()).collect();
    write_private(&bundle.join("ca.crt"), &trusted)
}

/// What is written on a bundle's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The key of the authority that signed it, as its certificates call it; hexadecimal.
    pub authority: String,
    /// Until when it is good.
    pub until: Timestamp,
    /// The certificate itself, as it is shown in a handshake.
    pub der: CertificateDer<'static>,
}

/// Reads `tls.crt` of a bundle.
///
/// # Errors
/// When it is not there, or no certificate of an [`Authority`].
pub fn describe(bundle: &Path) -> Result<Described, CaError> {
    let path = bundle.join("tls.crt");
    let unreadable = || CaError::Unreadable { path: path.clone() };
    let pem = std::fs::read(&path).map_err(|source| CaError::Read {
        path: path.clone(),
        source,
    })?;
    let der = CertificateDer::from_pem_slice(&pem).map_err(|_| unreadable())?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|_| unreadable())?;
    let authority = parsed.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityKeyIdentifier(authority) = extension.parsed_extension() else {
            return None;
        };
        Some(authority.key_identifier.as_ref()?.0)
    });
    let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect();
    let until = Timestamp::from_second(parsed.validity().not_after.timestamp()).map_err(|_| unreadable())?;
    Ok(Described {
        authority: authority.map(hex).ok_or_else(unreadable)?,
        until,
        der: der.clone(),
    })
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<(), CaError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let fresh = path.with_extension("new");
    let write = || -> io::Result<()> {
        // Left over from a crash, it may have another mode.
        if let Err(err) = std::fs::remove_file(&fresh)
            && err.kind() != io::ErrorKind::NotFound
        {
            return Err(err);
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(|err| CaError::write(path, err))
}

/// Why the authority could not do it.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A certificate could not be made or read.
    #[error("certificate")]
    Certificate(#[from] rcgen::Error),
    /// A file is not there.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is there and is not what it should be.
    #[error("{} is no certificate of ours", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl CaError {
    fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }
}
