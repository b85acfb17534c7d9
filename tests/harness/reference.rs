//! The generated pages of `docs/reference/`: a test makes each from the code that is the home of its facts, and
//! compares it with the committed file, or writes the file where the environment has `UPDATE_REFERENCE`.
//!
//! Such a test's name ends in `reference_is_up_to_date`: `make reference` runs all of them.

use std::{fmt::Write, fs, path::Path};

/// Where the pages are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference");

/// The test fails unless `docs/reference/<name>` is `content`; where `UPDATE_REFERENCE` is set, it is made so.
/// The file ends in one line break, however the content ends.
#[track_caller]
pub fn check(name: &str, content: &str) {
    let content = &format!("{}\n", content.trim_end());
    let file = Path::new(FOLDER).join(name);
    let committed = fs::read_to_string(&file).unwrap_or_default();
    let Some(difference) = difference(&committed, content) else {
        return;
    };
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::create_dir_all(FOLDER).unwrap();
        fs::write(&file, content).unwrap();
        return;
    }
    panic!(
        "docs/reference/{name} is out of date: run `make reference` and commit what it writes\n{difference}"
    );
}

/// Where two texts part, if they do.
fn difference(committed: &str, content: &str) -> Option<String> {
    if committed == content {
        return None;
    }
    let mut pairs = content.lines().zip(committed.lines());
    let differs = pairs.position(|(now, then)| now != then);
    let at = differs.unwrap_or_else(|| content.lines().count().min(committed.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
    Some(format!(
        "line {}: {}\n  should be: {}",
        at + 1,
        line(committed),
        line(content)
    ))
}

/// The beginning of a Markdown page: its title, and the files (from the root of the repository) that it follows from.
#[must_use]
pub fn page(title: &str, sources: &[&str]) -> String {
    let links: Vec<_> = sources
        .iter()
        .map(|path| format!("[`{path}`](../../{path})"))
        .collect();
    format!(
        "# {title}\n\nGenerated from {} by `make reference`; edit there, not here.\n\n",
        links.join(", ")
    )
}

/// A Markdown table, and an empty line after it. Line breaks and bars within a cell do not break it.
#[must_use]
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        assert_eq!(row.len(), head.len(), "a row has a cell for each column: {row:?}");
        let cells: Vec<_> = row
            .iter()
            .map(|cell| cell.replace('\n', " ").replace('|', "\\|"))
            .collect();
        writeln!(text, "| {} |", cells.join(" | ")).unwrap();
    }
    text.push('\n');
    text
}

/// `text` as code; nothing stays nothing.
#[must_use]
pub fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        _ => format!("`{text}`"),
    }
}

/// Each of `texts` as code, with commas between.
#[must_use]
pub fn codes<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let all: Vec<_> = texts.into_iter().map(|text| code(text.as_ref())).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_break_its_table() {
        let text = table(&["a", "b"], [vec!["1\n2".to_owned(), "x|y".to_owned()]]);
        assert_eq!(text, "| a | b |\n|---|---|\n| 1 2 | x\\|y |\n\n");
    }

    #[test]
    fn a_difference_is_shown_where_it_begins() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        let shown = difference("a\nb\n", "a\nc\n").unwrap();
        assert_eq!(shown, "line 2: b\n  should be: c");
        let shown = difference("", "a\n").unwrap();
        assert_eq!(shown, "line 1: (the end)\n  should be: a");
    }
}
