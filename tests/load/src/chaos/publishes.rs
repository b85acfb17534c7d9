//! P6: publishes and rollbacks under load lose nothing and stop nothing; a broken version leaves the old one running.

use anyhow::{Result, ensure};
use halcyon_tests::{client::Client, load::sequence_mapping};
use serde_json::{Value, json};

use super::{
    Bench,
    system::{Shape, System, state},
    table::Outcome,
    traffic::Traffic,
};

pub(super) async fn publishes(bench: &Bench) -> Result<Outcome> {
    let system = System::start(bench, Shape::FULL).await?;
    let client = system.client().await;
    let target = system.feeds(&client, 2, 0).await?;
    let traffic = Traffic::start(target.clone(), bench.rate, 0)?;
    let mut outcome = Outcome::default();
    let mut versions = vec![1_u64; target.feeds.len()];
    let rounds = bench.by_form(20, 200);
    for round in 0..rounds {
        let place = round % target.feeds.len();
        let (Some(id), Some(version)) = (target.feeds.get(place), versions.get_mut(place)) else {
            continue;
        };
        if round % 10 == 9 {
            broken(&client, id, *version, &mut outcome).await?;
            // The draft took a number.
            *version += 1;
        } else {
            *version += 1;
            change(&client, id, *version, round % 3 == 2).await?;
            client.wait_running(id, *version).await;
        }
    }
    let (seen, _) = system.judge(&mut outcome, traffic, &[]).await?;
    outcome.failed = seen.lost_requests() + seen.other_than(&[202]);
    outcome.check(
        outcome.failed == 0,
        format!("answers {:?}, unanswered {:?}", seen.answers, seen.unanswered),
    );
    let twice = "SELECT count(*) FROM alerts WHERE json_array_length(provenance::json) <> 1";
    let mixed = system.number(twice).await?;
    outcome.check(
        mixed == 0,
        format!("{mixed} events were mapped by several versions"),
    );
    let verdicts = "SELECT count(*) FROM (SELECT 1 FROM ledger GROUP BY event_id, datasource_id, attempt, \
                    record_index HAVING count(DISTINCT version) > 1) AS twice";
    let several = system.number(verdicts).await?;
    outcome.check(
        several == 0,
        format!("{several} records have verdicts of several versions"),
    );
    outcome.note(format!("{rounds} publishes and rollbacks, every tenth broken"));
    system.keep_logs(bench, "p6-publishes", &outcome)?;
    Ok(outcome)
}

async fn change(client: &Client, id: &str, version: u64, back: bool) -> Result<()> {
    let answer = if back {
        let body = json!({"version": 1, "comment": "back"});
        client.post(&format!("/datasources/{id}/rollback"), body).await
    } else {
        draft(client, id, sequence_mapping(&format!("v{version}"))).await?;
        client
            .post(&format!("/datasources/{id}/publish"), json!({}))
            .await
    };
    ensure!(answer.status == 200, "{}", answer.body);
    Ok(())
}

async fn broken(client: &Client, id: &str, running: u64, outcome: &mut Outcome) -> Result<()> {
    let mapping = json!({"outputs": [{"kind": "alert", "fields": {"title": "join("}}]});
    draft(client, id, mapping).await?;
    let answer = client
        .post(&format!("/datasources/{id}/publish"), json!({}))
        .await;
    outcome.check(
        answer.status == 422,
        format!("a broken version was answered with {}", answer.status),
    );
    let state = state(client, id).await;
    let runs = state["status"] == "RUNNING" && state["version"] == running;
    outcome.check(runs, format!("version {running} does not go on: {state}"));
    Ok(())
}

async fn draft(client: &Client, id: &str, mapping: Value) -> Result<()> {
    let config = json!({
        "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
        "mapping": mapping,
    });
    let made = client
        .post(&format!("/datasources/{id}/versions"), json!({"config": config}))
        .await;
    ensure!(made.status == 201, "{}", made.body);
    Ok(())
}
