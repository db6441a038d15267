//! A food point: whether it takes orders, its stock, and the holds on both. Nothing here awaits, reads a clock, or
//! knows SQL, NATS or HTTP.
//!
//! The state is the fold in `contracts::view::point`. A hold takes one slot of the pool and all the stock of an
//! order, or nothing.

mod hear;
mod holds;
mod needs;
mod settings;
mod stock;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use mesh_contracts::id::{IngredientId, OrderId};
use mesh_contracts::order::{Kind, Need};
use mesh_contracts::point::{ClosedBy, Event, ReleaseCause, Settings, WasteReason};
use mesh_contracts::view::point::FoodPoint;

pub use hear::hear;
pub use holds::{fire, react};
pub use needs::{NEEDS_TIMER, Needs, needs_of_product};

/// Different ingredients at one point; the chain's whole list has dozens. Keeps the point's document small.
const INGREDIENTS_MAX: usize = 1_000;

/// What point-master can be asked or told.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// An operator opens a new point.
    Register(Settings),
    /// What is `None` stays.
    Change {
        open: Option<bool>,
        settings: Option<Settings>,
    },
    /// Goods came in.
    Receive { ingredient: IngredientId, quantity: u32 },
    /// So much is on the shelf, promised to nobody.
    Count { ingredient: IngredientId, quantity: u32 },
    /// So much of what is on the shelf is thrown away.
    Waste {
        ingredient: IngredientId,
        quantity: u32,
        reason: WasteReason,
    },
    /// Nothing usable is on the shelf.
    Gone { ingredient: IngredientId },
    /// What was gone is there again: so much.
    Back { ingredient: IngredientId, quantity: u32 },
    /// From so much down it is low; `None`: never.
    ChangeStock {
        ingredient: IngredientId,
        low_at: Option<u32>,
    },
    /// Products are made of this.
    Align(Needs),
    /// An order wants stock and a slot.
    Hold(Wanted),
    /// The kitchen accepted.
    Confirm { order: OrderId, attempt: u32 },
    /// The food is made.
    Consume { order: OrderId, attempt: u32 },
    /// The order does not want it here any more.
    Release {
        order: OrderId,
        attempt: u32,
        cause: ReleaseCause,
    },
    /// The order ended, at whichever attempt it was.
    EndOrder { order: OrderId, cooking_began: bool },
}

/// A request for a hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub order: OrderId,
    /// Counts up over an order; answers carry it back.
    pub attempt: u32,
    pub kind: Kind,
    pub needs: Vec<Need>,
    /// When the hold ends by itself: a backstop, the order releases it explicitly.
    pub expires_at: Timestamp,
}

/// Why the answer is no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such food point")]
    NoSuchPoint,
    #[error("the food point is registered already")]
    AlreadyRegistered,
    #[error("the input is not valid")]
    Invalid(Vec<Flaw>),
    #[error("a food point keeps at most {INGREDIENTS_MAX} ingredients")]
    TooManyIngredients,
    #[error("the food point does not keep this ingredient")]
    UnknownIngredient,
    #[error("only {available} of it are available")]
    NotEnough { available: u64 },
    #[error("the ingredient is not marked as gone")]
    NotGone,
}

/// What is wrong with one part of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The path to it, such as `hours[2].weekday`.
    pub field: String,
    pub message: &'static str,
}

/// What follows from a command in a state. What other masters tell is never refused at a point that exists:
/// too late is no news.
pub fn decide(point: Option<&FoodPoint>, command: Command, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    let Some(point) = point else {
        return match command {
            Command::Register(settings) => Ok(vec![Event::Registered {
                settings: settings::checked(settings)?,
            }]),
            Command::Change { .. }
            | Command::Receive { .. }
            | Command::Count { .. }
            | Command::Waste { .. }
            | Command::Gone { .. }
            | Command::Back { .. }
            | Command::ChangeStock { .. }
            | Command::Align(_)
            | Command::Hold(_)
            | Command::Confirm { .. }
            | Command::Consume { .. }
            | Command::Release { .. }
            | Command::EndOrder { .. } => Err(Rejection::NoSuchPoint),
        };
    };
    let events = asked(point, command, now)?;
    Ok(needs::close_unheld(point, events, now))
}

fn asked(point: &FoodPoint, command: Command, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Register(_) => Err(Rejection::AlreadyRegistered),
        Command::Change { open, settings } => change(point, open, settings),
        Command::Receive { ingredient, quantity } => stock::receive(point, ingredient, quantity),
        Command::Count { ingredient, quantity } => stock::count(point, ingredient, quantity),
        Command::Waste {
            ingredient,
            quantity,
            reason,
        } => stock::waste(point, ingredient, quantity, reason),
        Command::Gone { ingredient } => stock::gone(point, ingredient),
        Command::Back { ingredient, quantity } => stock::back(point, ingredient, quantity),
        Command::ChangeStock { ingredient, low_at } => stock::change(point, ingredient, low_at),
        Command::Align(needs) => Ok(needs::align(point, &needs)),
        Command::Hold(wanted) => Ok(holds::hold(point, wanted, now)),
        Command::Confirm { order, attempt } => Ok(holds::confirm(point, order, attempt)),
        Command::Consume { order, attempt } => Ok(holds::consume(point, order, attempt)),
        Command::Release { order, attempt, cause } => Ok(holds::release(point, order, attempt, cause)),
        Command::EndOrder { order, cooking_began } => Ok(holds::end_order(point, order, cooking_began)),
    }
}

impl Rejection {
    fn invalid(field: &str, message: &'static str) -> Self {
        Self::Invalid(vec![Flaw {
            field: field.into(),
            message,
        }])
    }

    /// The same, seen from one level further up.
    fn within(self, parent: &str) -> Self {
        match self {
            Self::Invalid(mut flaws) => {
                for flaw in &mut flaws {
                    flaw.field = format!("{parent}.{}", flaw.field);
                }
                Self::Invalid(flaws)
            }
            Self::NoSuchPoint
            | Self::AlreadyRegistered
            | Self::TooManyIngredients
            | Self::UnknownIngredient
            | Self::NotEnough { .. }
            | Self::NotGone => self,
        }
    }
}

/// Saying what is so already changes nothing and is no mistake.
fn change(point: &FoodPoint, open: Option<bool>, settings: Option<Settings>) -> Result<Vec<Event>, Rejection> {
    if open.is_none() && settings.is_none() {
        return Err(Rejection::invalid(".", "nothing to change"));
    }
    let settings = settings
        .map(settings::checked)
        .transpose()
        .map_err(|rejection| rejection.within("settings"))?;
    let described = settings
        .filter(|settings| *settings != point.settings)
        .map(|settings| Event::Changed { settings });
    let turned = open.filter(|open| *open != point.open).map(|open| {
        if open {
            Event::Opened {}
        } else {
            Event::Closed { by: ClosedBy::Staff }
        }
    });
    Ok(described.into_iter().chain(turned).collect())
}
