//! Ids that show their kind: a prefix and a UUID in 26 lower-case Crockford characters.
//!
//! Knows nothing of what the ids stand for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Crockford's alphabet: no `i`, `l`, `o`, `u`, so that a person can read an id aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 128 bits in 5-bit characters.
const ENCODED_LEN: usize = 26;
/// Length of an order's human number: 30 bits, unique together with the food point and day.
const NUMBER_LEN: usize = 6;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {expected} id")]
pub struct BadId {
    /// The prefix that was expected, such as `ord`.
    pub expected: &'static str,
}

fn encode(uuid: Uuid) -> String {
    let bits = uuid.as_u128();
    (0..ENCODED_LEN)
        .rev()
        .map(|place| char::from(ALPHABET[((bits >> (5 * place)) & 31) as usize]))
        .collect()
}

fn decode(text: &str) -> Option<Uuid> {
    if text.len() != ENCODED_LEN {
        return None;
    }
    let mut bits: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|known| *known == byte)? as u128;
        // The first character carries 3 bits only: 26 × 5 = 130.
        if place == 0 && digit > 7 {
            return None;
        }
        bits = (bits << 5) | digit;
    }
    Some(Uuid::from_u128(bits))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What the printed form starts with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id in time order (UUID v7).
            pub fn new_v7() -> Self {
                Self(Uuid::now_v7())
            }

            /// The underlying UUID.
            pub fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}_{}", $prefix, encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or(BadId { expected: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                id_schema($prefix)
            }
        }

        impl utoipa::ToSchema for $name {}
    )*};
}

fn id_schema(prefix: &str) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .pattern(Some(format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$")))
        .into()
}

ids! {
    /// An order, with its kitchen ticket and its saga.
    OrderId = "ord";
    /// A customer's basket; the same UUID as the customer.
    BasketId = "bas";
    /// The payment of an order; the same UUID as the order.
    PaymentId = "pay";
    /// A product of the menu.
    ProductId = "prd";
    /// A promotion of the menu.
    PromotionId = "prm";
    /// An ingredient that recipes need and food points stock.
    IngredientId = "ing";
    /// A food point: a kitchen with its stock and its pool.
    FoodPointId = "pnt";
    /// A courier; the same UUID as the person.
    CourierId = "cou";
    /// The delivery of an order; the same UUID as the order.
    DeliveryId = "dlv";
    /// A person.
    UserId = "usr";
    /// What a customer was told about an order; the same UUID as the order.
    NotificationsId = "ntf";
    /// A place that a person wants deliveries brought to.
    AddressId = "adr";
}

impl OrderId {
    /// The short number that people read to each other: six characters of the id.
    pub fn number(&self) -> String {
        let text = encode(self.0);
        text[ENCODED_LEN - NUMBER_LEN..].to_uppercase()
    }

    /// The order's payment.
    pub fn payment(&self) -> PaymentId {
        PaymentId(self.0)
    }

    /// The order's delivery.
    pub fn delivery(&self) -> DeliveryId {
        DeliveryId(self.0)
    }

    /// What the customer was told about it.
    pub fn notifications(&self) -> NotificationsId {
        NotificationsId(self.0)
    }
}

impl NotificationsId {
    /// The order that they are about.
    pub fn order(&self) -> OrderId {
        OrderId(self.0)
    }
}

impl PaymentId {
    /// The order this pays for.
    pub fn order(&self) -> OrderId {
        OrderId(self.0)
    }
}

impl DeliveryId {
    /// The order this brings.
    pub fn order(&self) -> OrderId {
        OrderId(self.0)
    }
}

impl UserId {
    /// The person's basket.
    pub fn basket(&self) -> BasketId {
        BasketId(self.0)
    }

    /// The person as a courier.
    pub fn courier(&self) -> CourierId {
        CourierId(self.0)
    }
}

impl BasketId {
    /// Whose basket this is.
    pub fn customer(&self) -> UserId {
        UserId(self.0)
    }
}

impl CourierId {
    /// The person behind the courier.
    pub fn user(&self) -> UserId {
        UserId(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_and_parses_back() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = OrderId(Uuid::from_u128(bits));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn an_id_of_another_kind_or_alphabet_is_refused() {
        let user = UserId(Uuid::from_u128(7)).to_string();
        assert!(user.parse::<OrderId>().is_err());
        for bad in [
            "ord_",
            "ord_zzzzzzzzzzzzzzzzzzzzzzzzzz",
            "ord_0000000000000000000000000l",
            "",
            "ord",
        ] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_human_number_is_the_tail_of_the_id() {
        let id = OrderId(Uuid::from_u128(0x1f));
        assert_eq!(id.number(), "00000Z");
    }
}
