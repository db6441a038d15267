//! Baskets: lines, and the checkout that freezes them into a quote.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::events;
use crate::geo::Country;
use crate::id::{OrderId, ProductId};
use crate::menu::Chosen;
use crate::money::Money;
use crate::order::{Quote, is_zero};

/// Why a line had to leave a basket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// Nobody can order the product any more.
    Retired,
    /// It is not sold in the basket's country any more.
    NotSoldHere,
    /// What was chosen cannot be chosen like that any more.
    OptionsChanged,
}

events! {
    /// What happens in a basket. A basket has one country; the first line after it was empty sets it.
    pub enum Event {
        /// A product is in the basket, this many times, at this price each; the price has its options and tax in it.
        "basket.line_set" LineSet { country: Country, product: ProductId, quantity: u32, unit_price: Money, #[serde(default, skip_serializing_if = "Vec::is_empty")] options: Vec<Chosen>, #[serde(default, skip_serializing_if = "is_zero")] tax_bp: u32 }
        /// A product is out of the basket.
        "basket.line_removed" LineRemoved { product: ProductId }
        /// The menu changed: a line costs something else, or has another tax in it.
        "basket.repriced" Repriced { product: ProductId, was: Money, unit_price: Money, #[serde(default, skip_serializing_if = "Vec::is_empty")] options: Vec<Chosen>, #[serde(default, skip_serializing_if = "is_zero")] tax_bp: u32 }
        /// The menu changed: a line cannot be ordered any more and is out of the basket.
        "basket.line_unavailable" LineUnavailable { product: ProductId, was: Money, reason: Unavailable }
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
    use crate::envelope::EventBody as _;
    use crate::id::UserId;
    use crate::menu::Slug;
    use crate::money::Currency;
    use crate::order::{Method, QuoteLine};

    #[test]
    fn the_wire_is_pinned() {
        let country = Country::parse("DE").expect("two letters");
        let product = ProductId(Uuid::from_u128(1));
        let order = OrderId(Uuid::from_u128(2));
        let unit_price = Money::new(450, Currency::EUR);
        let chosen = Chosen {
            group: Slug::parse("bread").expect("a slug"),
            choice: Slug::parse("rye").expect("a slug"),
            price: Money::new(30, Currency::EUR),
        };
        let quote = Quote {
            basket: UserId(Uuid::from_u128(3)).basket(),
            basket_version: 2,
            country,
            lines: vec![QuoteLine::plain(product, 2, unit_price)],
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
                options: Vec::new(),
                tax_bp: 0,
            },
            Event::LineSet {
                country,
                product,
                quantity: 2,
                unit_price,
                options: vec![chosen.clone()],
                tax_bp: 700,
            },
            Event::LineRemoved { product },
            Event::Repriced {
                product,
                was: unit_price,
                unit_price: Money::new(490, Currency::EUR),
                options: vec![chosen],
                tax_bp: 700,
            },
            Event::LineUnavailable {
                product,
                was: unit_price,
                reason: Unavailable::NotSoldHere,
            },
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
        {"type":"basket.line_set","data":{"country":"DE","product":"prd_00000000000000000000000001","quantity":2,"unit_price":{"amount":450,"currency":"EUR"},"options":[{"group":"bread","choice":"rye","price":{"amount":30,"currency":"EUR"}}],"tax_bp":700}}
        {"type":"basket.line_removed","data":{"product":"prd_00000000000000000000000001"}}
        {"type":"basket.repriced","data":{"product":"prd_00000000000000000000000001","was":{"amount":450,"currency":"EUR"},"unit_price":{"amount":490,"currency":"EUR"},"options":[{"group":"bread","choice":"rye","price":{"amount":30,"currency":"EUR"}}],"tax_bp":700}}
        {"type":"basket.line_unavailable","data":{"product":"prd_00000000000000000000000001","was":{"amount":450,"currency":"EUR"},"reason":"not_sold_here"}}
        {"type":"basket.checked_out","data":{"order":"ord_00000000000000000000000002","quote":{"basket":"bas_00000000000000000000000003","basket_version":2,"country":"DE","lines":[{"product":"prd_00000000000000000000000001","quantity":2,"unit_price":{"amount":450,"currency":"EUR"}}],"total":{"amount":900,"currency":"EUR"},"method":"card","valid_until":"1970-01-01T00:00:00Z"},"reopen_at":"1970-01-01T00:00:00Z"}}
        {"type":"basket.reopened","data":{"order":"ord_00000000000000000000000002"}}
        "#);
    }
    /// As these were said before there were options, taxes and promotions.
    #[test]
    fn events_of_old_read_as_plain_ones() {
        let read = |event_type: &str, data: &str| {
            let data = serde_json::from_str(data).expect("JSON");
            Event::decode(event_type, &data).expect("its shape").expect("known")
        };
        let set = read(
            "basket.line_set",
            r#"{"country":"DE","product":"prd_00000000000000000000000001","quantity":2,"unit_price":{"amount":450,"currency":"EUR"}}"#,
        );
        let Event::LineSet { options, tax_bp, .. } = set else {
            panic!("{set:?}")
        };
        assert_eq!((options, tax_bp), (Vec::new(), 0));
        let checked_out = read(
            "basket.checked_out",
            r#"{"order":"ord_00000000000000000000000002","quote":{"basket":"bas_00000000000000000000000003","basket_version":2,"country":"DE","lines":[{"product":"prd_00000000000000000000000001","quantity":2,"unit_price":{"amount":450,"currency":"EUR"}}],"total":{"amount":900,"currency":"EUR"},"method":"card","valid_until":"1970-01-01T00:00:00Z"},"reopen_at":"1970-01-01T00:00:00Z"}"#,
        );
        let Event::CheckedOut { quote, .. } = checked_out else {
            panic!("{checked_out:?}")
        };
        let plain = QuoteLine::plain(ProductId(Uuid::from_u128(1)), 2, Money::new(450, Currency::EUR));
        assert_eq!(quote.lines, [plain]);
        assert_eq!(quote.lines[0].paid(), Some(quote.total));
    }
}
