//! Reads YAML. What a file can cost is bounded: its size, its depth, and what its aliases add up to.

use std::{fmt, thread};

use serde::{Deserialize, Deserializer, de};
use serde_json::Number;
use serde_saphyr::{DuplicateKeyPolicy, Location, Options, Spanned, alias_limits, budget, options};

use super::node::{Entry, Kind, Node, Place};

/// The largest file, in bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// How deep values may lie in each other.
const MAX_DEPTH: usize = 64;

/// The stack of the thread that reads, in bytes. It is taken page by page, as it is used.
const STACK: usize = 64 * 1024 * 1024;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
        }
    }
}

/// Reads the documents of a file; empty ones are left out.
///
/// # Errors
/// It is no YAML, a name stands twice in a mapping, or it is too large.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, Fault> {
    if text.len() > MAX_BYTES {
        let message = format!("the file is larger than {} MB", MAX_BYTES / 1024 / 1024);
        return Err(Fault::new(Place { line: 1, column: 1 }, message));
    }
    let mut documents = on_a_large_stack(|| {
        let documents = serde_saphyr::from_multiple_with_options::<Node>(text, limits());
        documents.map_err(|error| fault(&error))
    })?;
    documents.retain(|document| document.kind != Kind::Null);
    let lines: Vec<_> = text.lines().collect();
    documents
        .iter()
        .try_for_each(|document| refuse_leading_zeros(document, &lines))?;
    Ok(documents)
}

