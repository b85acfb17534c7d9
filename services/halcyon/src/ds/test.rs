//! Test runs.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    change::{config, read},
    find::Which,
};
use crate::{
    client::{Api, Error, Exit},
    output::{Format, OutputArgs, cell, plain, say},
};

/// Flags of `halcyon ds test`.
#[derive(clap::Parser)]
pub(super) struct TestArgs {
    #[command(flatten)]
    which: Which,
    /// A file with the body to map; `-` is standard input. Without one the stored tests are run.
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// The payload's media type.
    #[arg(long, value_name = "TYPE", requires = "payload")]
    content_type: Option<String>,
    /// So many records to fetch from the live source, instead of a payload.
    #[arg(long, value_name = "N", conflicts_with = "payload")]
    fetch_sample: Option<u32>,
    /// The number of the version to try; the newest draft, else the published version, if absent.
    #[arg(long = "number", value_name = "N")]
    version: Option<u64>,
    /// A file with a configuration to try that is not stored, YAML or JSON.
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with = "version")]
    file: Option<PathBuf>,
    /// The number of a version to compare the outcome with.
    #[arg(long, value_name = "N")]
    compare_with: Option<u64>,
}

/// Runs a test. It fails if the test does.
pub(super) async fn run(api: &Api, args: &TestArgs, output: OutputArgs) -> Result<()> {
    let id = args.which.id(api).await?;
    let mut body = json!({});
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[name] = value;
        }
    };
    // A text is taken as the raw body, byte by byte.
    set(
        "payload",
        args.payload.as_deref().map(read).transpose()?.map(Value::from),
    );
    set("content_type", args.content_type.clone().map(Value::from));
    set("fetch_sample", args.fetch_sample.map(Value::from));
    set("version", args.version.map(Value::from));
    set("config", args.file.as_deref().map(config).transpose()?);
    set("compare_with", args.compare_with.map(Value::from));
    let report = api.post(&["datasources", &id, "test"], &body, None).await?;
    match output.format {
        Format::Table => say(&text(&report))?,
        _ => output.value(&report)?,
    }
    if report["ok"] == true {
        Ok(())
    } else {
        Err(Error::Told(Exit::Failed).into())
    }
}

/// A report for people.
fn text(report: &Value) -> String {
    let items = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for error in items("errors") {
        lines.push(format!(
            "error    {}: {}",
            cell(&error["pointer"]),
            cell(&error["detail"])
        ));
    }
    for check in items("checks") {
        lines.push(format!(
            "check    {} {}: {}",
            cell(&check["status"]),
            cell(&check["name"]),
            cell(&check["message"])
        ));
    }
    for test in items("tests") {
        let word = if test["passed"] == true {
            "passed"
        } else {
            "FAILED"
        };
        lines.push(format!("test     {word} {}", cell(&test["name"])));
        let failures = test["failures"].as_array().cloned().unwrap_or_default();
        for failure in failures {
            lines.push(format!(
                "         {}: {}",
                cell(&failure["pointer"]),
                cell(&failure["detail"])
            ));
        }
    }
    for object in items("outputs") {
        lines.push(format!("{:<8} {}", cell(&object["kind"]), summary(&object)));
    }
    for letter in items("dead_letters") {
        let failure = &letter["failure"];
        lines.push(format!(
            "dead     {} {}: {}",
            cell(&letter["record"]),
            cell(&failure["pointer"]),
            cell(&failure["detail"])
        ));
    }
    for warning in items("warnings") {
        lines.push(format!(
            "warning  {}: {}",
            cell(&warning["pointer"]),
            cell(&warning["message"])
        ));
    }
    if let Some(comparison) = report.get("comparison") {
        let count = |name: &str| comparison[name].as_array().map_or(0, Vec::len);
        let (added, removed, changed) = (count("added"), count("removed"), count("changed"));
        lines.push(format!(
            "compared {added} added, {removed} removed, {changed} changed"
        ));
    }
    let metrics = &report["metrics"];
    let outcome = if report["ok"] == true { "ok" } else { "FAILED" };
    let (records, objects) = (cell(&metrics["records_in"]), cell(&metrics["records_out"]));
    let took = cell(&metrics["duration_ms"]);
    lines.push(format!(
        "{outcome}: {records} records in, {objects} objects out, {took} ms"
    ));
    let lines: Vec<_> = lines.iter().map(|line| plain(line)).collect();
    lines.join("\n")
}

/// What tells an object from others.
fn summary(object: &Value) -> String {
    let inner = if object["object"].is_object() {
        &object["object"]
    } else {
        object
    };
    match object["kind"].as_str() {
        Some("alert") => {
            let (severity, title) = (cell(&inner["severity"]), cell(&inner["title"]));
            format!("{severity} {title} ({})", cell(&inner["external_id"]))
        }
        Some("entity") => format!("{} {}", cell(&inner["type"]), cell(&inner["key"])),
        _ => {
            let end = |end: &Value| format!("{} {}", cell(&end["type"]), cell(&end["key"]));
            let (source, target) = (end(&inner["source"]), end(&inner["target"]));
            format!("{source} {} {target}", cell(&inner["type"]))
        }
    }
}
