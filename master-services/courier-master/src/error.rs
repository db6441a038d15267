//! The one answer to "no": each rejection with its stable kind and status.

use mesh_runtime::Problem;

use crate::domain::Rejection;

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let problem = Self::new(rejection.status(), rejection.kind(), rejection.to_string());
        match rejection {
            Rejection::NoSuchDelivery | Rejection::NoSuchCourier => Self::not_found(),
            // The loser of a race is told where the delivery stands.
            Rejection::WrongState(status) => Self::new(
                rejection.status(),
                rejection.kind(),
                "the delivery does not allow this now",
            )
            .with("delivery_status", status.as_str()),
            Rejection::NotReady
            | Rejection::TooManyJobs
            | Rejection::OffShift
            | Rejection::SameCourier
            | Rejection::WrongPin
            | Rejection::Changed => problem,
        }
    }
}
