//! P11: an event that kills the process which maps it ends in a dead letter, and holds nobody up for ever.
//!
//! No such event is known. The scenario plays its part: whatever process maps the frame is killed while it does,
//! until the event is given up. The other events of the frame, which were killed along with it, must get through.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::{self, consumer::PullConsumer};
use halcyon_tests::client::{Client, TOKEN};
use serde_json::{Value, json};

use super::{
    Bench,
    system::{Links, Shape, System, time_until},
    table::Outcome,
};
use crate::usage;

/// The delivery at which an event is mapped in a process of its own: the worker dies at each one before. Five is the
/// default, three the least.
const DELIVERIES: (usize, usize) = (3, 5);
/// Events of the one frame; the mapping of each takes a while.
const EVENTS: usize = 10;
/// Values of each event, and how often they are sorted.
const VALUES: usize = 4_000;
const ENTITIES: usize = 30;
/// Two deaths of an event's own process are enough; a kill may hit the moment between two events.
const OWN_DEATHS: usize = 20;

pub(super) async fn deadly(bench: &Bench) -> Result<Outcome> {
    let mut system = System::lay_out(bench, halcyon_tests::cluster::Sync::Always).await?;
    system.begin().await?;
    let shape = Shape {
        gateways: 1,
        registries: 1,
        workers: 1,
        ontologies: 1,
    };
    let deliveries = bench.by_form(DELIVERIES.0, DELIVERIES.1);
    let links = Links {
        settings: vec![
            format!("worker.max_attempts={deliveries}"),
            // However slow this machine is, the frame stays a frame: nothing of it is parked.
            "worker.park_after=30s".to_owned(),
        ],
        ..Links::default()
    };
    system.spawn(shape, &links).await?;
    let client = system.client().await;
    let id = publish(&client).await?;
    let mut outcome = Outcome::default();
    send(&system, &id).await?;
    let mut delivered = 0;
    for _ in 1..deliveries {
        delivered = delivered_again(&system, delivered).await?;
        system.cluster.kill_and_restart("worker")?;
    }
    // From here on it is a child of the worker that is killed.
    let worker = system.cluster.pid("worker").context("no worker")?;
    let kills = kill_one(&system, worker).await?;
    let letters = format!("/datasources/{id}/dead-letters");
    let done = time_until(
        "every event to have its verdict",
        Duration::from_secs(120),
        || async { verdicts(&client, &id).await.iter().sum::<u64>() >= EVENTS as u64 },
    )
    .await;
    outcome.check(done.is_ok(), "not every event has a verdict");
    let [delivered, _, dead] = verdicts(&client, &id).await;
    let letters = client.all(&letters).await;
    outcome.accepted = EVENTS as u64;
    outcome.lost = outcome.accepted.saturating_sub(delivered + dead);
    outcome.check(dead == 1, format!("{dead} dead letters for one deadly event"));
    let told = letters
        .iter()
        .any(|letter| letter.to_string().contains("process_died"));
    outcome.check(told, format!("no letter says why: {:?}", letters.first()));
    outcome.check(
        fs::read_to_string(format!("/proc/{worker}/cmdline")).is_ok_and(|command| !command.is_empty()),
        "the worker died with the process of the event",
    );
    outcome.note(format!(
        "{} deaths of the worker, {kills} of events' own processes, then {delivered} delivered and {dead} dead-lettered",
        deliveries - 1
    ));
    system.keep_logs(bench, "p11-deadly-event", &outcome)?;
    Ok(outcome)
}

/// A feed whose mapping takes its time: it sorts the same values for many entities.
async fn publish(client: &Client) -> Result<String> {
    let mut outputs = vec![json!({"kind": "alert", "fields": {
        "external_id": {"expr": "seq", "as": "string"}, "title": {"value": "t"}, "severity": {"value": "low"},
        "time": {"expr": "at", "as": "timestamp"},
    }})];
    for entity in 0..ENTITIES {
        let key = format!("join('-', ['{entity}', to_string(length(sort(values)))])");
        outputs.push(json!({"kind": "entity", "fields": {"type": {"value": "host"}, "key": {"expr": key}}}));
    }
    let mapping = json!({"language": "jmespath", "outputs": outputs});
    Ok(client.publish_webhook("deadly", mapping).await)
}

