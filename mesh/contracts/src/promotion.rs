//! Promotions: what the chain or one food point takes off its prices, where and when.
//!
//! Applied when a basket is checked out. Of all promotions that apply to a line, the one that takes off most counts
//! alone; none takes all of a price, since nobody can pay nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::events;
use crate::geo::Country;
use crate::id::{FoodPointId, ProductId, PromotionId};
use crate::menu::Names;
use crate::money::Money;
use crate::order::PriceOff;

/// How much comes off the price of one portion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Discount {
    /// A share of it, in basis points (hundredths of a percent), rounded down to a minor unit.
    BasisPoints(u32),
    /// A fixed amount.
    Amount(Money),
}

/// A promotion as the operator describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    /// Shown to customers.
    pub names: Names,
    /// Where; its currency is that of an amount.
    pub country: Country,
    /// One food point alone. Such a promotion applies to orders that insist on this point, since a basket does not
    /// know otherwise who will cook it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub food_point: Option<FoodPointId>,
    /// Of these products; none named means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<ProductId>,
    /// How much.
    pub discount: Discount,
    /// From when on, on the business clock.
    pub starts_at: Timestamp,
    /// The first moment that it is over.
    pub ends_at: Timestamp,
}

impl Promotion {
    /// Whether its time is now.
    pub fn is_on(&self, now: Timestamp) -> bool {
        (self.starts_at..self.ends_at).contains(&now)
    }

    /// Whether it is for orders of this country, at the point that the customer insists on, if any.
    pub fn is_for(&self, country: Country, pinned: Option<FoodPointId>) -> bool {
        self.country == country && (self.food_point.is_none() || self.food_point == pinned)
    }

    /// What it takes off one portion of a product at this price; `None` if nothing. At least one minor unit of the
    /// price is left, whatever it became after the promotion was made.
    pub fn off(&self, product: ProductId, unit_price: Money) -> Option<Money> {
        if !self.products.is_empty() && !self.products.contains(&product) {
            return None;
        }
        let wanted = match self.discount {
            Discount::BasisPoints(basis_points) => unit_price.share(basis_points),
            Discount::Amount(amount) => amount,
        };
        let amount = wanted.amount.min(unit_price.amount.saturating_sub(1));
        (wanted.currency == unit_price.currency && amount > 0).then_some(Money { amount, ..wanted })
    }
}

/// The one that takes off most; of equals, the first made.
pub fn best<'a>(
    promotions: impl IntoIterator<Item = (PromotionId, &'a Promotion)>,
    product: ProductId,
    unit_price: Money,
) -> Option<PriceOff> {
    let offers = promotions.into_iter().filter_map(|(promotion, described)| {
        let off = described.off(product, unit_price)?;
        Some(PriceOff { promotion, off })
    });
    offers.min_by_key(|offer| (std::cmp::Reverse(offer.off.amount), offer.promotion))
}

