//! Configuration as code: files brought in, written down, compared and applied by the real executable.

mod old_registry;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use halcyon_tests::{
    between::between,
    client::Client,
    up::{Studio, Up},
};

use crate::cli::Cli;

fn said(text: &str, line: &str) {
    assert!(
        text.lines().any(|it| it.contains(line)),
        "`{line}` is not in\n{text}"
    );
}

const DOCUMENTS: &str = r#"kind: Datasource
name: edr
type: http_webhook
owner: soc@example.org
description: |
  Endpoint alerts.
  "quoted": yes
tags: [edr, b]
published: true
enabled: true
state: stopped
config: &config
  connection: {auth: {type: none}}
  mapping:
    outputs:
      - kind: alert
        fields: {external_id: id, title: {value: "70"}, time: {value: 0}}
---
kind: Datasource
name: edr
env: staging
type: http_webhook
published: true
enabled: false
state: running
config: *config
---
kind: Datasource
name: "draft: only"
type: http_webhook
published: false
config: {connection: {auth: {type: none}}}
---
kind: Datasource
name: without configuration
type: http_webhook
published: false
"#;

fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut rest = vec![folder.to_owned()];
    while let Some(next) = rest.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => rest.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().to_owned();
                    files.insert(name, fs::read_to_string(path).unwrap());
                }
            }
        }
    }
    files
}

