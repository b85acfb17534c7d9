//! What connections say of files: which ones are read (`files`), and what is in them (`format`). `shared.json` has their
//! schemas.

use chrono::DateTime;
use halcyon_domain::error::InputError;
use regex::Regex;
use serde::Deserialize;

use super::Pattern;
use crate::Error;

/// Which files are read, and when they count as new.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Chosen {
    /// Which names are read.
    pub(crate) glob: String,
    /// How long after it was written a file may still turn up in the listing.
    pub(crate) look_back_seconds: i64,
    /// What a file is that was read and has another content now.
    pub(crate) on_change: OnChange,
    /// Files younger than this are left for a later run.
    pub(crate) min_age_seconds: i64,
    /// Files written before this are not read.
    pub(crate) not_before: Option<String>,
    /// The most of a file, before and after decompression.
    pub(crate) max_object_mib: u64,
    /// Where the day is in a name, for backfills.
    pub(crate) date_pattern: Option<String>,
}

impl Default for Chosen {
    fn default() -> Self {
        Self {
            glob: "**".to_owned(),
            look_back_seconds: 3600,
            on_change: OnChange::Ignore,
            min_age_seconds: 0,
            not_before: None,
            max_object_mib: 1024,
            date_pattern: None,
        }
    }
}

/// What a file is that was read and has another content now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnChange {
    /// The file that it was.
    Ignore,
    /// A new one.
    ReadAgain,
}

impl Chosen {
    /// What is wrong with it; pointers are relative to it.
    pub(crate) fn validate(&self) -> Vec<InputError> {
        let mut errors = Vec::new();
        if let Err(detail) = Pattern::new(&self.glob) {
            errors.push(InputError::new("/glob", "format", detail));
        }
        if self.min_age_seconds > self.look_back_seconds {
            let detail = "a file would be too old for the look-back before it is old enough to be read";
            errors.push(InputError::new("/min_age_seconds", "out_of_range", detail));
        }
        let time = self.not_before.as_deref().map(DateTime::parse_from_rfc3339);
        if matches!(time, Some(Err(_))) {
            let detail = "the value is not a time such as 2026-01-01T00:00:00Z";
            errors.push(InputError::new("/not_before", "format", detail));
        }
        if self.date_pattern.is_some() && self.date().is_none() {
            let detail = "the value needs {year}, {month} and {day}, each once, and may have {hour}";
            errors.push(InputError::new("/date_pattern", "format", detail));
        }
        errors
    }

    /// Which names are read.
    ///
    /// # Errors
    /// The pattern is none.
    pub(crate) fn names(&self) -> Result<Pattern, Error> {
        Pattern::new(&self.glob)
            .map_err(|detail| Error::Config(vec![InputError::new("/files/glob", "format", detail)]))
    }

    /// Before which second files are not read.
    pub(crate) fn not_before(&self) -> Option<i64> {
        let time = DateTime::parse_from_rfc3339(self.not_before.as_deref()?).ok()?;
        Some(time.timestamp())
    }

    /// The most of a file in bytes.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_object_mib.saturating_mul(1024 * 1024)
    }

    /// What finds the date in a name.
    pub(crate) fn date(&self) -> Option<Regex> {
        let mut regex = regex::escape(self.date_pattern.as_deref()?);
        for (name, digits) in [("year", 4), ("month", 2), ("day", 2), ("hour", 2)] {
            let written = format!("\\{{{name}\\}}");
            if regex.matches(&written).count() != 1 && name != "hour" {
                return None;
            }
            regex = regex.replace(&written, &format!("(?P<{name}>[0-9]{{{digits}}})"));
        }
        Regex::new(&regex).ok()
    }
}

/// What is in a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Format {
    /// How its rows are written.
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    /// How it is compressed.
    #[serde(default)]
    pub(crate) compression: Compression,
    /// Where the rows are in a JSON document.
    pub(crate) records: Option<String>,
    /// What is between two columns of CSV.
    pub(crate) delimiter: Option<String>,
    /// What is around a column of CSV.
    pub(crate) quote: Option<String>,
    /// The names of the columns of CSV, if its first row does not have them.
    pub(crate) columns: Option<Vec<String>>,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// One document.
    Json,
    /// A document in each line.
    Ndjson,
    /// Lines of columns.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Lines.
    Text,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compression {
    /// As its first bytes say.
    #[default]
    Auto,
    /// Not.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Format {
    /// What is wrong with it; pointers are relative to it.
    pub(crate) fn validate(&self) -> Vec<InputError> {
        let of_csv = self.kind == Kind::Csv;
        let misplaced = [
            ("/records", self.records.is_some() && self.kind != Kind::Json),
            ("/delimiter", self.delimiter.is_some() && !of_csv),
            ("/quote", self.quote.is_some() && !of_csv),
            ("/columns", self.columns.is_some() && !of_csv),
            (
                "/compression",
                self.kind == Kind::Parquet
                    && !matches!(self.compression, Compression::Auto | Compression::None),
            ),
        ];
        let misplaced = misplaced.into_iter().filter(|(_, wrong)| *wrong);
        let misplaced = misplaced
            .map(|(pointer, _)| InputError::new(pointer, "unsupported", "files of this type do not have it"));
        let mut errors: Vec<InputError> = misplaced.collect();
        for (pointer, text) in [("/delimiter", &self.delimiter), ("/quote", &self.quote)] {
            if text.as_deref().is_some_and(|text| byte(text).is_none()) {
                let detail = "the value is not one ASCII character (or \\t)";
                errors.push(InputError::new(pointer, "format", detail));
            }
        }
        errors
    }
}

/// The byte that a text of one character stands for.
pub(crate) fn byte(text: &str) -> Option<u8> {
    match text.as_bytes() {
        b"\\t" => Some(b'\t'),
        [one] if one.is_ascii() => Some(*one),
        _ => None,
    }
}
