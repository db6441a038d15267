//! What no request may be, whichever route it names: two hosts, a coding that nobody asked for, a head that is too large.

use axum::extract::Request;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};

use crate::problem::Problem;

/// Of the request line and all headers together; ours are below 4 KiB. The same at every hop in front of us.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Ours are below twenty.
const HEADERS_MAX: usize = 64;
/// What a header costs on the wire besides name and value: a colon, a space, the line's end.
const HEADER_OVERHEAD_BYTES: usize = 4;

/// The refusal of what could mean one thing to us and another to somebody else.
pub(super) fn ambiguity(request: &Request) -> Option<Problem> {
    let headers = request.headers();
    let is_http1 = request.version() < Version::HTTP_2;
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) || !request.uri().path().starts_with('/') {
        return Some(Problem::bad_request("there is nothing here but paths"));
    }
    if is_http1 && request.version() != Version::HTTP_11 {
        return Some(Problem::bad_request("HTTP before 1.1 is not spoken here"));
    }
    if is_http1 && !has_one_host(headers) {
        return Some(Problem::bad_request("one well-formed Host header is required"));
    }
    if !has_known_coding(headers) {
        return Some(Problem::bad_request("no transfer coding but chunked is understood"));
    }
    // Some proxies take it for a dash.
    if headers.keys().any(|name| name.as_str().contains('_')) {
        return Some(Problem::bad_request("header names have no underscores"));
    }
    is_too_large(request).then(too_large)
}

fn has_one_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    matches!((hosts.next(), hosts.next()), (Some(host), None) if is_host(host))
}

/// A name or an address, perhaps with a port.
fn is_host(value: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(byte);
    !value.is_empty() && value.as_bytes().iter().all(allowed)
}

fn has_known_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

fn is_too_large(request: &Request) -> bool {
    let line = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let headers: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES)
        .sum();
    line + headers > HEAD_BYTES_MAX || request.headers().len() > HEADERS_MAX
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        "the headers are too large",
    )
    .with("limit_bytes", HEAD_BYTES_MAX)
}
