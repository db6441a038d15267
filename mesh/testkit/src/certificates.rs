//! Certificates of every kind a test can meet: a service's own, another authority's, an expired one.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use mesh_identity::Mesh;
use mesh_identity::ca::{Authority, LEAF_VALID_FOR};
use mesh_local::secrets::random_hex;

use crate::shared::shared;

/// A folder with `tls.crt`, `tls.key` and `ca.crt` of a service.
///
/// # Panics
/// If it cannot be written.
pub fn bundle(service: &str) -> PathBuf {
    written(&authority(), service, LEAF_VALID_FOR)
}

/// A service's place in the mesh of this test binary. Needs a tokio runtime.
///
/// # Panics
/// If its certificates cannot be made.
pub fn mesh(service: &str) -> Mesh {
    Mesh::load(&bundle(service), service).expect("fresh certificates load")
}

/// As `bundle`, but the certificate expired an hour ago.
///
/// # Panics
/// If it cannot be written.
pub fn expired(service: &str) -> PathBuf {
    written(&authority(), service, SignedDuration::from_hours(-1))
}

/// As `bundle`, but signed by an authority that nobody here trusts; its `ca.crt` is ours, so that only one side refuses.
///
/// # Panics
/// If it cannot be written.
pub fn of_another_authority(service: &str) -> PathBuf {
    let other = Authority::create(&fresh_folder()).expect("a fresh folder is writable");
    let folder = written(&other, service, LEAF_VALID_FOR);
    std::fs::write(folder.join("ca.crt"), authority().cert_pem()).expect("a fresh folder is writable");
    folder
}

fn authority() -> Authority {
    Authority::load(shared().authority_dir()).expect("the authority was made with the servers")
}

fn written(authority: &Authority, service: &str, valid_for: SignedDuration) -> PathBuf {
    let folder = fresh_folder();
    let issued = authority
        .issue(service, &[], valid_for)
        .expect("a service's name makes a certificate");
    authority
        .write_issued(&folder, &issued)
        .expect("a fresh folder is writable");
    folder
}

fn fresh_folder() -> PathBuf {
    let parent: &Path = shared().folder();
    let folder = parent.join("certificates").join(random_hex(8));
    std::fs::create_dir_all(&folder).expect("the shared folder is writable");
    folder
}
