//! Where things lie in Redis, so that auditors look where projectors write.
//!
//! An edition is one generation of a view's documents, whole in itself: `<kind>.<version>.<ms>`.
//! Everything of it lies behind `<prefix><edition>:`. `doc:<stream>` is a hash: `v` the version,
//! `doc` the JSON (empty if the fold gave nothing), `idx` its index entries, `q` the reason of a
//! quarantine.

/// The hash that says which generation of data this is, which editions of each kind there are,
/// and which are complete.
pub fn sentinel(prefix: &str) -> String {
    format!("{prefix}sentinel")
}

/// The sentinel's field with the edition of a kind that readers see.
pub fn current(kind: &str) -> String {
    format!("current:{kind}")
}

/// The document of a stream in an edition.
pub fn document(prefix: &str, edition: &str, stream: &str) -> String {
    format!("{prefix}{edition}:doc:{stream}")
}

/// The version of the view that an edition was begun with; 0 for a name of another build.
pub(crate) fn version(edition: &str) -> u32 {
    let version = edition.split('.').nth(1);
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// An index's sorted set, within the edition.
pub(crate) fn index(index: &str, value: &str) -> String {
    format!("idx:{index}:{value}")
}

/// The sorted set of the documents on a topic, within the edition.
pub(crate) fn topic(topic: &str) -> String {
    format!("topic:{topic}")
}

/// The capped stream and the channel of a topic have the same name.
pub(crate) fn live(prefix: &str, topic: &str) -> String {
    format!("{prefix}live:{topic}")
}

/// Held by the process that fills a view.
pub(crate) fn lease(prefix: &str, kind: &str) -> String {
    format!("{prefix}lease:{kind}")
}

/// The last value of something ephemeral. It belongs to no generation and expires by itself.
pub(crate) fn last(prefix: &str, name: &str) -> String {
    format!("{prefix}last:{name}")
}
