//! `halcyon config`: the settings in effect, and their schema.

use anyhow::Result;
use clap::{Parser, Subcommand};
use halcyon_infra::settings::masked;

use crate::settings::{Settings, Sources};

/// Flags of `halcyon config`.
#[derive(Parser)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Print the JSON Schema of the settings.
    Schema,
}

/// Prints the settings that files and environment add up to, or their schema.
#[expect(clippy::print_stdout, reason = "the settings are the command's answer")]
pub(crate) fn run(sources: &Sources, args: &ConfigArgs) -> Result<()> {
    let shown = match args.what {
        Some(What::Schema) => serde_json::to_value(schemars::schema_for!(Settings))?,
        None => masked(&Settings::load(sources)?),
    };
    println!("{}", serde_json::to_string_pretty(&shown)?);
    Ok(())
}
