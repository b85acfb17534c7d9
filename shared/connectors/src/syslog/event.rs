//! CEF (ArcSight's Common Event Format) and LEEF (QRadar's Log Event Extended Format), which appliances write into the
//! text of a message.

use serde::Serialize;
use serde_json::{Map, Value};

/// An event of CEF.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Cef {
    pub(super) version: String,
    pub(super) device_vendor: String,
    pub(super) device_product: String,
    pub(super) device_version: String,
    pub(super) device_event_class_id: String,
    pub(super) name: String,
    pub(super) severity: String,
    pub(super) extension: Map<String, Value>,
}

/// An event of LEEF.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Leef {
    pub(super) version: String,
    pub(super) vendor: String,
    pub(super) product: String,
    pub(super) product_version: String,
    pub(super) event_id: String,
    pub(super) attributes: Map<String, Value>,
}

/// What follows `word` (`CEF:`, `LEEF:`) and begins with a version, at the text's beginning or after a space.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find(word) {
        let at = from + at;
        let apart = at == 0 || text[..at].ends_with([' ', '\t', '\u{feff}']);
        let rest = text.get(at + word.len()..)?.trim_start_matches(' ');
        if apart && rest.starts_with(|first: char| first.is_ascii_digit()) {
            return Some(rest);
        }
        from = at + word.len();
    }
    None
}

/// The fields before the first `count` bars, without the backslashes before `|` and `\`, and what follows.
fn header<const N: usize>(text: &str) -> Option<([String; N], &str)> {
    let mut fields = [const { String::new() }; N];
    let mut rest = text;
    for field in &mut fields {
        let mut characters = rest.char_indices().peekable();
        let end = loop {
            match characters.next()? {
                (at, '|') => break at,
                (_, '\\') => match characters.next_if(|(_, next)| matches!(next, '|' | '\\')) {
                    Some((_, escaped)) => field.push(escaped),
                    None => field.push('\\'),
                },
                (_, other) => field.push(other),
            }
        };
        rest = rest.get(end + 1..)?;
    }
    Some((fields, rest))
}

/// The CEF event in a text.
pub(super) fn cef(text: &str) -> Option<Cef> {
    let found = after(text, "CEF:")?;
    // The last bar is left out by some who have no extension.
    let ended = format!("{found}|");
    let (fields, extension) = match header::<7>(found) {
        Some(read) => read,
        None => (header::<7>(&ended)?.0, ""),
    };
    let [
        version,
        device_vendor,
        device_product,
        device_version,
        device_event_class_id,
        name,
        severity,
    ] = fields;
    Some(Cef {
        version,
        device_vendor,
        device_product,
        device_version,
        device_event_class_id,
        name,
        severity,
        extension: extension_fields(extension),
    })
}

/// `key=value key=value`: a value goes on, spaces and all, up to the last space before the next key.
fn extension_fields(text: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    // The key whose value is being read, and where that began.
    let mut open: Option<(&str, usize)> = None;
    let mut seen = 0;
    let mut close = |open: Option<(&str, usize)>, end: usize| {
        if let Some((key, from)) = open {
            let value = text.get(from..end).unwrap_or_default().trim_end();
            fields.insert(key.to_owned(), Value::String(unescape(value)));
        }
    };
    for equals in unescaped_equals(text) {
        let part = text.get(seen..equals).unwrap_or_default();
        let space = part.rfind([' ', '\t']);
        let begin = seen + space.map_or(0, |space| space + 1);
        seen = equals + 1;
        let key = text.get(begin..equals).unwrap_or_default();
        // Else it belongs to the value, though nothing says so.
        if !key.is_empty() && key.bytes().all(is_of_key) && (space.is_some() || open.is_none()) {
            close(open.replace((key, seen)), begin);
        }
    }
    close(open, text.len());
    fields
}

const fn is_of_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'[' | b']')
}

fn unescaped_equals(text: &str) -> impl Iterator<Item = usize> {
    let mut escaped = false;
    text.bytes().enumerate().filter_map(move |(at, byte)| {
        let plain = !escaped;
        escaped = byte == b'\\' && plain;
        (byte == b'=' && plain).then_some(at)
    })
}

fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next_if(|next| matches!(next, '=' | '\\' | '|' | 'n' | 'r')) {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    plain
}

/// The LEEF event in a text.
pub(super) fn leef(text: &str) -> Option<Leef> {
    let found = after(text, "LEEF:")?;
    let (fields, mut rest) = header::<5>(found)?;
    let [version, vendor, product, product_version, event_id] = fields;
    let mut delimiter = '\t';
    if version.starts_with('2')
        && let Some((written, after)) = rest.split_once('|')
        && let Some(named) = named_delimiter(written)
    {
        (delimiter, rest) = (named, after);
    }
    Some(Leef {
        version,
        vendor,
        product,
        product_version,
        event_id,
        attributes: attributes(rest, delimiter),
    })
}

/// The delimiter that LEEF 2.0 names: a character, its number as `x09` or `0x09`, or nothing for the tab.
fn named_delimiter(written: &str) -> Option<char> {
    let mut characters = written.chars();
    match (characters.next(), characters.next()) {
        (None, _) => Some('\t'),
        (Some(only), None) => Some(only),
        _ => {
            let digits = written.strip_prefix("0x").or_else(|| written.strip_prefix('x'))?;
            let number = (digits.len() <= 4).then(|| u32::from_str_radix(digits, 16).ok())??;
            char::from_u32(number)
        }
    }
}

/// `key=value` between delimiters. A backslash before the delimiter, `=` or `|` takes their meaning away; any other is
/// part of the value, as in paths of Windows.
fn attributes(text: &str, delimiter: char) -> Map<String, Value> {
    let mut found = Map::new();
    let (mut key, mut value, mut in_value) = (String::new(), String::new(), false);
    let mut close = |key: &mut String, value: &mut String| {
        let (key, value) = (std::mem::take(key), std::mem::take(value));
        if !key.trim().is_empty() {
            found.insert(key.trim().to_owned(), Value::String(value));
        }
    };
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let mut plain = character;
        let mut literal = false;
        if character == '\\'
            && let Some(escaped) = characters.next_if(|next| *next == delimiter || matches!(next, '=' | '|'))
        {
            (plain, literal) = (escaped, true);
        }
        if !literal && plain == delimiter {
            if in_value {
                close(&mut key, &mut value);
            }
            key.clear();
            in_value = false;
        } else if !literal && plain == '=' && !in_value {
            in_value = true;
        } else if in_value {
            value.push(plain);
        } else {
            key.push(plain);
        }
    }
    if in_value {
        close(&mut key, &mut value);
    }
    found
}
