//! What people see: results on standard output, steps and warnings on standard error.
//!
//! Bars and colours appear on a terminal only; into a file or a pipe go plain lines.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// How often a long count shows up where there is no bar.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// One line of result. A reader that is gone is no error: what the command does goes on.
pub fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A value as one line of JSON.
pub fn json(value: &impl Serialize) {
    line(serde_json::to_string(value).expect("results have string keys and finite numbers"));
}

/// A line for people, beside the results.
pub fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Says why a command failed, with all its causes.
pub fn failed(err: &anyhow::Error) -> ExitCode {
    note(format_args!("tiffin: {err:#}"));
    ExitCode::FAILURE
}

/// Warnings of the libraries, such as a process that was started again; `TIFFIN_LOG` shows more.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TIFFIN_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let colours = std::io::stderr().is_terminal();
    // Only tests install one before us.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .try_init();
}

/// Whether standard output is looked at by a person who may like colours.
pub fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Steps of something that takes a while: a spinner on a terminal, lines elsewhere.
#[derive(Clone)]
pub struct Steps(Arc<Shown>);

struct Shown {
    bar: Option<ProgressBar>,
    started: Instant,
    plain: Mutex<Plain>,
}

#[derive(Default)]
struct Plain {
    text: String,
    done: u64,
    total: u64,
    said_at: Option<Instant>,
}

impl Steps {
    /// None taken yet.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
            bar
        });
        Self(Arc::new(Shown {
            bar,
            started: Instant::now(),
            plain: Mutex::default(),
        }))
    }

    /// The next step.
    pub fn step(&self, text: &str) {
        match &self.0.bar {
            Some(bar) => {
                bar.set_style(style("{spinner} {msg} ({elapsed})"));
                bar.set_message(text.to_owned());
            }
            None => note(format_args!(
                "[{:>5.1}s] {text}",
                self.0.started.elapsed().as_secs_f64()
            )),
        }
    }

    /// The next step, which has `total` parts.
    pub fn count(&self, text: &str, total: usize) {
        let total = total as u64;
        if let Some(bar) = &self.0.bar {
            bar.set_style(style("{spinner} {msg} [{bar:30}] {pos}/{len} ({elapsed})"));
            bar.set_length(total);
            bar.set_position(0);
            bar.set_message(text.to_owned());
            return;
        }
        *self.plain() = Plain {
            text: text.to_owned(),
            total,
            ..Plain::default()
        };
        self.step(text);
    }

    /// One part more is done.
    pub fn one_more(&self) {
        if let Some(bar) = &self.0.bar {
            return bar.inc(1);
        }
        let mut plain = self.plain();
        plain.done += 1;
        let is_last = plain.done == plain.total;
        let is_due = plain.said_at.unwrap_or(self.0.started).elapsed() > PLAIN_EVERY;
        if is_last || is_due {
            plain.said_at = Some(Instant::now());
            self.step(&format!("{}: {} of {}", plain.text, plain.done, plain.total));
        }
    }

    /// Further words on the counted step.
    pub fn describe(&self, text: &str) {
        match &self.0.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => text.clone_into(&mut self.plain().text),
        }
    }

    /// For those who only know steps.
    pub fn sink(&self) -> mesh_local::Progress {
        let steps = self.clone();
        Arc::new(move |text| steps.step(text))
    }

    /// Leaves the terminal to others.
    pub fn done(&self) {
        if let Some(bar) = &self.0.bar {
            bar.finish_and_clear();
        }
    }

    fn plain(&self) -> std::sync::MutexGuard<'_, Plain> {
        self.0.plain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self::new()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant of ours")
}
