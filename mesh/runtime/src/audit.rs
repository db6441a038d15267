//! How often a service compares what it keeps of others' events with what its owners have.
//!
//! Lag metrics stay green over a last event that never came; only a comparison of heads finds it.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::Settings;

/// A pass costs a few seconds per million streams on either side, so it need not be rare; what it
/// finds are losses, so it need not be often.
pub const PERIOD: Duration = Duration::from_secs(600);

/// What is behind for so long has not merely not arrived yet.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pages of heads come this far apart, so that no pass is felt.
pub const PAGE_PAUSE: Duration = Duration::from_millis(20);

/// Reads `TIFFIN_AUDIT_PERIOD_S`.
pub fn period(settings: &mut Settings) -> Duration {
    let seconds: NonZeroU32 = settings.parse(
        "TIFFIN_AUDIT_PERIOD_S",
        "600",
        "seconds between comparisons of everything heard or shown with its owner's heads; what is missing is fetched",
    );
    Duration::from_secs(seconds.get().into())
}

/// How long something may be behind before it is repaired, with passes so often.
pub fn patience(period: Duration) -> Duration {
    PATIENCE.min(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_is_in_seconds_and_never_none() {
        assert_eq!(
            period(&mut Settings::of("x", [("TIFFIN_AUDIT_PERIOD_S", "7")])),
            Duration::from_secs(7)
        );
        assert_eq!(period(&mut Settings::of("x", [("", "")])), PERIOD);
        for bad in ["0", "-1", "soon", "1.5"] {
            let mut settings = Settings::of("x", [("TIFFIN_AUDIT_PERIOD_S", bad)]);
            period(&mut settings);
            assert!(settings.finish().is_err(), "{bad}");
        }
    }
}
