//! `halcyon import`: brings files in, documents and the old registry's file alike.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use crate::{
    client::{Connection, Error},
    manifest::{Formats, load},
    output::OutputArgs,
    plan::{Options, Outcomes, Prune, carry_out_all, plan},
};

/// Flags of `halcyon import`.
#[derive(Parser)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    output: OutputArgs,
    /// Files and folders: documents of `kind: Datasource`, or the old registry's file; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Publish what does not say of itself whether it is to be published.
    #[arg(long)]
    publish: bool,
    /// Write the secrets that stand in the old registry's file, or in the environment variables that it names. One
    /// that is there already stays as it is.
    #[arg(long)]
    with_secrets: bool,
    /// Run the stored tests of what was made or changed.
    #[arg(long)]
    test: bool,
}

/// Brings files in. What fails stops no other.
pub(crate) async fn run(args: &ImportArgs) -> Result<()> {
    let loaded = load(&args.files, Formats::All)?;
    if loaded.documents.is_empty() && loaded.findings.is_empty() {
        return Err(Error::Usage("there are no documents in these files".to_owned()).into());
    }
    let options = Options {
        publish: args.publish,
        with_secrets: args.with_secrets,
        run_tests: args.test,
        ..Options::default()
    };
    let api = args.connection.connect().await?;
    let plan = plan(&api, loaded.documents, &options, &Prune::default()).await?;
    let outcomes = match args.dry_run {
        true => Outcomes::of_plan(plan),
        false => carry_out_all(&api, plan, &options).await?,
    };
    outcomes.show(args.output, &loaded.findings)?;
    outcomes.exit(&loaded.findings)
}
