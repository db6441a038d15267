//! A food point: whether it takes orders, its stock, and the holds on both. Nothing here awaits, reads a clock, or
//! knows SQL, NATS or HTTP.
//!
//! The state is the fold in `contracts::view::point`. A hold takes one slot of the pool and all the stock of an
//! order, or nothing.

mod hear;
mod holds;
mod settings;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use mesh_contracts::id::{IngredientId, OrderId};
use mesh_contracts::order::{Kind, Need};
use mesh_contracts::point::{ClosedBy, Event, ReleaseCause, Settings};
use mesh_contracts::view::point::FoodPoint;

pub use hear::hear;
pub use holds::{fire, react};

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
    /// Nothing usable is on the shelf.
    Gone { ingredient: IngredientId },
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
            | Command::Gone { .. }
            | Command::Hold(_)
            | Command::Confirm { .. }
            | Command::Consume { .. }
            | Command::Release { .. }
            | Command::EndOrder { .. } => Err(Rejection::NoSuchPoint),
        };
    };
    match command {
        Command::Register(_) => Err(Rejection::AlreadyRegistered),
        Command::Change { open, settings } => change(point, open, settings),
        Command::Receive { ingredient, quantity } => receive(point, ingredient, quantity),
        Command::Count { ingredient, quantity } => count(point, ingredient, quantity),
        Command::Gone { ingredient } => Ok(gone(point, ingredient)),
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
            Self::NoSuchPoint | Self::AlreadyRegistered | Self::TooManyIngredients => self,
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

fn receive(point: &FoodPoint, ingredient: IngredientId, quantity: u32) -> Result<Vec<Event>, Rejection> {
    if quantity == 0 {
        return Err(Rejection::invalid("quantity", "must be at least 1"));
    }
    has_room(point, ingredient)?;
    Ok(vec![Event::Received { ingredient, quantity }])
}

/// Only what is promised to nobody is counted; what is held lies apart or is in the pan.
fn count(point: &FoodPoint, ingredient: IngredientId, quantity: u32) -> Result<Vec<Event>, Rejection> {
    has_room(point, ingredient)?;
    Ok(vec![Event::Counted {
        ingredient,
        counted: quantity,
        corrected: i64::from(quantity).saturating_sub(available(point, ingredient)),
    }])
}

fn gone(point: &FoodPoint, ingredient: IngredientId) -> Vec<Event> {
    match available(point, ingredient) {
        0 => Vec::new(),
        available => vec![Event::Gone {
            ingredient,
            corrected: -available,
        }],
    }
}

fn available(point: &FoodPoint, ingredient: IngredientId) -> i64 {
    let available = point.stock.get(&ingredient).map_or(0, |stock| stock.available);
    i64::try_from(available).expect("stock comes in 32-bit steps and never fills 63 bits")
}

fn has_room(point: &FoodPoint, ingredient: IngredientId) -> Result<(), Rejection> {
    if point.stock.len() < INGREDIENTS_MAX || point.stock.contains_key(&ingredient) {
        Ok(())
    } else {
        Err(Rejection::TooManyIngredients)
    }
}
