//! The metrics: name, meaning, and boundaries for those with buckets. `docs/reference/` and dashboards follow this list.

/// Seconds, from a tenth of a millisecond to ten seconds.
const SECONDS: &[f64] =
    &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Counts of items in a batch.
const ITEMS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

macro_rules! metrics {
    ($(#[$meta:meta])* $kind:ident { $($variant:ident = $name:literal, $help:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $kind {
            $(#[doc = $help] $variant,)*
        }

        impl $kind {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name at `/metrics`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

metrics! {
    /// Counters: they only rise.
    Counter {
        DatasourceErrors = "datasource_errors_total", "Errors of a datasource (datasource, class: config, transient, system).";
        Records = "halcyon_records_total", "Records by verdict (datasource, verdict: delivered, filtered, dead_lettered).";
        IngestRequests = "halcyon_ingest_requests_total", "Requests at the ingest endpoint (status).";
        IngestEvents = "halcyon_ingest_events_total", "Events accepted at the ingest endpoint (datasource).";
        HttpRequests = "halcyon_http_requests_total", "Requests of the API (method, route, status).";
        BusFrames = "halcyon_bus_frames_total", "Frames that the bus acknowledged (service).";
        BusFrameRetries = "halcyon_bus_frame_retries_total", "Publishes of a frame beyond its first (service).";
        BusConsumersRecreated = "halcyon_bus_consumers_recreated_total", "Consumers and watches made again after they fell silent (service).";
        Redeliveries = "halcyon_redeliveries_total", "Frames that were delivered more than once (service).";
        ParkedEvents = "halcyon_parked_events_total", "Events set aside for a datasource that is stuck or stopped (datasource).";
        TaskRestarts = "halcyon_task_restarts_total", "Restarts of a datasource's task (datasource).";
        OntologyObjects = "halcyon_ontology_objects_total", "Objects written, by kind (kind, effect: created, updated).";
        OntologyReplays = "halcyon_ontology_replays_total", "Records that the ledger already had.";
        OutboxRelayed = "halcyon_outbox_relayed_total", "Outbox rows that were published (topic).";
        AuditEntries = "halcyon_audit_entries_total", "Entries appended to the audit trail.";
        SecretsOpened = "halcyon_secrets_opened_total", "Secrets opened for a process (service).";
        TestRuns = "halcyon_test_runs_total", "Test runs by result (result: ok, failed, timeout).";
        Logins = "halcyon_logins_total", "Attempts to log in (result: ok, refused).";
    }
}

metrics! {
    /// Gauges: the value now.
    Gauge {
        DatasourceIngestRate = "datasource_ingest_rate", "Records a second over the last minute (datasource).";
        DatasourceStatus = "halcyon_datasources", "Datasources by observed status (status).";
        DatasourceLag = "halcyon_datasource_lag_seconds", "Age of the oldest record that waits (datasource).";
        Workers = "halcyon_workers", "Workers whose lease is alive.";
        Leader = "halcyon_leader", "1 in the process that leads (service).";
        OutboxPending = "halcyon_outbox_pending", "Outbox rows that wait.";
        OutboxOldest = "halcyon_outbox_oldest_seconds", "Age of the oldest outbox row.";
        StreamPending = "halcyon_stream_pending", "Messages of a stream that wait (stream).";
        ParkedNow = "halcyon_parked_events", "Events that are set aside now (datasource).";
        BusConnected = "halcyon_bus_connected", "1 while the bus is connected (service).";
    }
}

metrics! {
    /// Histograms.
    Histogram {
        HttpSeconds = "halcyon_http_request_duration_seconds", "Time of an API request (method, route).";
        IngestSeconds = "halcyon_ingest_ack_duration_seconds", "Time from a request to its durable ack.";
        FrameItems = "halcyon_frame_items", "Events in a frame.";
        MappingSeconds = "halcyon_mapping_duration_seconds", "Time to map a frame.";
        EndToEndSeconds = "halcyon_end_to_end_duration_seconds", "Time from acceptance to the commit.";
        OntologyCommitSeconds = "halcyon_ontology_commit_duration_seconds", "Time of an ontology transaction.";
        OntologyBatchItems = "halcyon_ontology_batch_items", "Events in an ontology transaction.";
        ReconcileSeconds = "halcyon_reconcile_duration_seconds", "Time of a reconcile.";
        TestRunSeconds = "halcyon_test_run_duration_seconds", "Time of a test run.";
    }
}

impl Histogram {
    /// The upper bounds of its buckets.
    #[must_use]
    pub const fn boundaries(self) -> &'static [f64] {
        match self {
            Self::FrameItems | Self::OntologyBatchItems => ITEMS,
            _ => SECONDS,
        }
    }
}
