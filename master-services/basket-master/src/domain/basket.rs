//! The life of a basket: lines in and out, checkout, and the way back from a checkout that led to no order.

use std::borrow::Cow;

use jiff::Timestamp;
use mesh_contracts::api::Quantity;
use mesh_contracts::basket::Event;
use mesh_contracts::geo::Country;
use mesh_contracts::id::{BasketId, OrderId, ProductId};
use mesh_contracts::order::{Method, Quote, QuoteLine};
use mesh_contracts::view::basket::{Basket, Line, total};
use mesh_contracts::view::product::Product;
use mesh_eventstore::Effect;

use super::Rejection;

#[cfg(test)]
mod tests;

/// Different products in one basket: more than any kitchen's menu page, few enough for one event.
pub const LINES_MAX: usize = 50;

/// Looks whether the order of the newest checkout was placed.
pub const REOPEN: &str = "reopen";

/// What a basket can be asked.
#[derive(Debug, Clone)]
pub enum Command {
    /// This many of a product; `menu` is what we know of it.
    SetLine {
        product: ProductId,
        quantity: Quantity,
        country: Country,
        menu: Option<Box<Product>>,
    },
    /// None of it.
    RemoveLine { product: ProductId },
    /// Freeze the lines for an order.
    Checkout(Checkout),
    /// That order was never placed.
    Reopen { order: OrderId },
}

/// A checkout as asked, with the two instants that the caller's clocks give.
#[derive(Debug, Clone)]
pub struct Checkout {
    pub basket: BasketId,
    pub order: OrderId,
    pub basket_version: u64,
    pub method: Method,
    /// Wall clock.
    pub valid_until: Timestamp,
    /// Business clock.
    pub reopen_at: Timestamp,
}

/// What follows from a command in a state.
pub fn decide(basket: Option<&Basket>, command: &Command) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::SetLine {
            product,
            quantity,
            country,
            menu,
        } => {
            let unit_price = match menu {
                None => return Err(Rejection::UnknownProduct),
                Some(menu) if menu.retired => return Err(Rejection::UnknownProduct),
                Some(menu) => menu.price_in(*country).ok_or(Rejection::NotSoldHere)?,
            };
            set_line(
                basket,
                *country,
                Line {
                    product: *product,
                    quantity: quantity.get(),
                    unit_price,
                },
            )
        }
        Command::RemoveLine { product } => Ok(remove_line(basket, *product)),
        Command::Checkout(asked) => checkout(basket, asked),
        Command::Reopen { order } => Ok(reopen(basket, *order)),
    }
}

/// Timers: a checkout is looked at once more; a basket filled anew keeps its new lines, so there is nothing to look at.
pub fn react(_basket: &Basket, event: &Event, _at: Timestamp) -> Vec<Effect> {
    let kind = Cow::Borrowed(REOPEN);
    match event {
        Event::CheckedOut { reopen_at, .. } => vec![Effect::SetTimer { kind, due: *reopen_at }],
        Event::LineSet { .. } | Event::Reopened { .. } => vec![Effect::ClearTimer { kind }],
        Event::LineRemoved { .. } => Vec::new(),
    }
}

fn set_line(basket: Option<&Basket>, country: Country, line: Line) -> Result<Vec<Event>, Rejection> {
    let mut lines = basket.map(|basket| basket.lines.clone()).unwrap_or_default();
    let foreign = basket
        .and_then(|basket| basket.country)
        .is_some_and(|known| known != country)
        || lines
            .iter()
            .any(|known| known.unit_price.currency != line.unit_price.currency);
    if foreign {
        return Err(Rejection::ForeignCurrency);
    }
    if lines.contains(&line) {
        return Ok(Vec::new());
    }
    lines.retain(|known| known.product != line.product);
    if lines.len() >= LINES_MAX {
        return Err(Rejection::TooManyLines);
    }
    let Line {
        product,
        quantity,
        unit_price,
    } = line.clone();
    lines.push(line);
    total(&lines).ok_or(Rejection::TotalOutOfRange)?;
    Ok(vec![Event::LineSet {
        country,
        product,
        quantity,
        unit_price,
    }])
}

fn remove_line(basket: Option<&Basket>, product: ProductId) -> Vec<Event> {
    let present = basket.is_some_and(|basket| basket.lines.iter().any(|line| line.product == product));
    if present {
        vec![Event::LineRemoved { product }]
    } else {
        Vec::new()
    }
}

fn checkout(basket: Option<&Basket>, asked: &Checkout) -> Result<Vec<Event>, Rejection> {
    let version = basket.map_or(0, |basket| basket.version);
    if version != asked.basket_version {
        return Err(Rejection::BasketChanged { version });
    }
    let frozen = basket.and_then(|basket| Some((basket, basket.country?, basket.total?)));
    let (basket, country, total) = frozen.ok_or(Rejection::BasketEmpty)?;
    let quote = Quote {
        basket: asked.basket,
        basket_version: version,
        country,
        lines: basket.lines.iter().map(frozen_line).collect(),
        total,
        method: asked.method,
        valid_until: asked.valid_until,
    };
    Ok(vec![Event::CheckedOut {
        order: asked.order,
        quote,
        reopen_at: asked.reopen_at,
    }])
}

fn frozen_line(line: &Line) -> QuoteLine {
    QuoteLine {
        product: line.product,
        quantity: line.quantity,
        unit_price: line.unit_price,
    }
}

fn reopen(basket: Option<&Basket>, order: OrderId) -> Vec<Event> {
    let waiting = basket
        .and_then(|basket| basket.checkout.as_ref())
        .is_some_and(|checkout| checkout.order == order);
    if waiting {
        vec![Event::Reopened { order }]
    } else {
        Vec::new()
    }
}
