//! Values in Vault: an outage, moving them there and back, a wrong address.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};

use halcyon_tests::{
    client::{Client, TOKEN},
    load::sequence_mapping,
    openbao::OpenBao,
};

use super::{System, create, publish, send, wait_answer, wait_state};

/// P10. `HALCYON_VAULT_DOWN_SECONDS=300` makes the outage as long as the promise says.
#[tokio::test]
async fn with_vault_down_what_runs_goes_on_and_what_starts_waits() {
    let mut bao = OpenBao::start().await.unwrap();
    let system = System::start(Some(&bao)).await;
    let client = &system.client;
    let running = client.publish_webhook("running", sequence_mapping("t")).await;
    let waiting = create(client, "waiting").await;
    let printed = system.secrets(&["migrate", "--to", "vault", "--dry-run"]);
    assert!(printed.starts_with("2 values would be moved"), "{printed}");
    assert!(
        system
            .secrets(&["migrate", "--to", "vault"])
            .contains("moved 2 values")
    );
    let status = system.secrets(&["status"]);
    assert!(
        status.contains("values in the database: 0") && status.contains("values in vault: 2"),
        "{status}"
    );
    assert_eq!(send(client, &running, 0, TOKEN).await, 202);

    bao.kill().unwrap();
    publish(client, &waiting).await;
    wait_state(client, &waiting, "ERROR", "secrets_unavailable").await;
    assert_eq!(send(client, &waiting, 0, TOKEN).await, 503);
    let path = format!("/datasources/{running}/secrets/token");
    let refused = client.put(&path, json!({"value": "x"})).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    let down = std::env::var("HALCYON_VAULT_DOWN_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = tokio::time::Instant::now() + Duration::from_secs(down.unwrap_or(5));
    let mut seq = 0;
    while tokio::time::Instant::now() < until {
        seq += 1;
        assert_eq!(send(client, &running, seq, TOKEN).await, 202);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let state = client.get(&format!("/datasources/{running}")).await["state"].clone();
    assert_eq!(state["status"], "RUNNING", "{state}");
    let alerts = format!("/alerts?datasource={running}");
    client
        .wait_for("all that was sent meanwhile", async |client| {
            client.all(&alerts).await.len() as u64 == seq + 1
        })
        .await;

    bao.restart().await.unwrap();
    wait_state(client, &waiting, "RUNNING", "as_desired").await;
    wait_answer(client, &waiting, 1, TOKEN, 202).await;
    client.put(&path, json!({"value": "renewed"})).await.expect(200);
    wait_answer(client, &running, seq + 1, "renewed", 202).await;
    system.up.stop();
}

#[tokio::test]
async fn moving_to_vault_survives_a_kill_and_goes_on() {
    const EACH: usize = 60;
    let bao = OpenBao::start().await.unwrap();
    let system = System::start(Some(&bao)).await;
    let client = &system.client;
    let id = client.publish_webhook("moved", sequence_mapping("t")).await;
    let other = create(client, "more").await;
    for number in 1..EACH {
        for datasource in [&id, &other] {
            let path = format!("/datasources/{datasource}/secrets/more-{number}");
            client
                .put(&path, json!({"value": format!("value {number}")}))
                .await
                .expect(200);
        }
    }
    kill_when(
        &mut system.command(&["migrate", "--to", "vault"]),
        "moved 30 of 120",
    );
    let status = system.secrets(&["status"]);
    assert!(status.contains("new values go to: builtin"), "{status}");
    let in_vault = count(&status, "values in vault: ");
    assert!((30..120).contains(&in_vault), "{status}");
    assert_eq!(send(client, &id, 1, TOKEN).await, 202);
    let path = format!("/datasources/{id}/secrets/token/rotate");
    client
        .post(&path, json!({"value": "rotated half-way"}))
        .await
        .expect(200);

    let printed = system.secrets(&["migrate", "--to", "vault"]);
    assert!(printed.contains("new ones go to vault"), "{printed}");
    let status = system.secrets(&["status"]);
    assert_eq!(count(&status, "values in the database: "), 0, "{status}");
    assert_eq!(count(&status, "values in vault: "), 121, "{status}");
    wait_answer(client, &id, 2, "rotated half-way", 202).await;
    assert_eq!(
        send(client, &id, 3, TOKEN).await,
        202,
        "the overlap goes on in vault"
    );
    // Nothing of a deleted datasource stays behind.
    let metadata = format!(
        "secret/metadata/halcyon/{}/{other}?list=true",
        organization(client).await
    );
    let listed = bao.call(Method::GET, &metadata, Value::Null).await.unwrap();
    assert_eq!(listed["data"]["keys"].as_array().unwrap().len(), EACH);
    client
        .call(Method::DELETE, &format!("/api/v1/datasources/{other}"), None)
        .await
        .expect(204);
    client
        .wait_for("its secrets to be destroyed", async |_| {
            bao.call(Method::GET, &metadata, Value::Null).await.is_err()
        })
        .await;
    let system = system.restart().await;
    wait_answer(&system.client, &id, 4, "rotated half-way", 202).await;
    system.up.stop();
}

async fn organization(client: &Client) -> String {
    let me = client.get("/me").await;
    let found = me.pointer("/organization/id").or_else(|| me.get("organization"));
    found
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{me}"))
        .to_owned()
}

fn count(text: &str, line: &str) -> u64 {
    let rest = text.split(line).nth(1).unwrap_or_else(|| panic!("{text}"));
    rest.lines().next().unwrap().trim().parse().unwrap()
}

/// Starts a command and kills it when it prints a line.
fn kill_when(command: &mut Command, line: &str) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let found = lines.map_while(Result::ok).any(|printed| printed == line);
    assert!(found, "`{line}` was not printed");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_wrong_vault_address_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(crate::halcyon())
        .args([
            "secret-store",
            "status",
            "--set",
            "registry.secrets.vault.url=nonsense",
            "--data-dir",
        ])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("no address of Vault"), "{error}");
    assert!(Path::new(folder.path()).exists());
}
