//! Money: an integer of minor units and an ISO 4217 code. No floats, no silent overflow.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Active codes of ISO 4217 for national currencies (list one, without funds and metals).
const CODES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD \
CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD \
HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD \
MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG \
QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD \
TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW";

/// All of an amount, in basis points: hundredths of a percent.
pub const WHOLE_BP: u32 = 10_000;

/// Why an amount could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Two currencies in one sum.
    #[error("cannot combine {0} with {1}")]
    CurrencyMismatch(Currency, Currency),
    /// Beyond 64 bits of minor units.
    #[error("amount out of range")]
    Overflow,
    /// Not a code of ISO 4217.
    #[error("unknown currency")]
    UnknownCurrency,
}

/// A currency by its ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The euro.
    pub const EUR: Self = Self(*b"EUR");
    /// The Serbian dinar.
    pub const RSD: Self = Self(*b"RSD");
    /// The pound sterling.
    pub const GBP: Self = Self(*b"GBP");
    /// The US dollar.
    pub const USD: Self = Self(*b"USD");

    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a code is three ASCII letters")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| MoneyError::UnknownCurrency)?;
        if CODES.split(' ').any(|known| known == text) {
            Ok(Self(code))
        } else {
            Err(MoneyError::UnknownCurrency)
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Currency {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^[A-Z]{3}$"))
            .description(Some("ISO 4217 code"))
            .into()
    }
}

impl ToSchema for Currency {}

/// An amount of one currency, in minor units (cents).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: Currency,
}

impl Money {
    /// `amount` minor units.
    pub const fn new(amount: i64, currency: Currency) -> Self {
        Self { amount, currency }
    }

    /// Nothing, in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self { amount: 0, currency }
    }

    /// Whether it is nothing.
    pub const fn is_zero(&self) -> bool {
        self.amount == 0
    }

    /// The sum; refuses two currencies and overflow.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    /// The difference; refuses two currencies and overflow.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    /// So many of it; refuses overflow.
    pub fn times(self, count: u32) -> Result<Self, MoneyError> {
        let amount = self.amount.checked_mul(i64::from(count)).ok_or(MoneyError::Overflow)?;
        Ok(Self { amount, ..self })
    }

    /// So many hundredths of a percent of it, rounded down. At most all of it is asked for.
    pub fn share(self, basis_points: u32) -> Self {
        let share = i128::from(self.amount) * i128::from(basis_points.min(WHOLE_BP)) / i128::from(WHOLE_BP);
        let amount = i64::try_from(share).expect("a part of 64 bits has 64 bits");
        Self { amount, ..self }
    }

    /// The tax within it, if it was added at this rate; rounded to the nearest minor unit, halves up.
    pub fn tax_within(self, rate_bp: u32) -> Self {
        let (rate, gross) = (i128::from(rate_bp), i128::from(WHOLE_BP) + i128::from(rate_bp));
        let tax = (i128::from(self.amount) * rate * 2 + gross).div_euclid(gross * 2);
        let amount = i64::try_from(tax).expect("a part of 64 bits has 64 bits");
        Self { amount, ..self }
    }

    /// The sum of many; zero of `currency` for none.
    pub fn sum(currency: Currency, amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        amounts.into_iter().try_fold(Self::zero(currency), Self::plus)
    }

    fn combine(self, other: Self, with: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch(self.currency, other.currency));
        }
        let amount = with(self.amount, other.amount).ok_or(MoneyError::Overflow)?;
        Ok(Self { amount, ..self })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.amount, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_refuse_two_currencies_and_overflow() {
        let euro = Money::new(1290, Currency::EUR);
        assert_eq!(
            euro.plus(Money::new(10, Currency::EUR)),
            Ok(Money::new(1300, Currency::EUR))
        );
        assert!(matches!(
            euro.plus(Money::new(1, Currency::RSD)),
            Err(MoneyError::CurrencyMismatch(..))
        ));
        assert_eq!(Money::new(i64::MAX, Currency::EUR).times(2), Err(MoneyError::Overflow));
        assert_eq!(
            Money::new(i64::MIN, Currency::EUR).minus(euro),
            Err(MoneyError::Overflow)
        );
    }

    #[test]
    fn a_share_is_rounded_down_and_the_tax_within_to_the_nearest() {
        let euro = |cents| Money::new(cents, Currency::EUR);
        assert_eq!(euro(890).share(1_500), euro(133));
        assert_eq!(euro(890).share(20_000), euro(890), "never more than all of it");
        assert_eq!(euro(i64::MAX).share(WHOLE_BP), euro(i64::MAX));
        // 8.90 with 7 % in it is 8.3178 and 0.5822.
        assert_eq!(euro(890).tax_within(700), euro(58));
        assert_eq!(euro(3).tax_within(WHOLE_BP), euro(2), "1.5, halves up");
        assert_eq!(euro(890).tax_within(0), euro(0));
        assert_eq!(euro(i64::MAX).tax_within(WHOLE_BP), euro(i64::MAX / 2 + 1));
    }

    #[test]
    fn only_iso_codes_are_currencies() {
        assert_eq!("EUR".parse(), Ok(Currency::EUR));
        for bad in ["eur", "XXX", "EURO", "", "E R"] {
            assert_eq!(bad.parse::<Currency>(), Err(MoneyError::UnknownCurrency), "{bad}");
        }
    }

    #[test]
    fn money_is_minor_units_and_a_code_on_the_wire() {
        let json = serde_json::to_string(&Money::new(1290, Currency::EUR)).expect("plain data");
        assert_eq!(json, r#"{"amount":1290,"currency":"EUR"}"#);
        assert!(serde_json::from_str::<Money>(r#"{"amount":12.9,"currency":"EUR"}"#).is_err());
    }
}
