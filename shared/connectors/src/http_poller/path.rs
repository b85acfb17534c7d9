//! Paths into JSON: the part of JMESPath that names a place. Works on the text itself, without building the document,
//! so every record stays as it came and no number is rounded; nesting costs no stack.
//!
//! `items`, `data.events`, `"@odata.nextLink"`, `entries[0].id`, `entries[-1]`, `value[].events[]`, `@` (everything),
//! and `a || b` (the first that is there and not null).

use crate::json::{Items, items, member};

/// The most steps of a path, and alternatives of one.
const MOST: usize = 16;
/// The most records of a page. One that is small on the wire could have so many that the worker has no room for them.
pub(crate) const MOST_RECORDS: usize = 200_000;

/// A path, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<Vec<Step>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Item(i64),
    /// Each item of a list; an item that is a list itself is flattened.
    Each,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found<'j> {
    /// Nothing, or null.
    Nothing,
    /// A list's items.
    List(Vec<&'j str>),
    /// An object.
    One(&'j str),
    /// More than [`MOST_RECORDS`].
    TooMany,
    /// Something else.
    Other,
}

impl Path {
    /// Reads a path; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let alternatives: Option<Vec<_>> = split_alternatives(text).into_iter().map(steps).collect();
        alternatives
            .filter(|found| (1..=MOST).contains(&found.len()))
            .map(Self)
    }

    /// A path to one field.
    pub(crate) fn field(name: &str) -> Self {
        Self(vec![vec![Step::Field(name.to_owned())]])
    }

    /// The value at the path as text: a string without its quotes, a number as it is written.
    pub(crate) fn text(&self, json: &str) -> Option<String> {
        let found = self
            .0
            .iter()
            .find_map(|steps| walk(json, steps)?.into_iter().next())?;
        match found.as_bytes().first()? {
            b'"' => serde_json::from_str(found).ok(),
            _ => Some(found.to_owned()),
        }
    }

    /// Whether the value at the path is there and neither false nor null.
    pub(crate) fn holds(&self, json: &str) -> bool {
        self.text(json).is_some_and(|text| text != "false")
    }

    /// The records at the path.
    pub(crate) fn records<'j>(&self, json: &'j str) -> Found<'j> {
        for steps in &self.0 {
            let Some(mut found) = walk(json, steps) else {
                return Found::TooMany;
            };
            if steps.contains(&Step::Each) {
                let before = steps.iter().position(|step| *step == Step::Each).unwrap_or(0);
                if !found.is_empty() || walk(json, &steps[..before]).is_some_and(|list| !list.is_empty()) {
                    return Found::List(found);
                }
            } else if let Some(value) = found.pop() {
                return kind_of(value);
            }
        }
        Found::Nothing
    }
}

fn kind_of(value: &str) -> Found<'_> {
    match value.as_bytes().first() {
        Some(b'[') => match items(value, MOST_RECORDS) {
            Some(Items::Listed(found)) => Found::List(found),
            Some(Items::TooMany) => Found::TooMany,
            None => Found::Other,
        },
        Some(b'{') => Found::One(value),
        _ => Found::Other,
    }
}

fn split_alternatives(text: &str) -> Vec<&str> {
    let (mut parts, mut quoted, mut escaped, mut from) = (Vec::new(), false, false, 0);
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'|' if !quoted && bytes.get(at + 1) == Some(&b'|') => {
                parts.push(&text[from..at]);
                from = at + 2;
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&text[from..]);
    parts
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.trim();
    if rest == "@" {
        return Some(Vec::new());
    }
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (step, after) = if let Some(inner) = rest.strip_prefix('[') {
            let (inner, after) = inner.split_once(']')?;
            (bracket(inner.trim())?, after)
        } else {
            let rest = match (rest.strip_prefix('.'), found.is_empty()) {
                (Some(rest), false) => rest,
                (None, true) => rest,
                _ => return None,
            };
            name(rest)?
        };
        found.push(step);
        rest = after;
    }
    (1..=MOST).contains(&found.len()).then_some(found)
}

fn bracket(inner: &str) -> Option<Step> {
    match inner {
        "" | "*" => Some(Step::Each),
        number => number.parse().ok().map(Step::Item),
    }
}

