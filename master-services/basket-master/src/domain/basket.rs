//! The life of a basket: lines in and out, what the menu changes about them, checkout, and the way back from a
//! checkout that led to no order.
//!
//! A basket shows the menu's prices. Promotions come off at checkout, so nobody pays more than the basket showed.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use mesh_contracts::api::Quantity;
use mesh_contracts::basket::{Event, Unavailable};
use mesh_contracts::geo::Country;
use mesh_contracts::id::{BasketId, FoodPointId, OrderId, ProductId, PromotionId};
use mesh_contracts::menu::{Chosen, Pick};
use mesh_contracts::money::Money;
use mesh_contracts::order::{Method, Quote, QuoteLine};
use mesh_contracts::promotion::{self, Promotion};
use mesh_contracts::view::basket::{Basket, Line, total};
use mesh_contracts::view::product::Product;
use mesh_eventstore::Effect;

use super::Rejection;
use price::{Priced, priced};

mod price;

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
        options: Vec<Pick>,
        menu: Option<Box<Product>>,
    },
    /// None of it.
    RemoveLine { product: ProductId },
    /// This is what the menu says now of these products, whether they are in the basket or not.
    Reprice { menu: Vec<(ProductId, Product)> },
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
    /// The only food point to ask, if the customer insists on one.
    pub pinned: Option<FoodPointId>,
    /// What we know of that was not ended: those that apply are chosen here.
    pub promotions: Arc<[(PromotionId, Promotion)]>,
}

/// What follows from a command in a state.
pub fn decide(basket: Option<&Basket>, command: &Command, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::SetLine {
            product,
            quantity,
            country,
            options,
            menu,
        } => {
            let menu = menu.as_ref().filter(|menu| !menu.retired);
            let menu = menu.ok_or(Rejection::UnknownProduct)?;
            let Priced {
                unit_price,
                options,
                tax_bp,
            } = priced(menu, *country, options)?;
            let line = Line {
                product: *product,
                quantity: quantity.get(),
                unit_price,
                options,
                tax_bp,
            };
            set_line(basket, *country, line)
        }
        Command::RemoveLine { product } => Ok(remove_line(basket, *product)),
        Command::Reprice { menu } => Ok(basket.map_or_else(Vec::new, |basket| reprice(basket, menu))),
        Command::Checkout(asked) => checkout(basket, asked, now),
        Command::Reopen { order } => Ok(reopen(basket, *order)),
    }
}

/// Timers: a checkout is looked at once more; a basket filled anew keeps its new lines, so there is nothing to look at.
pub fn react(_basket: &Basket, event: &Event, _at: Timestamp) -> Vec<Effect> {
    let kind = Cow::Borrowed(REOPEN);
    match event {
        Event::CheckedOut { reopen_at, .. } => vec![Effect::SetTimer { kind, due: *reopen_at }],
        Event::LineSet { .. } | Event::Reopened { .. } => vec![Effect::ClearTimer { kind }],
        Event::LineRemoved { .. } | Event::Repriced { .. } | Event::LineUnavailable { .. } => Vec::new(),
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
    // Set again after the menu changed it, the line was seen as it is now.
    let is_news = basket.is_some_and(|basket| !basket.changes.is_empty());
    if lines.contains(&line) && !is_news {
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
        options,
        tax_bp,
    } = line.clone();
    lines.push(line);
    total(&lines).ok_or(Rejection::TotalOutOfRange)?;
    Ok(vec![Event::LineSet {
        country,
        product,
        quantity,
        unit_price,
        options,
        tax_bp,
    }])
}

fn remove_line(basket: Option<&Basket>, product: ProductId) -> Vec<Event> {
    let is_there = |basket: &Basket| {
        // A line that the menu took away: its customer has seen that.
        let was_there = basket.changes.iter().any(|change| change.product == product);
        was_there || basket.line(product).is_some()
    };
    if basket.is_some_and(is_there) {
        vec![Event::LineRemoved { product }]
    } else {
        Vec::new()
    }
}

/// A line keeps its place, its quantity and its options; what cannot be ordered any more goes.
fn reprice(basket: &Basket, menu: &[(ProductId, Product)]) -> Vec<Event> {
    let Some(country) = basket.country else {
        return Vec::new();
    };
    let known = menu
        .iter()
        .filter_map(|(product, menu)| Some((basket.line(*product)?, menu)));
    known.filter_map(|(line, menu)| repriced(line, country, menu)).collect()
}

fn repriced(line: &Line, country: Country, menu: &Product) -> Option<Event> {
    let gone = |reason| {
        Some(Event::LineUnavailable {
            product: line.product,
            was: line.unit_price,
            reason,
        })
    };
    if menu.retired {
        return gone(Unavailable::Retired);
    }
    let picks: Vec<Pick> = line.options.iter().map(picked).collect();
    let now = match priced(menu, country, &picks) {
        Ok(now) if now.unit_price.currency == line.unit_price.currency => now,
        Ok(_) | Err(Rejection::NotSoldHere) => return gone(Unavailable::NotSoldHere),
        Err(_) => return gone(Unavailable::OptionsChanged),
    };
    let is_same = (now.unit_price, &now.options, now.tax_bp) == (line.unit_price, &line.options, line.tax_bp);
    (!is_same).then_some(Event::Repriced {
        product: line.product,
        was: line.unit_price,
        unit_price: now.unit_price,
        options: now.options,
        tax_bp: now.tax_bp,
    })
}

fn picked(chosen: &Chosen) -> Pick {
    Pick {
        group: chosen.group.clone(),
        choice: chosen.choice.clone(),
    }
}

fn checkout(basket: Option<&Basket>, asked: &Checkout, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    let version = basket.map_or(0, |basket| basket.version);
    if version != asked.basket_version {
        return Err(Rejection::BasketChanged { version });
    }
    let frozen = basket.and_then(|basket| Some((basket, basket.country?, basket.total?)));
    let (basket, country, total) = frozen.ok_or(Rejection::BasketEmpty)?;
    let known = asked.promotions.iter();
    let on = known.filter(|(_, promotion)| promotion.is_on(now) && promotion.is_for(country, asked.pinned));
    let on: Vec<(PromotionId, &Promotion)> = on.map(|(id, promotion)| (*id, promotion)).collect();
    let lines: Option<Vec<(QuoteLine, Money)>> = basket.lines.iter().map(|line| frozen_line(line, &on)).collect();
    let (lines, paid): (Vec<QuoteLine>, Vec<Money>) = lines.ok_or(Rejection::TotalOutOfRange)?.into_iter().unzip();
    let quote = Quote {
        basket: asked.basket,
        basket_version: version,
        country,
        lines,
        total: Money::sum(total.currency, paid).map_err(|_| Rejection::TotalOutOfRange)?,
        method: asked.method,
        valid_until: asked.valid_until,
    };
    Ok(vec![Event::CheckedOut {
        order: asked.order,
        quote,
        reopen_at: asked.reopen_at,
    }])
}

/// With what is paid for it.
fn frozen_line(line: &Line, promotions: &[(PromotionId, &Promotion)]) -> Option<(QuoteLine, Money)> {
    let discount = promotion::best(promotions.iter().copied(), line.product, line.unit_price);
    let mut frozen = QuoteLine {
        product: line.product,
        quantity: line.quantity,
        unit_price: line.unit_price,
        options: line.options.clone(),
        tax_bp: line.tax_bp,
        tax: None,
        discount,
    };
    let paid = frozen.paid()?;
    frozen.tax = (line.tax_bp > 0).then(|| paid.tax_within(line.tax_bp));
    Some((frozen, paid))
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
