//! One figure with its neighbour, measured in the same run, and what the project promises of it.

use std::process::ExitCode;

use serde::Serialize;

use super::exit_code;
use crate::say;

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    bench: &'static str,
    /// What was measured.
    what: String,
    unit: &'static str,
    value: f64,
    /// What the neighbour is, and its figure in the same unit; none where nothing compares.
    beside_what: Option<String>,
    beside: Option<f64>,
    /// The value in neighbours.
    ratio: Option<f64>,
    target: Option<Target>,
    met: Option<bool>,
}

/// What the project promises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// Of the ratio.
    RatioAtMost(f64),
    /// Of the ratio.
    RatioAtLeast(f64),
}

impl Row {
    pub(super) fn new(bench: &'static str, what: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self {
            bench,
            what: what.into(),
            unit,
            value,
            beside_what: None,
            beside: None,
            ratio: None,
            target: None,
            met: None,
        }
    }

    pub(super) fn beside(mut self, what: impl Into<String>, beside: f64) -> Self {
        self.beside_what = Some(what.into());
        self.beside = Some(beside);
        self.ratio = (beside > 0.0).then(|| self.value / beside);
        self
    }

    pub(super) fn at_most(self, bound: f64) -> Self {
        let met = self.value <= bound;
        self.promised(Target::AtMost(bound), met)
    }

    pub(super) fn at_least(self, bound: f64) -> Self {
        let met = self.value >= bound;
        self.promised(Target::AtLeast(bound), met)
    }

    pub(super) fn ratio_at_most(self, bound: f64) -> Self {
        let met = self.ratio.is_some_and(|ratio| ratio <= bound);
        self.promised(Target::RatioAtMost(bound), met)
    }

    pub(super) fn ratio_at_least(self, bound: f64) -> Self {
        let met = self.ratio.is_some_and(|ratio| ratio >= bound);
        self.promised(Target::RatioAtLeast(bound), met)
    }

    fn promised(self, target: Target, met: bool) -> Self {
        Self {
            target: Some(target),
            met: Some(met),
            ..self
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{:<52} {:>11} {}", self.what, figure(self.value), self.unit);
        if let (Some(what), Some(beside)) = (&self.beside_what, self.beside) {
            text += &format!(" · {what} {}", figure(beside));
        }
        if let Some(ratio) = self.ratio {
            text += &format!(" · ratio {}", figure(ratio));
        }
        if let (Some(target), Some(met)) = (self.target, self.met) {
            let promise = match target {
                Target::AtMost(bound) => format!("at most {}", figure(bound)),
                Target::AtLeast(bound) => format!("at least {}", figure(bound)),
                Target::RatioAtMost(bound) => format!("ratio at most {}", figure(bound)),
                Target::RatioAtLeast(bound) => format!("ratio at least {}", figure(bound)),
            };
            text += &format!(" · target {promise}: {}", if met { "met" } else { "missed" });
        }
        text
    }
}

/// Prints them, one line each; it is no success unless every promise was kept.
pub(super) fn print(rows: &[Row], json: bool) -> ExitCode {
    for row in rows {
        if json {
            say::json(row);
        } else {
            say::line(row.text());
        }
    }
    exit_code(rows.iter().all(|row| row.met != Some(false)))
}

/// Three digits that mean something.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        small if small >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_its_neighbour_its_ratio_and_its_promise() {
        let row = Row::new("lag", "commit to Redis, p50", "ms", 6.0).beside("NATS", 1.5);
        let printed = serde_json::to_value(row.clone().at_most(5.0)).expect("a row");
        let expected = json!({
            "bench": "lag", "what": "commit to Redis, p50", "unit": "ms", "value": 6.0,
            "beside_what": "NATS", "beside": 1.5, "ratio": 4.0, "target": {"at_most": 5.0}, "met": false,
        });
        assert_eq!(printed, expected);
        assert_eq!(row.clone().ratio_at_least(4.0).met, Some(true));
        assert_eq!(row.clone().ratio_at_most(3.9).met, Some(false));
        assert_eq!(row.at_least(6.0).met, Some(true));
    }

    #[test]
    fn a_neighbour_of_nothing_has_no_ratio_and_breaks_the_promise() {
        let row = Row::new("read", "order", "1/s", 6.0)
            .beside("nginx", 0.0)
            .ratio_at_least(0.1);
        assert_eq!((row.ratio, row.met), (None, Some(false)));
    }

    #[test]
    fn figures_have_three_digits() {
        let shown = [1234.5, 12.34, 1.234, 0.1234, 0.0].map(figure);
        assert_eq!(shown, ["1234", "12.3", "1.23", "0.123", "0"]);
    }
}
