//! Food points: where they are, whether they take orders, what they have in stock and for whom it is held.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::events;
use crate::geo::Place;
use crate::id::{IngredientId, OrderId};
use crate::order::{Kind, Need};

/// Opening hours of one weekday, in minutes of the local day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// 1 = Monday … 7 = Sunday.
    #[schema(minimum = 1, maximum = 7)]
    pub weekday: u8,
    /// First minute of the day that it is open, 0–1439.
    #[schema(maximum = 1439)]
    pub opens_minute: u16,
    /// First minute that it is closed again, 1–1440, after `opens_minute`.
    #[schema(minimum = 1, maximum = 1440)]
    pub closes_minute: u16,
}

/// A food point as the operator describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// On the sign over the door.
    #[schema(min_length = 1, max_length = 120)]
    pub name: String,
    /// Where.
    pub place: Place,
    /// Kinds of order it takes.
    pub kinds: Vec<Kind>,
    /// How far it delivers, in metres.
    #[schema(minimum = 1, maximum = 100_000)]
    pub radius_m: u32,
    /// Orders it can hold or cook at a time.
    #[schema(minimum = 1, maximum = 1_000)]
    pub pool: u16,
    /// Accepts tickets without asking its staff.
    #[serde(default)]
    pub auto_accept: bool,
    /// Opening hours; none means always open.
    #[serde(default)]
    pub hours: Vec<Opening>,
    /// Local time minus UTC, in minutes, for the opening hours.
    #[serde(default)]
    #[schema(minimum = -840, maximum = 840)]
    pub utc_offset_minutes: i16,
}

impl Settings {
    /// Whether the hours allow an order at `now`.
    pub fn is_open_at(&self, now: Timestamp) -> bool {
        if self.hours.is_empty() {
            return true;
        }
        let local_minute = now.as_second().div_euclid(60) + i64::from(self.utc_offset_minutes);
        let minute = local_minute.rem_euclid(1440) as u16;
        // 1 January 1970 was a Thursday, the fourth day of the week.
        let weekday = ((local_minute.div_euclid(1440) + 3).rem_euclid(7) + 1) as u8;
        self.hours.iter().any(|opening| {
            opening.weekday == weekday && (opening.opens_minute..opening.closes_minute).contains(&minute)
        })
    }
}

impl Settings {
    /// When it closes next, if it is open at `now`; `None` if it is closed, or never closes.
    /// Hours that end at midnight go on with those that begin then.
    pub fn closes_after(&self, now: Timestamp) -> Option<Timestamp> {
        let minute_of = |at: Timestamp| at.as_second().div_euclid(60) + i64::from(self.utc_offset_minutes);
        let mut local_minute = minute_of(now);
        // A week of days, and the first one again.
        for _ in 0..=7 {
            let day_began = local_minute - local_minute.rem_euclid(1440);
            let minute = local_minute.rem_euclid(1440) as u16;
            let weekday = ((local_minute.div_euclid(1440) + 3).rem_euclid(7) + 1) as u8;
            let closes_minute = self
                .hours
                .iter()
                .filter(|opening| {
                    opening.weekday == weekday && (opening.opens_minute..opening.closes_minute).contains(&minute)
                })
                .map(|opening| i64::from(opening.closes_minute))
                .max();
            let Some(closes_minute) = closes_minute else {
                let is_later = local_minute > minute_of(now);
                return is_later.then(|| self.at_local_minute(local_minute)).flatten();
            };
            local_minute = day_began + closes_minute;
            if closes_minute < 1440 {
                return self.at_local_minute(local_minute);
            }
        }
        None
    }

    fn at_local_minute(&self, local_minute: i64) -> Option<Timestamp> {
        Timestamp::from_second((local_minute - i64::from(self.utc_offset_minutes)) * 60).ok()
    }
}

/// Why a point could not hold an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldRefusal {
    /// Outside its hours, closed by its staff, or paused.
    Closed,
    /// It does not take this kind of order.
    Kind,
    /// No free slot in its pool.
    Full,
    /// An ingredient is short.
    Stock,
    /// No such point.
    Unknown,
    /// The hold had ended before it could be confirmed.
    Ended,
}

/// Why a hold was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseCause {
    /// order-master no longer wants it.
    Abandoned,
    /// The kitchen refused the ticket, or stopped after it had accepted.
    Rejected,
    /// The kitchen did not answer the ticket: a miss.
    TimedOut,
    /// The order ended.
    OrderEnded,
}

/// Why a point stopped taking orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// Its staff or an operator said so.
    Staff,
    /// Two tickets in a row went unanswered.
    MissedTickets,
}

/// Why stock was thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WasteReason {
    /// Past its date.
    Expired,
    /// Gone bad before its date.
    Spoiled,
    /// Dropped, torn or broken.
    Damaged,
    /// Prepared wrongly.
    Mistake,
    Other,
}

