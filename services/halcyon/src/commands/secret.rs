//! `halcyon secret`: secrets of datasources. A value comes from a file, a pipe or the terminal, never from the
//! command line, which others can see and shells remember.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    client::{Api, Connection, confirm, read_secret},
    ds::Which,
    output::{Column, OutputArgs, cell, plain, say},
};

/// Flags of `halcyon secret`.
#[derive(Parser)]
pub(crate) struct SecretArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List a datasource's secrets: names, versions and ages, never values.
    List(Which),
    /// Write a secret.
    Put(PutArgs),
    /// Write a secret's next value; for a while what comes in may still be signed with the one before.
    Rotate(RotateArgs),
    /// Destroy a secret with all its versions.
    Delete(DeleteArgs),
}

#[derive(Parser)]
struct PutArgs {
    #[command(flatten)]
    which: Which,
    /// The secret's name.
    secret: String,
    /// A file with the value; `-` is standard input. Without one the value is read from a pipe, or asked for. A line
    /// break at its end does not belong to it.
    #[arg(long, short = 'f', value_name = "FILE")]
    file: Option<PathBuf>,
    /// From when on it is no longer used, such as 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
}

#[derive(Parser)]
struct RotateArgs {
    #[command(flatten)]
    put: PutArgs,
    /// For how long the value before counts, too, such as `24h`; the system's default if absent.
    #[arg(long, value_name = "TIME")]
    overlap: Option<String>,
}

#[derive(Parser)]
struct DeleteArgs {
    #[command(flatten)]
    which: Which,
    /// The secret's name.
    secret: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

const LIST: [Column; 4] = [
    Column::new("NAME", |it| cell(&it["name"])),
    Column::new("VERSION", |it| cell(&it["version"])),
    Column::new("WRITTEN", |it| cell(&it["updated_at"])),
    Column::new("EXPIRES", |it| cell(&it["expires_at"])),
];

/// Runs a verb.
pub(crate) async fn run(args: &SecretArgs) -> Result<()> {
    let api = &args.connection.connect().await?;
    match &args.verb {
        Verb::List(which) => {
            let id = which.id(api).await?;
            let list = api.get(&["datasources", &id, "secrets"], &[]).await?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            args.output.list(&items, &LIST)
        }
        Verb::Put(put) => {
            let (id, body) = put.read(api).await?;
            let path = ["datasources", &id, "secrets", &put.secret];
            told(put, &api.put(&path, &body, None).await?, args.output)
        }
        Verb::Rotate(RotateArgs { put, overlap }) => {
            let (id, mut body) = put.read(api).await?;
            if let Some(overlap) = overlap {
                body["overlap"] = json!(overlap);
            }
            let path = ["datasources", &id, "secrets", &put.secret, "rotate"];
            told(put, &api.post(&path, &body, None).await?, args.output)
        }
        Verb::Delete(delete) => {
            let id = delete.which.id(api).await?;
            confirm(
                &format!("destroy the secret {}", plain(&delete.secret)),
                delete.yes,
            )?;
            api.delete(&["datasources", &id, "secrets", &delete.secret], None)
                .await?;
            say(&plain(&format!("{} is destroyed", delete.secret)))
        }
    }
}

impl PutArgs {
    /// The datasource's id, and the value as the API takes it.
    async fn read(&self, api: &Api) -> Result<(String, Value)> {
        let id = self.which.id(api).await?;
        let value = read_secret(self.file.as_deref(), &format!("value of {}", self.secret))?;
        let mut body = json!({"value": value.expose_secret()});
        if let Some(at) = &self.expires_at {
            body["expires_at"] = json!(at);
        }
        Ok((id, body))
    }
}

fn told(put: &PutArgs, secret: &Value, output: OutputArgs) -> Result<()> {
    let text = format!("{} is written, version {}", put.secret, cell(&secret["version"]));
    output.done(&plain(&text), secret)
}
