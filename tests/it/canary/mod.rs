//! P16: secrets never leave. Each credential has a value that stands nowhere else; after all that touches it was
//! done, at debug level, none of them is in logs, database, streams, traces, metrics, audit trail or answers, in
//! whatever form.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use reqwest::Method;
use serde_json::{Value, json};

use halcyon_tests::{
    client::{Answer, Client, hmac_sha256_hex},
    load::sequence_mapping,
    openbao::OpenBao,
    up::Up,
};

/// Values to be looked for, by what they are, in all the forms that they might take.
#[derive(Default)]
struct Search {
    needles: Vec<(String, Vec<u8>)>,
    /// Whether some needle begins with these two bytes.
    beginnings: Vec<bool>,
}

impl Search {
    fn new(canaries: &BTreeMap<&str, Vec<u8>>) -> Self {
        let mut search = Self {
            needles: Vec::new(),
            beginnings: vec![false; 65_536],
        };
        for (name, value) in canaries {
            for (form, needle) in forms(value) {
                search.beginnings[usize::from(needle[0]) << 8 | usize::from(needle[1])] = true;
                search.needles.push((format!("{name} ({form})"), needle));
            }
        }
        search
    }

    /// What is found in `text`.
    fn hits(&self, text: &[u8]) -> Vec<&str> {
        let mut found = Vec::new();
        for at in 0..text.len().saturating_sub(1) {
            if !self.beginnings[usize::from(text[at]) << 8 | usize::from(text[at + 1])] {
                continue;
            }
            let rest = &text[at..];
            let here = self.needles.iter().filter(|(_, needle)| rest.starts_with(needle));
            found.extend(here.map(|(name, _)| name.as_str()));
        }
        found
    }

    #[track_caller]
    fn assert_clean(&self, place: &str, text: &[u8]) {
        let hits = self.hits(text);
        assert!(hits.is_empty(), "{place} holds {hits:?}");
    }
}

/// A value as it is, and in base64, hexadecimal, percent-encoded and escaped for JSON.
fn forms(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("plain", value.to_vec())];
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.push(("hex", hex.into_bytes()));
    let percent = value.iter().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    });
    forms.push(("percent-encoded", percent.collect::<String>().into_bytes()));
    if let Ok(text) = std::str::from_utf8(value) {
        let json = json!(text).to_string();
        forms.push(("JSON", json.as_bytes()[1..json.len() - 1].to_vec()));
        let twice = json!(json).to_string();
        forms.push(("JSON in JSON", twice.as_bytes()[3..twice.len() - 3].to_vec()));
    }
    // Base64 looks different at each of the three places that a value can begin at.
    for shift in 0..3 {
        let shifted = [&[0; 2][..shift], value].concat();
        for (form, engine) in [("base64", &STANDARD), ("base64url", &URL_SAFE)] {
            let encoded = engine.encode(&shifted);
            let (from, to) = ([0, 2, 3][shift], shifted.len() / 3 * 4);
            forms.push((form, encoded.as_bytes()[from..to].to_vec()));
        }
    }
    forms
}

/// A value that stands nowhere else, with characters that each form escapes in its own way.
fn canary(tag: &str) -> String {
    format!("Cnry+{tag}/\"\\&=%{}", uuid::Uuid::new_v4().simple())
}

/// A client that keeps all answers.
struct Recorder {
    client: Client,
    answers: Vec<(String, String)>,
}

