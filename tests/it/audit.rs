//! The audit trail of a running system: followed, exported, verified, and what the verdicts are.

use std::{
    process::{Command, Output},
    time::Duration,
};

use futures::StreamExt;
use halcyon_tests::{client::Client, up::Studio};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::cli::Cli;

const SOON: Duration = Duration::from_secs(30);

fn halcyon_audit(studio: &Studio, args: &[&str]) -> Output {
    let config = studio.folder.path().join("data/halcyon.toml");
    Command::new(crate::halcyon())
        .arg("audit")
        .args(args)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

async fn create(client: &Client, name: &str) {
    let body = json!({"name": name, "type": "generator"});
    client.post("/datasources", body).await.expect(201);
}

/// Waits until the trail has so many entries, and a checkpoint confirms them.
async fn confirmed(client: &Client, least: i64) -> Value {
    let found = async |client: &Client| client.get("/audit/verify").await;
    client
        .wait_for("a checkpoint", async |client| {
            let found = found(client).await;
            found["entries"].as_i64() >= Some(least) && found["confirmed"] == found["last"]
        })
        .await;
    found(client).await
}

#[tokio::test]
async fn a_running_trail_is_confirmed_exported_and_verified() {
    let environment = [("HALCYON__AUDIT__CHECKPOINT_INTERVAL", "200ms")];
    let studio = Studio::start_with(crate::halcyon(), &environment).await;
    let client = &studio.client;
    create(client, "one").await;
    let found = confirmed(client, 2).await;
    assert_eq!(
        (&found["ok"], &found["pinned_keys"]),
        (&json!(true), &json!(true)),
        "{found}"
    );
    client
        .wait_for("the checkpoint on the bus", async |client| {
            let found = client.get("/audit/verify").await;
            found["anchored"] == found["last"]
        })
        .await;

    let output = halcyon_audit(&studio, &["verify", "--output", "json"]);
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["verdict"], "ok", "{said}");

    let exported = halcyon_audit(&studio, &["export"]);
    assert_eq!(
        code(&exported),
        0,
        "{}",
        String::from_utf8_lossy(&exported.stderr)
    );
    let by_api = client
        .call(reqwest::Method::GET, "/api/v1/audit/export", None)
        .await
        .expect(200);
    let file = studio.folder.path().join("audit.jsonl");
    let verify = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let args = [&["verify", "--from-export", file.as_str()][..], more].concat();
        // With the settings the public keys are known; without, they are only those of the file.
        Command::new(crate::halcyon())
            .arg("audit")
            .args(args)
            .output()
            .unwrap()
    };
    let public = studio
        .folder
        .path()
        .join("data/keys/audit-checkpoints.pub")
        .display()
        .to_string();
    let pinned = ["--public-keys", public.as_str()];
    let text = String::from_utf8(exported.stdout).unwrap();
    assert_eq!(code(&verify(&text, &pinned)), 0);
    assert_eq!(code(&verify(by_api.as_str().unwrap(), &pinned)), 0);
    assert_eq!(code(&verify(&text, &[])), 2, "its own keys prove nothing");
    let tampered = verify(
        &text.replacen("datasource.create", "datasource.delete", 1),
        &pinned,
    );
    assert_eq!(code(&tampered), 1);
    let named = String::from_utf8_lossy(&tampered.stdout).into_owned();
    assert!(named.contains("changed at 2"), "{named}");
    let short: String = text.split_inclusive('\n').take(3).collect();
    assert_eq!(code(&verify(&short, &pinned)), 2);
    assert_eq!(code(&verify("nothing\n", &pinned)), 2);

    rotation(&studio, client, &text).await;
}

/// A new key signs from the next start on; who trusts the old one trusts it.
async fn rotation(studio: &Studio, client: &Client, before: &str) {
    let old = studio.folder.path().join("old.pub");
    std::fs::copy(studio.folder.path().join("data/keys/audit-checkpoints.pub"), &old).unwrap();
    assert_eq!(code(&halcyon_audit(studio, &["rotate-key"])), 0);
    let output = halcyon_audit(studio, &["verify", "--public-keys", &old.display().to_string()]);
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stdout));
    let found = client.get("/audit/verify").await;
    assert_eq!(
        (&found["ok"], &found["pinned_keys"]),
        (&json!(true), &json!(true))
    );
    // A checkpoint that was kept elsewhere is compared, too.
    let kept = before.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["type"] == "checkpoint").then(|| line["checkpoint"].to_string())
    });
    let kept: Vec<_> = kept.collect();
    let file = studio.folder.path().join("kept.jsonl");
    let name = file.display().to_string();
    std::fs::write(&file, kept.join("\n")).unwrap();
    assert_eq!(
        code(&halcyon_audit(studio, &["verify", "--checkpoints", &name])),
        0
    );
    let forged = kept.last().unwrap().replacen("\"number\":", "\"number\":1", 1);
    std::fs::write(&file, forged).unwrap();
    assert_eq!(
        code(&halcyon_audit(studio, &["verify", "--checkpoints", &name])),
        1
    );
}

/// The trail as server-sent events.
struct Events {
    stream: TcpStream,
    text: String,
}

