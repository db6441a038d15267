//! Baskets: lines, and the checkout that freezes them into a quote.

use jiff::Timestamp;

use crate::envelope::events;
use crate::geo::Country;
use crate::id::{OrderId, ProductId};
use crate::money::Money;
use crate::order::Quote;

events! {
    /// What happens in a basket. A basket has one country; the first line after it was empty sets it.
    pub enum Event {
        /// A product is in the basket, this many times, at this price each.
        "basket.line_set" LineSet { country: Country, product: ProductId, quantity: u32, unit_price: Money }
        /// A product is out of the basket.
        "basket.line_removed" LineRemoved { product: ProductId }
        /// The lines became an order's quote; the basket is empty again. `reopen_at` is on the business clock.
        "basket.checked_out" CheckedOut { order: OrderId, quote: Quote, reopen_at: Timestamp }
        /// That order was never placed: its lines are back, unless the basket was filled anew.
        "basket.reopened" Reopened { order: OrderId }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use uuid::Uuid;

    use super::*;
    use crate::id::UserId;
    use crate::money::Currency;
    use crate::order::{Method, QuoteLine};

    #[test]
    fn the_wire_is_pinned() {
        let country = Country::parse("DE").expect("two letters");
        let product = ProductId(Uuid::from_u128(1));
        let order = OrderId(Uuid::from_u128(2));
        let unit_price = Money::new(450, Currency::EUR);
        let quote = Quote {
            basket: UserId(Uuid::from_u128(3)).basket(),
            basket_version: 2,
            country,
            lines: vec![QuoteLine {
                product,
                quantity: 2,
                unit_price,
            }],
            total: Money::new(900, Currency::EUR),
            method: Method::Card,
            valid_until: Timestamp::UNIX_EPOCH,
        };
        let events = [
            Event::LineSet {
                country,
                product,
                quantity: 2,
                unit_price,
            },
            Event::LineRemoved { product },
            Event::CheckedOut {
                order,
                quote,
                reopen_at: Timestamp::UNIX_EPOCH,
            },
            Event::Reopened { order },
        ];
        let lines: Vec<_> = events
            .iter()
            .map(|event| serde_json::to_string(event).expect("plain data"))
            .collect();
        assert_snapshot!(lines.join("\n"), @r#"
        {"type":"basket.line_set","data":{"country":"DE","product":"prd_00000000000000000000000001","quantity":2,"unit_price":{"amount":450,"currency":"EUR"}}}
        {"type":"basket.line_removed","data":{"product":"prd_00000000000000000000000001"}}
        {"type":"basket.checked_out","data":{"order":"ord_00000000000000000000000002","quote":{"basket":"bas_00000000000000000000000003","basket_version":2,"country":"DE","lines":[{"product":"prd_00000000000000000000000001","quantity":2,"unit_price":{"amount":450,"currency":"EUR"}}],"total":{"amount":900,"currency":"EUR"},"method":"card","valid_until":"1970-01-01T00:00:00Z"},"reopen_at":"1970-01-01T00:00:00Z"}}
        {"type":"basket.reopened","data":{"order":"ord_00000000000000000000000002"}}
        "#);
    }
}
