//! P4: never two effective owners of one exclusive source, however a worker is cut off.
//!
//! Every write of the source's checkpoint that took effect is watched. An overlap is a write of an earlier epoch
//! after one of a later epoch, or one that goes back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use futures::StreamExt;
use halcyon_tests::{
    client::Client,
    cluster::{Spec, Sync},
    namespace::Namespace,
    proxy::FaultProxy,
};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{
    Bench, effects,
    system::{Links, Shape, System, generator, name, state, time_until},
    table::Outcome,
    traffic::{Accepted, Traffic},
};

/// Another worker must own the source within so many seconds.
const TAKEOVER: u64 = 15;
/// How long a worker is cut off: longer than its lease, and than the takeover.
const CUT: Duration = Duration::from_secs(18);
const WORKERS: usize = 3;
const SEED: u32 = 11;

/// Workers are stopped (SIGSTOP) and go on.
pub(super) async fn stops(bench: &Bench) -> Result<Outcome> {
    let system = System::start(bench, Shape::FULL).await?;
    let cut = |system: &System, worker: &str, away: bool| {
        system.cluster.signal(worker, if away { "STOP" } else { "CONT" })
    };
    rounds(bench, "p4-stop", system, bench.by_form(2, 100), cut).await
}

/// Workers run on networks of their own, whose cable is pulled.
pub(super) async fn partitions(bench: &Bench) -> Result<Outcome> {
    let mut system = System::lay_out(bench, Sync::Always).await?;
    let mut networks = Vec::new();
    for number in 1..=WORKERS {
        let namespace = Namespace::new(number as u8)?;
        let bind = format!("{}:0", namespace.host);
        let proxy = FaultProxy::start(&bind, &system.cluster.nats_address).await?;
        networks.push((name("worker", number), namespace, proxy));
    }
    system.begin().await?;
    let shape = Shape {
        workers: 0,
        ..Shape::FULL
    };
    system.spawn(shape, &Links::default()).await?;
    for (worker, namespace, proxy) in &networks {
        let url = format!("bus.url=nats://{}", proxy.address);
        let spec = Spec {
            namespace: Some(namespace.name().to_owned()),
            ..Spec::new("worker", &[&url])
        };
        system.cluster.spawn_by(worker, spec)?;
    }
    let cut = |_: &System, worker: &str, away: bool| {
        let (_, namespace, _) = networks
            .iter()
            .find(|(name, _, _)| name == worker)
            .context("no such worker")?;
        namespace.plug(!away)
    };
    rounds(bench, "p4-partition", system, bench.by_form(1, 20), cut).await
}

async fn rounds(
    bench: &Bench,
    scenario: &str,
    system: System,
    rounds: usize,
    cut: impl Fn(&System, &str, bool) -> Result<()>,
) -> Result<Outcome> {
    let client = system.client().await;
    let source = generator(&client, "exclusive", SEED, 20).await?;
    client.wait_running(&source, 1).await;
    let target = system.feeds(&client, 3, 0).await?;
    let traffic = Traffic::start(target, bench.rate / 2, 0)?;
    let writes = Writes::follow(&system, &source).await?;
    let mut outcome = Outcome::default();
    let (mut cuts, mut takeovers) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        time_until("a checkpoint", Duration::from_secs(30), async || {
            writes.last().is_some()
        })
        .await?;
        let owner = owner(&system, &client, &source).await?;
        let epoch = writes.epoch();
        let begun = Instant::now();
        cut(&system, &owner, true)?;
        cuts.push(SystemTime::now());
        let taken = time_until("a takeover", Duration::from_secs(60), async || {
            writes.epoch() > epoch
        })
        .await;
        match taken {
            Ok(time) => takeovers.push(time),
            Err(error) => outcome.check(false, format!("{error:#}")),
        }
        tokio::time::sleep(CUT.saturating_sub(begun.elapsed())).await;
        cut(&system, &owner, false)?;
        // The one that was cut off is back, and the source goes on under one of them.
        let position = writes.position();
        let goes_on = time_until("the source to go on", Duration::from_secs(60), async || {
            writes.position() > position + 40
        });
        goes_on.await?;
    }
    let (seen, _) = system.judge(&mut outcome, traffic, &cuts).await?;
    outcome.failed = seen.lost_requests() + seen.other_than(&[202]);
    exclusive(&system, &mut outcome, &writes).await?;
    let slowest = takeovers.iter().max().copied().unwrap_or_default();
    outcome.check(
        slowest <= bench.promised(TAKEOVER),
        format!("a takeover took {:.1} s", slowest.as_secs_f64()),
    );
    outcome.note(format!("{rounds} rounds; recovery is the takeover of the source"));
    outcome.note(format!(
        "pushed events were processed again within {:.1} s",
        longest(&outcome.recoveries)
    ));
    outcome.recoveries = takeovers;
    system.keep_logs(bench, scenario, &outcome)?;
    Ok(outcome)
}

