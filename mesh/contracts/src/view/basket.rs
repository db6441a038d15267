//! A basket, folded from its events: its lines, what the menu changed about them, and the checkout that may come back.
//!
//! Knows no menu and no promotion: a line keeps the menu's price, and a checkout may only take something off it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::basket::{Event, Unavailable};
use crate::geo::Country;
use crate::id::{OrderId, ProductId};
use crate::menu::Chosen;
use crate::money::Money;
use crate::order::{Quote, QuoteLine, is_zero};

/// One product in a basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    /// What.
    pub product: ProductId,
    /// How many portions.
    pub quantity: u32,
    /// Price of one, its options and tax included.
    pub unit_price: Money,
    /// What the customer chose, for every portion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Chosen>,
    /// The tax within the price, in basis points.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tax_bp: u32,
}

/// What the menu changed about a line since the customer last touched the basket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BasketChange)]
pub struct Change {
    /// Of which line.
    pub product: ProductId,
    /// What one cost when the customer last saw it.
    pub was: Money,
    /// What one costs now; nothing if the line is gone.
    pub now: Option<Money>,
    /// Why it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Unavailable>,
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
    /// What the menu changed since the customer's last line command; left out if nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
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
            changes: Vec::new(),
            checkout: None,
            updated_at: at,
        }
    }

    /// The line of a product.
    pub fn line(&self, product: ProductId) -> Option<&Line> {
        self.lines.iter().find(|line| line.product == product)
    }

    /// Several changes of one line are one: from what the customer saw to what is now.
    fn note(&mut self, newer: Change) {
        let known = self.changes.iter().position(|known| known.product == newer.product);
        let was = known.map_or(newer.was, |known| self.changes.remove(known).was);
        if newer.now != Some(was) {
            self.changes.push(Change { was, ..newer });
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

/// Of the form of [`Basket`] and of [`fold`]. Raise it whenever the form changes, or the same events fold to
/// something else: snapshots of another version are not read.
pub const FOLD_VERSION: u16 = 1;

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
            options,
            tax_bp,
        } => {
            basket.checkout = None;
            basket.changes.clear();
            basket.country = Some(*country);
            basket.set(Line {
                product: *product,
                quantity: *quantity,
                unit_price: *unit_price,
                options: options.clone(),
                tax_bp: *tax_bp,
            });
        }
        Event::LineRemoved { product } => {
            basket.changes.clear();
            basket.lines.retain(|line| line.product != *product);
        }
        Event::Repriced {
            product,
            was,
            unit_price,
            options,
            tax_bp,
        } => {
            if let Some(line) = basket.lines.iter_mut().find(|line| line.product == *product) {
                line.unit_price = *unit_price;
                line.options.clone_from(options);
                line.tax_bp = *tax_bp;
            }
            basket.note(Change {
                product: *product,
                was: *was,
                now: Some(*unit_price),
                reason: None,
            });
        }
        Event::LineUnavailable { product, was, reason } => {
            basket.lines.retain(|line| line.product != *product);
            basket.note(Change {
                product: *product,
                was: *was,
                now: None,
                reason: Some(*reason),
            });
        }
        Event::CheckedOut {
            order,
            quote,
            reopen_at,
        } => {
            basket.lines.clear();
            basket.changes.clear();
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
        options: frozen.options,
        tax_bp: frozen.tax_bp,
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
            options: Vec::new(),
            tax_bp: 0,
        }
    }

    fn repriced(number: u128, was: i64, cents: i64) -> Event {
        Event::Repriced {
            product: product(number),
            was: Money::new(was, Currency::EUR),
            unit_price: Money::new(cents, Currency::EUR),
            options: Vec::new(),
            tax_bp: 700,
        }
    }

    fn unavailable(number: u128, was: i64) -> Event {
        Event::LineUnavailable {
            product: product(number),
            was: Money::new(was, Currency::EUR),
            reason: Unavailable::Retired,
        }
    }

    fn change(number: u128, was: i64, now: Option<i64>) -> Change {
        Change {
            product: product(number),
            was: Money::new(was, Currency::EUR),
            now: now.map(|cents| Money::new(cents, Currency::EUR)),
            reason: now.is_none().then_some(Unavailable::Retired),
        }
    }

    fn checked_out() -> Event {
        Event::CheckedOut {
            order: order(),
            quote: Quote {
                basket: UserId(Uuid::from_u128(1)).basket(),
                basket_version: 1,
                country: Country::parse("DE").expect("two letters"),
                lines: vec![QuoteLine::plain(product(1), 2, Money::new(450, Currency::EUR))],
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

    /// If this changes, raise [`FOLD_VERSION`]: snapshots of before would be read as something else.
    #[test]
    fn the_form_of_its_snapshots_is_pinned() {
        let quote = Quote {
            basket: UserId(Uuid::from_u128(3)).basket(),
            basket_version: 1,
            country: Country::parse("DE").expect("two letters"),
            lines: vec![QuoteLine::plain(product(1), 2, Money::new(450, Currency::EUR))],
            total: Money::new(900, Currency::EUR),
            method: Method::Card,
            valid_until: NOON,
        };
        let checked_out = Event::CheckedOut {
            order: order(),
            quote,
            reopen_at: NOON,
        };
        let baskets = [
            folded(&[set(1, 2), checked_out]),
            folded(&[set(1, 2), repriced(1, 450, 490)]),
        ];
        let form = serde_json::to_string(&(FOLD_VERSION, baskets)).expect("plain data");
        insta::assert_snapshot!(form, @r#"[1,[{"version":2,"country":null,"lines":[],"total":null,"checkout":{"order":"ord_0000000000000000000000002d","quote":{"basket":"bas_00000000000000000000000003","basket_version":1,"country":"DE","lines":[{"product":"prd_00000000000000000000000001","quantity":2,"unit_price":{"amount":450,"currency":"EUR"}}],"total":{"amount":900,"currency":"EUR"},"method":"card","valid_until":"2023-11-14T22:13:20Z"},"reopen_at":"2023-11-14T22:13:20Z"},"updated_at":"2023-11-14T22:13:20Z"},{"version":2,"country":"DE","lines":[{"product":"prd_00000000000000000000000001","quantity":2,"unit_price":{"amount":490,"currency":"EUR"},"tax_bp":700}],"total":{"amount":980,"currency":"EUR"},"changes":[{"product":"prd_00000000000000000000000001","was":{"amount":450,"currency":"EUR"},"now":{"amount":490,"currency":"EUR"}}],"checkout":null,"updated_at":"2023-11-14T22:13:20Z"}]]"#);
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
    fn what_the_menu_changed_is_shown_until_the_next_line_command() {
        let changed = [set(1, 2), set(2, 1), repriced(1, 450, 490), unavailable(2, 450)];
        let basket = folded(&changed);
        assert_eq!(basket.total, Some(Money::new(980, Currency::EUR)));
        assert_eq!(basket.lines[0].tax_bp, 700);
        assert_eq!(basket.changes, [change(1, 450, Some(490)), change(2, 450, None)]);
        for seen in [set(1, 3), Event::LineRemoved { product: product(2) }] {
            assert!(folded(&[&changed[..], &[seen]].concat()).changes.is_empty());
        }
    }

    #[test]
    fn changes_of_one_line_are_told_as_one() {
        let dearer = [set(1, 2), repriced(1, 450, 490), repriced(1, 490, 510)];
        assert_eq!(folded(&dearer).changes, [change(1, 450, Some(510))]);
        let back = [&dearer[..], &[repriced(1, 510, 450)]].concat();
        assert!(folded(&back).changes.is_empty(), "as the customer saw it");
        let gone = [&dearer[..], &[unavailable(1, 510)]].concat();
        let basket = folded(&gone);
        assert_eq!(basket.changes, [change(1, 450, None)]);
        assert_eq!((basket.country, basket.total), (None, None));
    }

    /// As it was stored before there were options, taxes and changes.
    #[test]
    fn a_document_of_old_is_read_and_written_as_it_is() {
        let old = r#"{"version":1,"country":"DE","lines":[{"product":"prd_00000000000000000000000001","quantity":2,"unit_price":{"amount":450,"currency":"EUR"}}],"total":{"amount":900,"currency":"EUR"},"checkout":null,"updated_at":"2023-11-14T22:13:20Z"}"#;
        let read: Basket = serde_json::from_str(old).expect("its shape");
        assert_eq!(read, folded(&[set(1, 2)]));
        assert_eq!(serde_json::to_string(&read).expect("plain data"), old);
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
