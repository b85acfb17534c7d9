//! What all benchmarks of connectors do alike: a group of figures, a source, and reading as a worker reads.

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use halcyon_connectors::{BatchLimits, Secrets, Share, Source, SourceContext, find};
use halcyon_domain::clock::SystemClock;
use halcyon_egress::{Guard, Policy};
use serde_json::Value;

/// Figures of one feed, each of which comes from reading that many records.
pub(crate) fn group<'a>(
    criterion: &'a mut Criterion,
    name: &str,
    records: usize,
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .throughput(Throughput::Elements(records as u64));
    group
}

/// A source that begins where its feed begins.
pub(crate) fn source(connector: &str, connection: Value, secrets: Secrets) -> Box<dyn Source> {
    let context = SourceContext {
        connection,
        secrets,
        checkpoint: None,
        limits: BatchLimits::default(),
        share: Share::WHOLE,
        range: None,
        sample: false,
        clock: Arc::new(SystemClock),
        guard: Guard::new(Policy::default().with_loopback()),
    };
    find(connector).unwrap().source(context).unwrap()
}

/// Reads until `most` records have come or there are no more, and says how many came. Each batch is acknowledged after
/// its checkpoint was written as the worker writes it.
pub(crate) async fn read(source: &mut dyn Source, most: usize) -> usize {
    let mut found = 0;
    while found < most
        && let Some(batch) = source.next_batch().await.unwrap()
    {
        found += black_box(batch.records).len();
        black_box(serde_json::to_vec(&batch.checkpoint).unwrap());
        source.ack(&batch.checkpoint).await.unwrap();
    }
    found
}
