//! A datasource's log, its newest lines or as it is written.

use std::time::Duration;

use anyhow::{Context, Result};
use chrono::TimeDelta;
use halcyon_domain::clock::{Clock, SystemClock, Timestamp};
use serde_json::Value;

use super::{find::Which, sse::Events};
use crate::{
    client::{Api, Error},
    output::{Format, OutputArgs, cell, plain, remark, say},
};

/// The most lines that the system gives at once.
const MOST: u32 = 1_000;

/// The pauses before the log is followed again.
const PAUSES: [u64; 5] = [0, 1, 2, 5, 10];

/// Flags of `halcyon ds logs`.
#[derive(clap::Parser)]
pub(super) struct LogsArgs {
    #[command(flatten)]
    which: Which,
    /// Go on with the lines as they are written, over pauses of the connection, until you stop it.
    #[arg(long, short = 'f')]
    follow: bool,
    /// Lines of this level and above: debug, info, warn or error.
    #[arg(long)]
    level: Option<String>,
    /// Lines of this component, such as `worker.mapping`.
    #[arg(long)]
    component: Option<String>,
    /// Lines of this event or trace.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Lines with this text in their message.
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Lines of the last so much time, such as `10m` or `2h`, as far back as the system keeps them.
    #[arg(long, value_name = "TIME", value_parser = age)]
    since: Option<Duration>,
    /// The most lines of before now: 1 to 1,000.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

fn age(text: &str) -> Result<Duration, String> {
    let age = text.parse::<halcyon_domain::duration::HumanDuration>();
    age.map(halcyon_domain::duration::HumanDuration::get)
        .map_err(|error| error.to_string())
}

/// Shows the log.
pub(super) async fn run(api: &Api, args: &LogsArgs, output: OutputArgs) -> Result<()> {
    let id = args.which.id(api).await?;
    let since = args.since.and_then(|age| TimeDelta::from_std(age).ok());
    let mut printer = Printer {
        output,
        since: since.map(|age| SystemClock.now() - age),
        last: None,
        at_last: Vec::new(),
    };
    // What is asked for by age is looked for as far back as the system goes.
    let limit = if args.since.is_some() { MOST } else { args.limit };
    if args.follow {
        return follow(api, &id, args, limit, &mut printer).await;
    }
    let limit = limit.to_string();
    let page = api
        .get(&["datasources", &id, "logs"], &query(args, &limit))
        .await?;
    let lines = page["items"].as_array().cloned().unwrap_or_default();
    let lines: Vec<_> = lines.into_iter().filter(|line| printer.is_wanted(line)).collect();
    if output.format == Format::Table {
        return lines.iter().try_for_each(|line| say(&text(line)));
    }
    output.value(&Value::from(lines))
}

fn query<'q>(args: &'q LogsArgs, limit: &'q str) -> Vec<(&'static str, &'q str)> {
    let filters = [
        ("level", &args.level),
        ("component", &args.component),
        ("correlation_id", &args.correlation_id),
        ("q", &args.grep),
    ];
    let filters = filters
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)));
    filters.chain([("limit", limit)]).collect()
}

/// Follows the log. A stream ends with the token that it was opened with, and whenever the gateway does; then it is
/// opened again, and what was shown already is left out.
async fn follow(api: &Api, id: &str, args: &LogsArgs, limit: u32, printer: &mut Printer) -> Result<()> {
    let mut limit = limit.to_string();
    let mut failures = 0;
    loop {
        let opened = api
            .stream(&["datasources", id, "logs"], &query(args, &limit))
            .await;
        match opened {
            Ok(response) => {
                let mut events = Events::of(response);
                while let Ok(Some(event)) = events.next().await {
                    failures = 0;
                    let line = serde_json::from_str(&event).context("the log is no JSON")?;
                    printer.line(line)?;
                }
            }
            Err(error) if Error::is_passing(&error) => {
                remark(&format!("halcyon: {error:#}; trying on"));
            }
            Err(error) => return Err(error),
        }
        // From now on it begins where it broke off.
        limit = MOST.to_string();
        let pause = PAUSES
            .get(failures)
            .or(PAUSES.last())
            .copied()
            .unwrap_or_default();
        failures += 1;
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

/// Prints lines, each once.
struct Printer {
    output: OutputArgs,
    since: Option<Timestamp>,
    /// The time of the newest line that was printed.
    last: Option<Timestamp>,
    /// The lines of that time that were printed.
    at_last: Vec<Value>,
}

impl Printer {
    fn is_wanted(&self, line: &Value) -> bool {
        self.since
            .is_none_or(|since| time(line).is_none_or(|at| at >= since))
    }

    /// Whether a line is new. Lines come in the order of their times.
    fn is_new(&mut self, line: &Value) -> bool {
        let at = time(line);
        match (at, self.last) {
            (Some(at), Some(last)) if at < last => false,
            (Some(at), Some(last)) if at == last => {
                let is_new = !self.at_last.contains(line);
                if is_new {
                    self.at_last.push(line.clone());
                }
                is_new
            }
            _ => {
                self.last = at;
                self.at_last = vec![line.clone()];
                true
            }
        }
    }

    fn line(&mut self, line: Value) -> Result<()> {
        if !self.is_wanted(&line) || !self.is_new(&line) {
            return Ok(());
        }
        match self.output.format {
            Format::Table => say(&text(&line)),
            Format::Json => say(&line.to_string()),
            Format::Yaml => say(&format!("---\n{}", crate::yaml::write(&line)?)),
        }
    }
}

fn time(line: &Value) -> Option<Timestamp> {
    serde_json::from_value(line["at"].clone()).ok()
}

fn text(line: &Value) -> String {
    let level = cell(&line["level"]).to_uppercase();
    let event = match line["correlation_id"].as_str() {
        Some(id) => format!(" [{id}]"),
        None => String::new(),
    };
    let (at, component) = (cell(&line["at"]), cell(&line["component"]));
    plain(&format!(
        "{at} {level:<5} {component}: {}{event}",
        cell(&line["message"])
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_shown_once_over_a_reconnect() {
        let output = OutputArgs::json();
        let mut printer = Printer {
            output,
            since: None,
            last: None,
            at_last: Vec::new(),
        };
        let line = |second: u32, message: &str| json!({"at": format!("2026-01-02T03:04:{second:02}Z"), "message": message});
        let mut new = |second, message| printer.is_new(&line(second, message));
        assert!(new(1, "a") && new(2, "b") && new(2, "c"));
        // The stream broke off, and begins again with its newest lines.
        assert!(!new(1, "a") && !new(2, "b") && !new(2, "c"));
        assert!(new(2, "d") && new(3, "b"));
    }

    #[test]
    fn a_line_of_strangers_stays_one_line() {
        let line = json!({"at": "t", "level": "warn", "component": "c", "message": "a\n\u{1b}[31mb", "correlation_id": "e"});
        assert_eq!(text(&line), "t WARN  c: a \u{fffd}[31mb [e]");
    }
}
