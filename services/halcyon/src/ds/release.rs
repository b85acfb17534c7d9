//! Publish, roll back, compare.

use anyhow::Result;
use serde_json::{Value, json};

use super::find::Which;
use crate::{
    client::{Api, Error},
    output::{Format, OutputArgs, cell, plain, say},
};

/// Flags of `halcyon ds publish`.
#[derive(clap::Parser)]
pub(super) struct PublishArgs {
    #[command(flatten)]
    which: Which,
    /// The draft's number; the newest draft if absent.
    #[arg(long = "number", value_name = "N")]
    version: Option<u64>,
    /// Why.
    #[arg(long, short = 'm')]
    comment: Option<String>,
    /// Publish without the approval that is needed, and why it cannot wait. It stands in the audit trail as what it
    /// is.
    #[arg(long, value_name = "REASON")]
    break_glass: Option<String>,
}

/// Flags of `halcyon ds rollback`.
#[derive(clap::Parser)]
pub(super) struct RollBackArgs {
    #[command(flatten)]
    which: Which,
    /// The number of the version whose configuration is to be in effect again; the one before if absent.
    #[arg(value_name = "N")]
    version: Option<u64>,
    /// Why.
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// Flags of `halcyon ds diff`.
#[derive(clap::Parser)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    which: Which,
    /// The version to start from; the published one if absent.
    #[arg(value_name = "FROM")]
    from: Option<u64>,
    /// The version to arrive at; the newest draft if absent.
    #[arg(value_name = "TO")]
    to: Option<u64>,
}

pub(super) async fn publish(api: &Api, args: &PublishArgs, output: OutputArgs) -> Result<()> {
    let found = args.which.find(api).await?;
    let id = cell(&found["id"]);
    let mut body = json!({"version": args.version, "comment": args.comment});
    if let Some(reason) = &args.break_glass {
        body["break_glass"] = json!({"reason": reason});
    }
    let version = api
        .post(&["datasources", &id, "publish"], &body, revision(&found))
        .await?;
    told(&found, &version, output)
}

pub(super) async fn roll_back(api: &Api, args: &RollBackArgs, output: OutputArgs) -> Result<()> {
    let found = args.which.find(api).await?;
    let id = cell(&found["id"]);
    let number = match args.version {
        Some(number) => number,
        None => before(api, &id, found["current_version"].as_u64()).await?,
    };
    let body = json!({"version": number, "comment": args.comment});
    let version = api
        .post(&["datasources", &id, "rollback"], &body, revision(&found))
        .await?;
    told(&found, &version, output)
}

/// The version that was in effect before the present one.
async fn before(api: &Api, id: &str, current: Option<u64>) -> Result<u64> {
    let versions = api
        .all(&["datasources", id, "versions"], &[("state", "archived")])
        .await?;
    let published = versions
        .iter()
        .filter(|version| !version["published_at"].is_null());
    let last = published
        .max_by_key(|version| version["published_at"].as_str().map(str::to_owned))
        .and_then(|version| version["number"].as_u64())
        .filter(|number| Some(*number) != current);
    let none = || Error::Conflict("no version was in effect before this one".to_owned());
    Ok(last.ok_or_else(none)?)
}

fn told(datasource: &Value, version: &Value, output: OutputArgs) -> Result<()> {
    let (name, number) = (cell(&datasource["name"]), cell(&version["number"]));
    output.done(&plain(&format!("{name}: version {number} is published")), version)
}

fn revision(datasource: &Value) -> Option<i64> {
    datasource["revision"].as_i64()
}

pub(super) async fn diff(api: &Api, args: &DiffArgs, output: OutputArgs) -> Result<()> {
    let found = args.which.find(api).await?;
    let id = cell(&found["id"]);
    let number = |given: Option<u64>, field: &str, what: &str| {
        let number = given.or_else(|| found[field].as_u64());
        number.ok_or_else(|| Error::Conflict(format!("there is no {what}: say which versions to compare")))
    };
    let from = number(args.from, "current_version", "published version")?.to_string();
    let to = number(args.to, "draft_version", "newer draft")?.to_string();
    let diff = api
        .get(&["datasources", &id, "versions", &from, "diff", &to], &[])
        .await?;
    if output.format != Format::Table {
        return output.value(&diff);
    }
    let lines = diff["summary"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines: Vec<_> = lines.iter().map(|line| plain(&cell(line))).collect();
    if lines.is_empty() {
        return say(&format!("versions {from} and {to} are the same"));
    }
    say(&format!(
        "from version {from} to version {to}:\n  {}",
        lines.join("\n  ")
    ))
}