/// `007` is 7 to one reader of YAML, 7.0 to another and a text to a third: what is meant has to be said.
fn refuse_leading_zeros(node: &Node, lines: &[&str]) -> Result<(), Fault> {
    match &node.kind {
        Kind::List(items) => items
            .iter()
            .try_for_each(|item| refuse_leading_zeros(item, lines)),
        Kind::Map(entries) => entries
            .iter()
            .try_for_each(|entry| refuse_leading_zeros(&entry.value, lines)),
        Kind::Number(_) => {
            let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
            let line = lines.get(index(node.place.line)).copied().unwrap_or_default();
            let written = line.chars().skip(index(node.place.column));
            let mut written = written.skip_while(|sign| matches!(sign, '-' | '+'));
            if written.next() == Some('0') && written.next().is_some_and(|next| next.is_ascii_digit()) {
                return Err(Fault::new(
                    node.place,
                    "a number begins with 0: put it in quotes, or leave the 0 out",
                ));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Runs `parse` where values may lie as deep in each other as the limits allow, whatever thread asks for it.
fn on_a_large_stack<T: Send>(parse: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
    let failed = || Fault::new(Place { line: 1, column: 1 }, "the file could not be read");
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, parse);
        let thread = thread.map_err(|_| failed())?;
        thread.join().unwrap_or_else(|_| Err(failed()))
    })
}

fn limits() -> Options {
    options! {
        budget: budget! {
            max_depth: MAX_DEPTH,
            max_nodes: 400_000,
            max_events: 1_000_000,
            max_documents: 4_000,
            max_aliases: 2_000,
            max_anchors: 2_000,
            max_merge_keys: 2_000,
        },
        alias_limits: alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        // `no` is a country, and `on` a word: only `true` and `false` are neither.
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn fault(error: &serde_saphyr::Error) -> Fault {
    let place = error.location().map(Place::from).unwrap_or_default();
    let place = if place.line == 0 {
        Place { line: 1, column: 1 }
    } else {
        place
    };
    let text = error.to_string();
    // The place is shown in front of the message.
    let message = text
        .find(" at line ")
        .and_then(|at| text.get(..at))
        .unwrap_or(&text);
    let first = message.lines().next().unwrap_or_default();
    // The settings of the library are nobody's business here.
    let first = first.split(", set ").next().unwrap_or_default();
    Fault::new(place, first.trim_end_matches([':', ',', ' ']))
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self {
            place: spanned.referenced.into(),
            kind: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> de::Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Kind, E> {
        Ok(Kind::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Kind, E> {
        Ok(Kind::Number(number.into()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Kind, E> {
        // Whole numbers from here on have been rounded.
        let exact = number.abs() < 2f64.powi(63) || number.fract() != 0.0;
        let number = Number::from_f64(number).filter(|_| exact);
        let too_large = || E::custom("the number is too large to be kept exactly; put it in quotes");
        number.map(Kind::Number).ok_or_else(too_large)
    }

    fn visit_str<E>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Kind, E> {
        Ok(Kind::Text(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut fields: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = fields.next_key::<Spanned<String>>()? {
            entries.push(Entry {
                key: key.value,
                place: key.referenced.into(),
                value: fields.next_value()?,
            });
        }
        Ok(Kind::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Node {
        let mut documents = read(text).unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    fn wrong(text: &str) -> String {
        let fault = read(text).unwrap_err();
        format!("{}: {}", fault.place, fault.message)
    }

    #[test]
    fn every_value_has_its_place() {
        let node =
            one("name: edr\ntags:\n  - a\n  - b\nconfig:\n  mapping:\n    outputs:\n      - kind: alert\n");
        assert_eq!(
            node.value(),
            json!({"name": "edr", "tags": ["a", "b"], "config": {"mapping": {"outputs": [{"kind": "alert"}]}}})
        );
        let at = |pointer: &str| node.place_of(pointer).to_string();
        assert_eq!(at(""), "1:1");
        assert_eq!(at("/name"), "1:7");
        assert_eq!(at("/tags/1"), "4:5");
        assert_eq!(at("/config/mapping"), "6:3");
        assert_eq!(at("/config/mapping/outputs/0/kind"), "8:15");
        assert_eq!(at("/config/mapping/outputs/0/fields/title"), "8:9");
        assert_eq!(at("/config/connection/auth"), "5:1");
    }

    #[test]
    fn documents_are_told_apart_and_count_lines_on() {
        let documents = read("a: 1\n---\n# nothing\n---\nb: 2\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[1].place.to_string(), "5:1");
        assert_eq!(documents[1].value(), json!({"b": 2}));
    }

    #[test]
    fn scalars_are_what_they_look_like() {
        let node = one("[yes, no, on, true, ~, 0, 7, -7, 1.5, \"7\", 2026-01-02, 18446744073709551615]");
        assert_eq!(
            node.value(),
            json!([
                "yes",
                "no",
                "on",
                true,
                null,
                0,
                7,
                -7,
                1.5,
                "7",
                "2026-01-02",
                u64::MAX
            ])
        );
        assert_eq!(
            one("{70: high, true: x}").value(),
            json!({"70": "high", "true": "x"})
        );
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_place() {
        let cases = [
            (
                "a: 1\nb: [1, 2\nc: 3\n",
                "3:2: illegal placement of ':' indicator",
            ),
            ("a: 1\nb:\n  c: 1\n  c: 2\n", "4:3: duplicate mapping key: c"),
            ("a: &x 1\nb: *y\n", "2:4: alias references unknown anchor"),
            (
                "a: !!python/object x\n",
                "1:20: unsupported tag `!!python/object`",
            ),
            (
                "a: 123456789012345678901234567890\n",
                "1:4: the number is too large to be kept exactly; put it in quotes",
            ),
            (
                "a: [1, -007]\n",
                "1:8: a number begins with 0: put it in quotes, or leave the 0 out",
            ),
            (
                "a: .nan\n",
                "1:4: non-finite float `.nan` rejected by the configured policy",
            ),
            (
                "a:\n\t- b\n",
                "2:2: tabs disallowed within this context (block indentation)",
            ),
            ("a: \"x", "1:4: unclosed quote"),
        ];
        for (text, message) in cases {
            assert_eq!(wrong(text), message, "{text:?}");
        }
    }

    #[test]
    fn anchors_and_merges_stand_where_they_are_used() {
        let node = one("base: &base\n  x: 1\nuse:\n  <<: *base\n  y: 2\n");
        assert_eq!(node.value()["use"], json!({"x": 1, "y": 2}));
    }

    #[test]
    fn bombs_are_refused() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let before = level - 1;
            let aliases = vec![format!("*a{before}"); 9].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(read(&laughs).is_err());
        assert!(read(&format!("a: {}{}", "[".repeat(70), "]".repeat(70))).is_err());
        assert!(read(&"a".repeat(MAX_BYTES + 1)).is_err());
        let mut deep = String::new();
        for level in 0..200 {
            deep.push_str(&format!("{}a:\n", " ".repeat(level)));
        }
        assert!(read(&deep).is_err());
    }
}
