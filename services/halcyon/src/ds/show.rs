//! What is shown of datasources.

use anyhow::Result;
use serde_json::Value;

use super::{find::Which, verbs::ListArgs};
use crate::{
    client::Api,
    output::{Column, OutputArgs, cell},
};

const LIST: [Column; 8] = [
    Column::new("NAME", |it| cell(&it["name"])),
    Column::new("ENV", |it| cell(&it["env"])),
    Column::new("TYPE", |it| cell(&it["type"])),
    Column::new("STATUS", |it| cell(&it["status"])),
    Column::new("STATE", |it| cell(&it["state"]["status"])),
    Column::new("VERSION", |it| cell(&it["current_version"])),
    Column::new("DRAFT", |it| cell(&it["draft_version"])),
    Column::new("ID", |it| cell(&it["id"])),
];

const ONE: [Column; 22] = [
    Column::new("name", |it| cell(&it["name"])),
    Column::new("id", |it| cell(&it["id"])),
    Column::new("env", |it| cell(&it["env"])),
    Column::new("type", |it| cell(&it["type"])),
    Column::new("project", |it| cell(&it["project"])),
    Column::new("owner", |it| cell(&it["owner"])),
    Column::new("description", |it| cell(&it["description"])),
    Column::new("tags", |it| cell(&it["tags"])),
    Column::new("status", |it| cell(&it["status"])),
    Column::new("published version", |it| cell(&it["current_version"])),
    Column::new("newer draft", |it| cell(&it["draft_version"])),
    Column::new("wanted state", |it| cell(&it["desired_state"])),
    Column::new("state", |it| cell(&it["state"]["status"])),
    Column::new("running version", |it| cell(&it["state"]["version"])),
    Column::new("reason", |it| cell(&it["state"]["reason"])),
    Column::new("message", |it| cell(&it["state"]["message"])),
    Column::new("last event", |it| cell(&it["state"]["last_event_at"])),
    Column::new("events", |it| cell(&it["metrics"]["events"])),
    Column::new("dead letters", |it| cell(&it["metrics"]["dead_lettered"])),
    Column::new("revision", |it| cell(&it["revision"])),
    Column::new("created", |it| cell(&it["created_at"])),
    Column::new("changed", |it| cell(&it["updated_at"])),
];

const METRICS: [Column; 13] = [
    Column::new("events", |it| cell(&it["events"])),
    Column::new("bytes", |it| cell(&it["bytes"])),
    Column::new("records", |it| cell(&it["records"])),
    Column::new("delivered", |it| cell(&it["delivered"])),
    Column::new("filtered", |it| cell(&it["filtered"])),
    Column::new("dead letters", |it| cell(&it["dead_lettered"])),
    Column::new("objects", |it| cell(&it["objects"])),
    Column::new("errors", |it| cell(&it["errors"])),
    Column::new("parked", |it| cell(&it["parked"])),
    Column::new("events per second", |it| cell(&it["events_per_second"])),
    Column::new("errors per minute", |it| cell(&it["errors_per_minute"])),
    Column::new("lag in ms", |it| cell(&it["lag_ms"])),
    Column::new("mapping in us", |it| cell(&it["mapping_us"])),
];

const VERSIONS: [Column; 5] = [
    Column::new("NUMBER", |it| cell(&it["number"])),
    Column::new("STATE", |it| cell(&it["state"])),
    Column::new("CREATED", |it| cell(&it["created_at"])),
    Column::new("PUBLISHED", |it| cell(&it["published_at"])),
    Column::new("COMMENT", |it| cell(&it["comment"])),
];

const EVENTS: [Column; 5] = [
    Column::new("AT", |it| cell(&it["at"])),
    Column::new("KIND", |it| cell(&it["kind"])),
    Column::new("VERSION", |it| cell(&it["version"])),
    Column::new("ACTOR", |it| cell(&it["actor"])),
    Column::new("MESSAGE", |it| cell(&it["message"])),
];

const DEAD_LETTERS: [Column; 6] = [
    Column::new("ID", |it| cell(&it["id"])),
    Column::new("FAILED", |it| cell(&it["failed_at"])),
    Column::new("RECORD", |it| cell(&it["record"])),
    Column::new("VERSION", |it| cell(&it["version"])),
    Column::new("WHERE", |it| cell(&it["reason"]["pointer"])),
    Column::new("WHY", |it| cell(&it["reason"]["detail"])),
];

/// Lists datasources.
pub(super) async fn list(api: &Api, args: &ListArgs, output: OutputArgs) -> Result<()> {
    let filters = [
        ("status", &args.status),
        ("type", &args.r#type),
        ("owner", &args.owner),
        ("tag", &args.tag),
        ("project", &args.project),
        ("env", &args.env),
        ("q", &args.query),
    ];
    let mut query: Vec<_> = filters
        .iter()
        .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
        .collect();
    query.push(("sort", "name"));
    let items = api.all(&["datasources"], &query).await?;
    output.list(&items, &LIST)
}

/// Shows a datasource with its state and numbers.
pub(super) async fn show(api: &Api, which: &Which, output: OutputArgs) -> Result<()> {
    output.one(&which.find(api).await?, &ONE)
}

/// Shows a datasource's numbers.
pub(super) async fn metrics(api: &Api, which: &Which, output: OutputArgs) -> Result<()> {
    let id = which.id(api).await?;
    output.one(&api.get(&["datasources", &id, "metrics"], &[]).await?, &METRICS)
}

/// A list of what belongs to a datasource.
pub(super) async fn part(
    api: &Api,
    which: &Which,
    part: Part,
    most: usize,
    output: OutputArgs,
) -> Result<()> {
    let id = which.id(api).await?;
    let (path, columns) = match part {
        Part::Versions => ("versions", VERSIONS.as_slice()),
        Part::Events => ("events", EVENTS.as_slice()),
        Part::DeadLetters => ("dead-letters", DEAD_LETTERS.as_slice()),
    };
    let items: Vec<Value> = api.up_to(&["datasources", &id, path], &[], most).await?;
    output.list(&items, columns)
}

/// What belongs to a datasource.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Versions,
    Events,
    DeadLetters,
}
