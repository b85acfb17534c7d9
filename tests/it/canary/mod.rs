//! P16: secrets never leave. Each credential has a value that stands nowhere else; after all that touches it was
//! done, at debug level, none of them is in logs, database, streams, traces, metrics, audit trail or answers, in
//! whatever form: of the system in one process over SQLite and Vault, and of separate processes over Postgres.

mod feeds;
mod people;
mod recorder;
mod search;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::Method;

use halcyon_tests::{
    client::Client,
    cluster::{Cluster, SERVICES, Sync},
    openbao::OpenBao,
    ports,
    postgres::Postgres,
    up::Up,
    wait,
};

use recorder::{Canaries, Recorder};
use search::{Search, forms};

/// All that gives or takes a credential. Returns the feeds.
async fn use_credentials(recorder: &mut Recorder, canaries: &Canaries, system: &Whom<'_>) -> Vec<String> {
    let ids = feeds::ingest(recorder, canaries).await;
    feeds::rotate_signing(recorder, canaries, &ids[3]).await;
    people::users(recorder, canaries, system.url).await;
    people::browser(recorder, system.url, system.email, system.password).await;
    people::service_account(recorder, system.url).await;
    ids
}

/// Where the system is, and who administers it.
struct Whom<'a> {
    url: &'a str,
    email: &'a str,
    password: &'a str,
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
            "/audit",
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
        "/api/v1/me/sessions",
        "/api/v1/users",
        "/api/v1/service-accounts",
        "/metrics",
        "/healthz",
    ] {
        recorder.get(path).await.expect(200);
    }
    let export = "/api/v1/audit/export";
    let answer = recorder.call(Method::GET, export, None).await;
    assert_eq!(answer.status, 200);
}

