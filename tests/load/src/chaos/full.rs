//! P12: ten times the load while the sink does nothing. Memory stays bounded, senders are told to wait, and what was
//! accepted arrives when the sink is back.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use async_nats::jetstream;

use super::{
    Bench,
    system::{Shape, System},
    table::Outcome,
    traffic::Traffic,
};

/// What the streams may hold here, so that they are full within seconds; the product's are gigabytes.
const INGEST_BYTES: i64 = 24 * 1024 * 1024;
const ONTOLOGY_BYTES: i64 = 8 * 1024 * 1024;
/// Each process stays below so many megabytes (P12).
const MEMORY: f64 = 512.0;
/// Each event is that large.
const PADDING: usize = 8 * 1024;

pub(super) async fn full(bench: &Bench) -> Result<Outcome> {
    let mut system = System::start(bench, Shape::FULL).await?;
    let client = system.client().await;
    let target = system.feeds(&client, 4, PADDING).await?;
    limit(&system, "INGEST", INGEST_BYTES).await?;
    limit(&system, "ONTOLOGY", ONTOLOGY_BYTES).await?;
    let mut outcome = Outcome::default();
    let sinks = system.names_of(&["ontology"]);
    for sink in &sinks {
        system.cluster.kill(sink)?;
    }
    let traffic = Traffic::start(target, bench.rate * 10, 0)?;
    let end = Instant::now() + bench.load(30, 300);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Enough to see: the streams are full and stay so.
        if !bench.long && traffic.answered(503) + traffic.answered(429) > 500 {
            break;
        }
    }
    let seen = traffic.stop().await?;
    let refused = seen.answered(503) + seen.answered(429);
    let back = SystemTime::now();
    for sink in &sinks {
        system.cluster.spawn(sink)?;
    }
    let settled = super::effects::settle(&system.postgres, &system.database, &seen.accepted).await?;
    super::effects::judge(&mut outcome, &settled, &seen.accepted, &[]);
    let (name, megabytes) = system.peak_memory()?;
    outcome.check(megabytes < MEMORY, format!("{name} took {megabytes:.0} MB"));
    outcome.check(refused > 0, "nothing was refused");
    outcome.check(
        seen.without_retry_after == 0,
        format!("{} refusals without Retry-After", seen.without_retry_after),
    );
    outcome.failed = seen.lost_requests() + seen.other_than(&[202, 429, 503]);
    outcome.check(
        outcome.failed == 0,
        format!("{:?}, unanswered {:?}", seen.answers, seen.unanswered),
    );
    outcome.note(format!(
        "{refused} refusals; the most memory: {megabytes} MB ({name}); worked off {:.0} s after the sink was back",
        back.elapsed().unwrap_or_default().as_secs_f64()
    ));
    system.keep_logs(bench, "p12-full", &outcome)?;
    Ok(outcome)
}

/// Makes a stream smaller, as an operator of a small disk would.
async fn limit(system: &System, stream: &str, bytes: i64) -> Result<()> {
    let jetstream = jetstream::new(system.looker().await?);
    let mut found = jetstream.get_stream(stream).await.context("no such stream")?;
    let mut config = found.info().await?.config.clone();
    config.max_bytes = bytes;
    jetstream.update_stream(config).await?;
    Ok(())
}
