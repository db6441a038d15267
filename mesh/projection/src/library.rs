//! The functions that run inside Redis, and getting them there.
//!
//! They vanish with an unpersisted server, so whoever hears that one is unknown loads them again.

use redis::RedisResult;
use redis::aio::ConnectionManager;

const SOURCE: &str = include_str!("library.lua");

pub(crate) const APPLY: &str = "tiffin_apply_v6";
pub(crate) const BEGIN: &str = "tiffin_begin_v6";
pub(crate) const START: &str = "tiffin_start_v6";
pub(crate) const LEASE: &str = "tiffin_lease_v6";
pub(crate) const FINISH: &str = "tiffin_finish_v6";
pub(crate) const STORED: &str = "tiffin_stored_v6";
pub(crate) const VERSIONS: &str = "tiffin_versions_v6";
pub(crate) const QUARANTINE: &str = "tiffin_quarantine_v6";
pub(crate) const GET: &str = "tiffin_get_v6";
pub(crate) const LIST: &str = "tiffin_list_v6";
pub(crate) const MEMBERS: &str = "tiffin_members_v6";
pub(crate) const SNAPSHOT: &str = "tiffin_snapshot_v6";
pub(crate) const RESUME: &str = "tiffin_resume_v6";

pub(crate) async fn load(redis: &mut ConnectionManager) -> RedisResult<()> {
    redis::cmd("FUNCTION")
        .arg("LOAD")
        .arg("REPLACE")
        .arg(SOURCE)
        .exec_async(redis)
        .await
}

/// Whether the server said that it does not know the function.
pub(crate) fn is_missing(err: &redis::RedisError) -> bool {
    err.to_string().to_ascii_lowercase().contains("function not found")
}
