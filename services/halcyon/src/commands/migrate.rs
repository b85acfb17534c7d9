//! `halcyon migrate`: the database's schema.

use anyhow::Result;
use clap::{Parser, Subcommand};
use halcyon_store::Store;

use crate::settings::{Settings, Sources};

/// Flags of `halcyon migrate`.
#[derive(Parser)]
pub(crate) struct MigrateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Apply what was not applied yet.
    Up,
    /// Take back the newest migrations, with the data that they hold.
    Down {
        /// How many.
        #[arg(long)]
        steps: u32,
    },
    /// Say whether all migrations were applied.
    Status,
}

/// Migrates the database of the settings.
#[expect(clippy::print_stdout, reason = "the status is the command's answer")]
pub(crate) async fn run(sources: &Sources, args: &MigrateArgs) -> Result<()> {
    let store = Store::connect(&Settings::load(sources)?.database).await?;
    match args.what {
        What::Up => store.migrate().await?,
        What::Down { steps } => store.migrate_down(Some(steps)).await?,
        What::Status => {
            let state = if store.is_migrated().await? {
                "up to date"
            } else {
                "migrations are pending"
            };
            println!("{state}");
        }
    }
    Ok(store.close().await?)
}
