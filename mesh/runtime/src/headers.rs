//! The names of the HTTP headers that services agree on.

use http::HeaderName;

/// Makes a command repeatable: the same key and body give the same answer.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// What a reader must have seen; see [`crate::consistency`].
pub const CONSISTENCY: HeaderName = HeaderName::from_static("tiffin-consistency");
/// The verified person, set by the gateway only: a `usr_` id.
pub const CALLER_SUBJECT: HeaderName = HeaderName::from_static("tiffin-caller-subject");
/// The verified person's role.
pub const CALLER_ROLE: HeaderName = HeaderName::from_static("tiffin-caller-role");
/// The food points that kitchen staff work at: `pnt_` ids, separated by commas.
pub const CALLER_SCOPE: HeaderName = HeaderName::from_static("tiffin-caller-scope");
/// The region that the person's request came in by.
pub const CALLER_REGION: HeaderName = HeaderName::from_static("tiffin-caller-region");
/// The W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// How many milliseconds the caller still waits for the answer.
pub const DEADLINE: HeaderName = HeaderName::from_static("tiffin-deadline-ms");

/// Every header that says who the caller is. The gateway drops them from what clients send.
pub const CALLER: [HeaderName; 4] = [CALLER_SUBJECT, CALLER_ROLE, CALLER_SCOPE, CALLER_REGION];
