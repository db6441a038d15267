//! Which ingredients a food point keeps: those that something sold in its country is made of.
//!
//! Stock that nothing needs any more is closed, and not while some of it is held: then it closes with the last hold.
//! Closed stock is still booked, and serves orders that were placed before.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mesh_contracts::envelope::{BadBody, Envelope};
use mesh_contracts::geo::Country;
use mesh_contracts::id::{IngredientId, ProductId};
use mesh_contracts::menu;
use mesh_contracts::point::Event;
use mesh_contracts::view::point::{FoodPoint, Stock, StockState, fold};

use super::INGREDIENTS_MAX;

/// By country: every ingredient that something sold there was ever made of, and whether something still is.
pub type Needs = BTreeMap<Country, BTreeMap<IngredientId, bool>>;

/// Set where a point is described: it opens stock for what is known of products by then.
pub const NEEDS_TIMER: &str = "needs";

/// What a product needs where after its event; `None` for what means nothing to stock.
pub fn needs_of_product(envelope: &Envelope) -> Result<Option<BTreeSet<(Country, IngredientId)>>, BadBody> {
    if envelope.stream.parse::<ProductId>().is_err() {
        return Ok(None);
    }
    Ok(envelope.body::<menu::Event>()?.map(|event| match event {
        menu::Event::Created { product } | menu::Event::Updated { product } => needs_of(&product),
        menu::Event::Retired {} => BTreeSet::new(),
    }))
}

fn needs_of(product: &menu::Product) -> BTreeSet<(Country, IngredientId)> {
    let made_of = |country: &Country| {
        let country = *country;
        product.recipe_lines().map(move |line| (country, line.ingredient))
    };
    product.prices.keys().flat_map(made_of).collect()
}

/// Brings the point in line with what products need. Beyond the limit it opens nothing: goods that come in say so.
pub(super) fn align(point: &FoodPoint, needs: &Needs) -> Vec<Event> {
    let Some(here) = needs.get(&point.settings.place.country) else {
        return Vec::new();
    };
    let mut room = INGREDIENTS_MAX.saturating_sub(point.stock.len());
    let mut events = Vec::new();
    for (&ingredient, &needed) in here {
        let stock = point.stock.get(&ingredient);
        let event = if needed { open(stock, &mut room) } else { close(stock) };
        events.extend(event.map(|event| event(ingredient)));
    }
    events
}

type About = fn(IngredientId) -> Event;

fn open(stock: Option<&Stock>, room: &mut usize) -> Option<About> {
    match stock.map(|stock| stock.state) {
        Some(StockState::Open) => None,
        Some(StockState::Unneeded | StockState::Closed) => Some(opened),
        None if *room == 0 => None,
        None => {
            *room -= 1;
            Some(opened)
        }
    }
}

fn close(stock: Option<&Stock>) -> Option<About> {
    let stock = stock?;
    match stock.state {
        StockState::Open if stock.held > 0 => Some(unneeded),
        StockState::Open => Some(closed),
        StockState::Unneeded | StockState::Closed => None,
    }
}

/// The same events, and what closes with the last hold on it.
pub(super) fn close_unheld(point: &FoodPoint, events: Vec<Event>, now: Timestamp) -> Vec<Event> {
    let is_waiting = |stock: &Stock| stock.state == StockState::Unneeded;
    if events.is_empty() || !point.stock.values().any(is_waiting) {
        return events;
    }
    let after = events
        .iter()
        .try_fold(point.clone(), |point, event| fold(Some(point), event, now))
        .expect("a registered point stays one");
    let unheld = after
        .stock
        .iter()
        .filter(|(_, stock)| is_waiting(stock) && stock.held == 0);
    let closed = unheld.map(|(ingredient, _)| closed(*ingredient));
    events.into_iter().chain(closed).collect()
}

fn opened(ingredient: IngredientId) -> Event {
    Event::StockOpened { ingredient }
}

fn unneeded(ingredient: IngredientId) -> Event {
    Event::StockUnneeded { ingredient }
}

fn closed(ingredient: IngredientId) -> Event {
    Event::StockClosed { ingredient }
}
