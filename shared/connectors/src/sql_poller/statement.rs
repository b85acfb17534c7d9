//! What a user's query may be: one SELECT that fits between brackets. The transaction is read-only in any case; this
//! says sooner, and clearer, what is wrong.

/// Looks through a query; what is wrong with it.
pub(super) fn fault(query: &str) -> Option<&'static str> {
    let mut words = query
        .trim_start()
        .split(|character: char| !character.is_ascii_alphabetic());
    let first = words.next().unwrap_or_default().to_ascii_lowercase();
    if first != "select" && first != "with" {
        return Some("the query must begin with SELECT or WITH");
    }
    let mut depth = 0_usize;
    let mut rest = query;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        rest = match character {
            '\'' | '"' | '`' => match quoted(after, character) {
                Some(after) => after,
                None => return Some("a quote is not closed"),
            },
            '-' if after.starts_with('-') => match after.find('\n') {
                Some(end) => &after[end..],
                None => "",
            },
            '/' if after.starts_with('*') => match after[1..].find("*/") {
                Some(end) => &after[end + 3..],
                None => return Some("a comment is not closed"),
            },
            ';' => return Some("the query must be one statement, without `;`"),
            '(' => {
                depth += 1;
                after
            }
            ')' if depth == 0 => return Some("a bracket is closed that was not opened"),
            ')' => {
                depth -= 1;
                after
            }
            '\0' => return Some("the query holds a NUL"),
            _ => after,
        };
    }
    (depth > 0).then_some("a bracket is not closed")
}

/// What follows the closing quote; a doubled one is part of the text, as is one after a backslash where the quote is no
/// name's (MySQL; elsewhere a text cannot end in a backslash here, which is refused rather than misread).
fn quoted(text: &str, quote: char) -> Option<&str> {
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' && quote == '\'' {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return text.get(at + quote.len_utf8()..);
        }
    }
    None
}

/// A name between quotes, its own ones doubled.
pub(super) fn name(name: &str, open: char, close: char) -> String {
    let doubled = name.replace(close, &format!("{close}{close}"));
    format!("{open}{doubled}{close}")
}

/// A table's name, part for part between quotes.
pub(super) fn table(table: &str, open: char, close: char) -> String {
    let parts: Vec<String> = table.split('.').map(|part| name(part, open, close)).collect();
    parts.join(".")
}
