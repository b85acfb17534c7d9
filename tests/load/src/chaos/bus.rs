//! P9: nats is away, silent or half open. Nothing is answered with 202 that is not stored; everything is delivered
//! again soon after its return.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use halcyon_tests::proxy::{Fault, FaultProxy};

use super::{
    Bench,
    system::{Links, Shape, System},
    table::Outcome,
    traffic::Traffic,
};

/// kill -9 of nats, and a new start at once.
pub(super) async fn kills(bench: &Bench) -> Result<Outcome> {
    let system = System::start(bench, Shape::FULL).await?;
    let rounds = bench.by_form(5, 500);
    run(
        bench,
        "p9-nats-kills",
        system,
        rounds,
        async |system: &mut System| system.cluster.kill_and_restart("nats"),
    )
    .await
}

/// nats is stopped (SIGSTOP) and goes on.
pub(super) async fn silent(bench: &Bench) -> Result<Outcome> {
    let system = System::start(bench, Shape::FULL).await?;
    let (rounds, time) = (bench.by_form(1, 20), bench.load(20, 60));
    run(
        bench,
        "p9-nats-hangs",
        system,
        rounds,
        async |system: &mut System| {
            system.cluster.signal("nats", "STOP")?;
            tokio::time::sleep(time).await;
            system.cluster.signal("nats", "CONT")
        },
    )
    .await
}

/// What the services send to nats disappears for a while.
pub(super) async fn half_open(bench: &Bench) -> Result<Outcome> {
    let mut system = System::lay_out(bench, halcyon_tests::cluster::Sync::Always).await?;
    let proxy = FaultProxy::start("127.0.0.1:0", &system.cluster.nats_address).await?;
    system.begin().await?;
    let links = Links {
        nats: Some(proxy.address.to_string()),
        ..Links::default()
    };
    system.spawn(Shape::FULL, &links).await?;
    let (rounds, time) = (bench.by_form(1, 10), bench.load(20, 60));
    run(bench, "p9-half-open", system, rounds, async |_: &mut System| {
        proxy.set(Fault::HalfOpen);
        tokio::time::sleep(time).await;
        proxy.set(Fault::None);
        Ok(())
    })
    .await
}

async fn run(
    bench: &Bench,
    name: &str,
    mut system: System,
    rounds: usize,
    fault: impl AsyncFn(&mut System) -> Result<()>,
) -> Result<Outcome> {
    let client = system.client().await;
    let target = system.feeds(&client, 4, 0).await?;
    let traffic = Traffic::start(target, bench.rate, 0)?;
    let mut outcome = Outcome::default();
    let mut returns = Vec::new();
    for _ in 0..rounds {
        traffic.more(50).await?;
        fault(&mut system).await?;
        let back = (SystemTime::now(), Instant::now());
        returns.push(back.0);
        // Every feed must be heard of again before the next round.
        let known = traffic.accepted();
        traffic.more(20).await?;
        outcome.check(
            back.1.elapsed() <= bench.promised(10),
            format!(
                "ingest was back only after {:.1} s",
                back.1.elapsed().as_secs_f64()
            ),
        );
        let fresh: Vec<_> = traffic.accepted_now().split_off(known);
        delivered(&system, &fresh).await?;
    }
    let (seen, _) = system.judge(&mut outcome, traffic, &returns).await?;
    outcome.failed = seen.lost_requests() + seen.other_than(&[202, 503]);
    outcome.check(
        outcome.failed == 0,
        format!("{:?}, unanswered {:?}", seen.answers, seen.unanswered),
    );
    let slowest = outcome.recoveries.iter().max().copied().unwrap_or_default();
    outcome.check(
        slowest <= bench.promised(10),
        format!("delivered again only after {:.1} s", slowest.as_secs_f64()),
    );
    control_plane(&system, &mut outcome, bench).await?;
    outcome.note(format!("{rounds} times, answers {:?}", seen.answers));
    system.keep_logs(bench, name, &outcome)?;
    Ok(outcome)
}

/// Waits until one of these events has had its effect.
async fn delivered(system: &System, events: &[super::traffic::Accepted]) -> Result<()> {
    super::system::time_until("an effect", Duration::from_secs(120), || async {
        let effects = super::effects::Effects::read(&system.postgres, &system.database).await;
        effects.is_ok_and(|effects| events.iter().any(|event| effects.has(&event.key)))
    })
    .await
    .map(drop)
}

/// The other consumers deliver, too: a publish takes effect and is in the audit trail.
async fn control_plane(system: &System, outcome: &mut Outcome, bench: &Bench) -> Result<()> {
    let client = system.client().await;
    let before = system.number("SELECT count(*) FROM audit_entries").await?;
    let begun = Instant::now();
    client
        .publish_webhook("after the fault", halcyon_tests::load::sequence_mapping("t"))
        .await;
    let audited = super::system::time_until("the audit entry", Duration::from_secs(60), || async {
        let count = system.number("SELECT count(*) FROM audit_entries").await;
        count.is_ok_and(|count| count > before)
    })
    .await;
    outcome.check(audited.is_ok(), "the audit trail does not go on");
    outcome.check(
        begun.elapsed() <= bench.promised(10),
        format!("a publish took {:.1} s afterwards", begun.elapsed().as_secs_f64()),
    );
    Ok(())
}
