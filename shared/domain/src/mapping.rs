//! How a payload becomes ontology objects, as a version's configuration writes it down.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;

use crate::{lifecycle::states, ontology::ObjectKind};

states! {
    /// The language of an expression.
    Language {
        /// JMESPath (jmespath.org).
        Jmespath = "jmespath",
        /// JSONPath (RFC 9535).
        Jsonpath = "jsonpath",
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the macro that writes the enum knows no default"
)]
impl Default for Language {
    fn default() -> Self {
        Self::Jmespath
    }
}

states! {
    /// The language of a script.
    ScriptLanguage {
        /// JavaScript.
        Javascript = "javascript",
        /// Python.
        Python = "python",
    }
}

states! {
    /// What an expression is applied to.
    From {
        /// The record.
        Record = "record",
        /// The current item of `for_each`; the record where there is none.
        Item = "item",
        /// `event_id`, `received_at`, `headers`, `datasource`.
        Context = "context",
    }
}

states! {
    /// The type that a field's value is turned into.
    Cast {
        /// Text.
        String = "string",
        /// A whole number.
        Integer = "integer",
        /// A number.
        Number = "number",
        /// True or false.
        Boolean = "boolean",
        /// A point in time: RFC 3339, `YYYY-MM-DD HH:MM:SS[.1-9 digits]` as UTC, or epoch s/ms/us/ns.
        Timestamp = "timestamp",
    }
}

/// A version's mapping: either `outputs` or a `script`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingSpec {
    /// The language of the expressions that name none of their own.
    #[serde(default)]
    pub language: Language,
    /// Where the records are in the payload; the payload itself if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<String>,
    /// Which records to take; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What each record becomes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputSpec>,
    /// A function `map(record, context)` instead of `outputs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptSpec>,
}

impl MappingSpec {
    /// How an event is cut into records: two mappings of which this is the same number the same records.
    #[must_use]
    pub fn cut(&self) -> String {
        match &self.records {
            Some(records) => format!("{}:{records}", self.language),
            None => String::from("."),
        }
    }
}

/// A script that maps records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptSpec {
    /// Its language.
    pub language: ScriptLanguage,
    /// Its text.
    pub source: String,
}

/// One object, or with `for_each` one object for each item, of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// The kind of object.
    pub kind: ObjectKind,
    /// Whether to make it; always if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// A list in the record to make one object for each item of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<String>,
    /// The object's fields by dotted target (`title`, `rule.name`, `attributes.region`).
    pub fields: BTreeMap<String, FieldSpec>,
}

/// Where a field's value comes from: `"expression"`, or an object with `expr` or `value` and options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct FieldSpec {
    /// The expression. Exactly one of `expr` and `value` is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// A constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The expression's language; the mapping's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// What the expression is applied to; the item inside `for_each`, else the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
    /// Replaces the value (as text) by another; a value that is not listed stays, or becomes the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup: Option<BTreeMap<String, Value>>,
    /// What to use when there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultSpec>,
    /// The type to turn the value into.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub cast: Option<Cast>,
}

/// What to use when an expression gives nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DefaultSpec {
    /// Another expression.
    Expression(DefaultExpression),
    /// A constant.
    Value(Value),
}

/// An expression used as a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultExpression {
    /// The expression.
    pub expr: String,
    /// What it is applied to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
}

/// The object form of a field, as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldObject {
    expr: Option<String>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
    language: Option<Language>,
    from: Option<From>,
    lookup: Option<BTreeMap<String, Value>>,
    default: Option<DefaultSpec>,
    #[serde(rename = "as")]
    cast: Option<Cast>,
}

/// Reads `"value": null` as a constant null rather than as an absent field.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for FieldSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = FieldSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an expression (text), or an object with `expr` or `value`")
    }

    fn visit_str<E: de::Error>(self, expr: &str) -> Result<FieldSpec, E> {
        Ok(FieldSpec {
            expr: Some(expr.to_owned()),
            ..FieldSpec::default()
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldSpec, A::Error> {
        let object = FieldObject::deserialize(MapAccessDeserializer::new(map))?;
        if object.expr.is_some() == object.value.is_some() {
            return Err(de::Error::custom("exactly one of `expr` and `value` is needed"));
        }
        let FieldObject {
            expr,
            value,
            language,
            from,
            lookup,
            default,
            cast,
        } = object;
        Ok(FieldSpec {
            expr,
            value,
            language,
            from,
            lookup,
            default,
            cast,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::from_value;

    #[test]
    fn an_error_names_the_field_it_is_in() {
        let mapping =
            json!({"outputs": [{"kind": "alert", "fields": {"title": {"expr": "a", "as": "date"}}}]});
        let error = from_value::<MappingSpec>(mapping).unwrap_err();
        assert_eq!(error.pointer, "/outputs/0/fields/title/as");
        let mapping = json!({"outputs": [{"kind": "alert", "fields": {"title": {"from": "item"}}}]});
        let error = from_value::<MappingSpec>(mapping).unwrap_err();
        assert_eq!(error.pointer, "/outputs/0/fields/title");
    }

    #[test]
    fn both_forms_of_a_default_are_read() {
        let field =
            |default: Value| from_value::<FieldSpec>(json!({"expr": "a", "default": default})).unwrap();
        assert!(matches!(
            field(json!({"expr": "b"})).default,
            Some(DefaultSpec::Expression(_))
        ));
        assert!(matches!(field(json!("b")).default, Some(DefaultSpec::Value(_))));
    }
}
