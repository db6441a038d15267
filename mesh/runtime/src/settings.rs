//! A plain table of settings, read from `TIFFIN_*` environment variables:
//! name, default, reason, parser. Every bad value is reported at once.
//!
//! Knows no files and no layers: what a process was started with is what it runs with.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

/// The settings of one service, collected while they are read.
///
/// Reading never fails at once: a missing or bad value leaves its complaint in the table and a
/// stand-in in the caller's hands, and [`Settings::finish`] must be asked before anything is used.
pub struct Settings {
    service: String,
    variables: BTreeMap<String, String>,
    rows: Vec<Row>,
    errors: Vec<ConfigError>,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    default: Default,
    why: &'static str,
}

#[derive(Debug)]
enum Default {
    Value(String),
    Required,
    RequiredLike(String),
    Unset,
}

impl Settings {
    /// The settings in this process's environment.
    pub fn new(service: &str) -> Self {
        Self::of(
            service,
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// The settings in the given variables; an empty value counts as unset, since charts and
    /// shells easily leave one behind.
    pub fn of<N: Into<String>, V: Into<String>>(service: &str, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, value): &(String, String)| name.starts_with("TIFFIN_") && !value.is_empty())
            .collect();
        Self {
            service: service.to_owned(),
            variables,
            rows: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// The service these settings are for.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// A text with a default.
    pub fn text(&mut self, name: &'static str, default: &str, why: &'static str) -> String {
        self.row(name, Default::Value(default.to_owned()), why);
        self.variables.get(name).cloned().unwrap_or_else(|| default.to_owned())
    }

    /// A text that must be given.
    pub fn required(&mut self, name: &'static str, why: &'static str) -> String {
        self.row(name, Default::Required, why);
        self.given(name).unwrap_or_default()
    }

    /// A secret that must be given. Its value is never printed, neither by `--help` nor in an error.
    pub fn secret(&mut self, name: &'static str, why: &'static str) -> Secret {
        self.row(name, Default::Required, why);
        Secret(self.given(name).unwrap_or_default())
    }

    /// A secret that may be left out.
    pub fn optional_secret(&mut self, name: &'static str, why: &'static str) -> Option<Secret> {
        self.row(name, Default::Unset, why);
        self.variables.get(name).cloned().map(Secret)
    }

    /// A value with a default, given as it would be spelled in the environment.
    ///
    /// # Panics
    /// When the default itself does not parse.
    pub fn parse<T: FromStr>(&mut self, name: &'static str, default: &str, why: &'static str) -> T
    where
        T::Err: fmt::Display,
    {
        self.row(name, Default::Value(default.to_owned()), why);
        let value = self.variables.get(name).cloned();
        self.parsed_or(name, value, default)
    }

    /// A value that must be given. The example is printed by `--help` and stands in for a bad
    /// value until [`Settings::finish`] refuses it.
    ///
    /// # Panics
    /// When the example itself does not parse.
    pub fn parse_required<T: FromStr>(&mut self, name: &'static str, example: &str, why: &'static str) -> T
    where
        T::Err: fmt::Display,
    {
        self.row(name, Default::RequiredLike(example.to_owned()), why);
        let value = self.given(name);
        self.parsed_or(name, value, example)
    }

    /// Adds a complaint about a setting, for rules that span several of them.
    pub fn refuse(&mut self, name: &'static str, complaint: impl Into<String>) {
        self.errors.push(ConfigError {
            name,
            complaint: complaint.into(),
        });
    }

    /// Whether everything read so far was there and good.
    ///
    /// # Errors
    /// Every complaint at once, in the order of reading.
    pub fn finish(&self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(ConfigErrors(self.errors.clone()))
        }
    }

    /// The table of everything read so far, for `--help`. Defaults only: no value of the
    /// environment is in it.
    pub fn help(&self) -> String {
        let mut table = format!("{} reads these environment variables:\n", self.service);
        for row in &self.rows {
            let default = match &row.default {
                Default::Value(value) if value.is_empty() => "default: empty".to_owned(),
                Default::Value(value) => format!("default: {value}"),
                Default::Required => "required".to_owned(),
                Default::RequiredLike(example) => format!("required, such as {example}"),
                Default::Unset => "optional".to_owned(),
            };
            write!(table, "\n  {} ({default})\n      {}\n", row.name, row.why).expect("a string takes all text");
        }
        table
    }

    fn row(&mut self, name: &'static str, default: Default, why: &'static str) {
        debug_assert!(
            name.starts_with("TIFFIN_"),
            "settings are spelled as in the environment"
        );
        self.rows.push(Row { name, default, why });
    }

    fn given(&mut self, name: &'static str) -> Option<String> {
        let value = self.variables.get(name).cloned();
        if value.is_none() {
            self.refuse(name, "is required");
        }
        value
    }

    fn parsed_or<T: FromStr>(&mut self, name: &'static str, value: Option<String>, stand_in: &str) -> T
    where
        T::Err: fmt::Display,
    {
        let parsed = value.and_then(|value| match value.parse() {
            Ok(parsed) => Some(parsed),
            Err(err) => {
                self.refuse(name, format!("{err}"));
                None
            }
        });
        parsed.unwrap_or_else(|| match stand_in.parse() {
            Ok(stand_in) => stand_in,
            Err(err) => panic!("the stand-in for {name} does not parse: {err}"),
        })
    }
}

/// Without the variables, since some are secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings")
            .field("service", &self.service)
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}

/// A value that no log line, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret that came from elsewhere than the settings.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for whoever must present it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

/// A complaint about one setting. Carries no value, since it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The environment variable.
    pub name: &'static str,
    /// What is wrong with it.
    pub complaint: String,
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "bad settings (see --help):")?;
        self.0
            .iter()
            .try_for_each(|error| write!(out, "\n  {}: {}", error.name, error.complaint))
    }
}