impl Recorder {
    async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let name = format!("{method} {path}");
        let answer = self.client.call(method, path, body).await;
        self.answers.push((name, answer.body.to_string()));
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn put(&mut self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn ingest(&mut self, id: &str, body: &[u8], headers: &[(&str, String)]) -> u16 {
        let answer = self.client.ingest_with(id, body.to_vec(), headers).await;
        self.answers
            .push((format!("ingest {id}"), answer.body.to_string()));
        answer.status.as_u16()
    }

    /// A published feed with this kind of authentication and secret.
    async fn feed(&mut self, kind: &str, auth: Value, secret: &str) -> String {
        let config = json!({"connection": {"auth": auth}, "mapping": sequence_mapping("t")});
        let body = json!({"name": kind, "type": "http_webhook", "config": config});
        let created = self.post("/api/v1/datasources", body).await.expect(201);
        let id = created["id"].as_str().unwrap().to_owned();
        let base = format!("/api/v1/datasources/{id}");
        let path = format!("{base}/secrets/key");
        self.put(&path, json!({"value": secret})).await.expect(200);
        let run = json!({"version": 1, "payload": {"seq": 1, "host": "h", "at": "2026-01-02T03:04:05Z"}});
        self.post(&format!("{base}/test"), run).await.expect(200);
        self.post(&format!("{base}/publish"), json!({"comment": "go"}))
            .await
            .expect(200);
        self.client.wait_running(&id, 1).await;
        id
    }
}

struct Canaries {
    bearer: String,
    api_key: String,
    basic: String,
    hmac: String,
    rotated: String,
    refused: String,
    wrong_password: String,
    secret_id: String,
}

impl Canaries {
    fn new() -> Self {
        Self {
            bearer: canary("bearer"),
            api_key: canary("api-key"),
            basic: canary("basic"),
            hmac: canary("hmac"),
            rotated: canary("rotated"),
            refused: canary("refused"),
            wrong_password: canary("password"),
            secret_id: canary("vault"),
        }
    }
}

fn event(seq: u64) -> Vec<u8> {
    json!({"seq": seq, "host": "h", "at": "2026-01-02T03:04:05Z"})
        .to_string()
        .into_bytes()
}

/// Feeds of each kind of authentication; requests that pass and requests that do not.
async fn ingest(recorder: &mut Recorder, canaries: &Canaries) -> Vec<String> {
    let reference = json!({"$secret": "key"});
    let bearer = json!({"type": "bearer", "secret": reference});
    let api_key = json!({"type": "api_key", "header": "x-api-key", "secret": reference});
    let basic = json!({"type": "basic", "username": "sender", "secret": reference});
    let hmac = json!({"type": "hmac", "preset": "github", "secret": reference});
    let login = STANDARD.encode(format!("sender:{}", canaries.basic));
    let signature = hmac_sha256_hex(canaries.hmac.as_bytes(), &event(1));
    let feeds = [
        (
            "bearer",
            bearer,
            &canaries.bearer,
            ("authorization", format!("Bearer {}", canaries.bearer)),
        ),
        (
            "api-key",
            api_key,
            &canaries.api_key,
            ("x-api-key", canaries.api_key.clone()),
        ),
        (
            "basic",
            basic,
            &canaries.basic,
            ("authorization", format!("Basic {login}")),
        ),
        (
            "hmac",
            hmac,
            &canaries.hmac,
            ("x-hub-signature-256", format!("sha256={signature}")),
        ),
    ];
    let mut ids = Vec::new();
    for (kind, auth, secret, header) in feeds {
        let id = recorder.feed(kind, auth, secret).await;
        assert_eq!(
            recorder
                .ingest(&id, &event(1), std::slice::from_ref(&header))
                .await,
            202,
            "{kind}"
        );
        // What cannot be mapped is kept with its headers; a wrong credential is near a right one.
        if kind != "hmac" {
            recorder
                .ingest(&id, b"not JSON", std::slice::from_ref(&header))
                .await;
            let near = [(header.0, format!("{}x", header.1))];
            assert_eq!(recorder.ingest(&id, &event(2), &near).await, 401, "{kind}");
        }
        ids.push(id);
    }
    ids
}

/// Secrets written, rotated, refused, listed and deleted; logins that fail.
async fn administer(recorder: &mut Recorder, canaries: &Canaries, id: &str) {
    let secrets = format!("/api/v1/datasources/{id}/secrets");
    let rotated = json!({"value": canaries.rotated, "overlap": "1h"});
    recorder
        .post(&format!("{secrets}/key/rotate"), rotated)
        .await
        .expect(200);
    let refused = [
        json!({"value": canaries.refused, "expires_at": "2001-01-01T00:00:00Z"}),
        json!({"value": canaries.refused, "unknown": canaries.refused}),
        json!({"value": canaries.refused, "expires_at": canaries.refused}),
        json!({"value": {"nested": canaries.refused}, "expires_at": 7}),
        json!([canaries.refused]),
    ];
    for body in refused {
        let answer = recorder.put(&format!("{secrets}/other"), body).await;
        assert!(answer.status.is_client_error(), "{}", answer.body);
    }
    let too_long = json!({"value": canaries.refused, "overlap": "900d"});
    recorder
        .post(&format!("{secrets}/key/rotate"), too_long)
        .await
        .expect(422);
    recorder
        .put(&format!("{secrets}/gone"), json!({"value": canaries.refused}))
        .await
        .expect(200);
    recorder
        .call(Method::DELETE, &format!("{secrets}/gone"), None)
        .await
        .expect(204);
    recorder.get(&secrets).await.expect(200);
    // Where only a reference belongs, a value is refused and not repeated.
    let literal = json!({"config": {"connection": {"auth": {"type": "bearer", "secret": canaries.refused}}}});
    let answer = recorder
        .post(&format!("/api/v1/datasources/{id}/versions"), literal)
        .await;
    assert!(answer.status.is_client_error(), "{}", answer.body);
    for email in ["admin@halcyon.local", "nobody@example.test"] {
        let login = json!({"email": email, "password": canaries.wrong_password});
        recorder.post("/api/v1/auth/login", login).await.expect(401);
    }
    let malformed = json!({"email": "admin@halcyon.local", "password": [canaries.wrong_password]});
    recorder.post("/api/v1/auth/login", malformed).await;
}

/// All that can be read.
async fn read_all(recorder: &mut Recorder, ids: &[String]) {
    for id in ids {
        for part in [
            "",
            "/versions",
            "/events",
            "/metrics",
            "/logs",
            "/dead-letters",
            "/secrets",
        ] {
            recorder
                .get(&format!("/api/v1/datasources/{id}{part}"))
                .await
                .expect(200);
        }
    }
    for path in [
        "/api/v1/audit?limit=200",
        "/api/v1/alerts",
        "/api/v1/me",
        "/metrics",
        "/healthz",
    ] {
        recorder.get(path).await.expect(200);
    }
}

/// What the commands print.
fn commands(data: &Path, environment: &[(String, String)]) -> Vec<u8> {
    let mut printed = Vec::new();
    for args in [
        &["secret-store", "status"][..],
        &["secret-store", "migrate", "--to", "vault"],
        &["secret-store", "rotate-kek"],
        &["secret-store", "rotate-data-keys"],
        &["secret-store", "status"],
    ] {
        let output = Command::new(crate::halcyon())
            .args(args)
            .arg("--data-dir")
            .arg(data)
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .output()
            .unwrap();
        printed.extend(output.stdout);
        printed.extend(output.stderr);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&printed));
    }
    printed
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The files that hold a credential because that is what they are for.
fn is_meant_to(file: &Path, data: &Path) -> bool {
    file.starts_with(data.join("keys"))
        || file == data.join("admin-password")
        || file == data.join("run.json")
}

