//! Records a second of `s3` from SeaweedFS and of `sftp` from OpenSSH, each beside a bare client that fetches the same
//! files, one after the other, and counts the lines: an HTTP client, and OpenSSH's `sftp`.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

use std::{fs, hint::black_box, process::Command, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use halcyon_connectors::{BatchLimits, SecretValue, Secrets, Share, SourceContext, find};
use halcyon_domain::clock::SystemClock;
use halcyon_egress::{Guard, Policy};
use halcyon_tests::{
    sshd::Sshd,
    weed::{PUBLIC, Weed},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const FILES: usize = 20;
const ROWS: usize = 5_000;

/// A file of events of about 500 bytes.
fn file(number: usize) -> Vec<u8> {
    let row = |at: usize| {
        let row = json!({
            "id": format!("event-{}", number * ROWS + at), "created_at": "2026-01-01T00:00:00Z", "severity": "high",
            "message": "m".repeat(300), "actor": {"email": "someone@example.com", "ip": "203.0.113.7"},
            "target": {"type": "host", "name": "web-1.example.com", "tags": ["a", "b", "c"]}, "attempt": 3,
        });
        format!("{row}\n")
    };
    (0..ROWS).map(row).collect::<String>().into_bytes()
}

fn name(number: usize) -> String {
    format!("{number:04}.ndjson")
}

async fn read(connector: &str, connection: &Value, secrets: &Secrets) -> usize {
    let mut source = find(connector)
        .unwrap()
        .source(SourceContext {
            connection: connection.clone(),
            secrets: secrets.clone(),
            checkpoint: None,
            limits: BatchLimits::default(),
            share: Share::WHOLE,
            range: None,
            sample: false,
            clock: Arc::new(SystemClock),
            guard: Guard::new(Policy::default().with_loopback()),
        })
        .unwrap();
    let mut rows = 0;
    while let Some(batch) = source.next_batch().await.unwrap() {
        rows += black_box(batch).records.len();
    }
    rows
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

fn s3(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let weed = runtime.block_on(Weed::start()).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    runtime.block_on(async {
        for number in 0..FILES {
            weed.put(PUBLIC, &name(number), file(number)).await.unwrap();
        }
    });
    let connection = json!({
        "bucket": PUBLIC, "endpoint": weed.endpoint(), "auth": {"type": "anonymous"}, "format": {"type": "ndjson"}
    });
    let mut group = criterion.benchmark_group("s3");
    group
        .sample_size(10)
        .throughput(Throughput::Elements((FILES * ROWS) as u64));
    group.bench_function("bare", |bencher| {
        bencher.iter(|| {
            let rows = runtime.block_on(async {
                let mut rows = 0;
                for number in 0..FILES {
                    let url = format!("{}/{PUBLIC}/{}", weed.endpoint(), name(number));
                    let answer = http.get(url).send().await.unwrap().error_for_status().unwrap();
                    rows += lines(&answer.bytes().await.unwrap());
                }
                rows
            });
            assert_eq!(rows, FILES * ROWS);
        });
    });
    group.bench_function("connector", |bencher| {
        bencher.iter(|| {
            assert_eq!(
                runtime.block_on(read("s3", &connection, &Secrets::none())),
                FILES * ROWS
            )
        });
    });
    group.finish();
}

fn sftp(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let sshd = runtime.block_on(Sshd::start()).unwrap();
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..FILES {
        fs::write(there.path().join(name(number)), file(number)).unwrap();
    }
    let key = here.path().join("key");
    fs::write(&key, &sshd.key).unwrap();
    Command::new("chmod").arg("600").arg(&key).status().unwrap();
    let mut secrets = Secrets::none();
    secrets.insert("key", SecretValue::new(sshd.key.clone()));
    let connection = json!({
        "host": "127.0.0.1", "port": sshd.port(), "host_keys": [sshd.fingerprint("host_ed25519")],
        "auth": {"type": "private_key", "user": sshd.user(), "private_key": {"$secret": "key"}},
        "folder": there.path(), "format": {"type": "ndjson"}
    });
    let mut group = criterion.benchmark_group("sftp");
    group
        .sample_size(10)
        .throughput(Throughput::Elements((FILES * ROWS) as u64));
    group.bench_function("bare", |bencher| {
        bencher.iter(|| {
            let to = here.path().join("files");
            let done = Command::new("sftp")
                .args([
                    "-q",
                    "-o",
                    "StrictHostKeyChecking=no",
                    "-o",
                    "UserKnownHostsFile=/dev/null",
                ])
                .arg("-i")
                .arg(&key)
                .args(["-P", &sshd.port().to_string(), "-r"])
                .arg(format!("{}@127.0.0.1:{}", sshd.user(), there.path().display()))
                .arg(&to)
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
            let files = fs::read_dir(&to).unwrap();
            let rows: usize = files
                .map(|file| lines(&fs::read(file.unwrap().path()).unwrap()))
                .sum();
            assert_eq!(rows, FILES * ROWS);
            fs::remove_dir_all(to).unwrap();
        });
    });
    group.bench_function("connector", |bencher| {
        bencher.iter(|| {
            assert_eq!(
                runtime.block_on(read("sftp", &connection, &secrets)),
                FILES * ROWS
            )
        });
    });
    group.finish();
}

criterion_group!(benches, s3, sftp);
criterion_main!(benches);
