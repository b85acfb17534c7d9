//! Links between the services and their servers that are slow, narrow, broken or silent for a while.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use halcyon_tests::{
    cluster::Sync,
    proxy::{Fault, FaultProxy},
};

use super::{
    Bench,
    system::{Links, Shape, System},
    table::Outcome,
    traffic::Traffic,
};

pub(super) async fn links(bench: &Bench) -> Result<Outcome> {
    let mut system = System::lay_out(bench, Sync::Always).await?;
    let nats = FaultProxy::start("127.0.0.1:0", &system.cluster.nats_address).await?;
    let database = format!("127.0.0.1:{}", system.postgres.port());
    let postgres = FaultProxy::start("127.0.0.1:0", &database).await?;
    system.begin().await?;
    let links = Links {
        nats: Some(nats.address.to_string()),
        postgres: Some(postgres.address.to_string()),
        ..Links::default()
    };
    system.spawn(Shape::FULL, &links).await?;
    let client = system.client().await;
    let target = system.feeds(&client, 4, 0).await?;
    let traffic = Traffic::start(target, bench.rate / 2, 0)?;
    let mut outcome = Outcome::default();
    let time = bench.load(4, 30);
    let faults = [
        Fault::Delay(Duration::from_millis(150)),
        Fault::Throttle(128 * 1024),
        Fault::Reset,
        Fault::BlackHole,
        Fault::HalfOpen,
    ];
    let mut returns = Vec::new();
    for fault in faults {
        for link in [&nats, &postgres] {
            link.set(fault);
            tokio::time::sleep(time).await;
            link.set(Fault::None);
            returns.push(SystemTime::now());
            traffic.more(20).await?;
        }
    }
    let (seen, _) = system.judge(&mut outcome, traffic, &returns).await?;
    outcome.failed = seen.lost_requests() + seen.other_than(&[202, 503]);
    outcome.check(
        outcome.failed == 0,
        format!("{:?}, unanswered {:?}", seen.answers, seen.unanswered),
    );
    outcome.note(format!(
        "{faults:?} for {} s on each link; answers {:?}",
        time.as_secs(),
        seen.answers
    ));
    system.keep_logs(bench, "links", &outcome)?;
    Ok(outcome)
}
