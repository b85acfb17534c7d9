//! The old registry's file is brought in.

use std::fs;

use halcyon_tests::{client::TOKEN, up::Studio};
use serde_json::{Value, json};

use super::said;
use crate::cli::Cli;

/// The old registry's file: a feed with a secret in plain, one that is switched off, one with a slip of the finger
/// and one whose mapping the system refuses.
const OLD: &str = r#"version: 1
datasources:
  - id: edr alerts
    type: webhook
    owner: soc@example.org
    tags: edr, endpoint
    connection:
      auth: {type: bearer, secret: "integration-test-token"}
    mapping: &mapping
      outputs:
        - kind: alert
          fields:
            external_id: id
            title: name
            time: {expr: at, as: timestamp}
            severity: {expr: sev, lookup: {"70": high}, default: unknown}
    tests:
      - name: a detection
        payload: {id: "1", name: Mimikatz, at: "2026-01-02T03:04:05Z", sev: 70}
        expect: {alerts: [{severity: high}]}
  - name: switched off
    type: http-webhook
    environment: staging
    enabled: false
    connection: {auth: {type: none}}
    mapping: *mapping
  - name: slip
    type: webhook
    retries: 3
  - name: refused
    type: webhook
    connection: {auth: {type: none}}
    mapping:
      outputs:
        - kind: alert
          fields:
            external_id: "id["
            title: name
            time: at
"#;

#[tokio::test]
async fn the_old_registrys_file_comes_in_once() {
    let studio = Studio::start(crate::halcyon()).await;
    let cli = Cli::local(&studio);
    let file = studio.folder.path().join("old.yaml");
    fs::write(&file, OLD).unwrap();
    let file = file.to_str().unwrap();

    let dry = cli.run(&["import", file, "--publish", "--dry-run"]);
    assert_eq!(dry.code, 1, "{}\n{}", dry.out, dry.err);
    said(&dry.out, "create  production/edr alerts");
    said(&dry.out, "old.yaml:3");
    said(&dry.out, "needs the secrets secret");
    said(&dry.out, "create  staging/switched off");
    said(&dry.out, "error   production/refused");
    said(
        &dry.err,
        "old.yaml:8:36: `secret` stands here in plain: secret `secret`",
    );
    said(&dry.err, "old.yaml:29:5: unknown field `retries`");
    said(
        &dry.err,
        "old.yaml:37:26: /config/mapping/outputs/0/fields/external_id",
    );
    said(
        &dry.err,
        "2 created, 0 updated, 0 deleted, 0 skipped, 0 waiting, 2 errors (dry run",
    );
    assert!(!format!("{dry:?}").contains(TOKEN), "a secret is not shown");
    assert_eq!(
        cli.run(&["ds", "list", "-o", "json"]).json(0),
        json!([]),
        "nothing was made"
    );
    said(&studio.client.get("/audit").await.to_string(), "session.login");
    assert!(
        !studio
            .client
            .get("/audit")
            .await
            .to_string()
            .contains("datasource.create")
    );

    let run = cli.run(&[
        "import",
        file,
        "--publish",
        "--with-secrets",
        "--test",
        "-o",
        "json",
    ]);
    let done = run.json(1);
    assert_eq!(
        done["summary"],
        json!({"create": 2, "update": 0, "delete": 0, "skip": 0, "waiting": 0, "error": 2})
    );
    let edr = &done["results"][0];
    assert_eq!((&edr["name"], &edr["line"]), (&json!("edr alerts"), &json!(3)));
    let detail = edr["detail"].to_string();
    assert!(
        detail.contains("secret secret written") && detail.contains("version 1 published"),
        "{detail}"
    );
    assert!(detail.contains("1 stored tests pass"), "{detail}");
    let id = edr["id"].as_str().unwrap();
    studio.client.wait_running(id, 1).await;
    let event = json!({"id": "2", "name": "x", "at": "2026-01-02T03:04:05Z", "sev": 1}).to_string();
    assert_eq!(
        studio.client.ingest(id, event.into_bytes()).await.status,
        202,
        "the secret was moved"
    );
    let off = cli.run(&["ds", "show", "switched off", "-o", "json"]).json(0);
    assert_eq!(
        (&off["status"], &off["current_version"]),
        (&json!("draft"), &Value::Null)
    );

    let before = studio.client.get("/datasources?sort=name").await;
    let again = cli
        .run(&["import", file, "--publish", "--with-secrets", "-o", "json"])
        .json(1);
    assert_eq!(
        again["summary"],
        json!({"create": 0, "update": 0, "delete": 0, "skip": 2, "waiting": 0, "error": 2})
    );
    let after = studio.client.get("/datasources?sort=name").await;
    let revisions = |list: &Value| -> Vec<Value> {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["revision"].clone())
            .collect()
    };
    assert_eq!(revisions(&before), revisions(&after));
    studio.up.stop();
}
