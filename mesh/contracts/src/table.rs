//! The table of an order's life, as data: which status may follow which, by which row of the design.
//!
//! order-master decides by its rules; this is what checkers and tests hold those rules against.

use crate::order::Status;

/// One arrow of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Row of the table in the design.
    pub row: u8,
    /// `None`: the order does not exist yet.
    pub from: Option<Status>,
    /// Where it leads.
    pub to: Status,
}

const fn row(row: u8, from: Option<Status>, to: Status) -> Transition {
    Transition { row, from, to }
}

/// Every change of status that may ever happen.
pub const TRANSITIONS: &[Transition] = &[
    row(1, None, Status::Created),
    row(2, Some(Status::Created), Status::Rejected),
    row(3, Some(Status::Created), Status::Paid),
    row(4, Some(Status::Created), Status::Expired),
    row(5, Some(Status::Paid), Status::Assigned),
    row(7, Some(Status::Paid), Status::Rejected),
    row(8, Some(Status::Created), Status::Cancelled),
    row(8, Some(Status::Paid), Status::Cancelled),
    row(9, Some(Status::Assigned), Status::Cancelled),
    row(10, Some(Status::Assigned), Status::Assigned),
    row(11, Some(Status::Assigned), Status::Ready),
    row(14, Some(Status::Ready), Status::InDelivery),
    row(15, Some(Status::InDelivery), Status::Completed),
    row(17, Some(Status::InDelivery), Status::Undelivered),
    row(18, Some(Status::Ready), Status::Cancelled),
    row(19, Some(Status::Ready), Status::Completed),
    row(20, Some(Status::Ready), Status::Undelivered),
];

/// Whether the table has an arrow from `from` to `to`.
pub fn allows(from: Option<Status>, to: Status) -> bool {
    TRANSITIONS
        .iter()
        .any(|transition| transition.from == from && transition.to == to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_an_end() {
        for transition in TRANSITIONS {
            assert!(!transition.from.is_some_and(Status::is_terminal), "{transition:?}");
        }
    }

    #[test]
    fn every_status_can_be_reached_and_every_open_one_left() {
        for status in Status::ALL {
            assert!(
                TRANSITIONS.iter().any(|transition| transition.to == status),
                "{status:?}"
            );
            assert!(status.is_terminal() || TRANSITIONS.iter().any(|transition| transition.from == Some(status)));
        }
    }
}
