//! The one answer to "no": each rejection with its stable kind and status.

use axum::http::StatusCode;
use mesh_contracts::order::Status;
use mesh_runtime::Problem;

use crate::domain::Rejection;

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let title = rejection.to_string();
        match rejection {
            Rejection::NoSuchOrder => Problem::not_found(),
            Rejection::AlreadyPlaced => conflict("already_placed", title, None),
            Rejection::QuoteExpired => conflict("quote_expired", title, None),
            Rejection::OutOfZone => unprocessable("out_of_zone", title),
            Rejection::PointClosed => unprocessable("food_point_closed", title),
            Rejection::PointTooFar => unprocessable("food_point_too_far", title),
            Rejection::PointKind => unprocessable("food_point_kind", title),
            Rejection::NothingAvailable => unprocessable("nothing_available", title),
            Rejection::UnknownProduct => unprocessable("unknown_product", title),
            Rejection::UnknownPoint => unprocessable("unknown_food_point", title),
            Rejection::BadReadyBy => unprocessable("bad_ready_by", title),
            Rejection::WrongPin => unprocessable("wrong_pin", title),
            Rejection::NotPickUp => conflict("not_pick_up", title, None),
            Rejection::NotOffered(status) => conflict("not_offered", title, Some(status)),
            Rejection::TooLate(status) => conflict("too_late", title, Some(status)),
            Rejection::TooEarly(status) => conflict("too_early", title, Some(status)),
            Rejection::AlreadyEnded(status) => conflict("already_ended", title, Some(status)),
        }
    }
}

fn unprocessable(kind: &'static str, title: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title)
}

/// The loser of a race is told where the order stands.
fn conflict(kind: &'static str, title: String, status: Option<Status>) -> Problem {
    let problem = Problem::new(StatusCode::CONFLICT, kind, title);
    match status {
        Some(status) => problem.with("order_status", status.as_str()),
        None => problem,
    }
}
