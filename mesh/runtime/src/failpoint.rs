//! Places at which a process can be made to die: before and after everything that must not be half done.
//!
//! Compiled in with the feature `failpoints` alone, for `tiffin fault`; without it a place is nothing.

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

/// The variable that names the folder in which a process looks: it dies at the place whose name a file there has.
pub const FOLDER: &str = "TIFFIN_FAILPOINTS";

/// Dies here as of kill -9, if that was asked for.
#[cfg(feature = "failpoints")]
pub fn reach(place: &'static str) {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static OURS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = OURS.get_or_init(|| std::env::var_os(FOLDER).map(PathBuf::from));
    if folder.as_ref().is_some_and(|folder| is_asked_for(folder, place)) {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_: &'static str) {}

/// Once: the wish is gone before the process is, so that its next life gets past this place.
#[cfg(any(feature = "failpoints", test))]
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
        std::fs::remove_dir_all(&folder).expect("it is ours");
    }
}
