//! Logs to stderr, traces to an OpenTelemetry collector when one is configured, and W3C trace context.

use std::{
    collections::HashMap,
    io::{self, IsTerminal},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use opentelemetry::{
    propagation::TextMapPropagator,
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Settings of logs and traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// How log lines look.
    pub format: LogFormat,
    /// Which lines are written, in the form of `tracing-subscriber`'s `EnvFilter`: `info,halcyon_worker=debug`.
    pub filter: String,
    /// Where traces go (OTLP over HTTP), such as `http://127.0.0.1:4318/v1/traces`; nowhere if absent or empty.
    pub otlp_endpoint: Option<String>,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info,async_nats=warn,sqlx=warn,sea_orm=warn,salvo_core=warn,opentelemetry_sdk=warn,\
                     rustify=off,vaultrs=off"
                .to_owned(),
            otlp_endpoint: None,
        }
    }
}

/// Sends what is left of the traces when it is dropped.
#[derive(Debug)]
#[must_use = "traces end when the guard is dropped"]
pub struct Guard(Option<SdkTracerProvider>);

impl Drop for Guard {
    fn drop(&mut self) {
        // Nothing is left to tell a failure to: the logs end here, too.
        let _ = self.0.take().map(|provider| provider.shutdown());
    }
}

/// Starts logs and traces for the process.
///
/// # Errors
/// The filter cannot be read, the exporter cannot be built, or it was done already.
pub fn init(settings: &TelemetrySettings, service: &'static str) -> anyhow::Result<Guard> {
    let filter = EnvFilter::try_new(&settings.filter)
        .with_context(|| format!("telemetry.filter `{}` cannot be read", settings.filter))?;
    let provider = settings
        .otlp_endpoint
        .as_deref()
        .filter(|endpoint| !endpoint.is_empty())
        .map(|endpoint| provider(endpoint, service))
        .transpose()?;
    // Without a collector spans are not kept for one either: that costs time in each request.
    let traces = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("halcyon")));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match settings.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(traces)
        .try_init()?;
    TRACING.store(provider.is_some(), Ordering::Relaxed);
    Ok(Guard(provider))
}

fn provider(endpoint: &str, service: &'static str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .build()?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}

const TRACEPARENT: &str = "traceparent";

/// Whether spans go to a collector; without one there is no trace to continue, and nothing is spent on it.
static TRACING: AtomicBool = AtomicBool::new(false);

/// The current span as a W3C `traceparent`; nothing where there is no trace.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    if !TRACING.load(Ordering::Relaxed) {
        return None;
    }
    let context = Span::current().context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes `span` a child of the span that `traceparent` names. What cannot be read is passed over.
pub fn set_parent(span: &Span, traceparent: &str) {
    if !TRACING.load(Ordering::Relaxed) {
        return;
    }
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    if context.span().span_context().is_valid() {
        // Without a subscriber there is no span to have a parent.
        let _ = span.set_parent(context);
    }
}
