//! How records differ from the shape that is expected of them: fields that are new, that are missing, or that have
//! another type. Of JSON Schema this reads `type`, `properties`, `required`, `items` and `additionalProperties`.

use std::{collections::HashMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::MAX_DEPTH;
use crate::{
    error::{InputError, escape},
    hex::Hex,
    lifecycle::states,
};

states! {
    /// How a record differs.
    DriftKind {
        /// A field that is not expected.
        New = "new",
        /// A field that every record should have.
        Missing = "missing",
        /// A field of another type than is expected.
        Type = "type",
    }
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// What differs.
    pub kind: DriftKind,
    /// Where: a JSON pointer into the record, with `*` for the items of a list. At most 256 bytes: of a longer one the
    /// beginning, and a hash of the whole.
    pub path: String,
    /// The type that was found; nothing for a missing field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// The most bytes of a path that is told: the names in it are the record's own.
const MAX_PATH: usize = 256;
/// Bytes of the hash that tells paths apart whose beginnings are the same.
const HASH: usize = 8;

impl Drift {
    fn new(kind: DriftKind, path: String, found: Option<&'static str>) -> Self {
        Self {
            kind,
            path: bounded(path),
            found: found.map(str::to_owned),
        }
    }
}

fn bounded(mut path: String) -> String {
    if path.len() > MAX_PATH {
        let hash = Hex(Sha256::digest(&path).into_iter().take(HASH).collect());
        let end = format!("...{hash}");
        path.truncate(path.floor_char_boundary(MAX_PATH - end.len()));
        path.push_str(&end);
    }
    path
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.as_deref().unwrap_or("nothing");
        let path = if self.path.is_empty() { "/" } else { &self.path };
        match self.kind {
            DriftKind::New => write!(f, "field `{path}` ({found}) is new"),
            DriftKind::Missing => write!(f, "field `{path}` is missing"),
            DriftKind::Type => write!(f, "field `{path}` is {found}, which is not expected"),
        }
    }
}

const NULL: u8 = 1;
const BOOLEAN: u8 = 1 << 1;
const INTEGER: u8 = 1 << 2;
const NUMBER: u8 = 1 << 3;
const STRING: u8 = 1 << 4;
const ARRAY: u8 = 1 << 5;
const OBJECT: u8 = 1 << 6;
const TYPES: &[(&str, u8)] = &[
    ("null", NULL),
    ("boolean", BOOLEAN),
    ("integer", INTEGER),
    ("number", NUMBER | INTEGER),
    ("string", STRING),
    ("array", ARRAY),
    ("object", OBJECT),
];

/// A shape that is expected, ready to be compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// The types that fit; all, if none is named.
    types: u8,
    /// What is known of the members; nothing if any may be there.
    members: Option<HashMap<String, Self>>,
    required: Vec<String>,
    /// What is expected of members that are not named; nothing if they are new.
    others: Option<Box<Self>>,
    items: Option<Box<Self>>,
}

impl Expected {
    /// Reads a JSON Schema; pointers of errors are relative to it.
    ///
    /// # Errors
    /// It is none, or one of the parts that count here is written wrong.
    pub fn compile(schema: &Value) -> Result<Self, InputError> {
        Self::compile_at(schema, "", 0)
    }

