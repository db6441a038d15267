//! Logs, traces and metrics: JSON lines on stderr, W3C trace context, a Prometheus recorder.
//!
//! Spans and metrics know method, matched route and status. They never see query values,
//! headers or bodies, so no personal data and no secret can reach them from here.

mod log;
mod request;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::settings::Settings;

pub use request::layer;

/// Fine where our answers live (milliseconds), coarse where only trouble does.
const SECONDS_BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// What to log.
#[derive(Debug, Clone)]
pub struct Telemetry {
    filter: String,
}

impl Telemetry {
    /// Reads `TIFFIN_LOG`.
    pub fn from_settings(settings: &mut Settings) -> Self {
        let filter: Filter = settings.parse(
            "TIFFIN_LOG",
            "info",
            "which log lines are written, as a level or target=level list; debug is too much for 200 orders a second",
        );
        Self { filter: filter.0 }
    }
}

/// Installs the process's log writer, tracer and metrics recorder.
///
/// # Errors
/// When they are installed already, or the platform's own filter does not parse.
pub fn init(service: &str, telemetry: &Telemetry) -> Result<(), InitError> {
    let filter = EnvFilter::try_new(&telemetry.filter).map_err(|err| InitError::Filter(err.to_string()))?;
    // No exporter: the provider only makes and carries trace ids.
    let tracer = SdkTracerProvider::builder().build().tracer("tiffin");
    tracing_subscriber::registry()
        .with(filter)
        .with(
            tracing_opentelemetry::layer()
                .with_tracer(tracer)
                // Nobody exports what these would record, and everybody here asks for the current span's context.
                .with_location(false)
                .with_target(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_context_activation(false),
        )
        .with(log::JsonLines::new(service, log::to_stderr))
        .try_init()?;
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .add_global_label("service", service)
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| InitError::Metrics)?;
    METRICS.set(handle).map_err(|_| InitError::Metrics)
}

/// Everything measured so far, in Prometheus' text form; empty before [`init`].
pub fn render_metrics() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Moves finished histogram samples into their buckets. Without it they pile up between scrapes.
pub(crate) fn upkeep() {
    if let Some(handle) = METRICS.get() {
        handle.run_upkeep();
    }
}

/// The current span's context as a W3C `traceparent`, to send along with a call or a message.
pub fn traceparent() -> Option<String> {
    let context = current_span_context()?;
    Some(format!(
        "00-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags().to_u8()
    ))
}

/// The current trace, as logs and problems show it.
pub fn trace_id() -> Option<String> {
    Some(current_span_context()?.trace_id().to_string())
}

/// The trace that a `traceparent` is part of, without reading the rest of it.
pub fn trace_id_of(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}

/// Makes a fresh span part of the trace that a `traceparent` names, and notes the trace in the
/// span's `trace_id` field if it declares one. An unreadable `traceparent` starts a new trace.
/// Call it before the span is first entered.
pub fn adopt(span: &Span, traceparent: Option<&str>) {
    if let Some(parent) = traceparent.and_then(parse_traceparent) {
        // Refused only for a disabled or already started span; its own trace is as good then.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    let context = span.context();
    let own = context.span().span_context().clone();
    if own.is_valid() {
        span.record("trace_id", tracing::field::display(own.trace_id()));
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The log filter is not one.
    #[error("bad log filter: {0}")]
    Filter(String),
    /// Something else in the process took the logs first.
    #[error("logging is set up already")]
    Logs(#[from] TryInitError),
    /// Something else in the process took the metrics first.
    #[error("metrics are set up already")]
    Metrics,
    /// The recorder refused its buckets.
    #[error("metrics could not be set up")]
    Recorder(#[from] BuildError),
}

fn current_span_context() -> Option<SpanContext> {
    let context = Span::current().context();
    let span_context = context.span().span_context().clone();
    span_context.is_valid().then_some(span_context)
}

/// Version 00 exactly; the propagator of the SDK wants a carrier for what is four fields here.
fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut fields = text.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let well_formed =
        version == "00" && trace.len() == 32 && span.len() == 16 && flags.len() == 2 && fields.next().is_none();
    if !well_formed {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

/// A log filter as the setting spells it, checked where it is read.
struct Filter(String);

impl std::str::FromStr for Filter {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::try_new(text).map(|_| Self(text.to_owned()))
    }
}
