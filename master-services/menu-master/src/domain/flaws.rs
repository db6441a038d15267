//! What is wrong with a description, field by field.

use std::collections::BTreeSet;

use mesh_contracts::menu::Names;

use super::Rejection;

/// As on a menu, and as the contract says.
const NAME_CHARS_MAX: usize = 120;

/// What is wrong with one part of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The path to it, such as `recipe[2].quantity`.
    pub field: String,
    pub message: &'static str,
}

/// Whether something can be called that.
pub fn is_name(name: &str) -> bool {
    is_of_fit_length(name) && !has_control_characters(name)
}

fn is_of_fit_length(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.chars().count())
}

fn has_control_characters(name: &str) -> bool {
    name.chars().any(char::is_control)
}

/// Everything that was found wrong so far.
#[derive(Default)]
pub(super) struct Flaws(Vec<Flaw>);

impl Flaws {
    pub(super) fn demand(&mut self, holds: bool, field: impl Into<String>, message: &'static str) {
        if !holds {
            self.0.push(Flaw {
                field: field.into(),
                message,
            });
        }
    }

    pub(super) fn name(&mut self, field: &str, name: &str) {
        self.demand(is_of_fit_length(name), field, "must have 1 to 120 characters");
        self.demand(!has_control_characters(name), field, "must not have control characters");
    }

    pub(super) fn names(&mut self, field: &str, names: &Names) {
        self.name(&format!("{field}.en"), &names.en);
        self.name(&format!("{field}.ru"), &names.ru);
    }

    /// Each of them once.
    pub(super) fn distinct<T: Ord>(
        &mut self,
        values: impl IntoIterator<Item = T>,
        field: impl Fn(usize) -> String,
        message: &'static str,
    ) {
        let mut seen = BTreeSet::new();
        for (index, value) in values.into_iter().enumerate() {
            self.demand(seen.insert(value), field(index), message);
        }
    }

    pub(super) fn none_or_refused<T>(self, good: T) -> Result<T, Rejection> {
        if self.0.is_empty() {
            Ok(good)
        } else {
            Err(Rejection::Invalid(self.0))
        }
    }
}

/// Without the blanks around them.
pub(super) fn trim(names: &mut Names) {
    for name in [&mut names.en, &mut names.ru] {
        *name = name.trim().to_owned();
    }
}
