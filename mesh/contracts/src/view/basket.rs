//! A basket, folded from its events: its lines, and the checkout that may still come back.
//!
//! Knows no menu: a line keeps the price it was set at.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::basket::Event;
use crate::geo::Country;
use crate::id::{OrderId, ProductId};
use crate::money::Money;
use crate::order::{Quote, QuoteLine};

/// One product in a basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    /// What.
    pub product: ProductId,
    /// How many portions.
    pub quantity: u32,
    /// Price of one.
    pub unit_price: Money,
}

/// The newest checkout: gone as soon as the basket is filled anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checkout {
    /// For which order.
    pub order: OrderId,
    /// Lines and prices, frozen.
    pub quote: Quote,
    /// When it comes back unless the order was placed, on the business clock.
    pub reopen_at: Timestamp,
}

/// A customer's basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Basket {
    /// Version of its last event.
    pub version: u64,
    /// Set by its first line; a basket has one country, hence one currency.
    pub country: Option<Country>,
    /// In the order they were first set.
    pub lines: Vec<Line>,
    /// Of all lines; nothing for an empty basket.
    pub total: Option<Money>,
    /// What was frozen last.
    pub checkout: Option<Checkout>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Basket {
    fn empty(at: Timestamp) -> Self {
        Self {
            version: 0,
            country: None,
            lines: Vec::new(),
            total: None,
            checkout: None,
            updated_at: at,
        }
    }

    fn set(&mut self, line: Line) {
        match self.lines.iter_mut().find(|known| known.product == line.product) {
            Some(known) => *known = line,
            None => self.lines.push(line),
        }
    }

    fn recount(&mut self) {
        self.total = total(&self.lines);
        if self.lines.is_empty() {
            self.country = None;
        }
    }
}

/// The sum of all lines; nothing for none, for two currencies and for a sum out of range.
pub fn total(lines: &[Line]) -> Option<Money> {
    let first = lines.first()?;
    lines
        .iter()
        .try_fold(Money::zero(first.unit_price.currency), |sum, line| {
            sum.plus(line.unit_price.times(line.quantity)?)
        })
        .ok()
}

/// The next state; `None` only for a stream that does not start with `basket.line_set`.
pub fn fold(basket: Option<Basket>, event: &Event, at: Timestamp) -> Option<Basket> {
    let mut basket = match (basket, event) {
        (Some(basket), _) => basket,
        (None, Event::LineSet { .. }) => Basket::empty(at),
        (None, _) => return None,
    };
    basket.version += 1;
    basket.updated_at = at;
    apply(&mut basket, event);
    Some(basket)
}

/// An event that this build does not know: only the version moves.
pub fn skip(basket: &mut Basket, at: Timestamp) {
    basket.version += 1;
    basket.updated_at = at;
}

fn apply(basket: &mut Basket, event: &Event) {
    match event {
        Event::LineSet {
            country,
            product,
            quantity,
            unit_price,
        } => {
            basket.checkout = None;
            basket.country = Some(*country);
            basket.set(Line {
                product: *product,
                quantity: *quantity,
                unit_price: *unit_price,
            });
        }
        Event::LineRemoved { product } => basket.lines.retain(|line| line.product != *product),
        Event::CheckedOut {
            order,
            quote,
            reopen_at,
        } => {
            basket.lines.clear();
            basket.checkout = Some(Checkout {
                order: *order,
                quote: quote.clone(),
                reopen_at: *reopen_at,
            });
        }
        Event::Reopened { order } => reopen(basket, *order),
    }
    basket.recount();
}

fn reopen(basket: &mut Basket, order: OrderId) {
    let Some(checkout) = basket.checkout.take_if(|checkout| checkout.order == order) else {
        return;
    };
    basket.country = Some(checkout.quote.country);
    basket.lines = checkout.quote.lines.into_iter().map(line).collect();
}

fn line(frozen: QuoteLine) -> Line {
    Line {
        product: frozen.product,
        quantity: frozen.quantity,
        unit_price: frozen.unit_price,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;
    use crate::money::Currency;
    use crate::order::Method;
    use uuid::Uuid;

    const NOON: Timestamp = Timestamp::constant(1_700_000_000, 0);

    fn product(number: u128) -> ProductId {
        ProductId(Uuid::from_u128(number))
    }

    fn order() -> OrderId {
        OrderId(Uuid::from_u128(77))
    }

    fn set(number: u128, quantity: u32) -> Event {
        Event::LineSet {
            country: Country::parse("DE").expect("two letters"),
            product: product(number),
            quantity,
            unit_price: Money::new(450, Currency::EUR),
        }
    }

    fn checked_out() -> Event {
        Event::CheckedOut {
            order: order(),
            quote: Quote {
                basket: UserId(Uuid::from_u128(1)).basket(),
                basket_version: 1,
                country: Country::parse("DE").expect("two letters"),
                lines: vec![QuoteLine {
                    product: product(1),
                    quantity: 2,
                    unit_price: Money::new(450, Currency::EUR),
                }],
                total: Money::new(900, Currency::EUR),
                method: Method::Cash,
                valid_until: NOON,
            },
            reopen_at: NOON,
        }
    }

    fn folded(events: &[Event]) -> Basket {
        events
            .iter()
            .fold(None, |basket, event| fold(basket, event, NOON))
            .expect("starts with a line")
    }

    #[test]
    fn a_line_set_twice_is_one_line_with_the_newest_quantity() {
        let basket = folded(&[set(1, 2), set(2, 1), set(1, 3)]);
        assert_eq!(basket.version, 3);
        assert_eq!(basket.lines.iter().map(|l| l.quantity).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(basket.total, Some(Money::new(1800, Currency::EUR)));
    }

    #[test]
    fn an_emptied_basket_has_no_country() {
        let basket = folded(&[set(1, 2), Event::LineRemoved { product: product(1) }]);
        assert_eq!((basket.country, basket.total), (None, None));
    }

    #[test]
    fn a_reopened_basket_has_its_lines_again() {
        let before = folded(&[set(1, 2)]);
        let emptied = folded(&[set(1, 2), checked_out()]);
        assert!(emptied.lines.is_empty());
        let after = folded(&[set(1, 2), checked_out(), Event::Reopened { order: order() }]);
        assert_eq!(
            (after.lines, after.country, after.checkout),
            (before.lines, before.country, None)
        );
    }

    #[test]
    fn a_basket_filled_anew_keeps_its_new_lines() {
        let basket = folded(&[set(1, 2), checked_out(), set(2, 1), Event::Reopened { order: order() }]);
        assert_eq!(basket.lines.iter().map(|l| l.product).collect::<Vec<_>>(), [product(2)]);
        assert_eq!(basket.version, 4);
    }

    #[test]
    fn a_stream_starts_with_a_line() {
        assert_eq!(fold(None, &checked_out(), NOON), None);
    }
}
