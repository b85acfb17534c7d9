//! P3: everything that was accepted comes three times more, shuffled, over restarts and a publish.

use std::time::Duration;

use anyhow::{Result, ensure};
use halcyon_tests::load::sequence_mapping;
use serde_json::json;

use super::{
    Bench,
    effects::{self, Effects},
    system::{Shape, System},
    table::Outcome,
    traffic::{Accepted, Target, Traffic, send_again},
};

/// Effects must not grow for so long before all replays count as processed.
const QUIET: Duration = Duration::from_secs(4);

pub(super) async fn replays(bench: &Bench) -> Result<Outcome> {
    let mut system = System::start(bench, Shape::FULL).await?;
    let client = system.client().await;
    let target = system.feeds(&client, 4, 0).await?;
    let traffic = Traffic::start(target.clone(), bench.rate, 0)?;
    tokio::time::sleep(bench.load(6, 60)).await;
    let seen = traffic.stop().await?;
    let mut outcome = Outcome::default();
    let mut replayed = 0;
    for round in 0..3_u64 {
        replayed += send_again(&target, &shuffled(&seen.accepted, round)).await?;
        match round {
            0 => {
                for name in system.names_of(&["worker", "ontology"]) {
                    system.cluster.kill_and_restart(&name)?;
                }
            }
            1 => publish(&client, &target).await?,
            _ => {}
        }
    }
    // What comes last is processed last, for a feed's events keep their order.
    let sentinels: Vec<_> = (0..target.feeds.len()).map(sentinel).collect();
    ensure!(
        send_again(&target, &sentinels).await? == sentinels.len() as u64,
        "a sentinel was refused"
    );
    let all = [seen.accepted.clone(), sentinels].concat();
    effects::settle(&system.postgres, &system.database, &all).await?;
    tokio::time::sleep(QUIET).await;
    let settled = Effects::read(&system.postgres, &system.database).await?;
    effects::judge(&mut outcome, &settled, &seen.accepted, &[]);
    let expected = 3 * seen.accepted.len() as u64;
    outcome.check(
        replayed == expected,
        format!("{replayed} of {expected} replays were accepted"),
    );
    outcome.note(format!("{replayed} replays"));
    system.keep_logs(bench, "p3-replays", &outcome)?;
    Ok(outcome)
}

fn sentinel(feed: usize) -> Accepted {
    Accepted {
        key: format!("{feed}-sentinel"),
        feed,
        at: std::time::SystemTime::now(),
    }
}

async fn publish(client: &halcyon_tests::client::Client, target: &Target) -> Result<()> {
    for id in &target.feeds {
        let config = json!({
            "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
            "mapping": sequence_mapping("second"),
        });
        let drafted = client
            .post(&format!("/datasources/{id}/versions"), json!({"config": config}))
            .await;
        ensure!(drafted.status == 201, "{}", drafted.body);
        let published = client
            .post(&format!("/datasources/{id}/publish"), json!({}))
            .await;
        ensure!(published.status == 200, "{}", published.body);
        client.wait_running(id, 2).await;
    }
    Ok(())
}

/// Another order in each round, the same in each run.
fn shuffled(events: &[Accepted], round: u64) -> Vec<Accepted> {
    let mut keyed: Vec<_> = events
        .iter()
        .enumerate()
        .map(|(place, event)| (mixed(place as u64 ^ (round << 32)), event))
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, event)| event.clone()).collect()
}

/// The finalizer of SplitMix64.
pub(super) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
