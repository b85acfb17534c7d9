//! P1 and P13: processes that are killed, and processes that are asked to end.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::{
    Bench,
    system::{Shape, System},
    table::Outcome,
    traffic::Traffic,
};

/// From one kill to the next.
const PACE: Duration = Duration::from_secs(2);
/// How long a process may take to end (P13).
const DRAIN: u64 = 20;

/// kill -9 of each process in turn, every two seconds, under load.
pub(super) async fn kills(bench: &Bench) -> Result<Outcome> {
    let mut system = System::start(bench, Shape::FULL).await?;
    let client = system.client().await;
    let target = system.feeds(&client, 6, 0).await?;
    let traffic = Traffic::start(target, bench.rate, 0)?;
    let mut outcome = Outcome::default();
    let victims = [
        "worker",
        "nats",
        "gateway",
        "ontology",
        "registry",
        "worker-2",
        "gateway-2",
        "audit",
        "nats",
        "worker-3",
        "ontology-2",
        "registry-2",
    ];
    let end = Instant::now() + bench.load(26, 300);
    let mut faults = Vec::new();
    for victim in victims.iter().cycle() {
        tokio::time::sleep(PACE).await;
        if Instant::now() >= end {
            break;
        }
        system.cluster.kill_and_restart(victim)?;
        faults.push(SystemTime::now());
    }
    system.ready().await?;
    traffic.more(100).await?;
    let (seen, _) = system.judge(&mut outcome, traffic, &faults).await?;
    outcome.failed = seen.lost_requests() + seen.other_than(&[202, 503]);
    outcome.check(
        seen.other_than(&[202, 503]) == 0,
        format!("unexpected answers: {:?}", seen.answers),
    );
    outcome.note(format!(
        "{} kills, answers {:?}, unanswered {:?}",
        faults.len(),
        seen.answers,
        seen.unanswered
    ));
    system.keep_logs(bench, "p1-kills", &outcome)?;
    Ok(outcome)
}

/// SIGTERM to each process in turn, one after the other, behind two gateways.
pub(super) async fn rolling(bench: &Bench) -> Result<Outcome> {
    let mut system = System::start(bench, Shape::FULL).await?;
    let client = system.client().await;
    let target = system.feeds(&client, 6, 0).await?;
    let traffic = Traffic::start(target, bench.rate, 0)?;
    let mut outcome = Outcome::default();
    let all = [
        "gateway",
        "worker",
        "gateway-2",
        "ontology",
        "worker-2",
        "registry",
        "worker-3",
        "ontology-2",
        "registry-2",
        "audit",
    ];
    let (mut faults, mut slowest) = (Vec::new(), (Duration::ZERO, ""));
    for name in all.iter().cycle().take(bench.by_form(10, 50)) {
        traffic.more(20).await?;
        let begun = Instant::now();
        faults.push(SystemTime::now());
        let status = system
            .cluster
            .terminate(name, Duration::from_secs(DRAIN) + bench.promised(5))?;
        outcome.check(status.success(), format!("{name} ended with {status}"));
        slowest = slowest.max((begun.elapsed(), name));
        system.cluster.spawn(name)?;
        // The next one goes when this one is back: that is what rolling means.
        system.ready().await?;
    }
    traffic.more(50).await?;
    let (seen, _) = system.judge(&mut outcome, traffic, &faults).await?;
    outcome.failed = seen.lost_requests() + seen.other_than(&[202]);
    outcome.check(
        outcome.failed == 0,
        format!(
            "failed requests: {:?}, unanswered {:?}",
            seen.answers, seen.unanswered
        ),
    );
    outcome.check(
        slowest.0 <= Duration::from_secs(DRAIN),
        format!("{} took {:.1} s to end", slowest.1, slowest.0.as_secs_f64()),
    );
    outcome.note(format!(
        "{} restarts, the slowest drain {:.1} s ({})",
        faults.len(),
        slowest.0.as_secs_f64(),
        slowest.1
    ));
    system.keep_logs(bench, "p13-rolling", &outcome)?;
    Ok(outcome)
}
