//! Several workers and registries as processes: stopped, killed, asked to leave, and what becomes of their work.

mod backfill;
mod fleet;
mod workers;

use std::time::{Duration, Instant};

use halcyon_tests::load::{Load, judge, sequence_mapping};
use serde_json::json;

use fleet::Fleet;

/// Leases are short here; what is measured is told beside them.
const LEASE: Duration = Duration::from_secs(4);
/// What a takeover may take beyond the lease.
const MARGIN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_datasource_waits_for_a_worker_with_its_label_and_a_shared_one_runs_on_two() {
    const TOTAL: usize = 400;
    let mut fleet = Fleet::start(&["registry"], &["worker-1", "worker-2"]).await;
    let connection = json!({"records_per_second": 100, "total": TOTAL, "seed": 6});
    let shared = fleet
        .source("shared", connection.clone(), json!({"parallelism": 2}))
        .await;
    let labelled = fleet
        .source("labelled", connection, json!({"worker_labels": ["edge", "eu"]}))
        .await;
    fleet
        .client
        .wait_for("the missing worker to be told", async |_| {
            let state = fleet.state(&labelled).await;
            state["reason"] == "no_worker"
                && state["message"] == "no worker with the labels `edge`, `eu` is there"
        })
        .await;
    fleet.complete(&shared, TOTAL).await;
    let begun = format!("a source runs here datasource.id={shared}");
    for worker in ["worker-1", "worker-2"] {
        assert_eq!(fleet.says(worker, &begun), 1, "{worker}");
    }
    fleet
        .worker("worker-3", &["worker.pool=edge", "worker.labels=[\"eu\"]"])
        .await;
    fleet.complete(&labelled, TOTAL).await;
    assert_eq!(
        fleet.says(
            "worker-3",
            &format!("a source runs here datasource.id={labelled}")
        ),
        1
    );
}

/// The leader dies and another registry leads; all of them die and the data plane goes on; one comes back.
#[tokio::test]
async fn registries_take_over_from_each_other_and_data_flows_without_any() {
    let names = ["registry-1", "registry-2", "registry-3"];
    let mut fleet = Fleet::start(&names, &["worker-1"]).await;
    let leads = "this registry leads";
    let leader = |fleet: &Fleet| names.iter().copied().find(|name| fleet.says(name, leads) > 0);
    fleet
        .client
        .wait_for("a leader", async |_| leader(&fleet).is_some())
        .await;
    let first = leader(&fleet).unwrap();
    let connection = json!({"records_per_second": 20, "seed": 8});
    let source = fleet.source("pulled", connection, json!({})).await;
    let feed = fleet
        .client
        .publish_webhook("pushed", sequence_mapping("t"))
        .await;

    fleet.cluster.kill(first).unwrap();
    let killed = Instant::now();
    let others: Vec<&str> = names.into_iter().filter(|name| *name != first).collect();
    fleet
        .client
        .wait_for("another leader", async |_| {
            others.iter().any(|name| fleet.says(name, leads) > 0)
        })
        .await;
    let taken = killed.elapsed();
    println!("another registry led after {taken:?} (lease {LEASE:?})");
    assert!(taken < LEASE + MARGIN, "{taken:?}");
    // The new one gives out work.
    let connection = json!({"records_per_second": 20, "seed": 9});
    let after = fleet.source("after", connection, json!({})).await;
    fleet.moves_on(&after).await;

    for name in others {
        fleet.cluster.kill(name).unwrap();
    }
    // Beyond every lease of the registries.
    let load = Load::start(&fleet.client, &feed, 4, 100);
    let dead = Instant::now();
    let alerts = format!("/alerts?datasource={source}");
    let before = fleet.client.all(&alerts).await.len();
    fleet
        .client
        .wait_for("data to flow without a registry", async |client| {
            dead.elapsed() > LEASE * 2
                && load.accepted() > 300
                && client.all(&alerts).await.len() > before + 100
        })
        .await;
    let sent = load.stop().await;
    assert!(
        sent.answers.keys().all(|status| *status == 202),
        "{:?}",
        sent.answers
    );
    judge(&fleet.client, &feed, &sent.accepted).await.assert_clean();
    fleet
        .cluster
        .spawn_as(first, "registry", &["registry.leader_lease=4s"])
        .unwrap();
    let connection = json!({"records_per_second": 20, "seed": 10});
    let last = fleet.source("at last", connection, json!({})).await;
    fleet.moves_on(&last).await;
}
