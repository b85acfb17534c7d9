//! `halcyon audit list | show`: reads the audit trail through the API, as the caller may.

use anyhow::Result;
use chrono::TimeDelta;
use clap::{Parser, ValueEnum};
use halcyon_domain::{
    clock::{Clock, SystemClock, Timestamp},
    duration::HumanDuration,
};
use serde_json::Value;

use crate::{
    client::{Api, Connection},
    ds::Which,
    output::{Column, OutputArgs, cell, remark},
};

/// Flags of `halcyon audit list`.
#[derive(Parser)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    filter: Filter,
    /// The oldest first.
    #[arg(long)]
    oldest_first: bool,
    /// The most entries to list.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// List all that fit.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Go on where a list before ended; it said so on standard error.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Which entries. Those fit that fit all that is given.
#[derive(Parser)]
#[command(next_help_heading = "Which entries")]
struct Filter {
    /// Those of this actor, by name or id.
    #[arg(long)]
    actor: Option<String>,
    /// Those of this action, such as `datasource.publish`; `datasource.*` for all that begin so.
    #[arg(long)]
    action: Option<String>,
    /// Those about this resource: a kind, such as `user`, an id, or `kind:id`.
    #[arg(long)]
    resource: Option<String>,
    /// Those about this datasource, by name or id, and what belongs to it: who is admin of it sees them without being
    /// admin of the organisation.
    #[arg(long, value_name = "DATASOURCE")]
    datasource: Option<String>,
    /// The datasource's environment, where several have one of this name.
    #[arg(long, requires = "datasource")]
    env: Option<String>,
    /// Those that ended so.
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    /// Those of this time and later: a time such as 2027-01-31T12:00:00Z, or an age such as `2h`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Those before this time, or older than this age.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// Those of this request: the `x-request-id` of its answer.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Those with this text in them.
    #[arg(long, short = 'q', value_name = "TEXT")]
    query: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Outcome {
    /// It was done.
    Succeeded,
    /// The actor was not allowed to.
    Refused,
    /// It could not be done.
    Failed,
}

/// Flags of `halcyon audit show`.
#[derive(Parser)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    /// The entry's id.
    id: String,
}

const LIST: [Column; 7] = [
    Column::new("AT", |it| cell(&it["at"])),
    Column::new("ACTOR", |it| cell(&it["actor"]["name"])),
    Column::new("ACTION", |it| cell(&it["action"])),
    Column::new("OUTCOME", |it| cell(&it["outcome"])),
    Column::new("RESOURCE", |it| resource(&it["resource"])),
    Column::new("SUMMARY", |it| cell(&it["summary"])),
    Column::new("ID", |it| cell(&it["id"])),
];

const ONE: [Column; 15] = [
    Column::new("id", |it| cell(&it["id"])),
    Column::new("number", |it| cell(&it["sequence"])),
    Column::new("at", |it| cell(&it["at"])),
    Column::new("recorded", |it| cell(&it["recorded_at"])),
    Column::new("actor", |it| cell(&it["actor"]["name"])),
    Column::new("actor id", |it| cell(&it["actor"]["id"])),
    Column::new("action", |it| cell(&it["action"])),
    Column::new("outcome", |it| cell(&it["outcome"])),
    Column::new("resource", |it| resource(&it["resource"])),
    Column::new("resource id", |it| cell(&it["resource"]["id"])),
    Column::new("version", |it| cell(&it["version"])),
    Column::new("summary", |it| cell(&it["summary"])),
    Column::new("change", |it| cell(&it["diff"])),
    Column::new("request", |it| cell(&it["request_id"])),
    Column::new("address", |it| cell(&it["remote_ip"])),
];

/// The kind of a resource and its name, else its id.
fn resource(resource: &Value) -> String {
    let name = [&resource["name"], &resource["id"]].map(cell);
    let name = name.iter().find(|name| *name != "-");
    let kind = cell(&resource["kind"]);
    name.map_or_else(|| kind.clone(), |name| format!("{kind} {name}"))
}

/// A time, or one so long ago.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let age = text.parse::<HumanDuration>().ok();
    let age = age.and_then(|age| TimeDelta::from_std(age.get()).ok());
    let at = age.and_then(|age| SystemClock.now().checked_sub_signed(age));
    at.ok_or_else(|| "a time such as 2027-01-31T12:00:00Z, or an age such as `2h`".to_owned())
}

/// Lists entries.
pub(super) async fn list(args: &ListArgs) -> Result<()> {
    let api = &args.connection.connect().await?;
    let datasource = args.filter.datasource(api).await?;
    let path = match &datasource {
        Some(id) => vec!["datasources", id, "audit"],
        None => vec!["audit"],
    };
    let filter = args.filter.query();
    let mut query: Vec<_> = filter
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    query.push((
        "sort",
        if args.oldest_first {
            "sequence"
        } else {
            "-sequence"
        },
    ));
    let most = if args.all {
        usize::MAX
    } else {
        usize::try_from(args.limit)?
    };
    let (items, more) = api.list_from(&path, &query, args.cursor.clone(), most).await?;
    args.output.list(&items, &LIST)?;
    if let Some(cursor) = more {
        remark(&format!("there are more: go on with --cursor {cursor}"));
    }
    Ok(())
}

/// Shows an entry.
pub(super) async fn show(args: &ShowArgs) -> Result<()> {
    let api = args.connection.connect().await?;
    args.output.one(&api.get(&["audit", &args.id], &[]).await?, &ONE)
}

impl Filter {
    /// The id of the datasource that is meant.
    async fn datasource(&self, api: &Api) -> Result<Option<String>> {
        let Some(datasource) = self.datasource.clone() else {
            return Ok(None);
        };
        let env = self.env.clone();
        Ok(Some(Which { datasource, env }.id(api).await?))
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_rfc3339());
        let outcome = self.outcome.and_then(|outcome| outcome.to_possible_value());
        let given = [
            ("actor", self.actor.clone()),
            ("action", self.action.clone()),
            ("resource", self.resource.clone()),
            ("outcome", outcome.map(|value| value.get_name().to_owned())),
            ("from", time(self.from)),
            ("to", time(self.to)),
            ("request_id", self.request_id.clone()),
            ("q", self.query.clone()),
        ];
        let given = given.into_iter();
        given.filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_time_or_an_age() {
        let at = moment("2027-01-31T12:00:00Z").unwrap();
        assert_eq!(at.to_rfc3339(), "2027-01-31T12:00:00+00:00");
        assert!(moment("1h").unwrap() < SystemClock.now());
        assert!(moment("2h").unwrap() < moment("1h").unwrap());
        for wrong in ["", "yesterday", "2027-01-31", "-1h"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
