//! The one answer to "no": each rejection with its stable kind and status.

use mesh_runtime::Problem;

use crate::domain::Rejection;

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoSuchPoint => Problem::not_found(),
            Rejection::AlreadyRegistered => {
                Problem::conflict("already_registered", "the food point is registered already")
            }
            Rejection::TooManyIngredients => {
                Problem::conflict("too_many_ingredients", "the food point keeps no further ingredient")
            }
            Rejection::Invalid(flaws) => flaws.into_iter().fold(Problem::invalid(), |problem, flaw| {
                problem.field(flaw.field, flaw.message)
            }),
        }
    }
}
