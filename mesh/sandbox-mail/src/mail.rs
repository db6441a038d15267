//! A mail as it lies on disk and as it is shown: the envelope in two lines of our own, then what was sent.
//!
//! Decodes what one-part mails use: folded headers, encoded words, quoted-printable and base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

const FROM: &str = "X-Envelope-From";
const TO: &str = "X-Envelope-To";

/// A mail, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Counts up.
    pub number: u64,
    /// As the envelope says.
    pub from: String,
    /// As the envelope says.
    pub to: Vec<String>,
    /// As the sender calls it.
    pub message_id: String,
    /// Decoded.
    pub subject: String,
    /// Decoded, with line feeds and without the last one.
    pub text: String,
}

impl Mail {
    /// What is written down.
    pub fn to_file(from: &str, to: &[String], content: &[u8]) -> Vec<u8> {
        let mut file = format!("{FROM}: {from}\r\n{TO}: {}\r\n", to.join(", ")).into_bytes();
        file.extend_from_slice(content);
        file
    }

    /// Reads what was written down. What cannot be decoded is shown as it is.
    pub fn from_file(number: u64, file: &[u8]) -> Self {
        let text = String::from_utf8_lossy(file).replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let headers = unfold(head);
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let body = match header("Content-Transfer-Encoding").to_ascii_lowercase().as_str() {
            "quoted-printable" => quoted_printable(body),
            "base64" => base64_text(body),
            _ => body.to_owned(),
        };
        Self {
            number,
            from: header(FROM).to_owned(),
            to: header(TO).split(", ").map(str::to_owned).collect(),
            message_id: header("Message-ID").to_owned(),
            subject: encoded_words(header("Subject")),
            text: body.replace("\r\n", "\n").trim_end_matches('\n').to_owned(),
        }
    }
}

/// Headers as pairs; a line that begins with white space goes on with the one before.
fn unfold(head: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in head.lines() {
        match headers.last_mut() {
            Some((_, value)) if line.starts_with([' ', '\t']) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            _ => {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }
    headers
}

/// RFC 2047: `=?utf-8?b?…?=` and `=?utf-8?q?…?=`; white space between two of them is none.
fn encoded_words(text: &str) -> String {
    let mut decoded = String::new();
    let mut was_encoded = false;
    for (index, word) in text.split(' ').enumerate() {
        let plain = encoded_word(word);
        if index > 0 && !(was_encoded && plain.is_some()) {
            decoded.push(' ');
        }
        was_encoded = plain.is_some();
        decoded.push_str(plain.as_deref().unwrap_or(word));
    }
    decoded
}

fn encoded_word(word: &str) -> Option<String> {
    let inner = word.strip_prefix("=?")?.strip_suffix("?=")?;
    let mut parts = inner.splitn(3, '?');
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    match encoding {
        "b" | "B" => Some(base64_text(text)),
        "q" | "Q" => Some(quoted_printable(&text.replace('_', " "))),
        _ => None,
    }
}

fn base64_text(text: &str) -> String {
    let dense: String = text.chars().filter(|char| !char.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(dense).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn quoted_printable(text: &str) -> String {
    let joined = text.replace("=\n", "");
    let bytes = joined.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = joined.get(at + 1..at + 3).filter(|_| bytes[at] == b'=');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Mail {
        let to = ["anna@example.org".to_owned(), "boris@example.org".to_owned()];
        Mail::from_file(7, &Mail::to_file("us@example.org", &to, content.as_bytes()))
    }

    #[test]
    fn a_plain_mail_is_shown_as_it_is() {
        let mail = read("Message-ID: <1@us>\r\nSubject: Hello\r\n there\r\n\r\nOne.\r\n\r\nTwo.\r\n");
        assert_eq!((mail.number, mail.from.as_str()), (7, "us@example.org"));
        assert_eq!(mail.to, ["anna@example.org", "boris@example.org"]);
        assert_eq!(
            (mail.message_id.as_str(), mail.subject.as_str()),
            ("<1@us>", "Hello there")
        );
        assert_eq!(mail.text, "One.\n\nTwo.");
    }

    #[test]
    fn other_alphabets_are_decoded_however_they_were_encoded() {
        let words = "=?utf-8?b?0JfQsNC60LDQtyA=?=\r\n =?utf-8?q?=E2=84=96_1?= ok";
        let quoted = read(&format!(
            "Subject: {words}\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=D0=94=D0=B0=\r\n=3D1\r\n"
        ));
        assert_eq!(
            (quoted.subject.as_str(), quoted.text.as_str()),
            ("Заказ № 1 ok", "Да=1")
        );
        let in_base64 = read("Content-Transfer-Encoding: base64\r\n\r\n0JTQ\r\nsA==\r\n");
        assert_eq!(in_base64.text, "Да");
    }
}
