//! The one answer to "no".

use std::error::Error as StdError;

use axum::response::{IntoResponse, Response};
use mesh_identity::ClientError;
use mesh_projection::{ListError, Unavailable};
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
    /// A list cannot be had.
    #[error(transparent)]
    List(#[from] ListError),
    /// The master did not tell the history.
    #[error(transparent)]
    Master(#[from] ClientError),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(problem) => problem,
            Error::Unavailable(unavailable) | Error::List(ListError::Unavailable(unavailable)) => {
                Self::unavailable("read model", causes(&unavailable))
            }
            Error::List(ListError::BadCursor) => {
                Self::bad_request("the query is not valid").field("cursor", "not a cursor that we gave")
            }
            Error::Master(err) => err.into(),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
