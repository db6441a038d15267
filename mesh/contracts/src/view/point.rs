//! A food point, folded from its events: whether it takes orders, its stock, and what is set aside for whom.
//!
//! Holds that ended are not in it, so it stays as small as the point's pool.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{IngredientId, OrderId};
use crate::order::{Kind, Need};
use crate::point::{ClosedBy, Event, HoldRefusal, ReleaseCause, Settings};

/// Whether a product is made of an ingredient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StockState {
    /// One is, or goods came in before anyone said so.
    #[default]
    Open,
    /// None is any more; it closes with the last hold on it.
    Unneeded,
    /// None is any more. What is left is still booked, and serves orders placed before.
    Closed,
}

/// What a point has of one ingredient, in its stock unit, and where all of it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stock {
    /// On the shelf and promised to nobody.
    pub available: u64,
    /// Set aside for orders.
    pub held: u64,
    /// Cooked into orders that got ready.
    pub consumed: u64,
    /// Cooked into orders that ended before, or thrown away.
    pub wasted: u64,
    /// Everything that ever came in.
    pub received: u64,
    /// What counting found too much, less what it found missing.
    pub corrected: i64,
    /// Its kitchen marked it as gone. Until it is received, counted or restored, nothing of it is offered, also not
    /// what a hold gives back.
    #[serde(default)]
    pub gone: bool,
    /// From here down it is low; without one it never is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_at: Option<u32>,
    /// Whether a product is made of it.
    #[serde(default)]
    pub state: StockState,
}

impl Stock {
    /// What an order may still take.
    pub fn on_offer(&self) -> u64 {
        if self.gone { 0 } else { self.available }
    }

    /// Whether somebody should order more.
    pub fn is_low(&self) -> bool {
        match self.state {
            StockState::Open => self.low_at.is_some_and(|low_at| self.available <= u64::from(low_at)),
            StockState::Unneeded | StockState::Closed => false,
        }
    }

    /// Whether nothing appeared or vanished: received + corrected = available + held + consumed + wasted.
    pub fn balances(&self) -> bool {
        let came = i128::from(self.received) + i128::from(self.corrected);
        let went = [self.available, self.held, self.consumed, self.wasted];
        came == went.into_iter().map(i128::from).sum()
    }

    fn back(&mut self, quantity: u64) {
        self.held = self.held.saturating_sub(quantity);
        self.available = self.available.saturating_add(quantity);
    }

    fn consume(&mut self, quantity: u64) {
        self.held = self.held.saturating_sub(quantity);
        self.consumed = self.consumed.saturating_add(quantity);
    }

    fn waste(&mut self, quantity: u64) {
        self.held = self.held.saturating_sub(quantity);
        self.wasted = self.wasted.saturating_add(quantity);
    }
}

/// How firm a hold is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// Until it expires.
    Held,
    /// The kitchen accepted: until the order is ready or ends.
    Confirmed,
}

/// Stock and one slot of the pool, set aside for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// Which of the order's requests this answers.
    pub attempt: u32,
    /// What is set aside.
    pub needs: Vec<Need>,
    /// How firm it is.
    pub state: HoldState,
    /// When it ends by itself, unless confirmed.
    pub expires_at: Timestamp,
}

/// A food point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoodPoint {
    /// As the operator describes it.
    pub settings: Settings,
    /// Whether it takes orders within its hours.
    pub open: bool,
    /// Why not.
    pub closed_by: Option<ClosedBy>,
    /// Tickets in a row that nobody answered.
    pub misses: u32,
    /// By ingredient.
    #[schema(value_type = BTreeMap<String, Stock>)]
    pub stock: BTreeMap<IngredientId, Stock>,
    /// By order; each takes one slot of the pool.
    #[schema(value_type = BTreeMap<String, Hold>)]
    pub holds: BTreeMap<OrderId, Hold>,
    /// Version of the last change of its description or of whether it is open.
    pub status_version: u64,
    /// Version of its last event.
    pub version: u64,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl FoodPoint {
    /// Orders that it can still hold or cook.
    pub fn free_slots(&self) -> usize {
        usize::from(self.settings.pool).saturating_sub(self.holds.len())
    }

    /// Whether every ingredient is there, also where `needs` names one twice.
    pub fn is_available(&self, needs: &[Need]) -> bool {
        summed(needs).iter().all(|(ingredient, quantity)| {
            let on_offer = self.stock.get(ingredient).map_or(0, Stock::on_offer);
            *quantity <= u128::from(on_offer)
        })
    }

    /// What stops it from holding an order now: the first rule that fails, or nothing.
    pub fn passes(&self, kind: Kind, needs: &[Need], now: Timestamp) -> Option<HoldRefusal> {
        if !self.open || !self.settings.is_open_at(now) {
            Some(HoldRefusal::Closed)
        } else if !self.settings.kinds.contains(&kind) {
            Some(HoldRefusal::Kind)
        } else if self.free_slots() == 0 {
            Some(HoldRefusal::Full)
        } else if !self.is_available(needs) {
            Some(HoldRefusal::Stock)
        } else {
            None
        }
    }

    /// The hold of that order, if it is of that attempt.
    pub fn hold(&self, order: OrderId, attempt: u32) -> Option<&Hold> {
        self.holds.get(&order).filter(|hold| hold.attempt == attempt)
    }

    /// Whether every ingredient balances.
    pub fn balances(&self) -> bool {
        self.stock.values().all(Stock::balances)
    }

    fn registered(settings: &Settings, at: Timestamp) -> Self {
        Self {
            settings: settings.clone(),
            open: true,
            closed_by: None,
            misses: 0,
            stock: BTreeMap::new(),
            holds: BTreeMap::new(),
            status_version: 1,
            version: 1,
            registered_at: at,
            updated_at: at,
        }
    }

    fn stock_of(&mut self, ingredient: IngredientId) -> &mut Stock {
        self.stock.entry(ingredient).or_default()
    }

    fn end(&mut self, order: OrderId, attempt: u32, settle: fn(&mut Stock, u64)) -> Option<Hold> {
        self.hold(order, attempt)?;
        let hold = self.holds.remove(&order)?;
        for need in &hold.needs {
            settle(self.stock_of(need.ingredient), need.quantity);
        }
        Some(hold)
    }
}

