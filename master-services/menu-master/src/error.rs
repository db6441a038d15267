//! The one answer to "no": each rejection with its stable kind and status.

use mesh_runtime::Problem;

use crate::domain::Rejection;

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoSuchProduct | Rejection::NoSuchPromotion => Problem::not_found(),
            Rejection::AlreadyCreated => Problem::conflict("already_created", "it exists already"),
            Rejection::PromotionEnded => Problem::conflict("promotion_ended", "the promotion is over"),
            Rejection::Retired => Problem::conflict("product_retired", "the product is not sold any more"),
            Rejection::ForeignCurrency { country, expected } => {
                Problem::invalid().field(format!("prices.{country}.currency"), format!("must be {expected}"))
            }
            Rejection::Invalid(flaws) => flaws.into_iter().fold(Problem::invalid(), |problem, flaw| {
                problem.field(flaw.field, flaw.message)
            }),
        }
    }
}
