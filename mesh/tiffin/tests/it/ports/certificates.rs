//! Certificates as the platform's authority would issue them, and as it would not.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use mesh_identity::ca::{Authority, LEAF_VALID_FOR};
use mesh_identity::{Client, Mesh};
use tempfile::TempDir;

use crate::platform::shared;

/// Whose name the bad ones bear: somebody whom every service would let in.
const CLAIMED: &str = "gateway";

/// Where a test keeps its certificates.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn fresh(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A good certificate for a service, or for anyone else.
pub fn of_the_platform(folder: &Folder, service: &str) -> PathBuf {
    written(&authority(), &folder.fresh(service), service, LEAF_VALID_FOR)
}

/// Who shows a certificate that expired an hour ago.
pub fn expired(folder: &Folder) -> Client {
    let bundle = written(
        &authority(),
        &folder.fresh("expired"),
        CLAIMED,
        SignedDuration::from_hours(-1),
    );
    Mesh::load(&bundle, CLAIMED)
        .expect("it loads, whatever it is worth")
        .client()
}

/// Who shows a certificate of an authority that nobody here trusts, and trusts ours, so that only one side refuses.
pub fn of_another_authority(folder: &Folder) -> Client {
    let other = Authority::create(&folder.fresh("authority")).expect("a temporary folder is writable");
    let bundle = written(&other, &folder.fresh("another"), CLAIMED, LEAF_VALID_FOR);
    std::fs::write(bundle.join("ca.crt"), authority().cert_pem()).expect("a temporary folder is writable");
    Mesh::load(&bundle, CLAIMED)
        .expect("it loads, whatever it is worth")
        .client()
}

fn authority() -> Authority {
    Authority::load(&shared().running().certificates("authority")).expect("the data directory has one")
}

fn written(authority: &Authority, bundle: &Path, service: &str, valid_for: SignedDuration) -> PathBuf {
    let issued = authority
        .issue(service, &[], valid_for)
        .expect("a name makes a certificate");
    authority
        .write_issued(bundle, &issued)
        .expect("a temporary folder is writable");
    bundle.to_owned()
}
