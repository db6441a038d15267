//! The one answer to "no": each rejection with its stable kind and status.

use mesh_runtime::Problem;

use crate::domain::Rejection;

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let problem = match &rejection {
            Rejection::NoSuchPayment => Problem::not_found(),
            other => Problem::new(other.status(), other.kind(), other.to_string()),
        };
        match rejection {
            Rejection::BasketChanged { version } => problem.with("basket_version", version),
            Rejection::UnknownOption { at } => problem.field(format!("options[{at}]"), "is no option of this product"),
            Rejection::OptionTwice { at } => problem.field(format!("options[{at}]"), "is chosen already"),
            Rejection::OptionCount { group, min, max } => {
                problem.field("options", format!("must have {min} to {max} of {group}"))
            }
            Rejection::UnknownProduct
            | Rejection::NotSoldHere
            | Rejection::ForeignCurrency
            | Rejection::TooManyLines
            | Rejection::TotalOutOfRange
            | Rejection::BasketEmpty
            | Rejection::NoSuchPayment
            | Rejection::PaymentNotOpen
            | Rejection::PaymentInProgress => problem,
        }
    }
}