events! {
    /// What happens at a food point.
    pub enum Event {
        /// A new food point; it is open from the start.
        "point.registered" Registered { settings: Settings }
        /// Its description changed.
        "point.changed" Changed { settings: Settings }
        /// It takes orders again.
        "point.opened" Opened {}
        /// It takes no orders until it is opened again.
        "point.closed" Closed { by: ClosedBy }
        /// A product is made of it: the point is to have it. It starts with none.
        "stock.opened" StockOpened { ingredient: IngredientId }
        /// No product is made of it any more, and some is held: it closes with the last hold.
        "stock.unneeded" StockUnneeded { ingredient: IngredientId }
        /// No product is made of it any more, and nothing is held.
        "stock.closed" StockClosed { ingredient: IngredientId }
        /// Goods came in.
        "stock.received" Received { ingredient: IngredientId, quantity: u32 }
        /// Somebody counted what is on the shelf: `available` becomes `counted`, `corrected` is the difference.
        "stock.counted" Counted { ingredient: IngredientId, counted: u32, corrected: i64 }
        /// Nothing usable is left: `corrected` (not above zero) takes `available` to zero.
        "stock.gone" Gone { ingredient: IngredientId, corrected: i64 }
        /// What was gone is there again: `available` becomes `counted`, `corrected` is the difference.
        "stock.restored" Restored { ingredient: IngredientId, counted: u32, corrected: i64 }
        /// So much of what was available was thrown away.
        "stock.wasted" Wasted { ingredient: IngredientId, quantity: u32, reason: WasteReason }
        /// From `low_at` down it is low; without one it never is.
        "stock.settings_changed" StockSettingsChanged { ingredient: IngredientId, low_at: Option<u32> }
        /// Stock and one slot of the pool are set aside for an order.
        "hold.held" HoldHeld { order: OrderId, attempt: u32, needs: Vec<Need>, expires_at: Timestamp }
        /// They could not be.
        "hold.failed" HoldFailed { order: OrderId, attempt: u32, reason: HoldRefusal }
        /// The kitchen accepted; the hold no longer expires.
        "hold.confirmed" HoldConfirmed { order: OrderId, attempt: u32 }
        /// The food is made: stock consumed, slot free.
        "hold.consumed" HoldConsumed { order: OrderId, attempt: u32 }
        /// Stock and slot are free again.
        "hold.released" HoldReleased { order: OrderId, attempt: u32, cause: ReleaseCause }
        /// The slot is free, the stock is lost: cooking had begun.
        "hold.wasted" HoldWasted { order: OrderId, attempt: u32 }
        /// Nobody confirmed in time; stock and slot are free again.
        "hold.expired" HoldExpired { order: OrderId, attempt: u32 }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::envelope::EventBody;
    use crate::geo::{Coordinates, Country};

    const ORDER: OrderId = OrderId(Uuid::from_u128(1));
    const BREAD: IngredientId = IngredientId(Uuid::from_u128(2));

    fn settings() -> Settings {
        Settings {
            name: "Alexanderplatz".into(),
            place: Place {
                country: Country::parse("DE").expect("a country"),
                at: Coordinates::new(52_521_918, 13_413_215).expect("on earth"),
            },
            kinds: vec![Kind::Delivery, Kind::PickUp],
            radius_m: 5_000,
            pool: 20,
            auto_accept: false,
            hours: vec![Opening {
                weekday: 1,
                opens_minute: 480,
                closes_minute: 1320,
            }],
            utc_offset_minutes: 60,
        }
    }

    #[test]
    fn it_closes_when_its_hours_end_and_goes_on_over_midnight() {
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let hours = |openings: &[(u8, u16, u16)]| Settings {
            hours: openings
                .iter()
                .map(|(weekday, opens_minute, closes_minute)| Opening {
                    weekday: *weekday,
                    opens_minute: *opens_minute,
                    closes_minute: *closes_minute,
                })
                .collect(),
            ..settings()
        };
        // 2 March 2026 is a Monday; local time is an hour ahead.
        let (noon, night) = (at("2026-03-02T12:00:00Z"), at("2026-03-02T21:30:00Z"));
        assert_eq!(settings().closes_after(noon), Some(at("2026-03-02T21:00:00Z")));
        assert_eq!(settings().closes_after(night), None, "it is closed");
        assert_eq!(hours(&[]).closes_after(noon), None, "it never closes");
        let late = hours(&[(1, 480, 1440), (2, 0, 120)]);
        assert_eq!(late.closes_after(noon), Some(at("2026-03-03T01:00:00Z")));
        let till_midnight = hours(&[(1, 480, 1440)]);
        assert_eq!(till_midnight.closes_after(noon), Some(at("2026-03-02T23:00:00Z")));
        let always: Vec<(u8, u16, u16)> = (1..=7).map(|weekday| (weekday, 0, 1440)).collect();
        assert_eq!(hours(&always).closes_after(noon), None);
    }

    fn every_event() -> Vec<Event> {
        let (order, attempt, ingredient) = (ORDER, 2, BREAD);
        vec![
            Event::Registered { settings: settings() },
            Event::Changed {
                settings: Settings {
                    hours: Vec::new(),
                    ..settings()
                },
            },
            Event::Opened {},
            Event::Closed {
                by: ClosedBy::MissedTickets,
            },
            Event::StockOpened { ingredient },
            Event::StockUnneeded { ingredient },
            Event::StockClosed { ingredient },
            Event::Received {
                ingredient,
                quantity: 500,
            },
            Event::Counted {
                ingredient,
                counted: 480,
                corrected: -20,
            },
            Event::Gone {
                ingredient,
                corrected: -480,
            },
            Event::Restored {
                ingredient,
                counted: 300,
                corrected: 300,
            },
            Event::Wasted {
                ingredient,
                quantity: 20,
                reason: WasteReason::Spoiled,
            },
            Event::StockSettingsChanged {
                ingredient,
                low_at: Some(50),
            },
            Event::HoldHeld {
                order,
                attempt,
                needs: vec![Need {
                    ingredient,
                    quantity: 240,
                }],
                expires_at: Timestamp::UNIX_EPOCH,
            },
            Event::HoldFailed {
                order,
                attempt,
                reason: HoldRefusal::Stock,
            },
            Event::HoldConfirmed { order, attempt },
            Event::HoldConsumed { order, attempt },
            Event::HoldReleased {
                order,
                attempt,
                cause: ReleaseCause::TimedOut,
            },
            Event::HoldWasted { order, attempt },
            Event::HoldExpired { order, attempt },
        ]
    }

    #[test]
    fn the_wire_form_of_every_event_is_pinned() {
        let lines: Vec<String> = every_event()
            .iter()
            .map(|event| format!("{} {}", event.event_type(), event.encode().value()))
            .collect();
        let types: Vec<&str> = every_event().iter().map(EventBody::event_type).collect();
        assert_eq!(types, Event::TYPES, "one sample of each, in order");
        insta::assert_snapshot!(lines.join("\n"), @r#"
        point.registered {"settings":{"auto_accept":false,"hours":[{"closes_minute":1320,"opens_minute":480,"weekday":1}],"kinds":["delivery","pick_up"],"name":"Alexanderplatz","place":{"at":{"lat_e6":52521918,"lon_e6":13413215},"country":"DE"},"pool":20,"radius_m":5000,"utc_offset_minutes":60}}
        point.changed {"settings":{"auto_accept":false,"hours":[],"kinds":["delivery","pick_up"],"name":"Alexanderplatz","place":{"at":{"lat_e6":52521918,"lon_e6":13413215},"country":"DE"},"pool":20,"radius_m":5000,"utc_offset_minutes":60}}
        point.opened {}
        point.closed {"by":"missed_tickets"}
        stock.opened {"ingredient":"ing_00000000000000000000000002"}
        stock.unneeded {"ingredient":"ing_00000000000000000000000002"}
        stock.closed {"ingredient":"ing_00000000000000000000000002"}
        stock.received {"ingredient":"ing_00000000000000000000000002","quantity":500}
        stock.counted {"corrected":-20,"counted":480,"ingredient":"ing_00000000000000000000000002"}
        stock.gone {"corrected":-480,"ingredient":"ing_00000000000000000000000002"}
        stock.restored {"corrected":300,"counted":300,"ingredient":"ing_00000000000000000000000002"}
        stock.wasted {"ingredient":"ing_00000000000000000000000002","quantity":20,"reason":"spoiled"}
        stock.settings_changed {"ingredient":"ing_00000000000000000000000002","low_at":50}
        hold.held {"attempt":2,"expires_at":"1970-01-01T00:00:00Z","needs":[{"ingredient":"ing_00000000000000000000000002","quantity":240}],"order":"ord_00000000000000000000000001"}
        hold.failed {"attempt":2,"order":"ord_00000000000000000000000001","reason":"stock"}
        hold.confirmed {"attempt":2,"order":"ord_00000000000000000000000001"}
        hold.consumed {"attempt":2,"order":"ord_00000000000000000000000001"}
        hold.released {"attempt":2,"cause":"timed_out","order":"ord_00000000000000000000000001"}
        hold.wasted {"attempt":2,"order":"ord_00000000000000000000000001"}
        hold.expired {"attempt":2,"order":"ord_00000000000000000000000001"}
        "#);
    }

    #[test]
    fn every_event_reads_back() {
        for event in every_event() {
            let read = Event::decode(event.event_type(), &event.encode()).expect("its own form");
            assert_eq!(read, Some(event));
        }
    }

    #[test]
    fn hours_are_local_and_end_at_their_last_minute() {
        let monday_utc = |hour: i64, minute: i64| {
            // 5 January 1970 was a Monday.
            Timestamp::from_second(((4 * 24 + hour) * 60 + minute) * 60).expect("in range")
        };
        let settings = settings();
        assert!(!settings.is_open_at(monday_utc(6, 59)));
        assert!(settings.is_open_at(monday_utc(7, 0)));
        assert!(settings.is_open_at(monday_utc(20, 59)));
        assert!(!settings.is_open_at(monday_utc(21, 0)));
        assert!(!settings.is_open_at(monday_utc(31, 0)), "not on a Tuesday");
    }
}
