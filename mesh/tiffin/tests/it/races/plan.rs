//! What the people and machines around one payment do, and when: drawn by chance, from a seed that is printed.
//!
//! Knows what may happen, not what comes of it.

use std::time::Duration;

use mesh_contracts::payment::Operation;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

pub const VISA: &str = "pm_card_visa";
pub const DECLINED: &str = "pm_card_declined";
/// The money is promised, and nobody is told until the webhook comes.
const ANSWER_LOST: &str = "pm_card_timeout_after_success";
const WEBHOOK_LATE: &str = "pm_card_webhook_late";
const WEBHOOK_REPEATED: &str = "pm_card_webhook_repeated";

/// Up to when after placing a customer changes the mind: from before the hold to after the kitchen's word.
const CANCEL_WITHIN_MS: u64 = 800;
/// Up to when after its screen shows the ticket a kitchen says its word.
const WORD_WITHIN_MS: u64 = 300;
/// What a request takes through the door, more or less: two that are drawn within it overtake each other.
const AT_ONCE_MS: u64 = 6;
/// Up to when after the kitchen's word money is on its way.
const CAPTURING_MS: u64 = 150;
/// Around the end of the payment window: a card has its way to the provider and back, which on a busy machine takes
/// tenths of a second.
const LAST_MOMENT_MS: u64 = 1_000;
const BEFORE_THE_END: Duration = Duration::from_millis(900);

/// Everything that happens to one order.
#[derive(Debug, Clone)]
pub struct Plan {
    pub card: &'static str,
    pub second_card: SecondCard,
    pub kitchen: Word,
    pub cancel: Cancel,
    /// Whose webhook comes a hundred times more.
    pub repeated: Option<Operation>,
}

/// Brought when the first one was declined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondCard {
    Never,
    After(Duration),
    /// So long after the last moment begins.
    AtTheLastMoment(Duration),
}

/// What the kitchen says, so long after it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Accepts(Duration),
    Rejects(Duration),
}

impl Word {
    pub fn after(self) -> Duration {
        match self {
            Self::Accepts(after) | Self::Rejects(after) => after,
        }
    }
}

/// When the customer changes the mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    Never,
    AfterPlacing(Duration),
    /// At the moment of the kitchen's word: so long after both of them could have spoken.
    WithTheKitchen(Duration),
    AfterTheKitchen(Duration),
}

/// Draws plans; the same seed draws the same.
pub struct Draw(StdRng);

impl Draw {
    pub fn of(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// An order as most are, in everything that can come in its way within seconds.
    pub fn plan(&mut self) -> Plan {
        let card = self.one_of(&[
            VISA,
            VISA,
            VISA,
            ANSWER_LOST,
            ANSWER_LOST,
            WEBHOOK_LATE,
            WEBHOOK_REPEATED,
            DECLINED,
            DECLINED,
        ]);
        let cancel = match self.below(20) {
            0..9 => Cancel::Never,
            9..14 => Cancel::AfterPlacing(self.within_ms(CANCEL_WITHIN_MS)),
            14..17 => Cancel::WithTheKitchen(self.within_ms(AT_ONCE_MS)),
            _ => Cancel::AfterTheKitchen(self.within_ms(CAPTURING_MS)),
        };
        let word = match cancel {
            Cancel::WithTheKitchen(_) => AT_ONCE_MS,
            Cancel::Never | Cancel::AfterPlacing(_) | Cancel::AfterTheKitchen(_) => WORD_WITHIN_MS,
        };
        Plan {
            card,
            second_card: SecondCard::After(self.within_ms(WORD_WITHIN_MS)),
            kitchen: match self.below(6) {
                0 => Word::Rejects(self.within_ms(word)),
                _ => Word::Accepts(self.within_ms(word)),
            },
            cancel,
            repeated: self.one_of(&[
                None,
                None,
                None,
                Some(Operation::Authorize),
                Some(Operation::Authorize),
                Some(Operation::Capture),
                Some(Operation::Capture),
                Some(Operation::Void),
            ]),
        }
    }

    /// An order whose payment window is let run out: with a card at its very end, or with none.
    pub fn overdue_plan(&mut self) -> Plan {
        let last_moment = SecondCard::AtTheLastMoment(self.within_ms(LAST_MOMENT_MS));
        Plan {
            card: DECLINED,
            second_card: self.one_of(&[last_moment, last_moment, SecondCard::Never]),
            kitchen: Word::Accepts(Duration::ZERO),
            cancel: Cancel::Never,
            repeated: None,
        }
    }

    /// A time that is drawn evenly.
    pub fn within_ms(&mut self, ms: u64) -> Duration {
        Duration::from_micros(self.0.random_range(0..=ms * 1_000))
    }

    fn below(&mut self, end: u32) -> u32 {
        self.0.random_range(0..end)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.random_range(0..all.len())]
    }
}

/// When the last moment of a window begins that ends so long from now.
pub fn last_moment_of(window: Duration) -> Duration {
    window.saturating_sub(BEFORE_THE_END)
}