fn longest(times: &[Duration]) -> f64 {
    times.iter().max().copied().unwrap_or_default().as_secs_f64()
}

/// What the exclusive source has made: every number up to its checkpoint, once, and no overlap.
async fn exclusive(system: &System, outcome: &mut Outcome, writes: &Writes) -> Result<()> {
    let position = writes.position();
    let made: Vec<_> = (1..=position)
        .map(|number| Accepted {
            key: format!("gen-{SEED}-{number}"),
            feed: 0,
            at: SystemTime::now(),
        })
        .collect();
    let settled = effects::settle(&system.postgres, &system.database, &made).await?;
    outcome.accepted += position;
    outcome.lost += settled.lost(&made).len() as u64;
    outcome.duplicates = settled.duplicates();
    let overlaps = writes.overlaps();
    outcome.overlaps = Some(overlaps.len() as u64);
    if let Some(first) = overlaps.first() {
        outcome.note(format!("the first overlap: {first}"));
    }
    outcome.note(format!(
        "{} checkpoints, epoch {}",
        writes.count(),
        writes.epoch()
    ));
    Ok(())
}

/// The process that owns a source.
async fn owner(system: &System, client: &Client, source: &str) -> Result<String> {
    let find = async || {
        let state = state(client, source).await;
        let worker = state["worker"].as_str()?.to_owned();
        system
            .names_of(&["worker"])
            .into_iter()
            .find(|name| is_in_log(system, name, &worker))
    };
    time_until("an owner", Duration::from_secs(30), async || {
        find().await.is_some()
    })
    .await?;
    find().await.context("the owner has changed meanwhile")
}

/// A worker says at its start who it is.
fn is_in_log(system: &System, name: &str, worker: &str) -> bool {
    let log = std::fs::read_to_string(system.cluster.log(name)).unwrap_or_default();
    log.lines()
        .any(|line| line.contains("waits for assignments") && line.contains(worker))
}

/// The writes of a checkpoint that took effect, in their order.
struct Writes {
    seen: Arc<Mutex<Vec<(u64, u64)>>>,
    task: JoinHandle<()>,
}

impl Writes {
    async fn follow(system: &System, source: &str) -> Result<Self> {
        let jetstream = async_nats::jetstream::new(system.looker().await?);
        let bucket = jetstream.get_key_value("CHECKPOINTS").await?;
        let mut watch = bucket.watch_with_history(source).await?;
        let seen: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
        let kept = seen.clone();
        let task = tokio::spawn(async move {
            while let Some(entry) = watch.next().await {
                let Ok(entry) = entry else { continue };
                let Ok(value) = serde_json::from_slice::<Value>(&entry.value) else {
                    continue;
                };
                let write = (
                    value["epoch"].as_u64().unwrap_or(0),
                    value["position"]["sequence"].as_u64().unwrap_or(0),
                );
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(write);
            }
        });
        Ok(Self { seen, task })
    }

    fn all(&self) -> Vec<(u64, u64)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn last(&self) -> Option<(u64, u64)> {
        self.all().last().copied()
    }

    fn count(&self) -> usize {
        self.all().len()
    }

    fn epoch(&self) -> u64 {
        self.all().iter().map(|(epoch, _)| *epoch).max().unwrap_or(0)
    }

    fn position(&self) -> u64 {
        self.all()
            .iter()
            .map(|(_, position)| *position)
            .max()
            .unwrap_or(0)
    }

    fn overlaps(&self) -> Vec<String> {
        overlaps(&self.all())
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn overlaps(writes: &[(u64, u64)]) -> Vec<String> {
    writes
        .iter()
        .zip(writes.iter().skip(1))
        .filter(|(before, after)| after.0 < before.0 || after.1 < before.1)
        .map(|(before, after)| format!("epoch and position {after:?} after {before:?}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_back_is_an_overlap() {
        assert!(overlaps(&[(1, 10), (1, 20), (2, 20), (2, 30)]).is_empty());
        assert_eq!(overlaps(&[(1, 10), (2, 10), (1, 20), (2, 30)]).len(), 1);
        assert_eq!(overlaps(&[(1, 10), (1, 5)]).len(), 1);
    }
}