#[tokio::test]
async fn no_credential_is_found_anywhere() {
    let canaries = Canaries::new();
    let bao = OpenBao::start_with_secret_id(Some(&canaries.secret_id))
        .await
        .unwrap();
    let (endpoint, traces) = crate::traces::collector().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut environment = bao.environment();
    environment.push(("HALCYON__TELEMETRY__FILTER".into(), "debug".into()));
    environment.push(("HALCYON__TELEMETRY__OTLP_ENDPOINT".into(), endpoint));
    let variables: Vec<(&str, &str)> = environment
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    let up = Up::start_with(crate::halcyon(), &data, &variables);
    let password = up.ready.admin_password.clone().unwrap();
    let client = Client::login(&up.ready.url, &up.ready.admin_email, &password).await;
    let token = client.token().to_owned();
    let mut recorder = Recorder {
        client,
        answers: Vec::new(),
    };
    let old_kek = std::fs::read_to_string(data.join("keys/kek.key")).unwrap();

    let ids = ingest(&mut recorder, &canaries).await;
    let mut printed = commands(&data, &environment);
    administer(&mut recorder, &canaries, &ids[0]).await;
    recorder
        .client
        .wait_for("the rotated secret in use", async |client| {
            let headers = [("authorization", format!("Bearer {}", canaries.rotated))];
            client.ingest_with(&ids[0], event(3), &headers).await.status == 202
        })
        .await;
    read_all(&mut recorder, &ids).await;
    let up = {
        assert!(up.stop().success());
        Up::start_with(crate::halcyon(), &data, &variables)
    };
    recorder.client = Client::login(&up.ready.url, &up.ready.admin_email, &password).await;
    read_all(&mut recorder, &ids).await;
    let second_token = recorder.client.token().to_owned();
    assert!(up.stop().success());
    printed.extend(std::fs::read(folder.path().join("up.log")).unwrap());

    let new_kek = std::fs::read_to_string(data.join("keys/kek.key")).unwrap();
    let mut all: BTreeMap<&str, Vec<u8>> = BTreeMap::from([
        ("bearer token", canaries.bearer.into_bytes()),
        ("API key", canaries.api_key.into_bytes()),
        ("basic password", canaries.basic.into_bytes()),
        ("HMAC key", canaries.hmac.into_bytes()),
        ("rotated value", canaries.rotated.into_bytes()),
        ("refused value", canaries.refused.into_bytes()),
        ("wrong password", canaries.wrong_password.into_bytes()),
        ("administrator's password", password.into_bytes()),
        ("Vault secret id", canaries.secret_id.into_bytes()),
        ("access token", token.into_bytes()),
        ("second access token", second_token.into_bytes()),
    ]);
    let keks: Vec<_> = old_kek.lines().chain(new_kek.lines()).collect();
    assert_eq!(keks.len(), 3, "the rotation left the old key");
    for (name, kek) in ["old KEK", "new KEK"].into_iter().zip([keks[0], keks[1]]) {
        all.insert(name, bytes_of(kek));
    }
    let search = Search::new(&all);

    // The search finds what is there.
    for (name, value) in &all {
        for (form, planted) in forms(value) {
            let text = [b"some text ", &planted[..], b" and more"].concat();
            assert!(!search.hits(&text).is_empty(), "{name} is not found as {form}");
        }
    }
    let kept = std::fs::read(data.join("admin-password")).unwrap();
    assert!(!search.hits(&kept).is_empty(), "the password's own file holds it");
    assert!(search.hits(b"nothing of the kind").is_empty());

    search.assert_clean("the log or what commands print", &printed);
    assert!(
        String::from_utf8_lossy(&printed).contains("DEBUG"),
        "the log is at debug level"
    );
    for (name, answer) in &recorder.answers {
        search.assert_clean(name, answer.as_bytes());
    }
    let traces = traces.lock().unwrap();
    assert!(!traces.is_empty());
    for body in traces.iter() {
        search.assert_clean("a trace", body);
    }
    let mut looked_at = 0;
    for file in walk(&data).into_iter().filter(|file| !is_meant_to(file, &data)) {
        search.assert_clean(&file.display().to_string(), &std::fs::read(&file).unwrap());
        looked_at += 1;
    }
    assert!(looked_at > 20, "only {looked_at} files");
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.trim().chars().collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect()
}