#[tokio::test]
async fn what_was_exported_makes_the_same_system_again() {
    let (one, other) = tokio::join!(Studio::start(crate::halcyon()), Studio::start(crate::halcyon()));
    let (cli, copy) = (Cli::local(&one), Cli::local(&other));
    let split = DOCUMENTS.replace("*config", "{connection: {auth: {type: none}}, mapping: {outputs: [{kind: entity, fields: {type: {value: host}, key: h}}]}}");
    cli.run_with(&["import", "-"], &split, &[]).expect(0);
    let folder = |name: &str| one.folder.path().join(name);
    let (first, second) = (folder("first"), folder("second"));
    let (first_path, second_path) = (first.to_str().unwrap(), second.to_str().unwrap());
    cli.run(&["export", "--all", "--dir", first_path]).expect(0);
    let files = tree(&first);
    assert_eq!(files.len(), 4, "{files:?}");
    assert!(
        files[Path::new("production/edr.yaml")].contains("state: stopped\n"),
        "{files:?}"
    );

    let planned = copy.run(&["plan", first_path, "--detailed-exit-code"]);
    said(
        &planned.out,
        "4 to create, 0 to update, 0 to delete, 0 unchanged, 0 with errors",
    );
    assert_eq!(planned.code, 6);
    copy.run(&["apply", first_path]).expect(0);
    copy.run(&["plan", first_path, "--detailed-exit-code"]).expect(0);
    copy.run(&["export", "--all", "--dir", second_path]).expect(0);
    assert_eq!(files, tree(&second));

    // A changed field is shown, applied, and gone from the next plan; a file that is gone is pruned when asked for.
    let edr = first.join("production/edr.yaml");
    let changed = files[Path::new("production/edr.yaml")]
        .replace("owner: soc@example.org", "owner: noc@example.org")
        .replace("value: \"70\"", "value: \"80\"");
    fs::write(&edr, changed).unwrap();
    fs::remove_file(first.join("production/draft-only.yaml")).unwrap();
    let plan = copy.run(&["plan", first_path, "--prune", "production"]).expect(0);
    assert_eq!(
        plan,
        format!(
            "- production/draft: only  (-)
~ production/edr  ({first_path}/production/edr.yaml:1)
    ~ owner: \"soc@example.org\" -> \"noc@example.org\"
    ~ config.mapping.outputs.0.fields.title.value: \"70\" -> \"80\"
0 to create, 1 to update, 1 to delete, 2 unchanged, 0 with errors
"
        )
    );
    let refused = copy.run(&["apply", first_path, "--prune", "production"]);
    assert_eq!(refused.code, 2, "deleting takes --yes where nobody can be asked");
    copy.run(&["apply", first_path, "--prune", "production", "--yes"])
        .expect(0);
    copy.run(&[
        "plan",
        first_path,
        "--prune",
        "production",
        "--detailed-exit-code",
    ])
    .expect(0);
    assert_eq!(copy.run(&["ds", "show", "draft: only"]).code, 3);
    let edr = copy
        .run(&["ds", "show", "edr", "--env", "production", "-o", "json"])
        .json(0);
    assert_eq!(
        (&edr["current_version"], &edr["desired_state"]),
        (&json!(2), &json!("stopped"))
    );

    // On the first system nothing carries our tag: nothing is pruned there.
    let plan = cli
        .run(&["plan", first_path, "--prune", "production", "-o", "json"])
        .json(0);
    assert_eq!(plan["summary"]["delete"], 0);
    let others = copy.run(&["apply", first_path, "--manager", "team-b"]);
    assert_eq!(others.code, 1);
    said(&others.out, "is kept by `halcyon`: give --take-over");
    said(&others.err, "nothing was done");
    one.up.stop();
    other.up.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_between_is_refused_and_not_overwritten() {
    let studio = Studio::start(crate::halcyon()).await;
    let cli = Cli::local(&studio);
    let document = |owner: &str, key: &str| {
        format!(
            "kind: Datasource\nname: edr\ntype: http_webhook\nowner: {owner}\npublished: true\nconfig:\n  connection: \
             {{auth: {{type: none}}}}\n  mapping: {{outputs: [{{kind: entity, fields: {{type: {{value: host}}, key: {key}}}}}]}}\n"
        )
    };
    cli.run_with(&["apply", "-"], &document("a", "h"), &[]).expect(0);
    let edr = cli.run(&["ds", "show", "edr", "-o", "json"]).json(0);
    let id = edr["id"].as_str().unwrap().to_owned();
    let address = studio.up.ready.url.trim_start_matches("http://").parse().unwrap();
    // Metadata are guarded by the revision, and so is a configuration alone.
    for (owner, key) in [("b", "h"), ("x", "other")] {
        let (client, path) = (studio.client.clone(), format!("/datasources/{id}"));
        let meanwhile = async move {
            change(&client, &path, "x").await;
        };
        let proxy = between(address, "/datasources/validate", meanwhile).await;
        let url = format!("http://{proxy}");
        let token = fs::read_to_string(studio.folder.path().join("data/cli-session")).unwrap();
        let token: Value = serde_json::from_str(&token).unwrap();
        let environment = [("HALCYON_TOKEN", token["access_token"].as_str().unwrap())];
        let document = document(owner, key);
        let args = ["apply", "-", "--url", &url];
        let ran = tokio::task::block_in_place(|| cli.run_with(&args, &document, &environment));
        assert_eq!(ran.code, 4, "{}\n{}", ran.out, ran.err);
        said(&ran.out, "changed meanwhile");
        let now = studio.client.get(&format!("/datasources/{id}")).await;
        assert_eq!((&now["owner"], &now["current_version"]), (&json!("x"), &json!(1)));
        assert_eq!(now["draft_version"], Value::Null);
    }
    studio.up.stop();
}

/// Changes a datasource's owner, and back if it is that already: its revision grows.
async fn change(client: &Client, path: &str, owner: &str) {
    for owner in ["y", owner] {
        client.put(path, json!({"owner": owner})).await.expect(200);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_shown_and_nothing_is_done() {
    let studio = Studio::start(crate::halcyon()).await;
    let cli = Cli::local(&studio);
    let folder = studio.folder.path().join("feeds");
    fs::create_dir(&folder).unwrap();
    let good = "kind: Datasource\nname: good\ntype: http_webhook\n";
    fs::write(folder.join("a.yaml"), good).unwrap();
    fs::write(
        folder.join("b.yaml"),
        format!("{good}---\nkind: Datasource\nname: x\n"),
    )
    .unwrap();
    fs::write(folder.join("c.yaml"), "kind: [").unwrap();
    fs::write(
        folder.join("d.yaml"),
        "kind: Datasource\nname: pigeon\ntype: carrier_pigeon\n",
    )
    .unwrap();
    let ran = cli.run(&["apply", folder.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.out);
    said(&ran.err, "a.yaml:2:7: `good` in `production` stands at");
    said(&ran.err, "b.yaml:2:7: `good` in `production` stands at");
    said(&ran.err, "b.yaml:5:1: `type` is missing");
    said(&ran.err, "c.yaml:");
    said(
        &ran.out,
        "d.yaml:3:7: /type: there is no connector `carrier_pigeon`",
    );
    said(&ran.err, "nothing was done");
    // The same as an import: the others come in.
    let ran = cli.run(&[
        "import",
        folder.join("a.yaml").to_str().unwrap(),
        folder.join("d.yaml").to_str().unwrap(),
    ]);
    assert_eq!(ran.code, 1);
    said(&ran.out, "create  production/good");
    said(&ran.out, "error   production/pigeon");
    // A secret in plain is refused, and not shown.
    let plain = "kind: Datasource\nname: good\ntype: http_webhook\nconfig:\n  connection:\n    auth: {type: bearer, secret: hunter2}\n";
    let ran = cli.run_with(&["plan", "-"], plain, &[]);
    assert_eq!(ran.code, 1);
    said(&ran.out, "-:6:34: /config/connection/auth/secret");
    assert!(!format!("{ran:?}").contains("hunter2"));
    studio.up.stop();
}

#[tokio::test]
async fn a_system_can_apply_files_whenever_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("feeds.yaml"));
    let document = |owner: &str| {
        format!(
            "kind: Datasource\nname: edr\ntype: http_webhook\nowner: {owner}\n---\nkind: Datasource\nname: x\n"
        )
    };
    let mut password = None;
    for owner in ["a", "b"] {
        fs::write(&file, document(owner)).unwrap();
        let flags = ["--apply", file.to_str().unwrap()];
        let up = Up::start_as(crate::halcyon(), &data, &[], &flags);
        password = up.ready.admin_password.clone().or(password);
        let client = Client::login(&up.ready.url, &up.ready.admin_email, password.as_ref().unwrap()).await;
        client
            .wait_for("the file to be applied", async |client| {
                let list = client.get("/datasources").await;
                let edr = &list["items"][0];
                edr["owner"] == owner && edr["tags"] == json!(["managed-by:halcyon"])
            })
            .await;
        up.stop();
    }
    let log = fs::read_to_string(folder.path().join("up.log")).unwrap();
    said(&log, "feeds.yaml:6:1: `type` is missing");
}
