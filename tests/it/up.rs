//! `halcyon up` as a process: what it prints, what it leaves behind, what it finds again.

use std::{net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use futures::StreamExt;
use serde_json::json;

use halcyon_tests::{
    client::Client,
    load::sequence_mapping,
    ports,
    up::{Studio, Up},
};

#[tokio::test]
async fn a_second_start_goes_on_where_the_first_stopped() {
    let studio = Studio::start(crate::halcyon()).await;
    let id = studio.client.publish_webhook("kept", sequence_mapping("t")).await;
    let data = studio.folder.path().join("data");
    let nats = nats_pid(&data);
    assert!(studio.up.stop().success());
    assert!(
        !Path::new(&format!("/proc/{nats}")).exists(),
        "no process is left behind"
    );

    let up = Up::start(crate::halcyon(), &data);
    assert_eq!(up.ready.admin_password, None, "the password is told once");
    let client = Client::login(&up.ready.url, &up.ready.admin_email, &studio.password).await;
    client.wait_running(&id, 1).await;
    let body = json!({"seq": 7, "host": "h", "at": "2026-01-02T03:04:05Z"}).to_string();
    assert_eq!(client.ingest(&id, body.into_bytes()).await.status, 202);
    client
        .wait_for("the alert", async |client| {
            !client.all("/alerts").await.is_empty()
        })
        .await;
    up.stop();
}

#[tokio::test]
async fn what_was_accepted_survives_a_kill_of_everything() {
    let studio = Studio::start(crate::halcyon()).await;
    let id = studio
        .client
        .publish_webhook("killed", sequence_mapping("t"))
        .await;
    let data = studio.folder.path().join("data");
    let mut accepted = 0;
    for seq in 0..200 {
        let body = json!({"seq": seq, "host": "h", "at": "2026-01-02T03:04:05Z"}).to_string();
        if studio.client.ingest(&id, body.into_bytes()).await.status == 202 {
            accepted += 1;
        }
    }
    let nats = nats_pid(&data);
    studio.up.kill();
    wait_gone(nats).await;
    let up = Up::start(crate::halcyon(), &data);
    let client = Client::login(&up.ready.url, &up.ready.admin_email, &studio.password).await;
    client
        .wait_for("all accepted events", async |client| {
            client.all(&format!("/alerts?datasource={id}")).await.len() == accepted
        })
        .await;
    let alerts = client.all(&format!("/alerts?datasource={id}")).await;
    assert!(alerts.iter().all(|alert| alert["revision"] == 1));
    up.stop();
}

#[tokio::test]
async fn secrets_on_disk_are_for_their_owner_only() {
    let studio = Studio::start(crate::halcyon()).await;
    let mut checked = 0;
    for entry in walk(&studio.folder.path().join("data")) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        let secret = ["key", "nkey", "seed", "password", "kek"]
            .iter()
            .any(|word| name.contains(word));
        if secret {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", entry.display());
            checked += 1;
        }
    }
    assert!(checked >= 3, "found only {checked} secret files");
    studio.up.stop();
}

#[test]
fn a_busy_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let address = ports::free_address();
    let _held = TcpListener::bind(&address).unwrap();
    let output = Command::new(crate::halcyon())
        .args(["up", "--output", "json", "--listen", &address, "--data-dir"])
        .arg(folder.path().join("data"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains(&address), "{error}");
}

#[tokio::test]
async fn published_objects_reach_a_subscriber_of_the_subject() {
    let studio = Studio::start(crate::halcyon()).await;
    let id = studio
        .client
        .publish_webhook("watched", sequence_mapping("t"))
        .await;
    let nats = studio.up.ready.subscriber().await;
    let mut alerts = nats.subscribe("halcyon.*.*.alert").await.unwrap();
    nats.flush().await.unwrap();
    let body = json!({"seq": 1, "host": "h", "at": "2026-01-02T03:04:05Z"}).to_string();
    studio.client.ingest(&id, body.into_bytes()).await.expect(202);
    let message = tokio::time::timeout(Duration::from_secs(20), alerts.next())
        .await
        .unwrap()
        .unwrap();
    let alert: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    assert!(alert.to_string().contains("\"external_id\":\"1\""), "{alert}");
    assert!(message.subject.as_str().contains(&id));
    studio.up.stop();
}

/// The process id of the nats-server child, from its pid file's first word.
fn nats_pid(data: &Path) -> u32 {
    let file = walk(data).into_iter().find(|path| {
        path.file_name().is_some_and(|name| {
            name.to_string_lossy().contains("nats") && name.to_string_lossy().ends_with("pid")
        })
    });
    let text = std::fs::read_to_string(file.expect("a nats pid file")).unwrap();
    let digits: String = text
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

async fn wait_gone(pid: u32) {
    let gone = async {
        while Path::new(&format!("/proc/{pid}")).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("nats-server dies with its parent");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path))
        } else {
            files.push(path)
        }
    }
    files
}
