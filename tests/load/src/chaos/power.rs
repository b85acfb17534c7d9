//! P1: power cuts. nats keeps its streams on a disk of its own (ext4 in a file). The file is copied while everything
//! runs: a copy holds what had reached the disk at that moment, and nothing of what was only in memory.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use halcyon_tests::{client::TOKEN, cluster::Sync, load::sequence_mapping, nats::Nats};
use serde_json::{Value, json};

use super::{
    Bench,
    system::{Links, Shape, System},
    table::Outcome,
    traffic::{Target, Traffic},
};

/// Seconds after the load began.
const CUTS: [u64; 3] = [5, 12, 45];
/// Of each disk.
const BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Every ack comes after a file sync: nothing may be lost.
pub(super) async fn synced(bench: &Bench) -> Result<Outcome> {
    cuts(bench, Sync::Always, "p1-power-cut").await
}

/// The server's default: the same script must lose, or it would prove nothing.
pub(super) async fn unsynced(bench: &Bench) -> Result<Outcome> {
    cuts(bench, Sync::Default, "p1-power-cut-default").await
}

async fn cuts(bench: &Bench, sync: Sync, name: &str) -> Result<Outcome> {
    let images = tempfile::tempdir()?;
    let mut system = System::lay_out(bench, sync).await?;
    let disk = Disk::new(&images.path().join("disk"), &system.cluster.data().join("nats"))?;
    system.begin().await?;
    // No worker: what is accepted stays in the ingest stream, where it can be counted.
    let shape = Shape {
        gateways: 2,
        registries: 1,
        workers: 0,
        ontologies: 0,
    };
    system.spawn(shape, &Links::default()).await?;
    let target = feed(&system).await?;
    let traffic = Traffic::start(target, bench.rate, 0)?;
    let (begun, mut cuts) = (Instant::now(), Vec::new());
    for second in CUTS.into_iter().take(bench.by_form(2, 3)) {
        tokio::time::sleep(Duration::from_secs(second).saturating_sub(begun.elapsed())).await;
        // Nothing may be acked between the look at what was accepted and the end of the copy.
        system.cluster.signal("nats", "STOP")?;
        let accepted = traffic.accepted_now();
        let copy = images.path().join(format!("cut-{second}"));
        disk.copy(&copy)?;
        system.cluster.signal("nats", "CONT")?;
        cuts.push((second, accepted, copy));
    }
    let seen = traffic.stop().await?;
    let mut outcome = Outcome {
        failed: seen.lost_requests() + seen.other_than(&[202, 503]),
        must_lose: sync == Sync::Default,
        ..Outcome::default()
    };
    for (second, accepted, copy) in &cuts {
        let stored = stored(copy).await?;
        let lost = accepted
            .iter()
            .filter(|event| !stored.contains(&event.key))
            .count();
        outcome.accepted += accepted.len() as u64;
        outcome.lost += lost as u64;
        outcome.note(format!("at {second} s: {lost} of {} lost", accepted.len()));
        outcome.check(
            !accepted.is_empty(),
            format!("nothing was accepted before {second} s"),
        );
    }
    system.keep_logs(bench, name, &outcome)?;
    // The disk can go only after its server.
    drop(system);
    drop(disk);
    Ok(outcome)
}

/// A published feed that no worker runs.
async fn feed(system: &System) -> Result<Target> {
    let client = system.client().await;
    let config = json!({
        "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
        "mapping": sequence_mapping("t"),
    });
    let body = json!({"name": "cut", "type": "http_webhook", "config": config});
    let id = client.post("/datasources", body).await.body["id"]
        .as_str()
        .context("no datasource was made")?
        .to_owned();
    let secret = format!("/datasources/{id}/secrets/token");
    ensure!(
        client.put(&secret, json!({"value": TOKEN})).await.status == 200,
        "no secret"
    );
    let publish = format!("/datasources/{id}/publish");
    ensure!(client.post(&publish, json!({})).await.status == 200, "no publish");
    let target = Target {
        gateways: system.gateways.clone(),
        feeds: vec![id],
        padding: 0,
    };
    system.wait_taken(&target).await?;
    Ok(target)
}

/// Starts a server on a copy of the disk, as after a power cut, and reads the events that its ingest stream holds.
async fn stored(image: &Path) -> Result<BTreeSet<String>> {
    let folder = tempfile::tempdir()?;
    let disk = Disk::mount(image, folder.path())?;
    let nats = Nats::start_with(|port, _| {
        let store = folder.path().display();
        format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: 8388608\njetstream {{ store_dir: \"{store}\", max_file_store: 17179869184 }}\n"
        )
    })
    .await?;
    let jetstream = async_nats::jetstream::new(nats.client().await?);
    let mut keys = BTreeSet::new();
    // A stream that is gone has kept nothing.
    if let Ok(mut stream) = jetstream.get_stream("INGEST").await {
        let state = stream.info().await?.state.clone();
        for sequence in state.first_sequence..=state.last_sequence {
            if let Ok(message) = stream.get_raw_message(sequence).await {
                keys.extend(keys_of(&message.payload)?);
            }
        }
    }
    drop(nats);
    drop(disk);
    Ok(keys)
}

/// The sequence numbers in a frame.
fn keys_of(frame: &[u8]) -> Result<Vec<String>> {
    let events: Vec<Value> = serde_json::from_slice(frame)?;
    let key = |event: &Value| event["data"]["seq"].as_str().map(str::to_owned);
    Ok(events.iter().filter_map(key).collect())
}

/// A file with a filesystem in it that is mounted; unmounted when this is dropped.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn new(image: &Path, at: &Path) -> Result<Self> {
        fs::File::create(image)?.set_len(BYTES)?;
        fs::create_dir_all(at)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
        Self::mount(image, at)
    }

    fn mount(image: &Path, at: &Path) -> Result<Self> {
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))?;
        Ok(Self {
            image: image.to_owned(),
            at: at.to_owned(),
        })
    }

    /// What is on the disk now, without what the filesystem still keeps in memory.
    fn copy(&self, to: &Path) -> Result<()> {
        run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(to))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server that used it may be ending just now.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.at));
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} (root is needed): {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
