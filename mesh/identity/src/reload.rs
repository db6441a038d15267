//! Files that may change under a running process: what was built from them is rebuilt, and a
//! broken file leaves what works in place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;

/// How often the files are looked at. Polling sees what every way of replacing files does,
/// Kubernetes' swapped symlinks included; three small reads cost nothing.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The contents of the files, in the order they were named.
pub(crate) type Contents = Vec<Vec<u8>>;

/// Something built from files, always the newest that could be built.
pub(crate) struct Reloading<T> {
    current: ArcSwap<T>,
}

impl<T: Send + Sync + 'static> Reloading<T> {
    /// Builds it now and again whenever the contents change, until the last handle is dropped.
    /// Needs a tokio runtime.
    pub(crate) fn start<B>(dir: &Path, names: &'static [&'static str], build: B) -> Result<Arc<Self>, LoadError>
    where
        B: Fn(&Contents) -> Result<T, LoadError> + Send + 'static,
    {
        let contents = read(dir, names)?;
        let this = Arc::new(Self {
            current: ArcSwap::from_pointee(build(&contents)?),
        });
        tokio::spawn(watch(Arc::downgrade(&this), dir.to_owned(), names, contents, build));
        Ok(this)
    }

    /// What never changes.
    pub(crate) fn fixed(value: T) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwap::from_pointee(value),
        })
    }

    pub(crate) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }
}

async fn watch<T, B>(
    target: Weak<Reloading<T>>,
    dir: PathBuf,
    names: &'static [&'static str],
    mut seen: Contents,
    build: B,
) where
    B: Fn(&Contents) -> Result<T, LoadError>,
{
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        let Some(target) = target.upgrade() else { return };
        // A file that is away for a moment is being replaced.
        let Ok(contents) = read(&dir, names) else { continue };
        if contents == seen {
            continue;
        }
        match build(&contents) {
            Ok(fresh) => {
                target.current.store(Arc::new(fresh));
                tracing::info!("certificates reloaded");
            }
            Err(err) => tracing::error!(
                error = &err as &dyn std::error::Error,
                "certificates changed and are not usable, keeping the old ones"
            ),
        }
        // Broken contents are complained about once, not every two seconds.
        seen = contents;
    }
}

fn read(dir: &Path, names: &[&str]) -> Result<Contents, LoadError> {
    names
        .iter()
        .map(|name| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(|source| LoadError::Read { path, source })
        })
        .collect()
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is not there or not ours to read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no PEM, or holds the wrong thing.
    #[error("{file} is not usable: {reason}")]
    Malformed {
        /// Which.
        file: &'static str,
        /// Why.
        reason: String,
    },
    /// The certificate is another service's.
    #[error("the certificate is not that of {expected}: {found}")]
    OtherService {
        /// Whose it should be.
        expected: String,
        /// Whose it is, or why nobody's.
        found: String,
    },
    /// Certificate and key do not belong together, or the roots are not usable.
    #[error("tls")]
    Tls(#[from] rustls::Error),
    /// The roots cannot verify clients.
    #[error("client verification")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}