/// What commands print.
fn commands(commands: &[&[&str]], system: &[&str], environment: &[(String, String)]) -> Vec<u8> {
    let mut printed = Vec::new();
    for args in commands {
        let output = Command::new(crate::halcyon())
            .args(*args)
            .args(system)
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .output()
            .unwrap();
        printed.extend(output.stdout);
        printed.extend(output.stderr);
        let said = || String::from_utf8_lossy(&printed);
        assert!(output.status.success(), "{args:?}: {}", said());
    }
    printed
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

/// The files that hold a credential because that is what they are for.
fn is_meant_to(file: &Path, data: &Path) -> bool {
    file.starts_with(data.join("keys"))
        || ["admin-password", "test-admin-password", "run.json"]
            .iter()
            .any(|name| file == data.join(name))
}

/// What was collected of a system.
struct Evidence {
    /// What is looked for.
    values: BTreeMap<String, Vec<u8>>,
    /// What is looked at, by where it is from.
    places: Vec<(String, Vec<u8>)>,
}

impl Evidence {
    /// Of the values that were used, and of what was answered.
    fn new(canaries: &Canaries, recorder: Recorder, password: &str) -> Self {
        let mut values: BTreeMap<_, _> = canaries.all().chain(recorder.told).collect();
        values.insert(
            "administrator's password".to_owned(),
            password.as_bytes().to_vec(),
        );
        let answers = recorder.answers.into_iter();
        Self {
            values,
            places: answers.map(|(name, text)| (name, text.into_bytes())).collect(),
        }
    }

    /// The key-encryption keys: the present one and the one that was rotated away, and what there is to read.
    fn add_keys(&mut self, before: &str, data: &Path) {
        let now = std::fs::read_to_string(data.join("keys/kek.key")).unwrap();
        let keys: Vec<_> = before.lines().chain(now.lines()).collect();
        assert_eq!(keys.len(), 3, "the rotation left the old key");
        for (name, key) in ["old KEK", "new KEK"].into_iter().zip(keys) {
            self.values.insert(name.to_owned(), bytes_of(key));
        }
    }

    fn add(&mut self, place: &str, text: Vec<u8>) {
        self.places.push((place.to_owned(), text));
    }

    /// All files of a folder that are not there to hold credentials. Returns how many they are.
    fn add_files(&mut self, folder: &Path, data: &Path) -> usize {
        let files = walk(folder).into_iter().filter(|file| !is_meant_to(file, data));
        let before = self.places.len();
        for file in files {
            let text = std::fs::read(&file).unwrap();
            self.add(&file.display().to_string(), text);
        }
        self.places.len() - before
    }

    /// Nothing that is looked for is anywhere, and it would be found if it were.
    fn assert_clean(&self) {
        let search = Search::new(&self.values);
        for (name, value) in &self.values {
            for (form, planted) in forms(value) {
                let text = [b"some text ", &planted[..], b" and more"].concat();
                assert!(!search.hits(&text).is_empty(), "{name} is not found as {form}");
            }
        }
        assert!(search.hits(b"nothing of the kind").is_empty());
        for (name, text) in &self.places {
            search.assert_clean(name, text);
        }
    }

    /// The logs are at debug level, and nothing panicked.
    fn assert_logs(&self, logs: &[u8]) {
        let logs = String::from_utf8_lossy(logs);
        assert!(logs.contains("DEBUG"), "the log is at debug level");
        assert!(!logs.contains("panicked at"), "something panicked");
    }
}

#[tokio::test]
async fn no_credential_is_found_anywhere() {
    let canaries = Canaries::new();
    let bao = OpenBao::start_with_secret_id(Some(canaries.get("vault")))
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
    let admin = up.ready.admin_email.clone();
    let system = Whom {
        url: &up.ready.url,
        email: &admin,
        password: &password,
    };
    let mut recorder = Recorder::new(Client::login(system.url, &admin, &password).await);
    let old_kek = std::fs::read_to_string(data.join("keys/kek.key")).unwrap();

    let ids = use_credentials(&mut recorder, &canaries, &system).await;
    let printed = commands(
        &[
            &["secret-store", "status"],
            &["secret-store", "migrate", "--to", "vault"],
            &["secret-store", "rotate-kek"],
            &["secret-store", "rotate-data-keys"],
            &["secret-store", "status"],
            &["audit", "list", "--all"],
            &["secret", "list", &ids[0]],
        ],
        &["--data-dir", &data.display().to_string()],
        &environment,
    );
    feeds::administer(&mut recorder, &canaries, &ids[0]).await;
    read_all(&mut recorder, &ids).await;
    let up = {
        assert!(up.stop().success());
        Up::start_with(crate::halcyon(), &data, &variables)
    };
    recorder.go_on_as(Client::login(&up.ready.url, &admin, &password).await);
    read_all(&mut recorder, &ids).await;
    assert!(up.stop().success());

    let mut evidence = Evidence::new(&canaries, recorder, &password);
    evidence.add_keys(&old_kek, &data);
    let log = std::fs::read(folder.path().join("up.log")).unwrap();
    evidence.assert_logs(&log);
    evidence.add("the log", log);
    evidence.add("what commands print", printed);
    let traces = traces.lock().unwrap();
    assert!(!traces.is_empty());
    for body in traces.iter() {
        evidence.add("a trace", body.clone());
    }
    let files = evidence.add_files(&data, &data);
    assert!(files > 20, "only {files} files");
    evidence.assert_clean();
    let kept = std::fs::read(data.join("admin-password")).unwrap();
    assert!(
        !Search::new(&evidence.values).hits(&kept).is_empty(),
        "the password's own file holds it"
    );
}

/// The settings of a service whose log, traces and metrics can be looked at.
fn talkative(service: &str, endpoint: &str, metrics: &mut Vec<String>) -> Vec<String> {
    let mut settings = vec![
        "telemetry.filter=debug".to_owned(),
        format!("telemetry.otlp_endpoint={endpoint}"),
    ];
    if service != "gateway" {
        let address = ports::free_address();
        settings.push(format!("health.{service}={address}"));
        metrics.push(format!("http://{address}/metrics"));
    }
    settings
}

/// Starts a service again and again with the same settings.
fn spawn(cluster: &mut Cluster, service: &str, settings: &[String]) {
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    cluster.spawn_as(service, service, &settings).unwrap();
}

#[tokio::test]
async fn no_credential_is_found_anywhere_in_processes_over_postgres() {
    let canaries = Canaries::new();
    let (endpoint, traces) = crate::traces::collector().await;
    let postgres = Postgres::start().await.unwrap();
    let database = postgres.database().await.unwrap();
    let prepared = Cluster::prepare(crate::halcyon(), &database, Sync::Default, &[]).await;
    let mut cluster = prepared.unwrap();
    let (data, mut metrics) = (cluster.folder().join("data"), Vec::new());
    let settings = SERVICES.map(|service| (service, talkative(service, &endpoint, &mut metrics)));
    for (service, settings) in &settings {
        spawn(&mut cluster, service, settings);
    }
    cluster.wait_ready().await.unwrap();
    let (url, email, password) = (
        cluster.url.clone(),
        cluster.email.clone(),
        cluster.password.clone(),
    );
    let mut recorder = Recorder::new(Client::login(&url, &email, &password).await);
    let system = Whom {
        url: &url,
        email: &email,
        password: &password,
    };
    let old_kek = std::fs::read_to_string(data.join("keys/kek.key")).unwrap();

    let ids = use_credentials(&mut recorder, &canaries, &system).await;
    let config = data.join("halcyon.toml").display().to_string();
    let printed = commands(
        &[
            &["secret-store", "rotate-kek"],
            &["secret-store", "rotate-data-keys"],
            &["secret-store", "status"],
            &["audit", "export"],
            &["config"],
            &["doctor"],
        ],
        &["--config", &config],
        &[],
    );
    feeds::administer(&mut recorder, &canaries, &ids[0]).await;
    read_all(&mut recorder, &ids).await;
    let mut told = Vec::new();
    for address in &metrics {
        // Only the gateway was waited for until now.
        let listens = address.trim_start_matches("http://").trim_end_matches("/metrics");
        if wait::port(listens).await.is_err() {
            let logs = SERVICES.map(|service| {
                let log = std::fs::read_to_string(cluster.log(service)).unwrap_or_default();
                let told = log
                    .lines()
                    .filter(|line| line.contains("serving health") || line.contains("ERROR"));
                format!(
                    "{service}: {} lines, {}",
                    log.lines().count(),
                    told.collect::<Vec<_>>().join(" | ")
                )
            });
            panic!("nothing listens at {address}; the logs say:\n{}", logs.join("\n"));
        }
        let answer = reqwest::get(address).await.unwrap();
        assert_eq!(answer.status(), 200, "{address}");
        told.push((address.clone(), answer.text().await.unwrap()));
    }
    let has_metrics = told.iter().filter(|(_, text)| text.contains("# TYPE "));
    assert!(has_metrics.count() >= 4, "{told:?}");
    for (service, settings) in &settings {
        cluster.kill(service).unwrap();
        spawn(&mut cluster, service, settings);
    }
    cluster.wait_ready().await.unwrap();
    recorder.go_on_as(Client::login(&url, &email, &password).await);
    read_all(&mut recorder, &ids).await;

    let mut evidence = Evidence::new(&canaries, recorder, &password);
    evidence.values.remove("vault");
    evidence.add_keys(&old_kek, &data);
    evidence.add("what commands print", printed);
    for (address, text) in told {
        evidence.add(&address, text.into_bytes());
    }
    evidence.add("a dump of the database", postgres.dump(&database).await.unwrap());
    postgres.stop().unwrap();
    for (service, _) in &settings {
        let log = std::fs::read(cluster.log(service)).unwrap();
        evidence.assert_logs(&log);
        cluster.kill(service).unwrap();
    }
    let traces = traces.lock().unwrap();
    assert!(!traces.is_empty());
    for body in traces.iter() {
        evidence.add("a trace", body.clone());
    }
    let folder = cluster.folder().to_owned();
    let files = evidence.add_files(&folder, &data);
    assert!(files > 20, "only {files} files");
    evidence.add_files(postgres.folder(), &data);
    evidence.assert_clean();
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.trim().chars().collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect()
}
