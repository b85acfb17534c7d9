//! Workers that are stopped, killed, asked to leave and added, under load: each exclusive source has one effective
//! worker at any time, and goes on where it was.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use halcyon_tests::{
    client::Client,
    load::{Load, judge, sequence_mapping},
};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{LEASE, MARGIN, fleet::Fleet};

/// P4: a worker stands still beyond its lease; another one takes its source over, and nothing that the first one
/// writes after that counts. Then the new owner is asked to leave, and hands over before its lease ends.
#[tokio::test]
async fn a_source_has_one_effective_worker_whatever_becomes_of_the_first() {
    const TOTAL: usize = 1_200;
    let names = ["worker-1", "worker-2"];
    let mut fleet = Fleet::start(&["registry"], &names).await;
    let connection = json!({"records_per_second": 40, "total": TOTAL, "seed": 5});
    let id = fleet.source("exclusive", connection, json!({})).await;
    let first = fleet.owner(&id, &names).await;
    let second = if first == names[0] { names[1] } else { names[0] };
    let begun = "a source runs here";
    fleet.moves_on(&id).await;

    fleet.signal(first, "-STOP");
    let stopped = Instant::now();
    let before = fleet.says(second, begun);
    fleet
        .client
        .wait_for("the other worker to take over", async |_| {
            fleet.says(second, begun) > before
        })
        .await;
    let taken = stopped.elapsed();
    println!("a stopped worker's source was taken over after {taken:?} (lease {LEASE:?})");
    assert!(taken < LEASE + MARGIN, "{taken:?}");
    fleet.moves_on(&id).await;
    fleet.signal(first, "-CONT");
    let mut place = fleet.sequence(&id).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = fleet.sequence(&id).await;
        assert!(now >= place, "the place went back from {place} to {now}");
        place = now;
    }
    fleet.said(first, "a lease was lost").await;

    // Either may have it now: the first one, back again, may have been given it for balance.
    let history = fleet.history(&id);
    let holder = history.values().next_back().unwrap().to_string();
    fleet.signal(&holder, "-TERM");
    let asked = Instant::now();
    fleet
        .others_go_on(&holder, std::slice::from_ref(&id), TOTAL as u64)
        .await;
    let handed = asked.elapsed();
    println!("a worker that was asked to leave handed its source over after {handed:?}");
    assert!(
        handed < LEASE,
        "it was handed over only when the lease ended: {handed:?}"
    );
    fleet.cluster.kill(&holder).unwrap();
    fleet.complete(&id, TOTAL).await;
}

/// Looks at the places of sources again and again.
struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<BTreeMap<String, u64>>,
}

impl Watch {
    fn start(client: &Client, sources: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (client, stopped, sources) = (client.clone(), stop.clone(), sources.to_vec());
        let task = tokio::spawn(async move {
            let mut places = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                for id in &sources {
                    let now = place(&client, id).await;
                    let before = places.insert(id.clone(), now).unwrap_or_default();
                    assert!(now >= before, "{id} went back from {before} to {now}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            places
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

async fn place(client: &Client, id: &str) -> u64 {
    let found = client.get(&format!("/datasources/{id}/checkpoint")).await;
    found["position"]["sequence"].as_u64().unwrap_or_default()
}

/// A worker is killed, one stands still beyond its lease, one is asked to leave and one is added, while events come in
/// and sources run. Oracle: no source's place goes back, no two workers begin one in the same epoch, each record
/// arrives and counts once.
#[tokio::test]
async fn sources_go_on_at_their_place_while_workers_come_and_go_under_load() {
    const TOTAL: u64 = 1_000;
    let mut fleet = Fleet::start(&["registry"], &["worker-1", "worker-2", "worker-3"]).await;
    let mut sources = Vec::new();
    for seed in 0..6 {
        let connection = json!({"records_per_second": 25, "total": TOTAL, "seed": seed});
        let name = format!("source-{seed}");
        sources.push(fleet.source(&name, connection, json!({})).await);
    }
    let feed = fleet
        .client
        .publish_webhook("pushed", sequence_mapping("t"))
        .await;
    for id in &sources {
        fleet.moves_on(id).await;
    }
    let load = Load::start(&fleet.client, &feed, 4, 100);
    let watch = Watch::start(&fleet.client, &sources);

    let lost = fleet.sources_of("worker-1", &sources);
    let begun = fleet.begun(&sources);
    fleet.cluster.kill("worker-1").unwrap();
    let since = Instant::now();
    fleet.others_go_on("worker-1", &lost, TOTAL).await;
    let (moved, took) = (fleet.begun(&sources) - begun, since.elapsed());
    println!(
        "killed: {} of {} sources were its, {moved} moved, after {took:?} (lease {LEASE:?})",
        lost.len(),
        sources.len()
    );

    fleet.worker("worker-4", &[]).await;
    let lost = fleet.sources_of("worker-2", &sources);
    fleet.signal("worker-2", "-STOP");
    let since = Instant::now();
    fleet.others_go_on("worker-2", &lost, TOTAL).await;
    println!(
        "stopped: {} sources moved after {:?}",
        lost.len(),
        since.elapsed()
    );
    fleet.signal("worker-2", "-CONT");
    fleet.said("worker-2", "a lease was lost").await;

    let lost = fleet.sources_of("worker-3", &sources);
    fleet.signal("worker-3", "-TERM");
    let since = Instant::now();
    fleet.others_go_on("worker-3", &lost, TOTAL).await;
    println!(
        "asked to leave: {} sources moved after {:?}",
        lost.len(),
        since.elapsed()
    );
    fleet.said("worker-3", "the worker is down").await;

    let sent = load.stop().await;
    assert!(
        sent.answers.keys().all(|status| *status == 202),
        "{:?}",
        sent.answers
    );
    judge(&fleet.client, &feed, &sent.accepted).await.assert_clean();
    for id in &sources {
        fleet.complete(id, TOTAL as usize).await;
        assert!(!fleet.history(id).is_empty());
    }
    watch.stop().await;
}
