//! A backfill among workers that die.

use halcyon_tests::client::Client;
use serde_json::{Value, json};

use super::fleet::Fleet;

/// P2 and P4: the worker is killed in the middle of a backfill of what is read live at the same time. Oracle: each
/// record of the feed is there and has counted once, whether the backfill, the live source or both have read it; the
/// live source's place never goes back.
#[tokio::test]
async fn a_backfill_survives_its_worker_beside_what_is_live() {
    const TOTAL: usize = 1_600;
    let names = ["worker-1", "worker-2"];
    let mut fleet = Fleet::start(&["registry"], &names).await;
    let connection = json!({"records_per_second": 80, "total": TOTAL, "seed": 9});
    let id = fleet.source("fed", connection, json!({})).await;
    fleet.moves_on(&id).await;
    let asked = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:20Z", "records_per_second": 150,
        "comment": "they were lost downstream"});
    let backfills = format!("/datasources/{id}/backfills");
    let made = fleet
        .client
        .post(&format!("/datasources/{id}/backfill"), asked)
        .await
        .expect(202);
    let path = format!("{backfills}/{}", made["id"].as_str().unwrap());
    let job = async |client: &Client| -> Value { client.get(&path).await };
    fleet
        .client
        .wait_for("the backfill to be in its midst", async |client| {
            let job = job(client).await;
            job["status"] == "running" && job["progress"]["records"].as_u64() >= Some(200)
        })
        .await;
    let before = job(&fleet.client).await;
    let worker = format!("worker.id={}", before["worker"].as_str().unwrap());
    let holder = *names.iter().find(|name| fleet.says(name, &worker) > 0).unwrap();
    let place = fleet.sequence(&id).await;
    fleet.cluster.kill(holder).unwrap();
    fleet
        .client
        .wait_for("the backfill to be done", async |client| {
            job(client).await["status"] == "done"
        })
        .await;
    let done = job(&fleet.client).await;
    assert_eq!(
        (&done["progress"]["records"], &done["percent"]),
        (&json!(TOTAL), &json!(100.0))
    );
    assert_ne!(done["worker"], before["worker"]);
    assert!(fleet.sequence(&id).await >= place);
    fleet.complete(&id, TOTAL).await;
    fleet
        .client
        .wait_for("the live source to come to its end", async |_| {
            fleet.sequence(&id).await == TOTAL as u64
        })
        .await;
    fleet.complete(&id, TOTAL).await;
    let events = fleet.client.all(&format!("/datasources/{id}/events")).await;
    let count = |kind: &str| events.iter().filter(|event| event["kind"] == kind).count();
    assert_eq!(
        ["backfill_requested", "backfill_started", "backfill_ended"].map(count),
        [1, 1, 1]
    );
}
