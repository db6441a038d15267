//! Why a notification is not settled yet: whose fault that is, and whether it counts as a try.

use mesh_bus::{BoxError, Verdict};
use mesh_eventstore::AppendError;

/// It will be tried again. What no try can help is no error: it is said as an event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that we depend on is away, or lets us in no more. The job is not to blame.
    #[error("{dependency} unavailable: {source}")]
    Away { dependency: &'static str, source: BoxError },
    /// The mail server asks to come again with this very mail.
    #[error("mail server answered {0}")]
    PutOff(u16),
}

impl Error {
    pub fn away(dependency: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Away {
            dependency,
            source: source.into(),
        }
    }

    /// What becomes of the job.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Away { .. } => Verdict::Later(self.to_string()),
            Self::PutOff(_) => Verdict::Retry(self.to_string()),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(err: sqlx::Error) -> Self {
        Self::away("postgres", err)
    }
}

impl From<AppendError> for Error {
    fn from(err: AppendError) -> Self {
        Self::away("postgres", err)
    }
}
