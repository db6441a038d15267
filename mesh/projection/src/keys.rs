//! Where things lie in Redis, so that auditors look where projectors write.
//!
//! `<prefix>doc:<kind>:<stream>` is a hash: `v` the version, `doc` the JSON (empty if the fold
//! gave nothing), `idx` its index entries, `q` the reason of a quarantine.

/// The hash that says which generation of data this is, and which kinds are complete.
pub fn sentinel(prefix: &str) -> String {
    format!("{prefix}sentinel")
}

/// The document of a stream.
pub fn document(prefix: &str, kind: &str, stream: &str) -> String {
    format!("{prefix}doc:{}", member(kind, stream))
}

/// The same document as a member of indexes and topics.
pub fn member(kind: &str, stream: &str) -> String {
    format!("{kind}:{stream}")
}

/// An index's sorted set, after the prefix.
pub(crate) fn index(kind: &str, index: &str, value: &str) -> String {
    format!("idx:{kind}:{index}:{value}")
}

/// The sorted set of the documents on a topic, after the prefix.
pub(crate) fn topic(topic: &str) -> String {
    format!("topic:{topic}")
}

/// The capped stream and the channel of a topic have the same name.
pub(crate) fn live(prefix: &str, topic: &str) -> String {
    format!("{prefix}live:{topic}")
}

/// The last value of something ephemeral. It belongs to no generation and expires by itself.
pub(crate) fn last(prefix: &str, name: &str) -> String {
    format!("{prefix}last:{name}")
}
