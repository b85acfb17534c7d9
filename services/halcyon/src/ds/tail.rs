//! Objects as they come in. The system is asked again and again: an object that changes twice between two questions
//! is shown once, as it is then.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

use super::find::Which;
use crate::{
    client::{Api, Error},
    output::{Format, OutputArgs, cell, plain, remark, say},
};

/// How often the system is asked.
const PAUSE: Duration = Duration::from_secs(1);

/// The most objects that are remembered by their revision.
const REMEMBERED: usize = 50_000;

/// The most objects that are shown of what came between two questions.
const MOST: usize = 1_000;

/// Flags of `halcyon ds tail`.
#[derive(clap::Parser)]
pub(super) struct TailArgs {
    #[command(flatten)]
    which: Which,
    /// Which objects.
    #[arg(long, value_enum, default_value = "alert")]
    kind: Kind,
    /// How many of those that are there already are shown first.
    #[arg(long, default_value_t = 10, value_name = "N")]
    limit: usize,
    /// Stop after so many objects.
    #[arg(long, value_name = "N")]
    count: Option<usize>,
}

/// Which objects.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Alert,
    Entity,
    Relationship,
}

impl Kind {
    const fn path(self) -> &'static str {
        match self {
            Self::Alert => "alerts",
            Self::Entity => "entities",
            Self::Relationship => "relationships",
        }
    }
}

/// Shows objects, the oldest first, until it is stopped.
pub(super) async fn run(api: &Api, args: &TailArgs, output: OutputArgs) -> Result<()> {
    let id = args.which.id(api).await?;
    let mut seen = HashMap::new();
    let mut shown = 0;
    let mut most = args.limit;
    let mut first = true;
    loop {
        match newest(api, args.kind, &id, &mut seen, first).await {
            Ok(objects) => {
                let skip = objects.len().saturating_sub(most);
                if skip > 0 && !first {
                    remark(&format!("halcyon: {skip} more came at once and are not shown"));
                }
                for object in objects.iter().skip(skip) {
                    print(args.kind, object, output)?;
                    shown += 1;
                    if args.count.is_some_and(|count| shown >= count) {
                        return Ok(());
                    }
                }
            }
            Err(error) if Error::is_passing(&error) && !first => {
                remark(&format!("halcyon: {error:#}; trying on"));
            }
            Err(error) => return Err(error),
        }
        (most, first) = (MOST, false);
        tokio::time::sleep(PAUSE).await;
    }
}

/// The objects that are new or changed, the oldest first.
async fn newest(
    api: &Api,
    kind: Kind,
    id: &str,
    seen: &mut HashMap<String, i64>,
    first: bool,
) -> Result<Vec<Value>> {
    let query = [("datasource", id), ("sort", "-last_seen")];
    let mut found = Vec::new();
    let mut most = 200;
    loop {
        let page = api.up_to(&[kind.path()], &query, most).await?;
        let count = page.len();
        let known = |object: &Value| seen.get(&cell(&object["id"])) == object["revision"].as_i64().as_ref();
        let all_new = !page.iter().any(known);
        found.clear();
        found.extend(page.into_iter().filter(|object| !known(object)));
        // So many came in at once that the last question's objects are further down.
        if first || !all_new || count < most || most >= MOST {
            break;
        }
        most = MOST;
    }
    if seen.len() > REMEMBERED {
        seen.clear();
    }
    for object in &found {
        seen.insert(
            cell(&object["id"]),
            object["revision"].as_i64().unwrap_or_default(),
        );
    }
    found.reverse();
    Ok(found)
}

fn print(kind: Kind, object: &Value, output: OutputArgs) -> Result<()> {
    match output.format {
        Format::Table => say(&plain(&text(kind, object))),
        Format::Json => say(&object.to_string()),
        Format::Yaml => say(&format!("---\n{}", crate::yaml::write(object)?)),
    }
}

fn text(kind: Kind, object: &Value) -> String {
    let at = cell(&object["last_seen"]);
    match kind {
        Kind::Alert => {
            let (severity, title) = (cell(&object["severity"]), cell(&object["title"]));
            format!("{at} {severity:<13} {title} ({})", cell(&object["external_id"]))
        }
        Kind::Entity => format!("{at} {} {}", cell(&object["type"]), cell(&object["key"])),
        Kind::Relationship => {
            let end = |end: &Value| format!("{} {}", cell(&end["type"]), cell(&end["key"]));
            let (source, target) = (end(&object["source"]), end(&object["target"]));
            format!("{at} {source} {} {target}", cell(&object["type"]))
        }
    }
}
