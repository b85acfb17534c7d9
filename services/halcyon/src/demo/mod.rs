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
use secrecy::SecretString;
use serde_json::{Value, json};

use self::{
    api::Api,
    feed::{Feed, Sender},
    summary::{Found, Summary},
};
use crate::{
    client::read_secret,
    up::{PASSWORD_FILE, RUN_FILE},
};

/// How long to wait for a state that should come by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Flags of `halcyon demo`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where the gateway is; if absent, where the data folder says that the system runs.
    #[arg(long, env = "HALCYON_URL", value_name = "URL")]
    url: Option<String>,
    /// Who to sign in as; if absent, the first administrator.
    #[arg(long)]
    email: Option<String>,
    /// A file with the password, `-` for standard input; if absent, the one of the first start is read from the data
    /// folder.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The data folder of `halcyon up`.
    #[arg(long, default_value = ".halcyon", value_name = "DIR")]
    data_dir: PathBuf,
    /// The vendor preset to set up.
    #[arg(long, default_value = "github_audit")]
    preset: String,
    /// Events to replay, one JSON object a line; the vendor's sample file if absent.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Events per second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// List the presets and stop.
    #[arg(long)]
    list: bool,
}

/// Where to sign in, and as whom.
struct Login {
    url: String,
    email: String,
    password: SecretString,
}

/// Runs the demonstration against a running system.
///
/// # Errors
/// The system cannot be reached, refuses the sign-in, or does not get to where it should within a minute.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let login = Login::of(&args)?;
    let api = Api::login(&login).await?;
    let presets = presets(&api).await?;
    if args.list {
        return list(&presets);
    }
    let preset = find(&presets, &args.preset)?;
    let events = samples::events(&args.preset, args.file.as_deref(), preset)?;

    let (id, name) = create(&api, &args.preset, preset).await?;
    let sender = Sender::for_connection(&preset["connection"])?;
    for (secret, value) in sender.secrets() {
        api.put(
            &format!("/datasources/{id}/secrets/{secret}"),
            json!({"value": value}),
        )
        .await?;
    }
    api.post(
        &format!("/datasources/{id}/publish"),
        json!({"comment": "published by halcyon demo"}),
    )
    .await?;
    say(&format!(
        "datasource {name} ({id}) is published; waiting for a worker"
    ))?;
    wait_running(&api, &id).await?;

    let feed = Feed::new(api.url(), &id, sender)?;
    say(&format!(
        "replaying {} events at {} per second",
        events.len(),
        args.rate
    ))?;
    let sent = feed.replay(&events, args.rate).await?;
    let counted = wait_counted(&api, &id, sent.accepted).await?;
    let found = Found::settled(&api, &id).await?;
    let latency = probe::latency(&api, &feed, &id, &preset["sample"]).await?;
    let summary = Summary {
        url: api.url(),
        id: &id,
        name: &name,
        sent,
        counted,
        found,
        latency,
    };
    say(&summary.text()?)
}

/// Writes to standard output: it is this command's purpose, and not a log.
fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}

impl Login {
    /// What the flags say; what they leave out is in the data folder.
    fn of(args: &DemoArgs) -> anyhow::Result<Self> {
        let run = std::fs::read_to_string(args.data_dir.join(RUN_FILE)).unwrap_or_default();
        let run: Value = serde_json::from_str(&run).unwrap_or_default();
        let known = |given: &Option<String>, key: &str, flag: &str| {
            let found = given.clone().or_else(|| run[key].as_str().map(str::to_owned));
            let folder = args.data_dir.display();
            found
                .with_context(|| format!("no system has run in {folder}: give {flag}, or another --data-dir"))
        };
        let (url, email) = (
            known(&args.url, "url", "--url")?,
            known(&args.email, "admin_email", "--email")?,
        );
        let kept = args.data_dir.join(PASSWORD_FILE);
        let file = args.password_file.as_ref().unwrap_or(&kept);
        let password = read_secret(Some(file), "password");
        let password = password.context("the password: give another --password-file")?;
        Ok(Self { url, email, password })
    }
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
        let known: Vec<_> = presets
            .iter()
            .filter_map(|preset| preset["id"].as_str())
            .collect();
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
    let id = created["id"]
        .as_str()
        .context("the created datasource has no id")?;
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
