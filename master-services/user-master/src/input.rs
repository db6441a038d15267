//! What people type, checked before anything is done with it. Complaints name the field and never repeat its value.

use mesh_contracts::api::{Address, ChangeProfile, Register, RegisterStaff};
use mesh_runtime::Problem;

/// RFC 5321's limits of a path and of a local part.
const EMAIL_BYTES_MAX: usize = 254;
const LOCAL_PART_BYTES_MAX: usize = 64;
/// As the contract says.
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
const NAME_CHARS_MAX: usize = 120;
const PHONE_CHARS_MAX: usize = 32;
const ADDRESS_CHARS_MAX: usize = 300;

/// An e-mail address in the one form that is compared: trimmed, lower case, ASCII.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// `None` if it cannot be one. Whether anybody reads it only a mail could tell.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let (local, domain) = text.rsplit_once('@')?;
        let is_valid = text.len() <= EMAIL_BYTES_MAX && is_local_part(local) && is_domain(domain);
        is_valid.then_some(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A person as given at registration.
#[derive(Clone)]
pub struct Given {
    pub email: Email,
    pub name: String,
    pub phone: Option<String>,
}

/// A customer's own words.
pub fn customer(body: &Register) -> Result<Given, Problem> {
    given(&body.email, &body.password, &body.name, body.phone.as_deref())
}

/// An operator's words about staff.
pub fn staff(body: &RegisterStaff) -> Result<Given, Problem> {
    given(&body.email, &body.password, &body.name, body.phone.as_deref())
}

/// New name and phone. An empty phone is none: `Some(None)`.
pub fn profile(body: &ChangeProfile) -> Result<(Option<String>, Option<Option<String>>), Problem> {
    let mut complaints = Complaints::default();
    let name = body
        .name
        .as_deref()
        .map(|name| complaints.line("name", name, NAME_CHARS_MAX));
    let phone = body.phone.as_deref().map(|phone| complaints.phone(Some(phone)));
    complaints.none_or((name, phone))
}

/// An address as it will be kept.
pub fn address(body: Address) -> Result<Address, Problem> {
    let mut complaints = Complaints::default();
    let text = complaints.block("text", &body.text);
    if text.is_empty() {
        complaints.add("text", "must not be empty");
    }
    let instructions = body
        .instructions
        .as_deref()
        .map(|text| complaints.block("instructions", text));
    complaints.none_or(Address {
        text,
        instructions: instructions.filter(|text| !text.is_empty()),
        place: body.place,
    })
}

fn given(email: &str, password: &str, name: &str, phone: Option<&str>) -> Result<Given, Problem> {
    let mut complaints = Complaints::default();
    let email = Email::parse(email);
    if email.is_none() {
        complaints.add("email", "is not an e-mail address");
    }
    if !PASSWORD_CHARS.contains(&password.chars().count()) {
        complaints.add("password", "must have 8 to 128 characters");
    }
    let name = complaints.line("name", name, NAME_CHARS_MAX);
    let phone = complaints.phone(phone);
    complaints.none_or(()).and_then(|()| {
        let email = email.ok_or_else(Problem::invalid)?;
        Ok(Given { email, name, phone })
    })
}

/// Everything that is wrong, so that nobody fixes one field at a time.
#[derive(Default)]
struct Complaints(Option<Problem>);

impl Complaints {
    fn add(&mut self, field: &str, message: &str) {
        self.0 = Some(self.0.take().unwrap_or_else(Problem::invalid).field(field, message));
    }

    fn line(&mut self, field: &str, text: &str, chars_max: usize) -> String {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > chars_max {
            self.add(field, &format!("must have 1 to {chars_max} characters"));
        } else if text.chars().any(char::is_control) {
            self.add(field, "must be one line of text");
        }
        text.to_owned()
    }

    /// Several lines are fine at a door.
    fn block(&mut self, field: &str, text: &str) -> String {
        let text = text.trim();
        if text.chars().count() > ADDRESS_CHARS_MAX {
            self.add(field, &format!("must have at most {ADDRESS_CHARS_MAX} characters"));
        } else if text.chars().any(|char| char.is_control() && char != '\n') {
            self.add(field, "must be text");
        }
        text.to_owned()
    }

    fn phone(&mut self, phone: Option<&str>) -> Option<String> {
        let phone = phone.map(str::trim).filter(|phone| !phone.is_empty())?;
        let is_dialled = |char: char| char.is_ascii_digit() || "+-/(). ".contains(char);
        if phone.len() > PHONE_CHARS_MAX || !phone.chars().all(is_dialled) {
            self.add("phone", "must be at most 32 digits, spaces and +-/().");
        }
        Some(phone.to_owned())
    }

    fn none_or<T>(self, value: T) -> Result<T, Problem> {
        self.0.map_or(Ok(value), Err)
    }
}

fn is_local_part(local: &str) -> bool {
    let is_sane = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    (1..=LOCAL_PART_BYTES_MAX).contains(&local.len())
        && local.bytes().all(is_sane)
        && local.split('.').all(|part| !part.is_empty())
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.contains('.') && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_e_mail_is_compared_without_case_and_margin() {
        let email = Email::parse("  Anna.B+pizza@Example.ORG ").expect("a good address");
        assert_eq!(email.as_str(), "anna.b+pizza@example.org");
    }

    #[test]
    fn what_cannot_be_an_e_mail_is_refused() {
        let long = format!("{}@example.org", "a".repeat(65));
        for bad in [
            "",
            "anna",
            "@example.org",
            "anna@",
            "anna@localhost",
            "a b@c.de",
            "a..b@c.de",
            "a@-c.de",
            "ä@c.de",
            &long,
        ] {
            assert!(Email::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn every_bad_field_is_named_at_once_and_none_is_repeated() {
        let body = Register {
            email: "nobody".into(),
            password: "short".into(),
            name: " \n ".into(),
            phone: Some("call me".into()),
        };
        let problem = customer(&body).err().expect("refused");
        let fields: Vec<&str> = problem.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["email", "password", "name", "phone"]);
        let told = serde_json::to_string(&problem.document()).expect("a problem is JSON");
        assert!(!told.contains("nobody") && !told.contains("short") && !told.contains("call me"));
    }

    #[test]
    fn an_empty_phone_is_no_phone() {
        let change = |phone: &str| {
            profile(&ChangeProfile {
                name: None,
                phone: Some(phone.into()),
                language: None,
            })
        };
        assert_eq!(change(" ").ok(), Some((None, Some(None))));
        assert_eq!(
            change("+49 30 1234").ok(),
            Some((None, Some(Some("+49 30 1234".into()))))
        );
        assert_eq!(
            profile(&ChangeProfile {
                name: None,
                phone: None,
                language: None,
            })
            .ok(),
            Some((None, None))
        );
    }
}
