//! How many live streams somebody follows at this gateway. Other gateways' are theirs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::response::Response;
use http::HeaderValue;
use mesh_contracts::id::UserId;

use super::{RATE_LIMIT_POLICY, add, header, refusal};
use crate::App;

/// Who looks for a place for another live stream follows a few already.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The live streams that everybody has open at this gateway.
pub(crate) struct Streams {
    max: usize,
    policy: HeaderValue,
    open: Mutex<HashMap<UserId, usize>>,
}

/// One of them; no longer counted when dropped.
pub(crate) struct OpenStream {
    app: App,
    whose: UserId,
}

impl Streams {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            policy: header(format!("\"streams\";q={max};qu=\"concurrent-requests\"")),
            open: Mutex::default(),
        }
    }

    /// None if there are too many already.
    pub(crate) fn open(app: &App, whose: UserId) -> Option<OpenStream> {
        let this = &app.limits.streams;
        let mut open = this.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = open.entry(whose).or_default();
        if *mine >= this.max {
            return None;
        }
        *mine += 1;
        let app = app.clone();
        Some(OpenStream { app, whose })
    }

    /// 429 `too_many_requests`.
    pub(crate) fn refusal(&self) -> Response {
        let mut refused = refusal("streams", RETRY_AFTER);
        add(&mut refused, RATE_LIMIT_POLICY, &self.policy);
        refused
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let streams = &self.app.limits.streams;
        let mut open = streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = open.get_mut(&self.whose) {
            *mine -= 1;
            if *mine == 0 {
                open.remove(&self.whose);
            }
        }
    }
}