    fn compile_at(schema: &Value, at: &str, depth: usize) -> Result<Self, InputError> {
        if depth > MAX_DEPTH {
            return Err(InputError::new(at, "too_deep", "the schema is nested too deeply"));
        }
        let schema = match schema {
            Value::Bool(true) => return Ok(Self::any()),
            Value::Object(schema) => schema,
            _ => return Err(InputError::new(at, "invalid", "a JSON Schema is an object")),
        };
        let part = |name: &str, schema: &Value| Self::compile_at(schema, &format!("{at}/{name}"), depth + 1);
        let members = match schema.get("properties") {
            None => None,
            Some(Value::Object(parts)) => {
                let compiled = parts.iter().map(|(name, schema)| {
                    let place = format!("properties/{}", escape(name));
                    Ok((name.clone(), part(&place, schema)?))
                });
                Some(compiled.collect::<Result<HashMap<_, _>, InputError>>()?)
            }
            Some(_) => {
                let pointer = format!("{at}/properties");
                return Err(InputError::new(
                    pointer,
                    "invalid",
                    "the properties are an object",
                ));
            }
        };
        let others = match schema.get("additionalProperties") {
            None | Some(Value::Bool(false)) => None,
            Some(others) => Some(Box::new(part("additionalProperties", others)?)),
        };
        let items = match schema.get("items") {
            None => None,
            Some(items) => Some(Box::new(part("items", items)?)),
        };
        Ok(Self {
            types: types(schema, at)?,
            members,
            required: required(schema, at)?,
            others,
            items,
        })
    }

    fn any() -> Self {
        Self {
            types: u8::MAX,
            ..Self::default()
        }
    }

    /// Tells how a record differs, each difference once for each place where it is found.
    pub fn compare(&self, record: &Value, tell: &mut impl FnMut(Drift)) {
        self.compare_at(record, &mut String::new(), 0, tell);
    }

    fn compare_at(&self, value: &Value, path: &mut String, depth: usize, tell: &mut impl FnMut(Drift)) {
        let (kind, name) = type_of(value);
        if self.types & kind == 0 {
            tell(Drift::new(DriftKind::Type, path.clone(), Some(name)));
            return;
        }
        if depth > MAX_DEPTH {
            return;
        }
        let length = path.len();
        match value {
            Value::Object(members) => self.compare_members(members, path, depth, tell),
            Value::Array(items) => {
                if let Some(expected) = &self.items {
                    path.push_str("/*");
                    items
                        .iter()
                        .for_each(|item| expected.compare_at(item, path, depth + 1, tell));
                }
            }
            _ => {}
        }
        path.truncate(length);
    }

    fn compare_members(
        &self,
        members: &Map<String, Value>,
        path: &mut String,
        depth: usize,
        tell: &mut impl FnMut(Drift),
    ) {
        let length = path.len();
        for name in self.required.iter().filter(|name| !members.contains_key(*name)) {
            let path = format!("{path}/{}", escape(name));
            tell(Drift::new(DriftKind::Missing, path, None));
        }
        for (name, member) in members {
            let named = self.members.as_ref().and_then(|known| known.get(name));
            let Some(expected) = named.or(self.others.as_deref()) else {
                if self.members.is_some() {
                    let path = format!("{path}/{}", escape(name));
                    tell(Drift::new(DriftKind::New, path, Some(type_of(member).1)));
                }
                continue;
            };
            path.push('/');
            if named.is_some() {
                path.push_str(&escape(name));
            } else {
                path.push('*');
            }
            expected.compare_at(member, path, depth + 1, tell);
            path.truncate(length);
        }
    }
}

fn types(schema: &Map<String, Value>, at: &str) -> Result<u8, InputError> {
    let one = |value: &Value| {
        let word = value.as_str().unwrap_or_default();
        TYPES
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, bits)| *bits)
    };
    let found = match schema.get("type") {
        None => Some(u8::MAX),
        Some(Value::Array(words)) if !words.is_empty() => words
            .iter()
            .try_fold(0, |bits, word| one(word).map(|more| bits | more)),
        Some(word) => one(word),
    };
    found.ok_or_else(|| {
        let detail = "null, boolean, integer, number, string, array or object, or a list of these";
        InputError::new(format!("{at}/type"), "invalid", detail)
    })
}

fn required(schema: &Map<String, Value>, at: &str) -> Result<Vec<String>, InputError> {
    let names = match schema.get("required") {
        None => return Ok(Vec::new()),
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect(),
        Some(_) => None,
    };
    names.ok_or_else(|| InputError::new(format!("{at}/required"), "invalid", "a list of names"))
}