/// Of the form of [`FoodPoint`] and of [`fold`]. Raise it whenever the form changes, or the same events fold to
/// something else: snapshots of another version are not read.
pub const FOLD_VERSION: u16 = 1;

/// The next state; `None` only for a stream that does not start with `point.registered`.
pub fn fold(point: Option<FoodPoint>, event: &Event, at: Timestamp) -> Option<FoodPoint> {
    let Some(mut point) = point else {
        return match event {
            Event::Registered { settings } => Some(FoodPoint::registered(settings, at)),
            _ => None,
        };
    };
    skip(&mut point, at);
    apply(&mut point, event);
    Some(point)
}

/// An event that this build does not know: only the version moves.
pub fn skip(point: &mut FoodPoint, at: Timestamp) {
    point.version += 1;
    point.updated_at = at;
}

fn apply(point: &mut FoodPoint, event: &Event) {
    match event {
        Event::Registered { .. } | Event::HoldFailed { .. } => {}
        Event::Changed { settings } => {
            point.settings = settings.clone();
            point.status_version = point.version;
        }
        Event::Opened {} => {
            point.open = true;
            point.closed_by = None;
            point.misses = 0;
            point.status_version = point.version;
        }
        Event::Closed { by } => {
            point.open = false;
            point.closed_by = Some(*by);
            point.status_version = point.version;
        }
        Event::StockOpened { ingredient } => point.stock_of(*ingredient).state = StockState::Open,
        Event::StockUnneeded { ingredient } => point.stock_of(*ingredient).state = StockState::Unneeded,
        Event::StockClosed { ingredient } => point.stock_of(*ingredient).state = StockState::Closed,
        Event::Received { ingredient, quantity } => {
            let stock = point.stock_of(*ingredient);
            stock.available = stock.available.saturating_add(u64::from(*quantity));
            stock.received = stock.received.saturating_add(u64::from(*quantity));
            stock.gone = false;
        }
        Event::Counted {
            ingredient,
            counted,
            corrected,
        }
        | Event::Restored {
            ingredient,
            counted,
            corrected,
        } => {
            let stock = point.stock_of(*ingredient);
            stock.available = u64::from(*counted);
            stock.corrected = stock.corrected.saturating_add(*corrected);
            // Counting none of what is gone finds it gone.
            stock.gone &= *counted == 0;
        }
        Event::Gone { ingredient, corrected } => {
            let stock = point.stock_of(*ingredient);
            stock.available = 0;
            stock.corrected = stock.corrected.saturating_add(*corrected);
            stock.gone = true;
        }
        Event::Wasted {
            ingredient, quantity, ..
        } => {
            let stock = point.stock_of(*ingredient);
            stock.available = stock.available.saturating_sub(u64::from(*quantity));
            stock.wasted = stock.wasted.saturating_add(u64::from(*quantity));
        }
        Event::StockSettingsChanged { ingredient, low_at } => point.stock_of(*ingredient).low_at = *low_at,
        Event::HoldHeld {
            order,
            attempt,
            needs,
            expires_at,
        } => {
            for need in needs {
                let stock = point.stock_of(need.ingredient);
                stock.available = stock.available.saturating_sub(need.quantity);
                stock.held = stock.held.saturating_add(need.quantity);
            }
            let hold = Hold {
                attempt: *attempt,
                needs: needs.clone(),
                state: HoldState::Held,
                expires_at: *expires_at,
            };
            point.holds.insert(*order, hold);
        }
        Event::HoldConfirmed { order, attempt } => {
            point.misses = 0;
            let hold = point.holds.get_mut(order);
            if let Some(hold) = hold.filter(|hold| hold.attempt == *attempt) {
                hold.state = HoldState::Confirmed;
            }
        }
        Event::HoldConsumed { order, attempt } => {
            point.end(*order, *attempt, Stock::consume);
        }
        Event::HoldReleased { order, attempt, cause } => released(point, *order, *attempt, *cause),
        Event::HoldWasted { order, attempt } => {
            point.end(*order, *attempt, Stock::waste);
        }
        Event::HoldExpired { order, attempt } => {
            point.end(*order, *attempt, Stock::back);
        }
    }
}

fn released(point: &mut FoodPoint, order: OrderId, attempt: u32, cause: ReleaseCause) {
    let ended = point.end(order, attempt, Stock::back);
    match cause {
        // A confirmed hold was answered by the kitchen; that it came too late is not its miss.
        ReleaseCause::TimedOut => {
            if ended.is_some_and(|hold| hold.state == HoldState::Held) {
                point.misses = point.misses.saturating_add(1);
            }
        }
        ReleaseCause::Abandoned | ReleaseCause::Rejected | ReleaseCause::OrderEnded => {}
    }
}

fn summed(needs: &[Need]) -> BTreeMap<IngredientId, u128> {
    let mut sums = BTreeMap::new();
    for need in needs {
        *sums.entry(need.ingredient).or_default() += u128::from(need.quantity);
    }
    sums
}

#[cfg(test)]
mod tests;
