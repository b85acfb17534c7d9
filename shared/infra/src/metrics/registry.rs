//! The registry: OpenTelemetry instruments, read by Prometheus.

use std::sync::Arc;

use opentelemetry::{
    KeyValue,
    metrics::{self as otel, MeterProvider},
};
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider, Stream};
use prometheus::{Encoder, Registry, TextEncoder};

use super::{Counter, Gauge, Histogram};
use crate::Error;

/// Different label sets of one metric; what is beyond goes to one overflow series.
const MAX_SERIES: usize = 20_000;

/// The metrics of a process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    // Instruments stop counting when their provider is dropped.
    _provider: SdkMeterProvider,
    counters: Vec<otel::Counter<u64>>,
    gauges: Vec<otel::Gauge<f64>>,
    histograms: Vec<otel::Histogram<f64>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// A registry with every metric of [`super::names`].
    ///
    /// # Errors
    /// A metric's name is not a valid one.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        // Names are written in full in one file, so nothing is added to them.
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_counter_suffixes()
            .without_units()
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| Error::Metrics(error.to_string()))?;
        let limit = |_: &Instrument| Stream::builder().with_cardinality_limit(MAX_SERIES).build().ok();
        let provider = SdkMeterProvider::builder().with_reader(exporter).with_view(limit).build();
        let meter = provider.meter("halcyon");
        let counters = Counter::ALL
            .iter()
            .map(|it| meter.u64_counter(it.name()).with_description(it.help()).build())
            .collect();
        let gauges = Gauge::ALL
            .iter()
            .map(|it| meter.f64_gauge(it.name()).with_description(it.help()).build())
            .collect();
        let histograms = Histogram::ALL
            .iter()
            .map(|it| {
                meter
                    .f64_histogram(it.name())
                    .with_description(it.help())
                    .with_boundaries(it.boundaries().to_vec())
                    .build()
            })
            .collect();
        Ok(Self { inner: Arc::new(Inner { registry, _provider: provider, counters, gauges, histograms }) })
    }

    /// Adds to a counter.
    pub fn count(&self, counter: Counter, by: u64, labels: &[(&'static str, &str)]) {
        if let Some(instrument) = self.inner.counters.get(counter as usize) {
            instrument.add(by, &pairs(labels));
        }
    }

    /// Sets a gauge.
    pub fn set(&self, gauge: Gauge, value: f64, labels: &[(&'static str, &str)]) {
        if let Some(instrument) = self.inner.gauges.get(gauge as usize) {
            instrument.record(value, &pairs(labels));
        }
    }

    /// Records a value in a histogram (seconds where it is a time).
    pub fn record(&self, histogram: Histogram, value: f64, labels: &[(&'static str, &str)]) {
        if let Some(instrument) = self.inner.histograms.get(histogram as usize) {
            instrument.record(value, &pairs(labels));
        }
    }

    /// The body of `/metrics`, in Prometheus' text format.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn render(&self) -> Result<String, Error> {
        let mut body = Vec::new();
        TextEncoder::new()
            .encode(&self.inner.registry.gather(), &mut body)
            .map_err(|error| Error::Metrics(error.to_string()))?;
        String::from_utf8(body).map_err(|error| Error::Metrics(error.to_string()))
    }
}

fn pairs(labels: &[(&'static str, &str)]) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exposed_as_they_are_written() {
        let metrics = Metrics::new().unwrap();
        metrics.count(Counter::DatasourceErrors, 2, &[("datasource", "d1")]);
        metrics.set(Gauge::DatasourceIngestRate, 12.5, &[("datasource", "d1")]);
        metrics.record(Histogram::IngestSeconds, 0.003, &[]);
        let text = metrics.render().unwrap();
        assert!(text.contains(r#"datasource_errors_total{datasource="d1"} 2"#), "{text}");
        assert!(text.contains(r#"datasource_ingest_rate{datasource="d1"} 12.5"#), "{text}");
        assert!(text.contains(r#"halcyon_ingest_ack_duration_seconds_bucket{le="0.005"} 1"#), "{text}");
    }

    #[test]
    fn more_series_than_the_limit_overflow() {
        let metrics = Metrics::new().unwrap();
        for n in 0..MAX_SERIES + 10 {
            metrics.count(Counter::Records, 1, &[("datasource", &n.to_string())]);
        }
        let text = metrics.render().unwrap();
        assert!(text.contains("otel_metric_overflow"), "no overflow series");
    }

    #[test]
    fn every_name_is_unique_and_well_formed() {
        let mut names: Vec<_> = Counter::ALL.iter().map(|it| it.name()).collect();
        assert!(names.iter().all(|name| name.ends_with("_total")));
        names.extend(Gauge::ALL.iter().map(|it| it.name()));
        names.extend(Histogram::ALL.iter().map(|it| it.name()));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
