//! What a description of a food point must satisfy beyond its types.

use std::ops::RangeInclusive;

use mesh_contracts::order::Kind;
use mesh_contracts::point::{Opening, Settings};

use super::{Flaw, Rejection};

/// As on a sign, and as the contract says.
const NAME_CHARS_MAX: usize = 120;
/// Farther than any courier rides, in metres.
const RADIUS_M: RangeInclusive<u32> = 1..=100_000;
/// More than any kitchen cooks at a time.
const POOL: RangeInclusive<u16> = 1..=1_000;
/// Three openings a day: breakfast, lunch and dinner.
const OPENINGS_MAX: usize = 21;
const DAY_MINUTES: u16 = 1_440;
/// From UTC−14 to UTC+14, as far as clocks on earth go.
const UTC_OFFSET_MINUTES: RangeInclusive<i16> = -840..=840;

/// The same with its name trimmed, or everything that is wrong with it.
pub(super) fn checked(mut settings: Settings) -> Result<Settings, Rejection> {
    settings.name = settings.name.trim().to_owned();
    let mut flaws = Vec::new();
    let mut demand = |holds: bool, field: &str, message| {
        if !holds {
            let field = field.to_owned();
            flaws.push(Flaw { field, message });
        }
    };
    let name_len = settings.name.chars().count();
    demand(
        (1..=NAME_CHARS_MAX).contains(&name_len),
        "name",
        "must have 1 to 120 characters",
    );
    demand(
        !settings.name.chars().any(char::is_control),
        "name",
        "must not have control characters",
    );
    demand(
        is_set(&settings.kinds),
        "kinds",
        "must name at least one kind, each once",
    );
    demand(
        RADIUS_M.contains(&settings.radius_m),
        "radius_m",
        "must be from 1 to 100000",
    );
    demand(POOL.contains(&settings.pool), "pool", "must be from 1 to 1000");
    demand(
        UTC_OFFSET_MINUTES.contains(&settings.utc_offset_minutes),
        "utc_offset_minutes",
        "must be from -840 to 840",
    );
    demand(settings.hours.len() <= OPENINGS_MAX, "hours", "must be at most 21");
    for (index, opening) in settings.hours.iter().enumerate() {
        demand(
            is_opening(opening),
            &format!("hours[{index}]"),
            "must be on a weekday from 1 to 7 and open before it closes, within the day",
        );
    }
    if flaws.is_empty() {
        Ok(settings)
    } else {
        Err(Rejection::Invalid(flaws))
    }
}

fn is_set(kinds: &[Kind]) -> bool {
    !kinds.is_empty()
        && kinds
            .iter()
            .enumerate()
            .all(|(index, kind)| !kinds[..index].contains(kind))
}

fn is_opening(opening: &Opening) -> bool {
    (1..=7).contains(&opening.weekday)
        && opening.opens_minute < opening.closes_minute
        && opening.closes_minute <= DAY_MINUTES
}
