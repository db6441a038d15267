//! What a customer was told about one order, folded from its notifications.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::notification::{Event, Failure, Occasion};

/// The notifications of one order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Version of the last event.
    pub version: u64,
    /// What became of each: nothing for a mail that was sent, or why none was.
    pub settled: BTreeMap<Occasion, Option<Failure>>,
    /// When anything last changed.
    pub updated_at: Timestamp,
}

/// The next state.
pub fn fold(notifications: Option<Notifications>, event: &Event, at: Timestamp) -> Option<Notifications> {
    let mut notifications = notifications.unwrap_or_default();
    notifications.version += 1;
    notifications.updated_at = at;
    let (occasion, outcome) = match event {
        Event::Sent { occasion } => (*occasion, None),
        Event::Failed { occasion, reason } => (*occasion, Some(*reason)),
    };
    notifications.settled.insert(occasion, outcome);
    Some(notifications)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_occasion_is_settled_by_its_own_event() {
        let events = [
            Event::Sent {
                occasion: Occasion::Paid,
            },
            Event::Failed {
                occasion: Occasion::Completed,
                reason: Failure::NoRecipient,
            },
        ];
        let folded = events
            .iter()
            .fold(None, |so_far, event| fold(so_far, event, Timestamp::UNIX_EPOCH))
            .expect("two events");
        assert_eq!(folded.version, 2);
        assert_eq!(folded.settled.get(&Occasion::Paid), Some(&None));
        assert_eq!(
            folded.settled.get(&Occasion::Completed),
            Some(&Some(Failure::NoRecipient))
        );
        assert_eq!(folded.settled.get(&Occasion::Expired), None);
    }
}