events! {
    /// The life of a promotion.
    pub enum Event {
        /// It was announced; it applies when its time comes.
        "promotion.created" Created { promotion: Promotion }
        /// It is described anew, as a whole.
        "promotion.changed" Changed { promotion: Promotion }
        /// It is over before its time; what was checked out with it stays.
        "promotion.ended" Ended {}
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use uuid::Uuid;

    use super::*;
    use crate::envelope::EventBody;
    use crate::money::Currency;

    const NOON: Timestamp = Timestamp::UNIX_EPOCH;
    const CLUB: ProductId = ProductId(Uuid::from_u128(1));
    const SOUP: ProductId = ProductId(Uuid::from_u128(2));
    const HERE: FoodPointId = FoodPointId(Uuid::from_u128(3));

    fn euros(cents: i64) -> Money {
        Money::new(cents, Currency::EUR)
    }

    fn country(code: &str) -> Country {
        Country::parse(code).expect("a country")
    }

    fn promotion(discount: Discount) -> Promotion {
        Promotion {
            names: Names {
                en: "Lunch".into(),
                ru: "Обед".into(),
            },
            country: country("DE"),
            food_point: None,
            products: Vec::new(),
            discount,
            starts_at: NOON,
            ends_at: NOON + SignedDuration::from_hours(1),
        }
    }

    fn number(number: u128) -> PromotionId {
        PromotionId(Uuid::from_u128(number))
    }

    #[test]
    fn the_wire_form_of_every_event_is_pinned() {
        let local = Promotion {
            food_point: Some(HERE),
            products: vec![CLUB],
            ..promotion(Discount::Amount(euros(100)))
        };
        let events = [
            Event::Created {
                promotion: promotion(Discount::BasisPoints(1_500)),
            },
            Event::Changed { promotion: local },
            Event::Ended {},
        ];
        let types: Vec<&str> = events.iter().map(EventBody::event_type).collect();
        assert_eq!(types, Event::TYPES, "one sample of each, in order");
        let lines: Vec<String> = events
            .iter()
            .map(|event| format!("{} {}", event.event_type(), event.encode().value()))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        promotion.created {"promotion":{"country":"DE","discount":{"basis_points":1500},"ends_at":"1970-01-01T01:00:00Z","names":{"en":"Lunch","ru":"Обед"},"starts_at":"1970-01-01T00:00:00Z"}}
        promotion.changed {"promotion":{"country":"DE","discount":{"amount":{"amount":100,"currency":"EUR"}},"ends_at":"1970-01-01T01:00:00Z","food_point":"pnt_00000000000000000000000003","names":{"en":"Lunch","ru":"Обед"},"products":["prd_00000000000000000000000001"],"starts_at":"1970-01-01T00:00:00Z"}}
        promotion.ended {}
        "#);
        for event in events {
            let read = Event::decode(event.event_type(), &event.encode()).expect("its own form");
            assert_eq!(read, Some(event));
        }
    }

    #[test]
    fn a_promotion_is_on_from_its_start_until_before_its_end() {
        let lunch = promotion(Discount::BasisPoints(1_500));
        let second = SignedDuration::from_secs(1);
        assert!(!lunch.is_on(NOON - second));
        assert!(lunch.is_on(NOON));
        assert!(lunch.is_on(lunch.ends_at - second));
        assert!(!lunch.is_on(lunch.ends_at));
    }

    #[test]
    fn a_local_promotion_is_for_orders_that_insist_on_its_point() {
        let national = promotion(Discount::BasisPoints(1_500));
        let local = Promotion {
            food_point: Some(HERE),
            ..national.clone()
        };
        let elsewhere = Some(FoodPointId(Uuid::from_u128(4)));
        for pinned in [None, elsewhere, Some(HERE)] {
            assert!(national.is_for(country("DE"), pinned));
            assert_eq!(local.is_for(country("DE"), pinned), pinned == Some(HERE));
            assert!(!local.is_for(country("RS"), pinned));
        }
    }

    #[test]
    fn a_discount_leaves_something_of_every_price() {
        let off = |discount, cents| promotion(discount).off(CLUB, euros(cents));
        assert_eq!(off(Discount::BasisPoints(1_500), 890), Some(euros(133)));
        assert_eq!(
            off(Discount::BasisPoints(1_500), 5),
            None,
            "less than a cent is nothing"
        );
        assert_eq!(off(Discount::BasisPoints(20_000), 890), Some(euros(889)));
        assert_eq!(off(Discount::Amount(euros(100)), 890), Some(euros(100)));
        assert_eq!(off(Discount::Amount(euros(1_000)), 890), Some(euros(889)));
        assert_eq!(off(Discount::Amount(euros(1_000)), 1), None);
        assert_eq!(off(Discount::Amount(Money::new(100, Currency::RSD)), 890), None);
    }

    #[test]
    fn the_best_one_counts_alone() {
        let share = promotion(Discount::BasisPoints(1_000));
        let amount = promotion(Discount::Amount(euros(89)));
        let soup = Promotion {
            products: vec![SOUP],
            ..promotion(Discount::Amount(euros(500)))
        };
        let all = [(number(3), &share), (number(2), &amount), (number(1), &soup)];
        let taken = |product, cents| best(all, product, euros(cents)).map(|best| (best.promotion, best.off.amount));
        assert_eq!(taken(CLUB, 990), Some((number(3), 99)));
        assert_eq!(taken(CLUB, 790), Some((number(2), 89)));
        assert_eq!(taken(CLUB, 890), Some((number(2), 89)), "of equals, the first made");
        assert_eq!(taken(SOUP, 890), Some((number(1), 500)));
        assert_eq!(best([], CLUB, euros(890)), None);
    }
}
