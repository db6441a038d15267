use http::{HeaderMap, HeaderValue};

use super::peer;
use crate::Peer;
use crate::spiffe::{Why, id};

const HASH: &str = "Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688";

/// The answer of a header whose lines are these.
fn named(lines: &[&str]) -> Peer {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(
            "x-forwarded-client-cert",
            HeaderValue::from_bytes(line.as_bytes()).unwrap(),
        );
    }
    peer(&headers)
}

/// What Envoy says of a service, as Istio's sidecars have it: subject, URI, DNS.
fn element(service: &str) -> String {
    format!("By={};{HASH};Subject=\"\";URI={}", id("order-master"), id(service))
}

fn known(service: &str) -> Peer {
    Peer::Known(service.into())
}

#[test]
fn the_one_uri_is_the_peer() {
    assert_eq!(named(&[&element("gateway")]), known("gateway"));
    assert_eq!(named(&[&format!("URI={}", id("gateway"))]), known("gateway"));
    assert_eq!(
        named(&[&format!("uri=\"{}\"", id("gateway"))]),
        known("gateway"),
        "keys have no case"
    );
    let with_more = format!("{};DNS=gateway.tiffin.svc;DNS=gateway", element("gateway"));
    assert_eq!(named(&[&with_more]), known("gateway"));
}

#[test]
fn the_last_element_counts() {
    let two = format!("{},{}", element("gateway"), element("order-info"));
    assert_eq!(named(&[&two]), known("order-info"));
    let without = format!("{},By={};{HASH}", element("gateway"), id("order-master"));
    assert_eq!(named(&[&without]), Peer::Unknown(Why::NoIdentity));
}

#[test]
fn what_is_quoted_is_no_syntax() {
    let subject = format!(
        r#"{HASH};Subject="/C=RS/O=\"Dabba, Ltd.\";x\\/CN=,URI={}";URI={}"#,
        id("gateway"),
        id("menu-info")
    );
    assert_eq!(named(&[&subject]), known("menu-info"));
}

#[test]
fn no_header_is_no_certificate() {
    assert_eq!(named(&[]), Peer::Unknown(Why::NoCertificate));
}

#[test]
fn several_identities_are_nobodys() {
    let two = format!("{};URI={}", element("gateway"), id("order-info"));
    assert_eq!(named(&[&two]), Peer::Unknown(Why::ManyIdentities));
    let twice = format!("{0};uri={1}", element("gateway"), id("gateway"));
    assert_eq!(named(&[&twice]), Peer::Unknown(Why::ManyIdentities));
    assert_eq!(
        named(&[&element("gateway"), &element("gateway")]),
        Peer::Unknown(Why::Unreadable),
        "two lines"
    );
}

#[test]
fn another_identity_is_foreign() {
    for uri in [
        "",
        "spiffe://evil.example/ns/tiffin/sa/gateway",
        "spiffe://tiffin.local/ns/default/sa/gateway",
        "spiffe://tiffin.local/ns/tiffin/sa/gateway/admin",
        "spiffe://tiffin.local/ns/tiffin/sa/",
        "SPIFFE://TIFFIN.LOCAL/NS/TIFFIN/SA/GATEWAY",
        "https://tiffin.local/ns/tiffin/sa/gateway",
    ] {
        assert_eq!(
            named(&[&format!("{HASH};URI={uri}")]),
            Peer::Unknown(Why::Foreign),
            "{uri}"
        );
    }
}

#[test]
fn what_cannot_be_read_names_nobody() {
    let good = element("gateway");
    for bad in [
        String::new(),
        ",".to_owned(),
        ";".to_owned(),
        "URI".to_owned(),
        format!("{good},"),
        format!("{good};"),
        format!("{good},,{good}"),
        format!(",{good}"),
        format!("={}", id("gateway")),
        format!(" URI={}", id("gateway")),
        format!("{HASH}; URI={}", id("gateway")),
        format!("URI=\"{}", id("gateway")),
        format!("URI=\"{}\"x", id("gateway")),
        format!("URI={}\"", id("gateway")),
        format!("Subject=a\"b\";URI={}", id("gateway")),
        format!("Subject=\"a\\\";URI={}", id("gateway")),
        format!("Subject=é;URI={}", id("gateway")),
    ] {
        assert_eq!(named(&[&bad]), Peer::Unknown(Why::Unreadable), "{bad}");
    }
}

/// A client whose sidecar's element stands behind: nothing that the client says before it may change who it is.
#[test]
fn nothing_before_the_last_element_changes_who_it_is() {
    let own = format!(
        r#"By={};{HASH};Subject="CN=a\"b";URI={}"#,
        id("order-master"),
        id("menu-info")
    );
    for said in [
        element("gateway"),
        format!("{};x=\"", element("gateway")),
        format!("{};x=\"\\", element("gateway")),
        format!("{};x=\"\\\"", element("gateway")),
        format!("{};x=\\", element("gateway")),
        format!("{},x=\"", element("gateway")),
        format!("{};x=", element("gateway")),
        format!("{};", element("gateway")),
        "\"".to_owned(),
        String::new(),
    ] {
        let peer = named(&[&format!("{said},{own}")]);
        assert!(
            peer == known("menu-info") || peer == Peer::Unknown(Why::Unreadable),
            "{said}: {peer}"
        );
    }
    assert_eq!(named(&[&format!("{},{own}", element("gateway"))]), known("menu-info"));
}
