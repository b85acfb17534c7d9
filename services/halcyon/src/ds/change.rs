//! Make, change, copy, delete.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{editor, find::Which};
use crate::{
    client::{Api, Error, confirm},
    output::{OutputArgs, cell, plain, say},
    yaml,
};

/// What can be said of a datasource in flags.
#[derive(clap::Args)]
struct Fields {
    /// The project's id.
    #[arg(long, value_name = "ID")]
    project: Option<String>,
    /// Who answers for it.
    #[arg(long)]
    owner: Option<String>,
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// A word to find it by; may be given more than once.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A file with the configuration, YAML or JSON, that becomes a draft; `-` is standard input.
    #[arg(long, short = 'f', value_name = "FILE")]
    file: Option<PathBuf>,
    /// Why the draft is made.
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

impl Fields {
    fn body(&self) -> Result<Map<String, Value>> {
        let mut body = Map::new();
        let texts = [
            ("project", &self.project),
            ("owner", &self.owner),
            ("description", &self.description),
            ("comment", &self.comment),
        ];
        for (name, value) in texts {
            body.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
        }
        if !self.tags.is_empty() {
            body.insert("tags".to_owned(), json!(self.tags));
        }
        if let Some(file) = &self.file {
            body.insert("config".to_owned(), config(file)?);
        }
        Ok(body)
    }
}

/// Reads a configuration. JSON is YAML, too.
pub(super) fn config(file: &Path) -> Result<Value> {
    let text = read(file)?;
    let wrong = |message: &str| Error::Usage(format!("{}:{message}", file.display()));
    let documents =
        yaml::read(&text).map_err(|fault| wrong(&format!("{}: {}", fault.place, fault.message)))?;
    match documents.as_slice() {
        [only] => Ok(only.value()),
        _ => Err(wrong(" one configuration was expected").into()),
    }
}

/// Reads a text file, or standard input.
pub(super) fn read(file: &Path) -> Result<String> {
    use anyhow::Context;
    if file == Path::new("-") {
        return io::read_to_string(io::stdin()).context("standard input");
    }
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}

/// Flags of `halcyon ds create`.
#[derive(clap::Parser)]
pub(super) struct CreateArgs {
    /// Its name.
    name: String,
    /// The connector's type, such as `http_webhook`.
    #[arg(long = "type", value_name = "TYPE")]
    r#type: String,
    /// The environment; `production` if absent.
    #[arg(long)]
    env: Option<String>,
    #[command(flatten)]
    fields: Fields,
}

pub(super) async fn create(api: &Api, args: &CreateArgs, output: OutputArgs) -> Result<()> {
    let mut body = args.fields.body()?;
    body.insert("name".to_owned(), json!(args.name));
    body.insert("type".to_owned(), json!(args.r#type));
    body.extend(args.env.as_ref().map(|env| ("env".to_owned(), json!(env))));
    let made = api.post(&["datasources"], &Value::Object(body), None).await?;
    made_one(&made, output)
}

fn made_one(made: &Value, output: OutputArgs) -> Result<()> {
    let text = format!("{} is made: {}", cell(&made["name"]), cell(&made["id"]));
    output.done(&plain(&text), made)
}

/// Flags of `halcyon ds edit`.
#[derive(clap::Parser)]
pub(super) struct EditArgs {
    #[command(flatten)]
    which: Which,
    /// A new name.
    #[arg(long = "name", value_name = "NAME")]
    new_name: Option<String>,
    /// Another environment.
    #[arg(long, value_name = "ENV")]
    to_env: Option<String>,
    #[command(flatten)]
    fields: Fields,
}

pub(super) async fn edit(api: &Api, args: &EditArgs, output: OutputArgs) -> Result<()> {
    let found = args.which.find(api).await?;
    let mut body = args.fields.body()?;
    body.extend(
        args.new_name
            .as_ref()
            .map(|name| ("name".to_owned(), json!(name))),
    );
    body.extend(args.to_env.as_ref().map(|env| ("env".to_owned(), json!(env))));
    if body.is_empty() {
        if !io::stdin().is_terminal() {
            return Err(Error::Usage("what is to change? give a flag".to_owned()).into());
        }
        return editor::edit(api, found, output).await;
    }
    let id = cell(&found["id"]);
    let revision = found["revision"].as_i64();
    let view = api
        .put(&["datasources", &id], &Value::Object(body), revision)
        .await?;
    output.done(&plain(&format!("{} is changed", cell(&view["name"]))), &view)
}

/// Flags of `halcyon ds clone`.
#[derive(clap::Parser)]
pub(super) struct CloneArgs {
    #[command(flatten)]
    which: Which,
    /// The copy's name.
    new_name: String,
    /// The copy's environment; the same if absent.
    #[arg(long, value_name = "ENV")]
    to_env: Option<String>,
}

pub(super) async fn clone(api: &Api, args: &CloneArgs, output: OutputArgs) -> Result<()> {
    let id = args.which.id(api).await?;
    let body = json!({"name": args.new_name, "env": args.to_env});
    let made = api.post(&["datasources", &id, "clone"], &body, None).await?;
    made_one(&made, output)
}

/// Flags of `halcyon ds delete`.
#[derive(clap::Parser)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    which: Which,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn delete(api: &Api, args: &DeleteArgs) -> Result<()> {
    let found = args.which.find(api).await?;
    let (id, name) = (cell(&found["id"]), plain(&cell(&found["name"])));
    confirm(
        &format!("delete {name} in {} and its secrets", cell(&found["env"])),
        args.yes,
    )?;
    api.delete(&["datasources", &id], found["revision"].as_i64())
        .await?;
    say(&format!("{name} is deleted"))
}
