//! Places at which a process can be made to die: before and after everything that must not be half done.
//!
//! For `tiffin fault`: compiled into debug builds, so that CI's one build runs them, and with the feature `failpoints` into
//! others. In any other build, and so in what is deployed, a place is nothing. Nobody dies unless a variable names the
//! folder in which wishes are; by how much a wall clock is to be wrong is said there, too.

use jiff::SignedDuration;

/// Before an append is sent to Postgres.
pub const COMMIT_BEFORE: &str = "commit-before";
/// It is committed, and nobody has been told.
pub const COMMIT_AFTER: &str = "commit-after";
/// Before an event is sent to the broker.
pub const PUBLISH_BEFORE: &str = "publish-before";
/// The broker has it, and the outbox still does.
pub const PUBLISH_AFTER: &str = "publish-after";
/// An event is applied, and the broker has not been told.
pub const ACK_BEFORE: &str = "ack-before";
/// It has been told.
pub const ACK_AFTER: &str = "ack-after";
/// Before a write to Redis.
pub const REDIS_BEFORE: &str = "redis-before";
/// It is written, and the event not acknowledged.
pub const REDIS_AFTER: &str = "redis-after";
/// An intent is stored, and the payment provider not asked.
pub const PROVIDER_BEFORE: &str = "provider-before";
/// It has answered, and the answer is not stored.
pub const PROVIDER_AFTER: &str = "provider-after";

/// All of them.
pub const PLACES: [&str; 10] = [
    COMMIT_BEFORE,
    COMMIT_AFTER,
    PUBLISH_BEFORE,
    PUBLISH_AFTER,
    ACK_BEFORE,
    ACK_AFTER,
    REDIS_BEFORE,
    REDIS_AFTER,
    PROVIDER_BEFORE,
    PROVIDER_AFTER,
];

/// Whether this build has any.
pub const ARE_COMPILED_IN: bool = cfg!(any(debug_assertions, feature = "failpoints"));

/// The variable that names the folder in which a process looks: it dies at the place whose name a file there has.
pub const FOLDER: &str = "TIFFIN_FAILPOINTS";

/// The file there that says by how many milliseconds this process's wall clock is wrong.
pub const CLOCK_WRONG_BY_MS: &str = "clock-wrong-by-ms";

/// Dies here as of kill -9, if that was asked for.
#[cfg(any(debug_assertions, feature = "failpoints"))]
pub fn reach(place: &'static str) {
    if wishes().is_some_and(|folder| is_asked_for(folder, place)) {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(any(debug_assertions, feature = "failpoints")))]
#[inline]
pub fn reach(_: &'static str) {}

/// By how much the wall clock is wrong, as far as it is meant to be.
#[cfg(any(debug_assertions, feature = "failpoints"))]
pub(crate) fn clock_wrong_by() -> SignedDuration {
    use std::sync::{Mutex, PoisonError};
    use std::time::{Duration, Instant};

    /// The clock is asked for every event, so it is not looked each time.
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    static LAST: Mutex<Option<(Instant, SignedDuration)>> = Mutex::new(None);

    let Some(folder) = wishes() else {
        return SignedDuration::ZERO;
    };
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match *last {
        Some((at, wrong_by)) if at.elapsed() < LOOK_EVERY => wrong_by,
        Some(_) | None => {
            let wrong_by = wrong_by(folder);
            *last = Some((Instant::now(), wrong_by));
            wrong_by
        }
    }
}

/// By nothing.
#[cfg(not(any(debug_assertions, feature = "failpoints")))]
#[inline]
pub(crate) fn clock_wrong_by() -> SignedDuration {
    SignedDuration::ZERO
}

#[cfg(any(debug_assertions, feature = "failpoints", test))]
fn wrong_by(folder: &std::path::Path) -> SignedDuration {
    let said = std::fs::read_to_string(folder.join(CLOCK_WRONG_BY_MS)).ok();
    let ms = said.and_then(|ms| ms.trim().parse().ok()).unwrap_or_default();
    SignedDuration::from_millis(ms)
}

#[cfg(any(debug_assertions, feature = "failpoints"))]
fn wishes() -> Option<&'static std::path::Path> {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static OURS: OnceLock<Option<PathBuf>> = OnceLock::new();
    OURS.get_or_init(|| std::env::var_os(FOLDER).map(PathBuf::from))
        .as_deref()
}

/// Once: the wish is gone before the process is, so that its next life gets past this place.
#[cfg(any(debug_assertions, feature = "failpoints", test))]
fn is_asked_for(folder: &std::path::Path, place: &str) -> bool {
    std::fs::remove_file(folder.join(place)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_dies_once_and_only_where_it_was_asked_to() {
        let folder = std::env::temp_dir().join(format!("tiffin-failpoints-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a writable temporary folder");
        std::fs::write(folder.join(ACK_BEFORE), "").expect("it is writable");
        assert!(!is_asked_for(&folder, ACK_AFTER));
        assert!(is_asked_for(&folder, ACK_BEFORE));
        assert!(!is_asked_for(&folder, ACK_BEFORE));
        assert_eq!(wrong_by(&folder), SignedDuration::ZERO);
        std::fs::write(folder.join(CLOCK_WRONG_BY_MS), "-1500\n").expect("it is writable");
        assert_eq!(wrong_by(&folder), SignedDuration::from_millis(-1_500));
        std::fs::remove_dir_all(&folder).expect("it is ours");
    }
}