fn type_of(value: &Value) -> (u8, &'static str) {
    match value {
        Value::Null => (NULL, "null"),
        Value::Bool(_) => (BOOLEAN, "boolean"),
        Value::Number(number) if number.is_f64() => (NUMBER, "number"),
        Value::Number(_) => (INTEGER, "integer"),
        Value::String(_) => (STRING, "string"),
        Value::Array(_) => (ARRAY, "array"),
        Value::Object(_) => (OBJECT, "object"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shape::Shape;

    fn drifts(schema: &Value, record: &Value) -> Vec<(DriftKind, String, Option<String>)> {
        let mut found = Vec::new();
        let expected = Expected::compile(schema).unwrap();
        expected.compare(record, &mut |drift| {
            found.push((drift.kind, drift.path, drift.found))
        });
        found.sort();
        found
    }

    #[test]
    fn new_missing_and_changed_fields_are_told() {
        let schema = json!({"type": "object", "required": ["id", "at"], "properties": {
            "id": {"type": "integer"}, "at": {"type": "string"}, "n": {"type": ["number", "null"]},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a/b": {"type": "string"}}}}}});
        let fits = json!({"id": 1, "at": "x", "n": 3, "list": [{"a/b": "y"}]});
        assert_eq!(drifts(&schema, &fits), []);
        let record = json!({"id": "1", "n": 2.5, "more": {}, "list": [{"a/b": 7}, {"c": true}]});
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            drifts(&schema, &record),
            [
                (DriftKind::New, "/list/*/c".to_owned(), text("boolean")),
                (DriftKind::New, "/more".to_owned(), text("object")),
                (DriftKind::Missing, "/at".to_owned(), None),
                (DriftKind::Type, "/id".to_owned(), text("string")),
                (DriftKind::Type, "/list/*/a~1b".to_owned(), text("integer")),
            ]
        );
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let schema = json!({"type": "object", "properties": {}});
        let name = "ä~".repeat(1_000_000);
        let record = json!({format!("{name}1"): 1, format!("{name}2"): 1, "short": 1});
        let found = drifts(&schema, &record);
        assert_eq!(found.len(), 3);
        let paths: std::collections::BTreeSet<_> = found.into_iter().map(|(_, path, _)| path).collect();
        assert_eq!(paths.len(), 3, "{paths:?}");
        assert!(paths.contains("/short"));
        assert!(paths.iter().all(|path| path.len() <= MAX_PATH), "{paths:?}");
        assert!(paths.iter().any(|path| path.starts_with("/ä~0ä~0")), "{paths:?}");
    }

    #[test]
    fn what_was_learned_from_records_fits_them() {
        let records = [
            json!({"id": 1, "map": {"a": 1}, "x": null, "list": [1, 2.5]}),
            json!({"id": 2, "map": {}, "x": "y", "list": []}),
        ];
        let mut shape = Shape::default();
        records.iter().for_each(|record| shape.learn(record));
        for record in &records {
            assert_eq!(drifts(&shape.schema(), record), []);
        }
    }

    #[test]
    fn names_that_may_be_anything_are_not_new() {
        let schema = json!({"type": "object", "additionalProperties": {"type": "integer"}, "properties": {}});
        assert_eq!(drifts(&schema, &json!({"u1": 1})), []);
        assert_eq!(
            drifts(&schema, &json!({"u1": "x"})),
            [(DriftKind::Type, "/*".to_owned(), Some("string".to_owned()))]
        );
        assert_eq!(drifts(&json!({"type": "object"}), &json!({"a": 1})), []);
    }

    #[test]
    fn a_schema_that_is_none_is_refused_by_its_place() {
        for (schema, pointer) in [
            (json!(7), ""),
            (json!({"type": "text"}), "/type"),
            (
                json!({"properties": {"a~b": {"type": 3}}}),
                "/properties/a~0b/type",
            ),
            (json!({"required": "id"}), "/required"),
            (json!({"items": []}), "/items"),
        ] {
            assert_eq!(Expected::compile(&schema).unwrap_err().pointer, pointer);
        }
    }
}
