//! Tokens that only this platform can have signed.

use mesh_runtime::consistency::{BadToken, Signer};

fn signer() -> Signer {
    Signer::new(b"0123456789abcdef0123456789abcdef").unwrap()
}

#[test]
fn a_token_gives_back_what_was_signed() {
    let token = signer().sign(&[("ord_1", 3), ("bas_1", 12)]);
    assert_eq!(
        signer().verify(&token),
        Ok(vec![("ord_1".to_owned(), 3), ("bas_1".to_owned(), 12)])
    );
}

#[test]
fn a_forged_token_is_refused() {
    let token = signer().sign(&[("ord_1", 3)]);
    let other = Signer::new(b"another secret of enough bytes").unwrap();
    assert_eq!(other.verify(&token), Err(BadToken), "another secret");

    let (_, tag) = token.split_once('.').unwrap();
    let (raised, _) = signer()
        .sign(&[("ord_1", 4)])
        .split_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(
        signer().verify(&format!("{raised}.{tag}")),
        Err(BadToken),
        "another payload"
    );

    for text in [
        "",
        ".",
        "e30",
        "e30.",
        &token[..token.len() - 2],
        &format!("{token}x"),
        &"x".repeat(5000),
    ] {
        assert_eq!(signer().verify(text), Err(BadToken), "{text}");
    }
}

#[test]
fn a_token_names_at_most_eight_streams() {
    let streams: Vec<_> = (0..20).map(|number| (format!("ord_{number}"), number)).collect();
    assert_eq!(signer().verify(&signer().sign(&streams)).unwrap().len(), 8);
}

#[test]
fn a_short_secret_is_refused() {
    assert!(Signer::new(b"short").is_err());
}

#[test]
fn a_pin_is_four_digits_of_the_label_and_the_secret() {
    let pin = signer().pin("ord_1");
    assert!(pin.len() == 4 && pin.bytes().all(|byte| byte.is_ascii_digit()), "{pin}");
    assert_eq!(signer().pin("ord_1"), pin);
    let others: Vec<_> = (2..20).map(|number| signer().pin(&format!("ord_{number}"))).collect();
    assert!(others.iter().any(|other| *other != pin));
}

#[test]
fn a_fingerprint_tells_texts_apart_and_shows_nothing_of_them() {
    let fingerprint = signer().fingerprint("anna@example.org");
    assert_eq!(signer().fingerprint("anna@example.org"), fingerprint);
    assert_ne!(signer().fingerprint("anna@example.com"), fingerprint);
    let other = Signer::new(b"another secret of some length").unwrap();
    assert_ne!(other.fingerprint("anna@example.org"), fingerprint);
}
