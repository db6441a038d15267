//! Whom a sidecar says it asks for: Envoy's `x-forwarded-client-cert`, believed only behind one.
//!
//! Elements stand behind each other with commas, the nearest hop's last; an element is `Key=value` with semicolons, and a
//! value with one of these in it stands in quotes. Istio's sidecars append theirs to what came with the request, so what
//! stands before the last element may be anyone's, and is only read to find where that begins.

use http::{HeaderMap, HeaderName};

use crate::Peer;
use crate::spiffe::{self, Why};

const HEADER: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const URI: &str = "URI";

/// Who is named by the last element. Whatever can be read in two ways names nobody.
pub(crate) fn peer(headers: &HeaderMap) -> Peer {
    let mut values = headers.get_all(HEADER).iter();
    let service = match (values.next(), values.next()) {
        (None, _) => Err(Why::NoCertificate),
        (Some(value), None) => value
            .to_str()
            .ok()
            .and_then(last_uris)
            .ok_or(Why::Unreadable)
            .and_then(|uris| spiffe::service_among(uris.into_iter())),
        (Some(_), Some(_)) => Err(Why::Unreadable),
    };
    match service {
        Ok(service) => Peer::Known(service.into()),
        Err(why) => Peer::Unknown(why),
    }
}

/// The URIs of the last element; none if anything in the header is not as it must be, so that nobody hides where the last
/// element begins behind a quote that is never closed.
fn last_uris(header: &str) -> Option<Vec<&str>> {
    let (mut uris, mut rest) = (Vec::new(), header);
    loop {
        let (key, behind) = rest.split_once('=')?;
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let (value, behind) = value(behind)?;
        if !is_key {
            return None;
        }
        if key.eq_ignore_ascii_case(URI) {
            uris.push(value);
        }
        let Some(separator) = behind.bytes().next() else {
            return Some(uris);
        };
        if separator == b',' {
            uris.clear();
        }
        rest = &behind[1..];
    }
}

/// A value, and what is behind it: nothing, or a separator and more.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return (!value.contains('"')).then_some((value, behind));
    };
    let mut is_escaped = false;
    let end = quoted.find(|letter| {
        let ends = letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        ends
    })?;
    let (value, behind) = (&quoted[..end], &quoted[end + 1..]);
    (behind.is_empty() || behind.starts_with([';', ','])).then_some((value, behind))
}

#[cfg(test)]
mod tests;
