//! Where the demonstration chain is.

use mesh_contracts::geo::{Coordinates, Country};

use super::country;

/// How far each shop delivers: its city's inner districts.
pub(super) const RADIUS_M: u32 = 6_000;

/// A place for a food point.
pub(super) struct Spot {
    pub(super) name: &'static str,
    pub(super) country: Country,
    pub(super) at: Coordinates,
    pub(super) auto_accept: bool,
}

/// Name, country, latitude and longitude in millionths of a degree, whether it accepts without being asked.
const SHOPS: [(&str, &str, i32, i32, bool); 7] = [
    ("Mitte", "DE", 52_520_800, 13_409_400, false),
    ("Kreuzberg", "DE", 52_499_000, 13_403_000, false),
    ("Prenzlauer Berg", "DE", 52_539_000, 13_424_000, true),
    ("Moabit", "DE", 52_525_600, 13_342_500, false),
    ("Stari Grad", "RS", 44_817_000, 20_460_000, false),
    ("Vracar", "RS", 44_799_000, 20_476_000, true),
    ("Novi Beograd", "RS", 44_815_000, 20_420_000, false),
];

/// All shops.
pub(super) fn shops() -> Vec<Spot> {
    SHOPS
        .into_iter()
        .map(|(name, code, lat_e6, lon_e6, auto_accept)| Spot {
            name,
            country: country(code),
            at: Coordinates::new(lat_e6, lon_e6).expect("on earth"),
            auto_accept,
        })
        .collect()
}
