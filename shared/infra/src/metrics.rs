//! The metrics of the system: their names, kinds and help are here and nowhere else.

use std::sync::Arc;

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter, MeterProvider},
};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};

/// What kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// The spread of durations, in seconds.
    Seconds,
}

macro_rules! metrics {
    ($($variant:ident, $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        /// A metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric { $(#[doc = $help] $variant),* }

        impl Metric {
            /// Every metric.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in Prometheus.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }

            /// Its kind.
            #[must_use]
            pub const fn kind(self) -> Kind { match self { $(Self::$variant => Kind::$kind),* } }

            /// Its labels.
            #[must_use]
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*]),* }
            }

            /// What it says.
            #[must_use]
            pub const fn help(self) -> &'static str { match self { $(Self::$variant => $help),* } }
        }
    };
}

metrics! {
    IngestRequests, "ingest_requests_total", Counter, ["status"], "Requests to the ingest endpoint, by answer.";
    IngestEvents, "ingest_events_total", Counter, [], "Events accepted: answered with 202.";
    IngestBytes, "ingest_bytes_total", Counter, [], "Bytes of accepted events.";
    IngestAckSeconds, "ingest_ack_seconds", Seconds, [], "From a request's arrival to its durable ack.";
    HttpRequests, "http_requests_total", Counter, ["method", "status"], "Requests to the API, by answer.";
    HttpSeconds, "http_request_seconds", Seconds, ["method"], "Time to answer a request to the API.";
    HttpLimited, "http_limited_total", Counter, ["by"], "Requests to the API beyond the caller's limit.";
    TlsExpirySeconds, "tls_certificate_expiry_seconds", Gauge, [], "Time until the gateway's certificate ends.";
    TlsReloads, "tls_reloads_total", Counter, ["ok"], "Changed certificates taken up, or not usable.";
    OutboxPublished, "outbox_published_total", Counter, ["topic"], "Messages relayed from the outbox.";
    DatasourceEvents, "datasource_events_total", Counter, ["datasource"], "Events taken by a worker.";
    DatasourceRecords, "datasource_records_total", Counter, ["datasource", "verdict"], "Records by verdict.";
    DatasourceErrors, "datasource_errors_total", Counter, ["datasource", "kind"], "Failures of a datasource.";
    DatasourceIngestRate, "datasource_ingest_rate", Gauge, ["datasource"], "Events per second, over ten seconds.";
    DatasourceLag, "datasource_lag_seconds", Gauge, ["datasource"], "Age of the newest event when it was processed.";
    DatasourceParked, "datasource_parked_events", Gauge, ["datasource"], "Events parked and not yet processed.";
    DatasourceRuns, "datasource_runs_total", Counter, ["datasource", "result"], "Runs by a schedule: done, failed (and tried again), missed.";
    DatasourceRunSeconds, "datasource_last_run_seconds", Gauge, ["datasource"], "How long the last run by a schedule took.";
    BackfillRecords, "backfill_records_total", Counter, ["datasource", "verdict"], "Records of backfills by verdict.";
    MappingSeconds, "mapping_seconds", Seconds, [], "Time to map an event.";
    WorkerPartitions, "worker_partitions", Gauge, [], "Partitions that this worker holds.";
    WorkerTasks, "worker_tasks", Gauge, ["status"], "Datasources at this worker, by state.";
    ScriptProcesses, "script_processes", Gauge, [], "Processes for scripts that live.";
    ScriptProcessesStarted, "script_processes_started_total", Counter, [], "Processes for scripts that were started.";
    ScriptRecords, "script_records_total", Counter, [], "Records that scripts were asked about.";
    ScriptFailures, "script_failures_total", Counter, ["reason"], "Records whose script ran out of time or memory, or crashed.";
    ScriptsSuspended, "scripts_suspended_total", Counter, [], "Times that a script was suspended because it did nothing but fail.";
    ConsumersRecreated, "bus_consumers_recreated_total", Counter, [], "Silent consumers made anew by the watchdog.";
    OntologyObjects, "ontology_objects_total", Counter, ["kind"], "Objects written by the ontology service.";
    OntologyRecords, "ontology_records_total", Counter, ["verdict"], "Records entered into the ledger, by verdict.";
    OntologyDuplicates, "ontology_duplicates_total", Counter, [], "Records that the ledger knew already.";
    OntologyBatchSeconds, "ontology_batch_seconds", Seconds, [], "Time to write a batch.";
    OntologyDelaySeconds, "ontology_delay_seconds", Seconds, [], "From acceptance of an event to the commit of its objects.";
    AuditEntries, "audit_entries_total", Counter, [], "Entries written to the audit trail.";
    RegistryLeader, "registry_leader", Gauge, [], "1 while this registry leads.";
    RegistryDatasources, "registry_datasources", Gauge, ["status"], "Datasources by state.";
    RegistryMoves, "registry_moves_total", Counter, ["what"], "Partitions and datasources given to another worker.";
    ReconcileSeconds, "registry_reconcile_seconds", Seconds, [], "Time of a reconcile.";
    SecretsOpened, "registry_secrets_opened_total", Counter, ["service"], "Secrets sealed to a process, by service.";
    TestRuns, "test_runs_total", Counter, ["ok"], "Test runs, by result.";
}

