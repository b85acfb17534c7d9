//! `halcyon demo`: sets a vendor's feed up on a running system and replays real events through it, over the
//! public API only, as a user's script would.

mod api;
mod feed;
mod probe;
mod samples;
mod summary;

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use self::{
    api::Api,
    feed::{Feed, Sender},
    summary::Summary,
};

/// How long to wait for a state that should come by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Set a vendor's feed up on a running system and replay real events through it
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Where the gateway is
    #[arg(long, env = "HALCYON_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Who to sign in as
    #[arg(long, env = "HALCYON_EMAIL", default_value = "admin@halcyon.local")]
    pub email: String,
    /// The password; without it, the file of the data directory is read
    #[arg(long, env = "HALCYON_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// The data directory of `halcyon up`, for the password of its first start
    #[arg(long, default_value = crate::demo::DATA_DIR)]
    pub data_dir: PathBuf,
    /// The vendor preset to set up
    #[arg(long, default_value = "github_audit")]
    pub preset: String,
    /// Events to replay, one JSON object a line; the preset's own samples if absent
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Events per second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// List the presets and stop
    #[arg(long)]
    pub list: bool,
}

/// Where `halcyon up` keeps its data unless it is told otherwise.
pub const DATA_DIR: &str = ".halcyon";

/// The file in the data directory that holds the first admin's one-time password.
pub const PASSWORD_FILE: &str = "admin-password";

/// Runs the demonstration against a running system.
///
/// # Errors
/// The system cannot be reached, refuses the sign-in, or does not get to where it should within a minute.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let password = password(&args)?;
    let api = Api::login(&args.url, &args.email, &password).await?;
    let presets = presets(&api).await?;
    if args.list {
        return list(&presets);
    }
    let preset = find(&presets, &args.preset)?;
    let events = samples::events(&args.preset, args.file.as_deref(), preset)?;

    let (id, name) = create(&api, &args.preset, preset).await?;
    let sender = Sender::for_connection(&preset["connection"])?;
    for (secret, value) in sender.secrets() {
        api.put(&format!("/datasources/{id}/secrets/{secret}"), json!({"value": value})).await?;
    }
    api.post(&format!("/datasources/{id}/publish"), json!({"comment": "published by halcyon demo"})).await?;
    say(&format!("datasource {name} ({id}) is published; waiting for a worker"))?;
    wait_running(&api, &id).await?;

    let feed = Feed::new(&args.url, &id, sender)?;
    say(&format!("replaying {} events at {} per second", events.len(), args.rate))?;
    let sent = feed.replay(&events, args.rate).await?;
    let counted = wait_counted(&api, &id, sent.accepted).await?;
    let latency = probe::latency(&api, &feed, &id, &preset["sample"]).await?;
    let summary = Summary { url: api.url(), id: &id, name: &name, sent, counted, latency };
    say(&summary.text(&api).await?)
}

/// Writes to standard output: it is this command's purpose, and not a log.
fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}

fn password(args: &DemoArgs) -> anyhow::Result<String> {
    if let Some(password) = &args.password {
        return Ok(password.clone());
    }
    let file = args.data_dir.join(PASSWORD_FILE);
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!("no password: {} cannot be read; give --password or HALCYON_PASSWORD", file.display())
    })?;
    Ok(text.trim().to_owned())
}

async fn presets(api: &Api) -> anyhow::Result<Vec<Value>> {
    let connector = api.get("/connectors/http_webhook").await?;
    Ok(connector["presets"].as_array().cloned().unwrap_or_default())
}

fn list(presets: &[Value]) -> anyhow::Result<()> {
    for preset in presets {
        let word = |key: &str| preset[key].as_str().unwrap_or_default().to_owned();
        say(&format!("{:<18} {}", word("id"), word("name")))?;
    }
    Ok(())
}

fn find<'p>(presets: &'p [Value], id: &str) -> anyhow::Result<&'p Value> {
    presets.iter().find(|preset| preset["id"] == id).with_context(|| {
        let known: Vec<_> = presets.iter().filter_map(|preset| preset["id"].as_str()).collect();
        format!("there is no preset `{id}`; there are {}", known.join(", "))
    })
}

/// Creates the datasource with a draft from the preset. Returns its id and name.
async fn create(api: &Api, id: &str, preset: &Value) -> anyhow::Result<(String, String)> {
    let suffix = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("demo {id} {}", suffix.get(..6).unwrap_or_default());
    let body = json!({
        "name": name,
        "type": preset["connector"],
        "description": preset["description"],
        "tags": ["demo"],
        "config": {"connection": preset["connection"], "mapping": preset["mapping"], "tests": preset["tests"]},
        "comment": format!("from the preset {id}"),
    });
    let created = api.post("/datasources", body).await?;
    let id = created["id"].as_str().context("the created datasource has no id")?;
    Ok((id.to_owned(), name))
}

async fn wait_running(api: &Api, id: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = api.get(&format!("/datasources/{id}")).await?["state"].clone();
        if state["status"] == "RUNNING" {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the datasource is not running after {PATIENCE:?}: {state}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until each of `accepted` events has its verdict. Returns the datasource's numbers.
async fn wait_counted(api: &Api, id: &str, accepted: u64) -> anyhow::Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = api.get(&format!("/datasources/{id}/metrics")).await?;
        let count = |key: &str| metrics[key].as_u64().unwrap_or_default();
        if count("delivered") + count("filtered") + count("dead_lettered") >= accepted {
            return Ok(metrics);
        }
        if Instant::now() > deadline {
            bail!("{accepted} events were accepted, but after {PATIENCE:?} the numbers are {metrics}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
