//! A shape that is learned from examples, and the JSON Schema that tells it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Format, MAX_DEPTH};

/// The most different texts that are remembered of one field, to tell whether it has a fixed set of values.
const MAX_VALUES: usize = 20;
/// A set of values is told where each was seen so often on average.
const SEEN_EACH: u64 = 3;
/// An object with more names than that is taken as a map: names that differ from record to record.
const MAX_NAMES: usize = 256;
/// The longest text that can be one of a set of values.
const MAX_VALUE: usize = 64;

/// What was seen at one place of the records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    seen: u64,
    null: u64,
    boolean: u64,
    integer: u64,
    number: u64,
    text: u64,
    list: u64,
    object: u64,
    formats: BTreeMap<Format, u64>,
    /// Each text with how often it was seen; nothing once there were too many.
    values: Option<BTreeMap<String, u64>>,
    names: BTreeMap<String, Self>,
    /// What is under names that differ from record to record.
    others: Option<Box<Self>>,
    items: Option<Box<Self>>,
}

impl Shape {
    /// Takes in one more example.
    pub fn learn(&mut self, value: &Value) {
        self.learn_at(value, 0);
    }

    /// How many examples there were.
    #[must_use]
    pub const fn examples(&self) -> u64 {
        self.seen
    }

    fn learn_at(&mut self, value: &Value, depth: usize) {
        self.seen += 1;
        match value {
            Value::Null => self.null += 1,
            Value::Bool(_) => self.boolean += 1,
            Value::Number(number) if number.is_f64() => self.number += 1,
            Value::Number(_) => self.integer += 1,
            Value::String(text) => self.learn_text(text),
            Value::Array(items) => {
                self.list += 1;
                if depth < MAX_DEPTH {
                    let shape = self.items.get_or_insert_default();
                    items.iter().for_each(|item| shape.learn_at(item, depth + 1));
                }
            }
            Value::Object(members) => {
                self.object += 1;
                if depth < MAX_DEPTH {
                    self.learn_members(members, depth);
                }
            }
        }
    }

    fn learn_text(&mut self, text: &str) {
        self.text += 1;
        if let Some(format) = Format::of(text) {
            *self.formats.entry(format).or_default() += 1;
        }
        if self.text == 1 {
            self.values = Some(BTreeMap::new());
        }
        if let Some(values) = &mut self.values {
            *values.entry(text.to_owned()).or_default() += 1;
            if values.len() > MAX_VALUES || text.len() > MAX_VALUE {
                self.values = None;
            }
        }
    }

    fn learn_members(&mut self, members: &Map<String, Value>, depth: usize) {
        for (name, member) in members {
            if let Some(others) = &mut self.others {
                others.learn_at(member, depth + 1);
                continue;
            }
            self.names
                .entry(name.clone())
                .or_default()
                .learn_at(member, depth + 1);
        }
        if self.names.len() > MAX_NAMES {
            let mut all = Self::default();
            for shape in std::mem::take(&mut self.names).into_values() {
                all.absorb(shape);
            }
            self.others = Some(Box::new(all));
        }
    }

    fn absorb(&mut self, other: Self) {
        self.seen += other.seen;
        self.null += other.null;
        self.boolean += other.boolean;
        self.integer += other.integer;
        self.number += other.number;
        self.text += other.text;
        self.list += other.list;
        self.object += other.object;
        for (format, count) in other.formats {
            *self.formats.entry(format).or_default() += count;
        }
        // What is under many names is no fixed set of values.
        self.values = None;
        for (name, shape) in other.names {
            self.names.entry(name).or_default().absorb(shape);
        }
        for (mine, theirs) in [(&mut self.others, other.others), (&mut self.items, other.items)] {
            if let Some(theirs) = theirs {
                mine.get_or_insert_default().absorb(*theirs);
            }
        }
    }