/// Bounds of duration histograms, in seconds: half a millisecond to ten seconds.
const BOUNDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

enum Instrument {
    Counter(Counter<u64>),
    Gauge(Gauge<f64>),
    Seconds(Histogram<f64>),
}

struct Inner {
    registry: Registry,
    /// Held because the instruments die with it.
    _provider: SdkMeterProvider,
    instruments: Vec<Instrument>,
}

/// The metrics of a process. Clones are the same metrics.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

impl Metrics {
    /// All metrics, at zero.
    ///
    /// # Errors
    /// The exporter cannot be built.
    pub fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .without_counter_suffixes()
            .without_units()
            .build()?;
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        let meter = provider.meter("halcyon");
        let instruments = Metric::ALL
            .iter()
            .map(|metric| instrument(&meter, *metric))
            .collect();
        Ok(Self(Arc::new(Inner {
            registry,
            _provider: provider,
            instruments,
        })))
    }

    /// Adds to a counter. Labels are given as (name, value), all of those that the metric has.
    pub fn add(&self, metric: Metric, count: u64, labels: &[(&'static str, &str)]) {
        if let Some(Instrument::Counter(counter)) = self.instrument(metric) {
            counter.add(count, &key_values(labels));
        }
    }

    /// Sets a gauge.
    pub fn set(&self, metric: Metric, value: f64, labels: &[(&'static str, &str)]) {
        if let Some(Instrument::Gauge(gauge)) = self.instrument(metric) {
            gauge.record(value, &key_values(labels));
        }
    }

    /// Enters a duration, in seconds, into a histogram.
    pub fn observe(&self, metric: Metric, seconds: f64, labels: &[(&'static str, &str)]) {
        if let Some(Instrument::Seconds(histogram)) = self.instrument(metric) {
            histogram.record(seconds, &key_values(labels));
        }
    }

    /// All metrics in Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.registry.gather(), &mut text) {
            tracing::warn!(%error, "the metrics cannot be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    fn instrument(&self, metric: Metric) -> Option<&Instrument> {
        self.0.instruments.get(metric as usize)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn key_values(labels: &[(&'static str, &str)]) -> Vec<KeyValue> {
    labels
        .iter()
        .map(|(name, value)| KeyValue::new(*name, (*value).to_owned()))
        .collect()
}

fn instrument(meter: &Meter, metric: Metric) -> Instrument {
    let (name, help) = (metric.name(), metric.help());
    match metric.kind() {
        Kind::Counter => Instrument::Counter(meter.u64_counter(name).with_description(help).build()),
        Kind::Gauge => Instrument::Gauge(meter.f64_gauge(name).with_description(help).build()),
        Kind::Seconds => {
            let histogram = meter.f64_histogram(name).with_description(help);
            Instrument::Seconds(histogram.with_boundaries(BOUNDS.to_vec()).build())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_shown_under_its_own_name() {
        let metrics = Metrics::new().unwrap();
        metrics.add(Metric::IngestRequests, 3, &[("status", "202")]);
        metrics.set(Metric::RegistryLeader, 1.0, &[]);
        metrics.observe(Metric::ReconcileSeconds, 0.002, &[]);
        let text = metrics.render();
        assert!(text.contains("ingest_requests_total{status=\"202\"} 3"), "{text}");
        assert!(text.contains("registry_leader 1"), "{text}");
        assert!(
            text.contains("registry_reconcile_seconds_bucket{le=\"0.0025\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn names_follow_prometheus_conventions() {
        for metric in Metric::ALL {
            let name = metric.name();
            assert_eq!(name.ends_with("_total"), metric.kind() == Kind::Counter, "{name}");
            assert_eq!(
                name.ends_with("_seconds") && metric.kind() != Kind::Gauge,
                metric.kind() == Kind::Seconds,
                "{name}"
            );
            assert!(metric.help().ends_with('.'), "{name}");
        }
    }

    #[test]
    fn the_metrics_reference_is_up_to_date() {
        use halcyon_tests::reference::{check, code, codes, page, table};

        let mut text = page("Metrics", &["shared/infra/src/metrics.rs"]);
        text.push_str(
            "Served in Prometheus text format at `/metrics`, by the gateway on its own address and by the other \
             services where `health` of [the settings](configuration.md) says.\n\n",
        );
        let kind = |kind| match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Seconds => "histogram",
        };
        let rows = Metric::ALL.iter().map(|metric| {
            let (name, labels) = (code(metric.name()), codes(metric.labels()));
            vec![
                name,
                kind(metric.kind()).to_owned(),
                labels,
                metric.help().to_owned(),
            ]
        });
        text.push_str(&table(&["Name", "Kind", "Labels", "Help"], rows));
        let bounds: Vec<_> = BOUNDS.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "Histograms are of seconds, with the bounds {}.\n",
            bounds.join(", ")
        ));
        check("metrics.md", &text);
    }
}
