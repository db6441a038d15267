//! The one answer to "no": each rejection with its stable kind and status.

use std::time::Duration;

use mesh_runtime::Problem;

use crate::domain::Rejection;
use crate::passwords::Busy;

/// Longer than the queue of passwords takes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoSuchPerson | Rejection::NoSuchAddress => Self::not_found(),
            Rejection::TooManyAddresses
            | Rejection::EmailTaken
            | Rejection::BadCredentials
            | Rejection::RefreshInvalid
            | Rejection::RefreshReused => Self::new(rejection.status(), rejection.kind(), rejection.to_string()),
        }
    }
}

impl From<Busy> for Problem {
    fn from(_: Busy) -> Self {
        Self::overloaded("too many people at the door", RETRY_AFTER)
    }
}

/// The database did not answer.
pub fn unavailable(err: impl std::fmt::Display) -> Problem {
    Problem::unavailable("postgres", err)
}
