//! `halcyon export`: writes datasources down as documents.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::{Value, json};

use crate::{
    client::{Api, Connection, Error},
    ds::find,
    manifest::{Rendered, render},
    output::{cell, remark, say},
    plan::{Actual, Server},
};

/// Flags of `halcyon export`.
#[derive(Parser)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    connection: Connection,
    /// Names or ids.
    #[arg(
        value_name = "DATASOURCE",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    names: Vec<String>,
    /// All datasources that you may see.
    #[arg(long)]
    all: bool,
    /// Those of this environment only.
    #[arg(long)]
    env: Option<String>,
    /// Write a file for each into this folder, below a folder for each environment. What is there is replaced; files
    /// of datasources that are gone stay.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Writes documents to standard output or into a folder.
pub(crate) async fn run(args: &ExportArgs) -> Result<()> {
    let api = args.connection.connect().await?;
    let server = Server::read(&api).await?;
    let datasources = match args.all {
        true => server.datasources().cloned().collect(),
        false => named(&api, args).await?,
    };
    let is_wanted = |it: &Value| args.env.as_ref().is_none_or(|env| it["env"] == *env);
    let mut rendered = Vec::new();
    for datasource in datasources.into_iter().filter(is_wanted) {
        rendered.push(document(&api, &server, datasource).await?);
    }
    match &args.dir {
        Some(folder) => write_all(folder, rendered),
        None => {
            let texts: Vec<_> = rendered.into_iter().map(|document| document.text).collect();
            say(&texts.join("---\n"))
        }
    }
}

async fn named(api: &Api, args: &ExportArgs) -> Result<Vec<Value>> {
    let mut datasources = Vec::new();
    for name in &args.names {
        datasources.push(find(api, name, args.env.as_deref()).await?);
    }
    Ok(datasources)
}

/// A datasource as a document.
pub(crate) async fn document(api: &Api, server: &Server, datasource: Value) -> Result<Rendered> {
    let actual = Actual::read(api, datasource).await?;
    let project = actual.datasource["project"].as_str();
    let project = project.and_then(|id| server.project_to_write(id));
    render(&actual.datasource, project, actual.config())
}

fn write_all(folder: &Path, rendered: Vec<Rendered>) -> Result<()> {
    let mut taken = BTreeSet::new();
    let count = rendered.len();
    for document in rendered {
        let mut path = document.path.clone();
        let mut number = 1;
        // Names that differ in other characters than a file name has.
        while !taken.insert(path.clone()) {
            number += 1;
            path = document.path.replace(".yaml", &format!("-{number}.yaml"));
        }
        let file = folder.join(&path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(&file, &document.text).with_context(|| file.display().to_string())?;
    }
    if count == 0 {
        return Err(Error::NotFound("there are no such datasources".to_owned()).into());
    }
    remark(&cell(&json!(format!(
        "{count} documents written to {}",
        folder.display()
    ))));
    Ok(())
}
