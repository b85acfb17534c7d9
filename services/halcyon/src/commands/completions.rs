//! `halcyon completions`: what a shell needs to complete the command line.

use anyhow::Result;
use clap::{Command, Parser};
use clap_complete::{Shell, generate};

use crate::output::say;

/// Flags of `halcyon completions`.
#[derive(Parser)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions of `command`.
pub(crate) fn run(args: &CompletionsArgs, mut command: Command) -> Result<()> {
    let mut text = Vec::new();
    generate(args.shell, &mut command, "halcyon", &mut text);
    say(&String::from_utf8(text)?)
}
