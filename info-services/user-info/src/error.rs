//! The one answer to "no".

use axum::response::{IntoResponse, Response};
use mesh_identity::ClientError;
use mesh_projection::Unavailable;
use mesh_runtime::Problem;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller asked for what is not there, not theirs, or not well put.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// Neither Redis nor the master can say for certain.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// user-master did not tell.
    #[error(transparent)]
    Master(#[from] ClientError),
    /// Redis did not do as told.
    #[error("redis unavailable")]
    Redis(#[from] redis::RedisError),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(problem) => problem,
            Error::Unavailable(err) => err.into(),
            Error::Master(err) => err.into(),
            Error::Redis(err) => Self::unavailable("redis", err),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
