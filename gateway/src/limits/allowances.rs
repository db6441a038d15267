//! What everybody may, as settings.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use governor::Quota;
use mesh_runtime::Settings;

/// So many requests in so many seconds, such as `600/60`; `off`: as many as one likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance(pub(super) Option<(NonZeroU32, NonZeroU32)>);

impl FromStr for Allowance {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        let two = text
            .split_once('/')
            .and_then(|(requests, seconds)| Some((requests.parse().ok()?, seconds.parse().ok()?)))
            .filter(|&(requests, window_s)| quota(requests, window_s).is_some());
        two.map(|two| Self(Some(two)))
            .ok_or("expected requests/seconds, such as 600/60, or off")
    }
}

/// None if that is more than one per nanosecond, which no clock can tell apart.
pub(super) fn quota(requests: NonZeroU32, window_s: NonZeroU32) -> Option<Quota> {
    let one_per = Duration::from_secs(window_s.get().into()) / requests.get();
    Some(Quota::with_period(one_per)?.allow_burst(requests))
}

/// What everybody may.
pub struct Allowances {
    pub(super) address: Allowance,
    pub(super) credentials: Allowance,
    pub(super) refreshes: Allowance,
    pub(super) webhooks: Allowance,
    pub(super) reads: Allowance,
    pub(super) commands: Allowance,
    pub(super) positions: Allowance,
    pub(super) pins: Allowance,
    pub(super) streams_max: usize,
}

impl Allowances {
    /// Reads them; good once [`Settings::finish`] says so.
    pub fn from_settings(settings: &mut Settings) -> Self {
        Self {
            address: settings.parse(
                "TIFFIN_LIMIT_ADDRESS",
                "6000/60",
                "requests per address in so many seconds, or off: whole offices and mobile networks share one",
            ),
            credentials: settings.parse(
                "TIFFIN_LIMIT_CREDENTIALS",
                "60/60",
                "log-ins and registrations per address: each costs a password hash, a twentieth of a core at this rate",
            ),
            refreshes: settings.parse(
                "TIFFIN_LIMIT_REFRESHES",
                "600/60",
                "token refreshes per address: cheap, and everyone behind it needs one every ten minutes",
            ),
            webhooks: settings.parse(
                "TIFFIN_LIMIT_WEBHOOKS",
                "30000/60",
                "reports of payments per address: the provider may send all of a peak from one, and forgeries cost a hash",
            ),
            reads: settings.parse(
                "TIFFIN_LIMIT_READS",
                "600/60",
                "reads per person: ten times what a screen without live streams would ask for",
            ),
            commands: settings.parse(
                "TIFFIN_LIMIT_COMMANDS",
                "300/60",
                "commands per person: a kitchen at its peak taps once a second",
            ),
            positions: settings.parse(
                "TIFFIN_LIMIT_POSITIONS",
                "60/60",
                "positions per courier: the app sends one every 4 s",
            ),
            pins: settings.parse(
                "TIFFIN_LIMIT_PINS",
                "10/600",
                "hand-overs tried per person and order: a PIN has ten thousand values, and an honest hand is wrong twice",
            ),
            streams_max: settings.parse(
                "TIFFIN_STREAMS_MAX",
                "16",
                "live streams per person and gateway: a tab of the console or an order each",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_two_numbers_or_off() {
        assert!("600/60".parse::<Allowance>().is_ok());
        assert_eq!("off".parse(), Ok(Allowance(None)));
        for bad in [
            "",
            "600",
            "0/60",
            "600/0",
            "-1/60",
            "600/60/1",
            "many/60",
            "OFF",
            "4000000000/1",
        ] {
            assert!(bad.parse::<Allowance>().is_err(), "{bad}");
        }
    }
}
