//! P12: one feed floods with ten times the load of the others. The others go on, and wait less than twice as long.

use std::time::Duration;

use anyhow::Result;

use super::{
    Bench,
    effects::{self, Effects},
    system::{Shape, System},
    table::Outcome,
    traffic::{Accepted, Target, Traffic},
};

/// Of each process, in megabytes.
const MEMORY: f64 = 512.0;

pub(super) async fn flood(bench: &Bench) -> Result<Outcome> {
    let system = System::start(bench, Shape::FULL).await?;
    let client = system.client().await;
    let all = system.feeds(&client, 2, 0).await?;
    let (Some(quiet), Some(loud)) = (all.feeds.first(), all.feeds.get(1)) else {
        anyhow::bail!("no feeds");
    };
    let only = |feed: &String| Target {
        feeds: vec![feed.clone()],
        ..all.clone()
    };
    let mut outcome = Outcome::default();
    let load = bench.load(10, 60);
    let quiet_rate = (bench.rate / 10).max(10);
    // Numbers tell the two loads apart: both have one feed, and would use the same keys.
    let before = Traffic::start(only(quiet), quiet_rate, 0)?;
    tokio::time::sleep(load).await;
    let before = before.stop().await?;
    let during = Traffic::start(only(quiet), quiet_rate, 1_000_000)?;
    let noise = Traffic::start(only(loud), bench.rate * 10, 2_000_000)?;
    tokio::time::sleep(load).await;
    let (noise, during) = (noise.stop().await?, during.stop().await?);
    let accepted: Vec<Accepted> = [
        before.accepted.clone(),
        during.accepted.clone(),
        noise.accepted.clone(),
    ]
    .concat();
    let settled = effects::settle(&system.postgres, &system.database, &accepted).await?;
    effects::judge(&mut outcome, &settled, &accepted, &[]);
    outcome.failed =
        before.other_than(&[202]) + during.other_than(&[202]) + noise.other_than(&[202, 429, 503]);
    outcome.check(
        before.other_than(&[202]) + during.other_than(&[202]) == 0,
        format!("the other feed was refused: {:?}", during.answers),
    );
    let (usual, flooded) = (tail(&settled, &before.accepted), tail(&settled, &during.accepted));
    let ratio = flooded.as_secs_f64() / usual.as_secs_f64().max(0.001);
    // On a machine that does other things as well, a ratio of times proves nothing.
    outcome.check(
        !bench.long || ratio < 2.0,
        format!("the other feed's p99 rose {ratio:.1} times"),
    );
    let (name, megabytes) = system.peak_memory()?;
    outcome.check(megabytes < MEMORY, format!("{name} took {megabytes:.0} MB"));
    outcome.note(format!(
        "the other feed's p99 from 202 to effect: {:.0} ms, {:.0} ms during the flood ({ratio:.1} x); flood answers {:?}; the most memory {megabytes:.0} MB ({name})",
        usual.as_secs_f64() * 1e3,
        flooded.as_secs_f64() * 1e3,
        noise.answers
    ));
    system.keep_logs(bench, "p12-flood", &outcome)?;
    Ok(outcome)
}

/// The 99th percentile from acceptance to effect.
fn tail(effects: &Effects, accepted: &[Accepted]) -> Duration {
    let delays = effects.delays(accepted, 0);
    let place = delays.len().saturating_sub(1) * 99 / 100;
    delays.get(place).copied().unwrap_or_default()
}
