//! A spec is complete: enough for a form, a documentation page and a validator.

use serde_json::Value;

use crate::{catalog, find, specs};

#[test]
fn types_are_unique_and_found() {
    for spec in specs() {
        assert_eq!(
            specs().filter(|other| other.type_name == spec.type_name).count(),
            1
        );
        assert_eq!(find(spec.type_name).unwrap().spec().type_name, spec.type_name);
        assert!(
            spec.type_name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        );
    }
    assert_eq!(specs().count(), catalog().len());
    assert!(find("nothing").is_none());
}

#[test]
fn every_spec_is_described() {
    for spec in specs() {
        assert!(
            !spec.name.is_empty() && !spec.description.is_empty(),
            "{}",
            spec.type_name
        );
        assert!(
            spec.icon.starts_with("<svg") && !spec.icon.contains("<script"),
            "{}",
            spec.type_name
        );
        assert!(
            spec.capabilities.push || spec.capabilities.pull,
            "{}",
            spec.type_name
        );
        assert!(!spec.samples.is_empty(), "{}", spec.type_name);
        for sample in &spec.samples {
            assert!(
                sample
                    .payload
                    .as_object()
                    .is_some_and(|fields| !fields.is_empty()),
                "{}",
                sample.name
            );
        }
    }
}

#[test]
fn every_schema_is_valid_and_every_property_complete() {
    for spec in specs() {
        let schema = &spec.config_schema;
        jsonschema::meta::validate(schema).unwrap_or_else(|error| panic!("{}: {error}", spec.type_name));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let mut properties = 0;
        check_objects(schema, spec.type_name, &mut properties);
        assert!(properties > 0, "{}", spec.type_name);
    }
}

/// Every object of the schema refuses unknown fields, and every property of it has what a form needs.
fn check_objects(schema: &Value, at: &str, count: &mut usize) {
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        assert_eq!(schema["additionalProperties"], false, "{at} takes unknown fields");
        for (name, field) in fields {
            *count += 1;
            let at = format!("{at}/{name}");
            for key in ["title", "x-group", "x-help"] {
                assert!(
                    field[key].as_str().is_some_and(|text| !text.is_empty()),
                    "{at} has no {key}"
                );
            }
            assert!(field["x-order"].is_u64(), "{at} has no x-order");
            let typed = ["type", "enum", "$ref", "const"]
                .iter()
                .any(|key| field.get(key).is_some());
            assert!(typed, "{at} has no type");
            let is_reference = |value: &Value| value["$ref"] == "#/$defs/secret";
            let refers = is_reference(field) || is_reference(&field["items"]);
            assert_eq!(
                field["x-secret"] == true,
                refers,
                "{at}: x-secret marks references, and only them"
            );
        }
    }
    match schema {
        Value::Object(parts) => parts
            .iter()
            .for_each(|(name, part)| check_objects(part, &format!("{at}/{name}"), count)),
        Value::Array(parts) => parts.iter().for_each(|part| check_objects(part, at, count)),
        _ => {}
    }
}
