//! The one answer to "no": each rejection with its stable kind and status.

use axum::http::StatusCode;
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
            Rejection::UnknownIngredient => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown_ingredient",
                "the food point does not keep this ingredient",
            ),
            Rejection::NotEnough { available } => {
                Problem::conflict("not_enough_stock", "there is not that much of it").with("available", available)
            }
            Rejection::NotGone => Problem::conflict("not_gone", "the ingredient is not marked as gone"),
            Rejection::Invalid(flaws) => flaws.into_iter().fold(Problem::invalid(), |problem, flaw| {
                problem.field(flaw.field, flaw.message)
            }),
        }
    }
}