fn name(text: &str) -> Option<(Step, &str)> {
    if text.starts_with('"') {
        let mut reader = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let name = reader.next()?.ok()?;
        return Some((Step::Field(name), &text[reader.byte_offset()..]));
    }
    let ends = |at: char| !(at.is_ascii_alphanumeric() || at == '_');
    let (name, rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
    let good = name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    good.then(|| (Step::Field(name.to_owned()), rest))
}

/// The values at a path, in order; nulls are left out. `None` if there are too many.
fn walk<'j>(json: &'j str, steps: &[Step]) -> Option<Vec<&'j str>> {
    let mut found = vec![json.trim()];
    for step in steps {
        found = match step {
            Step::Field(name) => found
                .into_iter()
                .filter_map(|value| member(value, name))
                .collect(),
            Step::Item(at) => found.into_iter().filter_map(|value| item(value, *at)).collect(),
            Step::Each => flattened(found)?,
        };
    }
    found.retain(|value| *value != "null" && !value.is_empty());
    Some(found)
}

/// The items of lists; those of an item that is a list itself.
fn flattened(lists: Vec<&str>) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    for list in lists {
        for item in listed(list)? {
            if item.starts_with('[') {
                found.extend(listed(item)?);
            } else {
                found.push(item);
            }
            if found.len() > MOST_RECORDS {
                return None;
            }
        }
    }
    Some(found)
}

/// The items of a list; none of what is no list, and `None` if there are too many.
fn listed(json: &str) -> Option<Vec<&str>> {
    match items(json, MOST_RECORDS) {
        Some(Items::Listed(found)) => Some(found),
        Some(Items::TooMany) => None,
        None => Some(Vec::new()),
    }
}

fn item(json: &str, at: i64) -> Option<&str> {
    let found = listed(json)?;
    let at = if at < 0 {
        at + i64::try_from(found.len()).ok()?
    } else {
        at
    };
    found.get(usize::try_from(at).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn values_are_found_as_they_are_written() {
        let json = r#" {"a": {"b": [10, 123456789012345678901234567890, {"c": "x\"y"}]}, "@odata.nextLink": "u",
            "none": null, "no": false, "f": 1.50} "#;
        for (text, found) in [
            ("a.b[0]", Some("10")),
            ("a.b[1]", Some("123456789012345678901234567890")),
            ("a.b[-1].c", Some("x\"y")),
            ("\"@odata.nextLink\"", Some("u")),
            ("none", None),
            ("none || missing || f", Some("1.50")),
            ("a.b.c", None),
            ("a.b[7]", None),
            ("no", Some("false")),
        ] {
            assert_eq!(path(text).text(json).as_deref(), found, "{text}");
        }
        assert!(path("f").holds(json) && !path("no").holds(json) && !path("none").holds(json));
    }

    #[test]
    fn records_are_lists_or_one_object() {
        let json = r#"{"items": [{"n": 1}, {"n": 2}], "empty": [], "one": {"n": 3}, "word": "x",
            "value": [{"events": [1, 2]}, {"events": []}, {"events": [3]}, {}]}"#;
        let list = |text: &str| match path(text).records(json) {
            Found::List(items) => items,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(list("items"), ["{\"n\": 1}", "{\"n\": 2}"]);
        assert_eq!(list("items[].n"), ["1", "2"]);
        assert_eq!(list("value[].events[]"), ["1", "2", "3"]);
        assert_eq!(list("empty"), [""; 0]);
        assert_eq!(list("empty[]"), [""; 0]);
        assert_eq!(path("one").records(json), Found::One("{\"n\": 3}"));
        assert_eq!(path("word").records(json), Found::Other);
        assert_eq!(path("missing").records(json), Found::Nothing);
        assert_eq!(path("missing[]").records(json), Found::Nothing);
        assert!(matches!(path("@").records("[1]"), Found::List(items) if items == ["1"]));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "", ".a", "a.", "a..b", "a[", "a[x]", "1a", "a ||", "a b", "\"a", "f(x)", "a | b", "a-b",
        ] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
        assert!(Path::parse(&vec!["a"; 17].join(".")).is_none());
        assert!(Path::parse(&vec!["a"; 17].join("||")).is_none());
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(path("a").text(&deep).is_some());
        assert!(matches!(path("a[]").records(&deep), Found::List(items) if items.len() == 1));
    }
}
