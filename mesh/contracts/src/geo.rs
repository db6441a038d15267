//! Where things are: coordinates in millionths of a degree, and distances in metres.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Mean radius of the earth (IUGG), in metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// About 100 m of latitude, in millionths of a degree: what an event may know of a customer's place.
const COARSE_E6: i32 = 1_000;

/// A country by its ISO 3166-1 alpha-2 code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

impl Country {
    /// Two upper-case ASCII letters, or nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 2] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a code is two ASCII letters")
    }
}

impl std::fmt::Debug for Country {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

impl std::fmt::Display for Country {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Serialize for Country {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an ISO 3166-1 alpha-2 code"))
    }
}

impl utoipa::PartialSchema for Country {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^[A-Z]{2}$"))
            .description(Some("ISO 3166-1 alpha-2 code"))
            .into()
    }
}

impl ToSchema for Country {}

/// A point on the earth (WGS 84), in millionths of a degree: exact, comparable, no floats on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
pub struct Coordinates {
    /// Latitude, −90 000 000 to 90 000 000.
    #[schema(minimum = -90_000_000, maximum = 90_000_000)]
    pub lat_e6: i32,
    /// Longitude, −180 000 000 to 180 000 000.
    #[schema(minimum = -180_000_000, maximum = 180_000_000)]
    pub lon_e6: i32,
}

impl<'de> Deserialize<'de> for Coordinates {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            lat_e6: i32,
            lon_e6: i32,
        }
        let raw = Raw::deserialize(deserializer)?;
        Self::new(raw.lat_e6, raw.lon_e6).ok_or_else(|| serde::de::Error::custom("not a place on the earth"))
    }
}

impl Coordinates {
    /// Nothing beyond the poles or the date line.
    pub fn new(lat_e6: i32, lon_e6: i32) -> Option<Self> {
        let valid = (-90_000_000..=90_000_000).contains(&lat_e6) && (-180_000_000..=180_000_000).contains(&lon_e6);
        valid.then_some(Self { lat_e6, lon_e6 })
    }

    /// Rounded to about 100 m, as events may carry it.
    pub fn coarse(self) -> Self {
        let round = |value: i32| (value + value.signum() * COARSE_E6 / 2) / COARSE_E6 * COARSE_E6;
        Self {
            lat_e6: round(self.lat_e6),
            lon_e6: round(self.lon_e6),
        }
    }

    /// Great-circle distance in whole metres (haversine).
    pub fn distance_m(self, other: Self) -> u32 {
        let radians = |e6: i32| (f64::from(e6) / 1e6).to_radians();
        let (lat_a, lat_b) = (radians(self.lat_e6), radians(other.lat_e6));
        let half_lat = (lat_b - lat_a) / 2.0;
        let half_lon = (radians(other.lon_e6) - radians(self.lon_e6)) / 2.0;
        let chord = half_lat.sin().powi(2) + lat_a.cos() * lat_b.cos() * half_lon.sin().powi(2);
        (2.0 * EARTH_RADIUS_M * chord.sqrt().min(1.0).asin()).round() as u32
    }
}

/// How long a way takes, rounded up to whole seconds.
pub fn travel(distance_m: u32, speed_m_per_min: u32) -> SignedDuration {
    let seconds = (u64::from(distance_m) * 60).div_ceil(u64::from(speed_m_per_min.max(1)));
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// A country and a point in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The country, which fixes currency and menu.
    pub country: Country,
    /// The point.
    pub at: Coordinates,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_is_right_for_known_cities() {
        let berlin = Coordinates::new(52_520_008, 13_404_954).expect("on earth");
        let belgrade = Coordinates::new(44_786_568, 20_448_922).expect("on earth");
        // 1000.5 km by the haversine formula on the mean radius.
        assert!((995_000..1_005_000).contains(&berlin.distance_m(belgrade)));
        assert_eq!(berlin.distance_m(berlin), 0);
    }

    #[test]
    fn events_know_a_place_to_about_100_m() {
        let home = Coordinates::new(52_520_449, -13_404_951).expect("on earth");
        assert_eq!(
            home.coarse(),
            Coordinates {
                lat_e6: 52_520_000,
                lon_e6: -13_405_000
            }
        );
        assert!(home.distance_m(home.coarse()) < 100);
    }

    #[test]
    fn a_place_off_the_earth_is_refused() {
        assert!(serde_json::from_str::<Coordinates>(r#"{"lat_e6":90000001,"lon_e6":0}"#).is_err());
        assert!(serde_json::from_str::<Country>(r#""de""#).is_err());
    }
}
