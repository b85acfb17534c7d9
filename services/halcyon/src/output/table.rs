//! Tables of text, and what may stand in them.

use comfy_table::{ContentArrangement, presets::NOTHING};
use serde_json::Value;

/// A column of a table, or a field of an object.
pub(crate) struct Column {
    /// What stands above it, or before it.
    pub(crate) title: &'static str,
    /// Its text for an object.
    pub(crate) of: fn(&Value) -> String,
}

impl Column {
    pub(crate) const fn new(title: &'static str, of: fn(&Value) -> String) -> Self {
        Self { title, of }
    }
}

/// A table of text.
pub(crate) struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<T: Into<String>>(titles: impl IntoIterator<Item = T>) -> Self {
        Self {
            titles: titles.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// The table with its columns aligned.
    pub(crate) fn text(&self, titles: bool) -> String {
        let mut table = comfy_table::Table::new();
        table
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if titles {
            table.set_header(&self.titles);
        }
        table.add_rows(&self.rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

/// A value as the text of a cell.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The text in one line, without anything that a terminal would obey or that changes how the rest is shown: names
/// and messages come from feeds that strangers write to.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// The same for a text of several lines.
pub(crate) fn plain_lines(text: &str) -> String {
    let keep = |character| if character == '\n' { '\n' } else { shown(character) };
    text.chars().map(keep).collect()
}

const fn shown(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => ' ',
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => '\u{fffd}',
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            '\u{fffd}'
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_can_do_without_titles() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["a".to_owned(), "RUNNING".to_owned()]);
        table.row(["a longer name".to_owned(), "-".to_owned()]);
        assert_eq!(
            table.text(true),
            "NAME           STATE\na              RUNNING\na longer name  -"
        );
        assert_eq!(table.text(false), "a              RUNNING\na longer name  -");
    }

    #[test]
    fn a_text_of_strangers_cannot_steer_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[2Jb\r\nc\u{202e}d\u{9b}"),
            "a\u{fffd}[2Jb  c\u{fffd}d\u{fffd}"
        );
        assert_eq!(plain_lines("a\nb\u{7}"), "a\nb\u{fffd}");
        assert_eq!(plain("日本語 👩\u{200d}💻"), "日本語 👩\u{200d}💻");
    }
}