impl Events {
    /// Begins to follow; the answer's head is there when this returns.
    async fn open(url: &str, token: &str, last: Option<i64>) -> Self {
        let address = url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.unwrap();
        let last = last
            .map(|last| format!("last-event-id: {last}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "GET /api/v1/audit/stream HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n{last}\
             authorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut events = Self {
            stream,
            text: String::new(),
        };
        events.until("text/event-stream").await;
        events
    }

    /// Reads until `wanted` is in it.
    async fn until(&mut self, wanted: &str) {
        let read = async {
            let mut bytes = [0; 8192];
            while !self.text.contains(wanted) {
                let count = self.stream.read(&mut bytes).await.unwrap();
                assert!(count > 0, "the stream ended: {}", self.text);
                self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        tokio::time::timeout(SOON, read).await.unwrap();
    }
}

#[tokio::test]
async fn the_trail_is_followed_over_http_and_nats() {
    let studio = Studio::start(crate::halcyon()).await;
    let client = &studio.client;
    let ready = &studio.up.ready;
    let login = json!({"email": ready.admin_email, "password": studio.password});
    let token = client.post("/auth/login", login).await.expect(200)["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let auditor = ready.auditor(&studio.folder.path().join("data")).await;
    let mut entries = auditor.subscribe("halcyon.*.audit").await.unwrap();
    auditor.flush().await.unwrap();

    create(client, "first").await;
    client
        .wait_for("the first entries", async |client| {
            client.all("/audit").await.len() == 3
        })
        .await;
    let mut following = Events::open(&ready.url, &token, None).await;
    create(client, "second").await;
    following.until("\"name\":\"second\"").await;
    assert!(
        !following.text.contains("\"name\":\"first\""),
        "{}",
        following.text
    );

    // From the beginning, in order and without gaps.
    let mut all = Events::open(&ready.url, &token, Some(0)).await;
    all.until("\"name\":\"second\"").await;
    let ids = all.text.lines().filter_map(|line| line.strip_prefix("id:"));
    let ids: Vec<i64> = ids.map(|id| id.trim().parse().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4], "{}", all.text);

    let message = tokio::time::timeout(SOON, entries.next()).await.unwrap().unwrap();
    let entry: Value = serde_json::from_slice(&message.payload).unwrap();
    assert!(entry["sequence"].is_i64() && entry["hash"].is_string(), "{entry}");
    studio.up.stop();
}

#[tokio::test]
async fn the_trail_is_read_on_the_command_line() {
    let studio = Studio::start(crate::halcyon()).await;
    let cli = Cli::local(&studio);
    for name in ["one", "two", "three"] {
        create(&studio.client, name).await;
    }
    let body = json!({"email": "viewer@example.test", "name": "V", "password": "correct horse battery"});
    studio.client.post("/users", body).await.expect(201);
    studio
        .client
        .wait_for("all of it in the trail", async |client| {
            client.all("/audit").await.len() >= 5
        })
        .await;

    let created = ["audit", "list", "--action", "datasource.*"];
    let of = |more: &[&str]| cli.run(&[&created[..], more].concat());
    let table = of(&[]).expect(0);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("AT ") && lines[0].ends_with("ID"), "{table}");
    assert!(
        lines[1].contains("admin@halcyon.local") && lines[1].contains("datasource three"),
        "{table}"
    );
    let names = |listed: &Value| {
        let items = listed.as_array().unwrap().iter();
        let names = items.map(|entry| entry["resource"]["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        names(&of(&["--oldest-first", "-o", "json"]).json(0)),
        ["one", "two", "three"]
    );
    for (flags, count) in [
        (&["--outcome", "refused"][..], 0),
        (&["--actor", "admin@halcyon.local", "--from", "1h"], 3),
        (&["--to", "1h"], 0),
        (&["--from", "2100-01-01T00:00:00Z"], 0),
        (&["--datasource", "two"], 1),
        (&["--resource", "user"], 0),
        (&["-q", "three"], 1),
    ] {
        let listed = of(&[flags, &["-o", "json"]].concat()).json(0);
        assert_eq!(listed.as_array().unwrap().len(), count, "{flags:?}");
    }

    // What a page leaves out is said, and where to go on.
    let first = of(&["--limit", "2", "-o", "json"]);
    let cursor = first.err.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(first.err.starts_with("there are more: go on with --cursor "));
    let listed = first.json(0);
    assert_eq!(names(&listed), ["three", "two"]);
    let rest = of(&["--limit", "2", "--cursor", &cursor, "-o", "json"]);
    assert_eq!(rest.err, "");
    assert_eq!(names(&rest.json(0)), ["one"]);
    let id = listed[0]["id"].as_str().unwrap();
    let shown = cli.run(&["audit", "show", id, "-o", "yaml"]).expect(0);
    assert!(shown.contains("action: datasource.create"), "{shown}");
    assert!(cli.run(&["audit", "show", id]).expect(0).contains("outcome"));

    let nothing = "00000000-0000-7000-8000-000000000000";
    assert_eq!(cli.run(&["audit", "show", nothing]).code, 3);
    assert_eq!(of(&["--from", "yesterday"]).code, 2);
    assert_eq!(of(&["--outcome", "maybe"]).code, 2);
    assert_eq!(Cli::nowhere(studio.folder.path()).run(&created).code, 5);
    studio.up.stop();
}
