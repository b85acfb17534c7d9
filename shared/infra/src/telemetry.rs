//! Logs to stderr, and traces to a collector where one is configured.

use std::{io::IsTerminal, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

use crate::Error;

/// Libraries whose information is of no use to an operator.
const QUIET: &str = "async_nats=warn,sqlx=warn,sea_orm=warn,sea_orm_migration=warn,salvo_core=warn,hyper=warn,\
                     reqwest=warn,h2=warn,opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry-otlp=warn";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Settings of logs and traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// What is logged, as `tracing-subscriber` filters: `info`, `halcyon_worker=debug,info`.
    pub log: String,
    /// How log lines look.
    pub format: LogFormat,
    /// Where traces go, as OTLP over HTTP: `http://collector:4318/v1/traces`. None: nowhere.
    pub otlp_endpoint: Option<String>,
    /// The part of traces that is kept, 0 to 1, where the caller has not decided.
    pub sample_ratio: f64,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { log: "info".into(), format: LogFormat::Text, otlp_endpoint: None, sample_ratio: 1.0 }
    }
}

/// Keeps traces going; [`Telemetry::end`] sends what is left.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Sets up logs and traces for the whole process.
    ///
    /// # Errors
    /// The filter cannot be read, the endpoint is no address, or it was set up already.
    pub fn init(settings: &TelemetrySettings, service: &'static str) -> Result<Self, Error> {
        let provider = provider(settings, service)?;
        // Even with no collector spans get identifiers, so that messages and error answers carry a trace id.
        let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("halcyon"));
        tracing_subscriber::registry()
            .with(filter(&settings.log)?)
            .with(lines(settings.format))
            .with(traces)
            .try_init()
            .map_err(|error| Error::Telemetry(error.to_string()))?;
        Ok(Self { provider })
    }

    /// Sends the spans that wait.
    pub async fn end(self) {
        // The exporter blocks, which a worker thread of the runtime must not.
        let ended = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(Duration::from_secs(2))).await;
        if let Ok(Err(error)) = ended {
            tracing::debug!(error = %error, "some traces were not sent");
        }
    }
}

fn filter(directives: &str) -> Result<EnvFilter, Error> {
    // What the user says comes last, so it wins over the quiet ones.
    EnvFilter::try_new(format!("{QUIET},{directives}"))
        .map_err(|error| Error::Telemetry(format!("log filter `{directives}`: {error}")))
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

fn provider(settings: &TelemetrySettings, service: &'static str) -> Result<SdkTracerProvider, Error> {
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample_ratio)));
    let builder = SdkTracerProvider::builder().with_resource(resource).with_sampler(sampler);
    let Some(endpoint) = settings.otlp_endpoint.clone() else { return Ok(builder.build()) };
    // The blocking client refuses to be made on a thread of an async runtime.
    let exporter = std::thread::spawn(move || SpanExporter::builder().with_http().with_endpoint(endpoint).build())
        .join()
        .map_err(|_| Error::Telemetry("the exporter's thread broke".into()))?
        .map_err(|error| Error::Telemetry(error.to_string()))?;
    Ok(builder.with_batch_exporter(exporter).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named() {
        assert!(filter("info,halcyon=debug").is_ok());
        assert!(filter("a=b=c").unwrap_err().to_string().contains("a=b=c"));
    }

    #[tokio::test]
    async fn an_exporter_can_be_made_and_ended_in_a_runtime() {
        let settings = TelemetrySettings {
            otlp_endpoint: Some("http://127.0.0.1:9/v1/traces".into()),
            ..TelemetrySettings::default()
        };
        let telemetry = Telemetry { provider: provider(&settings, "test").unwrap() };
        telemetry.end().await;
    }

    #[test]
    fn both_formats_fit_a_registry() {
        let _: [Box<dyn Layer<Registry> + Send + Sync>; 2] = [lines(LogFormat::Text), lines(LogFormat::Json)];
    }
}
