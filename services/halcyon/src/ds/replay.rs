//! Dead letters, processed anew.

use anyhow::Result;
use serde_json::{Value, json};

use super::find::Which;
use crate::{
    client::{Api, Error},
    output::OutputArgs,
};

/// Flags of `halcyon ds replay`.
#[derive(clap::Parser)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    which: Which,
    /// The dead letter with this id; may be given more than once.
    #[arg(long = "id", value_name = "ID", conflicts_with_all = ["from", "to"])]
    ids: Vec<String>,
    /// Those that failed at or after this time, such as 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Those that failed before this time.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// All of them.
    #[arg(long, conflicts_with_all = ["ids", "from", "to"])]
    all: bool,
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
}

/// Processes them anew, in as many requests as it takes.
pub(super) async fn run(api: &Api, args: &ReplayArgs, output: OutputArgs) -> Result<()> {
    if !args.all && args.ids.is_empty() && args.from.is_none() && args.to.is_none() {
        let text = "which dead letters? give --id, --from and --to, or --all";
        return Err(Error::Usage(text.to_owned()).into());
    }
    let id = args.which.id(api).await?;
    let mut body = json!({"dry_run": args.dry_run});
    if !args.ids.is_empty() {
        body["ids"] = json!(args.ids);
    }
    if args.all {
        body["all"] = json!(true);
    }
    for (name, value) in [("from", &args.from), ("to", &args.to)] {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    let (mut letters, mut events, mut unknown) = (0, 0, Vec::new());
    loop {
        let path = ["datasources", &id, "dead-letters", "replay"];
        let report = api.post(&path, &body, None).await?;
        letters += report["dead_letters"].as_u64().unwrap_or_default();
        events += report["events"].as_u64().unwrap_or_default();
        unknown.extend(report["unknown"].as_array().cloned().unwrap_or_default());
        match &report["next_cursor"] {
            Value::Null => break,
            cursor => body["cursor"] = cursor.clone(),
        }
    }
    let total = json!({
        "dry_run": args.dry_run, "dead_letters": letters, "events": events, "unknown": unknown,
    });
    let what = if args.dry_run {
        "would be processed anew"
    } else {
        "are processed anew"
    };
    output.done(
        &format!("{letters} dead letters in {events} events {what}"),
        &total,
    )?;
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::NotFound(format!("there are no dead letters {}", Value::from(unknown))).into())
}
