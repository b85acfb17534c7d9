//! The page on the command line: the help of each command, as the command itself prints it.

use clap::{Command, CommandFactory};
use halcyon_tests::reference::{check, page};

use crate::cli::Args;

/// The command's own subcommands, without clap's `help`.
fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| sub.get_name() != "help")
}

fn list(command: &Command, text: &mut String) {
    for sub in subcommands(command) {
        let name = sub.get_bin_name().unwrap_or_default();
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("- [`{name}`](#{}): {about}\n", name.replace(' ', "-")));
        list(sub, text);
    }
}

fn help(command: &Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or_default();
    let shown = command.clone().render_long_help().to_string();
    let lines: Vec<_> = shown.trim().lines().map(str::trim_end).collect();
    text.push_str(&format!("## {name}\n\n```text\n{}\n```\n\n", lines.join("\n")));
    for sub in subcommands(command) {
        help(sub, text);
    }
}

#[test]
fn the_command_line_reference_is_up_to_date() {
    let mut command = Args::command().bin_name("halcyon").term_width(100);
    command.build();
    let mut text = page("Command line", &["services/halcyon/src/cli.rs"]);
    list(&command, &mut text);
    text.push('\n');
    help(&command, &mut text);
    check("cli.md", &text);
}
