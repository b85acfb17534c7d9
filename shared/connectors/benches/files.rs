//! Records a second of `s3` from SeaweedFS and of `sftp` from OpenSSH, each beside a bare client that fetches the same
//! files, one after the other, and counts the lines: an HTTP client, and OpenSSH's `sftp`.

#![expect(clippy::unwrap_used, reason = "a benchmark stops on a surprise")]

mod event;
mod support;

use std::{fs, process::Command};

use criterion::{Criterion, criterion_group, criterion_main};
use event::event;
use halcyon_connectors::{SecretValue, Secrets};
use halcyon_tests::{
    sshd::Sshd,
    weed::{PUBLIC, Weed},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const FILES: usize = 20;
const ROWS: usize = 5_000;

fn file(number: usize) -> Vec<u8> {
    let row = |at: usize| format!("{}\n", event(number * ROWS + at));
    (0..ROWS).map(row).collect::<String>().into_bytes()
}

fn name(number: usize) -> String {
    format!("{number:04}.ndjson")
}

async fn read(connector: &str, connection: &Value, secrets: &Secrets) -> usize {
    let mut source = support::source(connector, connection.clone(), secrets.clone());
    support::read(&mut *source, usize::MAX).await
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
    let mut group = support::group(criterion, "s3", FILES * ROWS);
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
    let mut group = support::group(criterion, "sftp", FILES * ROWS);
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
