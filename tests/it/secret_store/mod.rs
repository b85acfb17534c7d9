//! Secrets through the whole system: rotation, expiry, their keys, and an OpenBao that keeps them and goes away.

mod vault;

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use halcyon_tests::{
    client::{Client, TOKEN},
    load::sequence_mapping,
    openbao::OpenBao,
    up::Up,
};

/// A system whose registry looks after secrets often.
struct System {
    folder: TempDir,
    environment: Vec<(String, String)>,
    up: Up,
    client: Client,
    password: String,
}

impl System {
    async fn start(bao: Option<&OpenBao>) -> Self {
        let mut environment = bao.map(OpenBao::environment).unwrap_or_default();
        environment.push((
            "HALCYON__REGISTRY__SECRETS__SWEEP_INTERVAL".into(),
            "500ms".into(),
        ));
        let folder = tempfile::tempdir().unwrap();
        let up = start(&folder, &environment);
        let password = up.ready.admin_password.clone().unwrap();
        let client = Client::login(&up.ready.url, &up.ready.admin_email, &password).await;
        Self {
            folder,
            environment,
            up,
            client,
            password,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    async fn restart(self) -> Self {
        let Self {
            folder,
            environment,
            up,
            password,
            ..
        } = self;
        assert!(up.stop().success());
        let up = start(&folder, &environment);
        let client = Client::login(&up.ready.url, &up.ready.admin_email, &password).await;
        Self {
            folder,
            environment,
            up,
            client,
            password,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(crate::halcyon());
        command
            .arg("secret-store")
            .args(args)
            .arg("--data-dir")
            .arg(self.data())
            .envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Runs `halcyon secret-store`; what it prints.
    fn secrets(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn start(folder: &TempDir, environment: &[(String, String)]) -> Up {
    let environment: Vec<(&str, &str)> = environment
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    Up::start_with(crate::halcyon(), &folder.path().join("data"), &environment)
}

fn event(seq: u64) -> Vec<u8> {
    json!({"seq": seq, "host": "h", "at": "2026-01-02T03:04:05Z"})
        .to_string()
        .into_bytes()
}

async fn send(client: &Client, id: &str, seq: u64, token: &str) -> u16 {
    let headers = [("authorization", format!("Bearer {token}"))];
    client.ingest_with(id, event(seq), &headers).await.status.as_u16()
}

/// A feed with its secret, not published.
async fn create(client: &Client, name: &str) -> String {
    let config = json!({
        "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
        "mapping": sequence_mapping("t"),
    });
    let body = json!({"name": name, "type": "http_webhook", "config": config});
    let id = client.post("/datasources", body).await.expect(201)["id"].clone();
    let id = id.as_str().unwrap().to_owned();
    let path = format!("/datasources/{id}/secrets/token");
    client.put(&path, json!({"value": TOKEN})).await.expect(200);
    id
}

async fn publish(client: &Client, id: &str) {
    client
        .post(&format!("/datasources/{id}/publish"), json!({}))
        .await
        .expect(200);
}

async fn wait_state(client: &Client, id: &str, status: &str, reason: &str) {
    client
        .wait_for(&format!("{id} to be {status} ({reason})"), async |client| {
            let state = client.get(&format!("/datasources/{id}")).await["state"].clone();
            state["status"] == status && state["reason"] == reason
        })
        .await;
}

async fn wait_answer(client: &Client, id: &str, seq: u64, token: &str, status: u16) {
    client
        .wait_for(&format!("ingest to answer {status}"), async |client| {
            send(client, id, seq, token).await == status
        })
        .await;
}

async fn kinds(client: &Client, id: &str, kind: &str) -> Vec<Value> {
    let events = client.all(&format!("/datasources/{id}/events")).await;
    events.into_iter().filter(|event| event["kind"] == kind).collect()
}

#[tokio::test]
async fn a_rotated_secret_overlaps_and_an_expired_one_is_seen() {
    let system = System::start(None).await;
    let client = &system.client;
    let id = client.publish_webhook("rotated", sequence_mapping("t")).await;
    assert_eq!(send(client, &id, 1, TOKEN).await, 202);

    let rotate = format!("/datasources/{id}/secrets/token/rotate");
    let too_long = client
        .post(&rotate, json!({"value": "x", "overlap": "400d"}))
        .await;
    assert_eq!(too_long.expect(422)["errors"][0]["pointer"], "/overlap");
    let unknown = format!("/datasources/{id}/secrets/other/rotate");
    client.post(&unknown, json!({"value": "x"})).await.expect(404);
    let rotated = client
        .post(&rotate, json!({"value": "second-token", "overlap": "4s"}))
        .await
        .expect(200);
    assert_eq!(
        (&rotated["version"], rotated["versions"].as_array().unwrap().len()),
        (&json!(2), 2)
    );
    assert!(rotated["versions"][1]["valid_until"].is_string());
    wait_answer(client, &id, 2, "second-token", 202).await;
    assert_eq!(
        send(client, &id, 3, TOKEN).await,
        202,
        "both count while they overlap"
    );
    wait_answer(client, &id, 4, TOKEN, 401).await;
    assert_eq!(send(client, &id, 5, "second-token").await, 202);
    let list = format!("/datasources/{id}/secrets");
    client
        .wait_for("the first version to be destroyed", async |client| {
            client.get(&list).await["items"][0]["versions"]
                .as_array()
                .unwrap()
                .len()
                == 1
        })
        .await;
    client
        .wait_for("the time of the last opening", async |client| {
            client.get(&list).await["items"][0]["versions"][0]["last_read_at"].is_string()
        })
        .await;

    let opened =
        |version: u64| move |entry: &Value| entry["action"] == "secret.open" && entry["version"] == version;
    client
        .wait_for("who opened what in the audit trail", async |client| {
            let trail = client.all("/audit").await;
            let by_gateway = |version| {
                let mut entries = trail.iter().filter(|entry| opened(version)(entry));
                entries.any(|entry| entry["actor"]["kind"] == "system" && entry["actor"]["name"] == "gateway")
            };
            by_gateway(1) && by_gateway(2)
        })
        .await;
    let trail = client.all("/audit").await;
    let rotations = trail
        .iter()
        .filter(|entry| entry["action"] == "secret.rotate")
        .count();
    assert_eq!(rotations, 1);
    assert_eq!(
        trail.iter().filter(|entry| opened(2)(entry)).count(),
        1,
        "each opening is said once"
    );

    let soon = in_seconds(client, &id, 3).await;
    let path = format!("/datasources/{id}/secrets/token");
    client
        .put(&path, json!({"value": "short-lived", "expires_at": soon}))
        .await
        .expect(200);
    wait_answer(client, &id, 6, "short-lived", 202).await;
    wait_state(client, &id, "ERROR", "secret_expired").await;
    wait_answer(client, &id, 7, "short-lived", 503).await;
    assert_eq!(kinds(client, &id, "secret_expiring").await.len(), 1);
    assert_eq!(kinds(client, &id, "secret_expired").await.len(), 1);
    client.put(&path, json!({"value": "renewed"})).await.expect(200);
    wait_state(client, &id, "RUNNING", "as_desired").await;
    wait_answer(client, &id, 8, "renewed", 202).await;
    system.up.stop();
}

/// A time ahead of the system's own, which it told last when it wrote something of this datasource.
async fn in_seconds(client: &Client, id: &str, seconds: i64) -> String {
    let path = format!("/datasources/{id}/secrets/clock");
    let written = client.put(&path, json!({"value": "x"})).await.expect(200);
    let now: chrono::DateTime<chrono::Utc> = written["updated_at"].as_str().unwrap().parse().unwrap();
    (now + chrono::TimeDelta::seconds(seconds)).to_rfc3339()
}

#[tokio::test]
async fn the_key_encryption_key_is_rotated_by_a_command_and_the_old_one_is_not_needed() {
    let system = System::start(None).await;
    let client = &system.client;
    let id = client.publish_webhook("keys", sequence_mapping("t")).await;
    let kek = system.data().join("keys/kek.key");
    let before = std::fs::read_to_string(&kek).unwrap();
    system.secrets(&["rotate-kek"]);
    let status = system.secrets(&["status"]);
    let newest = status
        .split("newest key: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let wrapped_by: Vec<_> = status
        .lines()
        .filter(|line| line.starts_with("keys wrapped by"))
        .collect();
    assert!(
        matches!(wrapped_by[..], [line] if line.contains(newest)),
        "command and registry share the work: {status}"
    );
    assert!(std::fs::read_to_string(&kek).unwrap().contains(before.trim()));
    // The running system goes on with the new key.
    let path = format!("/datasources/{id}/secrets/token");
    client.put(&path, json!({"value": "after"})).await.expect(200);
    wait_answer(client, &id, 1, "after", 202).await;
    let printed = system.secrets(&["rotate-kek", "--remove-old"]);
    assert!(printed.starts_with("removed 1"), "{printed}");
    assert!(!std::fs::read_to_string(&kek).unwrap().contains(before.trim()));
    let printed = system.secrets(&["rotate-data-keys"]);
    assert!(printed.contains("encrypted 1 values"), "{printed}");
    let system = system.restart().await;
    wait_answer(&system.client, &id, 2, "after", 202).await;
    system.up.stop();
}
