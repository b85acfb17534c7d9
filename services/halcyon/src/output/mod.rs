//! What commands print: tables for people, the API's own objects for programs. Nothing is coloured, and what comes
//! from elsewhere cannot steer the terminal.

mod table;

use std::io::{self, Write};

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

pub(crate) use self::table::{Column, Table, cell, plain, plain_lines};

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// The API's objects as JSON.
    Json,
    /// The API's objects as YAML.
    Yaml,
}

/// Flags of commands that print objects.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// How to print.
    #[arg(
        long = "output",
        short = 'o',
        value_enum,
        default_value = "table",
        global = true
    )]
    pub(crate) format: Format,
    /// Leave out the names of a table's columns.
    #[arg(long, global = true)]
    no_headers: bool,
}

impl OutputArgs {
    /// As JSON.
    #[cfg(test)]
    pub(crate) const fn json() -> Self {
        Self {
            format: Format::Json,
            no_headers: false,
        }
    }

    /// Prints a list.
    pub(crate) fn list(self, items: &[Value], columns: &[Column]) -> Result<()> {
        if self.format != Format::Table {
            return self.value(&Value::from(items.to_vec()));
        }
        let mut table = Table::new(columns.iter().map(|column| column.title));
        for item in items {
            table.row(columns.iter().map(|column| (column.of)(item)));
        }
        self.table(&table)
    }

    /// Prints one object: each field on a line of its own. What has no value is left out.
    pub(crate) fn one(self, item: &Value, fields: &[Column]) -> Result<()> {
        if self.format != Format::Table {
            return self.value(item);
        }
        let mut table = Table::new(["", ""]);
        for field in fields {
            let text = (field.of)(item);
            if text != "-" {
                table.row([field.title.to_owned(), text]);
            }
        }
        say(&table.text(false))
    }

    /// Prints a table.
    pub(crate) fn table(self, table: &Table) -> Result<()> {
        say(&table.text(!self.no_headers))
    }

    /// Prints an object as JSON or YAML; as JSON, too, where a table was asked for and there is none.
    pub(crate) fn value(self, value: &Value) -> Result<()> {
        match self.format {
            Format::Yaml => say(&crate::yaml::write(value)?),
            _ => say(&serde_json::to_string_pretty(value)?),
        }
    }

    /// Prints a sentence for people; for programs, the object that it is about.
    pub(crate) fn done(self, text: &str, value: &Value) -> Result<()> {
        match self.format {
            Format::Table => say(text),
            _ => self.value(value),
        }
    }
}

/// Writes a text to standard output, with a line break at its end.
pub(crate) fn say(text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Writes a remark to standard error: it is no part of the answer.
pub(crate) fn remark(text: &str) {
    // There is nobody to tell that nobody can be told.
    let _ = writeln!(io::stderr().lock(), "{}", plain_lines(text));
}
