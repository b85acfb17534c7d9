//! P7: a command is never lost or half done, whenever gateways and registries die.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use halcyon_tests::client::Client;
use serde_json::json;

use super::{
    Bench,
    replays::mixed,
    system::{Links, Shape, System, generator, time_until},
    table::Outcome,
};

const VICTIMS: [&str; 4] = ["gateway", "registry", "gateway-2", "registry-2"];
const SOURCES: usize = 4;
/// A key that a killed gateway had claimed is free five seconds after the longest request: fourteen here, 65 by default.
const REQUEST: [&str; 2] = ["gateway.request_timeout=9s", "gateway.test_timeout=2s"];
/// How long a command may take while the processes die one after the other.
const COMMAND: Duration = Duration::from_secs(60);
/// The registry looks at the database so often without being told.
const RECONCILE: u64 = 30;

pub(super) async fn commands(bench: &Bench) -> Result<Outcome> {
    let links = Links {
        settings: REQUEST.map(str::to_owned).to_vec(),
        ..Links::default()
    };
    let mut system = System::start_with(bench, Shape::FULL, &links).await?;
    let client = system.client().await;
    let mut outcome = Outcome::default();
    let mut wanted = BTreeMap::new();
    for number in 0..SOURCES {
        let id = generator(&client, &format!("commanded-{number}"), number as u32, 5).await?;
        client.wait_running(&id, 1).await;
        wanted.insert(id, "running");
    }
    let ids: Vec<String> = wanted.keys().cloned().collect();
    let (kills, begun) = (bench.by_form(16, 1_000), Instant::now());
    let (mut given, mut slowest) = (0_u64, Duration::ZERO);
    for round in 0..kills {
        let dice = mixed(round);
        let victim = VICTIMS[(dice % 4) as usize];
        let (Some(id), start) = (ids.get((dice >> 8) as usize % ids.len()), (dice >> 16) & 1 == 1) else {
            continue;
        };
        let action = if start { "start" } else { "stop" };
        let command = give(&system.gateways, &client, id, action, round);
        // The kill comes at any instant of the command, before and after it, too.
        let after = Duration::from_micros((dice >> 24) % 60_000);
        let kill = async {
            tokio::time::sleep(after).await;
            system.cluster.kill_and_restart(victim)
        };
        let (time, killed) = tokio::join!(command, kill);
        killed?;
        slowest = slowest.max(time?);
        given += 1;
        wanted.insert(id.clone(), if start { "running" } else { "stopped" });
    }
    outcome.accepted = given;
    system.ready().await?;
    outcome.note(format!(
        "{kills} kills in {:.0} s, the slowest command {:.1} s; accepted are commands",
        begun.elapsed().as_secs_f64(),
        slowest.as_secs_f64()
    ));
    reached(&system, &wanted, &mut outcome).await?;
    lost_notice(&system, &ids, bench, &mut outcome).await?;
    system.keep_logs(bench, "p7-commands", &outcome)?;
    Ok(outcome)
}

/// Gives a command, again with the same key until it is answered. Tells how long that took.
async fn give(gateways: &[String], client: &Client, id: &str, action: &str, round: u64) -> Result<Duration> {
    let begun = Instant::now();
    let key = format!("command-{round}");
    for gateway in gateways.iter().cycle() {
        let mut client = client.clone();
        client.url.clone_from(gateway);
        let answer = client
            .post_keyed(&format!("/datasources/{id}/{action}"), &key, json!({}))
            .await;
        match answer.status.as_u16() {
            202 => return Ok(begun.elapsed()),
            // It took effect, and the gateway died before its answer was kept.
            409 if answer.body["type"] == "urn:halcyon:problem:answer_lost" => return Ok(begun.elapsed()),
            // Cut off, away, or the first try of this key is still under way.
            409 | 429 | 502 | 503 => {}
            status => anyhow::bail!("{action}: {status} {}", answer.body),
        }
        ensure!(
            begun.elapsed() < COMMAND,
            "{action} was not answered in time: {}",
            answer.body
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("there is no gateway")
}

/// The database says what was commanded last, the outbox is empty, and the workers have reached it.
async fn reached(system: &System, wanted: &BTreeMap<String, &str>, outcome: &mut Outcome) -> Result<()> {
    for (id, state) in wanted {
        let query =
            format!("SELECT count(*) FROM datasources WHERE id = '{id}' AND desired_state = '{state}'");
        let holds = system.number(&query).await? == 1;
        outcome.lost += u64::from(!holds);
        outcome.check(holds, format!("{id} is not wanted {state} as commanded last"));
    }
    let emptied = time_until("an empty outbox", Duration::from_secs(60), || async {
        system
            .number("SELECT count(*) FROM outbox")
            .await
            .is_ok_and(|rows| rows == 0)
    });
    match emptied.await {
        Ok(time) => outcome.note(format!("outbox empty after {:.1} s", time.as_secs_f64())),
        Err(error) => outcome.check(false, format!("{error:#}")),
    }
    let behind = "SELECT count(*) FROM datasources d JOIN datasource_state s ON s.datasource_id = d.id WHERE \
                  s.observed_generation <> d.generation OR upper(d.desired_state) <> s.status";
    let reached = time_until(
        "all commands to be carried out",
        Duration::from_secs(60),
        || async { system.number(behind).await.is_ok_and(|rows| rows == 0) },
    );
    match reached.await {
        Ok(time) => outcome.recoveries.push(time),
        Err(error) => {
            let rows = system.query("SELECT d.desired_state, d.generation, s.status, s.observed_generation, s.reason FROM datasources d JOIN datasource_state s ON s.datasource_id = d.id").await?;
            outcome.check(false, format!("{error:#}: {rows:?}"));
        }
    }
    Ok(())
}

/// A change that nobody is told of, as if its notice had been deleted, is found by the reconcile.
async fn lost_notice(system: &System, ids: &[String], bench: &Bench, outcome: &mut Outcome) -> Result<()> {
    let Some(id) = ids.first() else { return Ok(()) };
    let now = system
        .query(&format!(
            "SELECT desired_state FROM datasources WHERE id = '{id}'"
        ))
        .await?;
    let running = now
        .first()
        .and_then(|row| row.first())
        .is_some_and(|state| state == "running");
    let (state, status) = if running {
        ("stopped", "STOPPED")
    } else {
        ("running", "RUNNING")
    };
    let change = format!(
        "UPDATE datasources SET desired_state = '{state}', generation = generation + 1 WHERE id = '{id}'"
    );
    system.postgres.execute(&system.database, &change).await?;
    let query =
        format!("SELECT count(*) FROM datasource_state WHERE datasource_id = '{id}' AND status = '{status}'");
    let found = time_until(
        "the lost notice to be made up for",
        Duration::from_secs(120),
        || async { system.number(&query).await.is_ok_and(|rows| rows == 1) },
    );
    match found.await {
        Ok(time) => {
            outcome.note(format!(
                "a lost notice was made up for in {:.1} s",
                time.as_secs_f64()
            ));
            outcome.check(
                time <= bench.promised(RECONCILE + 10),
                "a lost notice took too long",
            );
        }
        Err(error) => outcome.check(false, format!("{error:#}")),
    }
    Ok(())
}
