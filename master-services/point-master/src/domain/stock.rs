//! What a kitchen says of its shelves: goods come in, are counted, thrown away, gone, back, and low from where on.
//!
//! Only what is promised to nobody is spoken of; what is held lies apart or is in the pan.

use mesh_contracts::id::IngredientId;
use mesh_contracts::point::{Event, WasteReason};
use mesh_contracts::view::point::{FoodPoint, Stock};

use super::{INGREDIENTS_MAX, Rejection};

pub(super) fn receive(point: &FoodPoint, ingredient: IngredientId, quantity: u32) -> Result<Vec<Event>, Rejection> {
    is_some(quantity)?;
    has_room(point, ingredient)?;
    Ok(vec![Event::Received { ingredient, quantity }])
}

pub(super) fn count(point: &FoodPoint, ingredient: IngredientId, quantity: u32) -> Result<Vec<Event>, Rejection> {
    has_room(point, ingredient)?;
    Ok(vec![Event::Counted {
        ingredient,
        counted: quantity,
        corrected: difference(point.stock.get(&ingredient), quantity),
    }])
}

/// Never more than there is: who finds more to throw away than the book knows of counts first.
pub(super) fn waste(
    point: &FoodPoint,
    ingredient: IngredientId,
    quantity: u32,
    reason: WasteReason,
) -> Result<Vec<Event>, Rejection> {
    is_some(quantity)?;
    let available = known(point, ingredient)?.available;
    if u64::from(quantity) > available {
        return Err(Rejection::NotEnough { available });
    }
    Ok(vec![Event::Wasted {
        ingredient,
        quantity,
        reason,
    }])
}

/// Said again after a hold gave some back, it takes that too.
pub(super) fn gone(point: &FoodPoint, ingredient: IngredientId) -> Result<Vec<Event>, Rejection> {
    let stock = known(point, ingredient)?;
    if stock.gone && stock.available == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![Event::Gone {
        ingredient,
        corrected: difference(Some(stock), 0),
    }])
}

pub(super) fn back(point: &FoodPoint, ingredient: IngredientId, quantity: u32) -> Result<Vec<Event>, Rejection> {
    is_some(quantity)?;
    let stock = known(point, ingredient)?;
    if !stock.gone {
        return Err(Rejection::NotGone);
    }
    Ok(vec![Event::Restored {
        ingredient,
        counted: quantity,
        corrected: difference(Some(stock), quantity),
    }])
}

/// Saying what is so already changes nothing and is no mistake.
pub(super) fn change(
    point: &FoodPoint,
    ingredient: IngredientId,
    low_at: Option<u32>,
) -> Result<Vec<Event>, Rejection> {
    if known(point, ingredient)?.low_at == low_at {
        return Ok(Vec::new());
    }
    Ok(vec![Event::StockSettingsChanged { ingredient, low_at }])
}

fn is_some(quantity: u32) -> Result<(), Rejection> {
    if quantity == 0 {
        return Err(Rejection::invalid("quantity", "must be at least 1"));
    }
    Ok(())
}

fn known(point: &FoodPoint, ingredient: IngredientId) -> Result<&Stock, Rejection> {
    point.stock.get(&ingredient).ok_or(Rejection::UnknownIngredient)
}

/// What `counted` has more than the book.
fn difference(stock: Option<&Stock>, counted: u32) -> i64 {
    let available = i64::try_from(stock.map_or(0, |stock| stock.available));
    i64::from(counted) - available.expect("stock comes in 32-bit steps and never fills 63 bits")
}

fn has_room(point: &FoodPoint, ingredient: IngredientId) -> Result<(), Rejection> {
    if point.stock.len() < INGREDIENTS_MAX || point.stock.contains_key(&ingredient) {
        Ok(())
    } else {
        Err(Rejection::TooManyIngredients)
    }
}