/// All events in one request, so that they travel in one frame.
async fn send(system: &System, id: &str) -> Result<()> {
    let values: Vec<usize> = (0..VALUES).map(|number| number * 7_919 % 10_007).collect();
    let event = |seq: usize| json!({"seq": seq, "at": "2026-01-02T03:04:05Z", "values": values}).to_string();
    let lines: Vec<String> = (0..EVENTS).map(event).collect();
    let url = format!("{}/ingest/{id}", system.cluster.url);
    let request = reqwest::Client::new().post(url).bearer_auth(TOKEN);
    let answer = request
        .header("content-type", "application/x-ndjson")
        .body(lines.join("\n"))
        .send()
        .await?;
    ensure!(answer.status() == 202, "{}", answer.text().await?);
    Ok(())
}

/// Waits until the frame was delivered once more than before. Tells how often a worker was given a frame.
async fn delivered_again(system: &System, before: u64) -> Result<u64> {
    let jetstream = jetstream::new(system.looker().await?);
    let stream = jetstream.get_stream("INGEST").await?;
    let count = async || {
        let mut count = 0;
        for partition in 0..16 {
            let consumer = stream.get_consumer(&format!("worker-{partition}")).await;
            let Ok::<PullConsumer, _>(mut consumer) = consumer else {
                continue;
            };
            if let Ok(info) = consumer.info().await {
                count += info.delivered.consumer_sequence;
            }
        }
        count
    };
    time_until("the frame to be delivered", Duration::from_secs(90), async || {
        count().await > before
    })
    .await?;
    Ok(count().await)
}

/// Kills the processes that map one and the same event, until it is given up. Tells how many those were.
async fn kill_one(system: &System, worker: u32) -> Result<usize> {
    let mut kills = 0;
    while kills < OWN_DEATHS {
        let busy = async || child_of(worker).is_some_and(is_busy);
        time_until("a process of the event's own", Duration::from_secs(60), busy).await?;
        let before = deaths(system).len();
        let Some(child) = child_of(worker) else { continue };
        halcyon_tests::up::signal(child, "KILL");
        kills += 1;
        // One that had not been given an event yet leaves no line: the frame comes again.
        let noted = async || deaths(system).len() > before;
        let _ = time_until("the death to be noted", Duration::from_secs(5), noted).await;
        let is_same = |pair: &[String]| matches!(pair, [one, other] if one == other);
        if deaths(system).windows(2).any(is_same) {
            return Ok(kills);
        }
    }
    anyhow::bail!(
        "{kills} processes were killed, and no event was given up: {:?}",
        deaths(system)
    )
}

/// The events whose own processes ended, as the worker's log tells.
fn deaths(system: &System) -> Vec<String> {
    let log = fs::read_to_string(system.cluster.log("worker")).unwrap_or_default();
    log.lines()
        .filter(|line| line.contains("the process that maps an event ended"))
        .filter_map(|line| line.split("event.id=").nth(1)?.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The process that a worker has started to map events, if one runs.
fn child_of(worker: u32) -> Option<u32> {
    let tasks = fs::read_dir(format!("/proc/{worker}/task")).ok()?;
    tasks.flatten().find_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    })
}

/// Whether a process has done more than start: it is in the middle of an event.
fn is_busy(pid: u32) -> bool {
    usage::processor(pid).is_ok_and(|seconds| seconds >= 0.03)
}

async fn verdicts(client: &Client, id: &str) -> [u64; 3] {
    let metrics: Value = client.get(&format!("/datasources/{id}/metrics")).await;
    ["delivered", "filtered", "dead_lettered"].map(|name| metrics[name].as_u64().unwrap_or(0))
}