    /// The shape as JSON Schema (draft 2020-12). `x-seen` says in how many examples a field was seen.
    #[must_use]
    pub fn schema(&self) -> Value {
        let mut schema = Map::new();
        schema.insert(
            "$schema".to_owned(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        self.describe(&mut schema);
        Value::Object(schema)
    }

    fn describe(&self, schema: &mut Map<String, Value>) {
        let types = self.types();
        match &types[..] {
            [] => {}
            [only] => {
                schema.insert("type".to_owned(), (*only).into());
            }
            several => {
                schema.insert("type".to_owned(), json!(several));
            }
        }
        if let Some((format, count)) = self.formats.iter().next()
            && *count == self.text
        {
            schema.insert("format".to_owned(), format.as_str().into());
        } else if let Some(values) = self.fixed_values() {
            schema.insert("enum".to_owned(), values);
        }
        if let Some(items) = &self.items {
            schema.insert("items".to_owned(), items.part());
        }
        if self.object > 0 {
            self.describe_members(schema);
        }
        schema.insert("x-seen".to_owned(), self.seen.into());
    }

    fn part(&self) -> Value {
        let mut schema = Map::new();
        self.describe(&mut schema);
        Value::Object(schema)
    }

    fn types(&self) -> Vec<&'static str> {
        // Every integer is a number.
        let integer = if self.number > 0 { 0 } else { self.integer };
        [
            (self.null, "null"),
            (self.boolean, "boolean"),
            (integer, "integer"),
            (self.number, "number"),
            (self.text, "string"),
            (self.list, "array"),
            (self.object, "object"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(_, name)| name)
        .collect()
    }

    /// The set of values, if all are texts of a small set, each seen more than once or twice.
    fn fixed_values(&self) -> Option<Value> {
        let values = self.values.as_ref().filter(|values| !values.is_empty())?;
        let only_texts = self.text + self.null == self.seen;
        if !only_texts || self.text < values.len() as u64 * SEEN_EACH {
            return None;
        }
        let mut listed: Vec<Value> = values.keys().map(|value| value.as_str().into()).collect();
        if self.null > 0 {
            listed.push(Value::Null);
        }
        Some(Value::Array(listed))
    }

    fn describe_members(&self, schema: &mut Map<String, Value>) {
        if let Some(others) = &self.others {
            schema.insert("additionalProperties".to_owned(), others.part());
            return;
        }
        let parts = self
            .names
            .iter()
            .map(|(name, shape)| (name.clone(), shape.part()));
        schema.insert("properties".to_owned(), Value::Object(parts.collect()));
        let always = self.names.iter().filter(|(_, shape)| shape.seen == self.object);
        let always: Vec<Value> = always.map(|(name, _)| name.as_str().into()).collect();
        if !always.is_empty() {
            schema.insert("required".to_owned(), Value::Array(always));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(examples: &[Value]) -> Value {
        let mut shape = Shape::default();
        examples.iter().for_each(|example| shape.learn(example));
        shape.schema()
    }

    #[test]
    fn fields_types_and_formats_are_learned() {
        let schema = learned(&[
            json!({"id": 1, "at": "2026-01-02T03:04:05Z", "ip": "10.0.0.1", "tags": ["a"], "who": {"mail": "a@b.org"}}),
            json!({"id": 2.5, "at": "2026-01-02T03:04:05Z", "ip": null, "tags": [], "who": {"mail": "c@d.org", "id": 7}}),
        ]);
        let of = |name: &str| &schema["properties"][name];
        assert_eq!(of("id")["type"], "number");
        assert_eq!(
            (&of("at")["type"], &of("at")["format"]),
            (&json!("string"), &json!("date-time"))
        );
        assert_eq!(of("ip")["type"], json!(["null", "string"]));
        assert_eq!(of("ip")["format"], "ipv4");
        assert_eq!(of("tags")["items"]["type"], "string");
        assert_eq!(of("who")["properties"]["mail"]["format"], "email");
        assert_eq!(of("who")["required"], json!(["mail"]));
        assert_eq!(schema["required"], json!(["at", "id", "ip", "tags", "who"]));
        assert_eq!(of("who")["properties"]["id"]["x-seen"], 1);
    }

    #[test]
    fn a_small_set_of_values_that_come_again_is_told() {
        let examples: Vec<_> = (0..9)
            .map(|n| json!({"level": if n % 2 == 0 { "low" } else { "high" }, "name": format!("n{n}")}))
            .collect();
        let schema = learned(&examples);
        assert_eq!(schema["properties"]["level"]["enum"], json!(["high", "low"]));
        assert!(schema["properties"]["name"]["enum"].is_null());
    }

    #[test]
    fn names_that_differ_from_record_to_record_are_a_map() {
        let examples: Vec<_> = (0..300)
            .map(|n| json!({"by_user": {format!("u{n}"): n}}))
            .collect();
        let schema = learned(&examples);
        let map = &schema["properties"]["by_user"];
        assert!(map["properties"].is_null(), "{map}");
        assert_eq!(map["additionalProperties"]["type"], "integer");
        assert_eq!(map["additionalProperties"]["x-seen"], 300);
    }
}
