//! The ontology service from its start to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use halcyon_bus::{Bus, Delivery};
use halcyon_domain::{clock::Clock, event::EventOutcome};
use halcyon_infra::{Check, Health, Metric, Metrics, Shutdown, telemetry};
use halcyon_store::{Error, Store};
use tracing::Instrument;

use crate::{Settings, write};

/// What the ontology service works with.
pub struct Context {
    /// Its own connection to the bus.
    pub bus: Bus,
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its checks are shown.
    pub health: Health,
    /// Where its metrics are counted.
    pub metrics: Metrics,
}

/// How long to wait before the database is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a frame that nobody can read waits before it is looked at again.
const UNREADABLE: Duration = Duration::from_secs(30);

/// A frame that failed so often on its own is a fault of ours; it is kept, tried on, and shouted about.
const ATTEMPTS: u32 = 5;

/// Runs the service until `shutdown` is triggered and the batch in hand is committed.
///
/// # Errors
/// None at present: a bus or database that fails is waited for.
pub async fn run(ctx: Context, settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let check = ctx.health.check("ontology.writer");
    let ctx = Arc::new(ctx);
    shutdown.spawn(maintain(ctx.clone(), settings.clone(), shutdown.clone()));
    let mut consumer = ctx.bus.ontology_consumer();
    check.ready();
    while let Some(frames) = shutdown
        .unless_triggered(consumer.next_batch(frames_at_once(&settings)))
        .await
    {
        for group in groups(frames, settings.batch) {
            if !commit(&ctx, &check, group).await {
                shutdown.unless_triggered(tokio::time::sleep(PAUSE)).await;
                break;
            }
        }
    }
    shutdown.drain(Duration::from_secs(5)).await;
    Ok(())
}

const fn frames_at_once(settings: &Settings) -> usize {
    if settings.batch < 64 { settings.batch } else { 64 }
}

/// A frame and what it holds.
struct Frame {
    delivery: Delivery,
    outcomes: Vec<EventOutcome>,
}

/// Decodes frames and gathers them into groups of about `batch` outcomes. What cannot be read is given
/// back, not acked: another release of the worker may have written it.
fn groups(deliveries: Vec<Delivery>, batch: usize) -> Vec<Vec<Frame>> {
    let mut groups: Vec<Vec<Frame>> = Vec::new();
    let mut room = 0;
    for delivery in deliveries {
        let outcomes = match delivery.outcomes() {
            Ok(outcomes) => outcomes,
            Err(error) => {
                let sequence = delivery.sequence();
                tracing::error!(%error, sequence, "a frame of outcomes cannot be read and is kept");
                delivery.give_back(UNREADABLE);
                continue;
            }
        };
        let size = outcomes.len();
        let frame = Frame { delivery, outcomes };
        match groups.last_mut() {
            Some(group) if size <= room => {
                room -= size;
                group.push(frame);
            }
            _ => {
                room = batch.saturating_sub(size);
                groups.push(vec![frame]);
            }
        }
    }
    groups
}

/// Applies a group and acks it after the commit. Returns whether to go on at once. A group that fails for another
/// reason than an absent database is applied frame by frame, and a frame outcome by outcome, so that a bad one holds
/// up no other.
async fn commit(ctx: &Context, check: &Check, group: Vec<Frame>) -> bool {
    // One transaction serves many traces; it is shown in the first of them.
    let span = tracing::info_span!("commit", frames = group.len());
    if let Some(traceparent) = group.iter().find_map(|frame| frame.delivery.traceparent()) {
        telemetry::set_parent(&span, &traceparent);
    }
    commit_in_span(ctx, check, group).instrument(span).await
}

async fn commit_in_span(ctx: &Context, check: &Check, group: Vec<Frame>) -> bool {
    match apply(ctx, &group).await {
        Ok(()) => {
            check.ready();
            ack(group).await;
            true
        }
        Err(error) if error.is_unavailable() => {
            tracing::warn!(%error, "outcomes wait for the database");
            check.failing(error.to_string());
            false
        }
        Err(error) => {
            tracing::warn!(%error, frames = group.len(), "a batch failed; its frames are applied one by one");
            for frame in group {
                match apply_apart(ctx, &frame).await {
                    Ok(()) => ack(vec![frame]).await,
                    Err(error) => give_back(frame, &error),
                }
            }
            true
        }
    }
}

async fn apply(ctx: &Context, group: &[Frame]) -> Result<(), Error> {
    let outcomes: Vec<_> = group
        .iter()
        .flat_map(|frame| frame.outcomes.iter().cloned())
        .collect();
    apply_outcomes(ctx, &outcomes).await
}

/// Applies a frame, or what of it can be applied. The ledger knows what was when it comes again.
async fn apply_apart(ctx: &Context, frame: &Frame) -> Result<(), Error> {
    match apply_outcomes(ctx, &frame.outcomes).await {
        Err(error) if !error.is_unavailable() && frame.outcomes.len() > 1 => {}
        result => return result,
    }
    let mut failure = None;
    for outcome in &frame.outcomes {
        match apply_outcomes(ctx, std::slice::from_ref(outcome)).await {
            Ok(()) => {}
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, datasource.id = %outcome.datasource, event = %outcome.event,
                    "an outcome cannot be applied");
                failure = Some(error);
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

async fn apply_outcomes(ctx: &Context, outcomes: &[EventOutcome]) -> Result<(), Error> {
    let begun = Instant::now();
    let applied = write::apply(&ctx.store, outcomes, ctx.clock.now()).await?;
    ctx.metrics
        .observe(Metric::OntologyBatchSeconds, begun.elapsed().as_secs_f64(), &[]);
    write::count(&ctx.metrics, &applied, outcomes, ctx.clock.now());
    write::publish(&ctx.bus, applied.objects).await;
    Ok(())
}

async fn ack(group: Vec<Frame>) {
    for frame in group {
        if let Err(error) = frame.delivery.ack().await {
            tracing::warn!(%error, "an ack was lost; the frame will come again and change nothing");
        }
    }
}

/// Gives a frame back to come again; after many times that is an error to be looked into.
fn give_back(frame: Frame, error: &Error) {
    let sequence = frame.delivery.sequence();
    if frame.delivery.delivered() < ATTEMPTS {
        tracing::warn!(%error, sequence, "a frame of outcomes failed and will be tried again");
    } else {
        tracing::error!(%error, sequence, "a frame of outcomes fails again and again");
    }
    let pause = Duration::from_secs(u64::from(frame.delivery.delivered().min(30)));
    frame.delivery.give_back(pause);
}

/// Removes what is past its time, now and then.
async fn maintain(ctx: Arc<Context>, settings: Settings, shutdown: Shutdown) {
    let mut interval = tokio::time::interval(settings.maintain_every.get());
    while shutdown.unless_triggered(interval.tick()).await.is_some() {
        if let Err(error) = ctx.store.maintain(ctx.clock.now()).await {
            tracing::warn!(%error, "upkeep of the ledger failed; it will be tried again");
        }
    }
}
