//! The page on connectors and vendor presets, from the catalog.

use halcyon_tests::reference::{check, code, codes, page, table};
use serde_json::Value;

use crate::{ConnectorSpec, Ordering, VendorPreset, specs};

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A value as it is written in JSON.
fn literal(value: Option<&Value>) -> String {
    value.map(|value| code(&value.to_string())).unwrap_or_default()
}

fn capabilities(spec: &ConnectorSpec) -> String {
    let able = spec.capabilities;
    let ordering = match able.ordering {
        Ordering::None => "not kept",
        Ordering::PerKey => "kept within a key or partition of the source",
        Ordering::Total => "kept",
    };
    let yes = |able: bool| if able { "yes" } else { "no" }.to_owned();
    let rows = [
        ("Events are sent to us", yes(able.push)),
        ("Events are fetched by a worker", yes(able.pull)),
        ("Several workers may fetch at a time", yes(able.shared)),
        ("Reads in runs, at the times of a schedule", yes(able.scheduled)),
        ("Order of events", ordering.to_owned()),
        ("Goes on from a checkpoint after a restart", yes(able.resumable)),
        ("Can fetch a past range again", yes(able.backfill)),
        ("Can fetch a few records for a test run", yes(able.sample)),
    ];
    let rows = rows.map(|(what, able)| vec![what.to_owned(), able]);
    table(&["Capability", ""], rows)
}

/// What values a field of the schema may have.
fn kind(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        return codes(values.iter().filter_map(Value::as_str));
    }
    if field["$ref"] == "#/$defs/secret" {
        return "secret (`{\"$secret\": \"name\"}`)".to_owned();
    }
    let name = field["type"].as_str().unwrap_or_default();
    let most = |key: &str| field.get(key).map(ToString::to_string);
    match (name, most("minimum"), most("maximum"), most("exclusiveMinimum")) {
        ("array", ..) => format!("array of {}", kind(&field["items"])),
        (_, Some(least), Some(most), _) => format!("{name}, {least} to {most}"),
        (_, None, Some(most), Some(above)) => format!("{name}, above {above} to {most}"),
        _ => name.to_owned(),
    }
}

/// For which values of its siblings a field makes sense.
fn when(field: &Value, parent: &str) -> String {
    let conditions = field["x-when"].as_object().into_iter().flatten();
    let one = |(name, values): (&String, &Value)| {
        let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
        format!("{} is {}", code(&format!("{parent}{name}")), codes(values))
    };
    conditions.map(one).collect::<Vec<_>>().join("; ")
}

/// The rows of an object's fields, and of the fields within them, in the order of forms.
fn options(schema: &Value, parent: &str, rows: &mut Vec<Vec<String>>) {
    let Some(fields) = schema["properties"].as_object() else {
        return;
    };
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(_, field)| field["x-order"].as_u64());
    for (name, field) in fields {
        let required = schema["required"]
            .as_array()
            .is_some_and(|all| all.iter().any(|it| it == name));
        rows.push(vec![
            code(&format!("{parent}{name}")),
            kind(field),
            if required {
                "required".to_owned()
            } else {
                literal(field.get("default"))
            },
            when(field, parent),
            word(&field["x-help"]),
        ]);
        options(field, &format!("{parent}{name}."), rows);
    }
}

fn signature_presets(spec: &ConnectorSpec) -> String {
    let rows = spec.signature_presets.iter().map(|preset| {
        let settings = preset.auth.as_object().into_iter().flatten();
        let settings = settings.map(|(key, value)| code(&format!("{key}: {value}")));
        vec![
            code(preset.id),
            format!("[{}]({})", preset.name, preset.documentation),
            settings.collect::<Vec<_>>().join("<br>"),
        ]
    });
    table(&["`auth.preset`", "Vendor's description", "Stands for"], rows)
}

fn vendor_presets(presets: &[VendorPreset]) -> String {
    let rows = presets.iter().map(|preset| {
        vec![
            code(&preset.id),
            preset.name.clone(),
            format!("{}, {}", preset.vendor, preset.product),
            preset.description.clone(),
        ]
    });
    table(&["Preset", "Name", "Vendor and product", "What"], rows)
}

#[test]
fn the_connectors_reference_is_up_to_date() {
    let sources = ["shared/connectors/src/catalog.rs", "shared/connectors/presets"];
    let mut text = page("Connectors", &sources);
    text.push_str(
        "What `GET /api/v1/connectors` says, for reading. [Adding a connector or a vendor \
         preset](../adding-a-connector.md) says how there come to be more.\n\n",
    );
    for spec in specs() {
        text.push_str(&format!(
            "## {}: `{}`\n\n{}\n\n",
            spec.name, spec.type_name, spec.description
        ));
        text.push_str(&capabilities(spec));
        text.push_str("### Options\n\nThe `connection` of a version's configuration.\n\n");
        let mut rows = Vec::new();
        options(&spec.config_schema, "", &mut rows);
        text.push_str(&table(
            &["Option", "Value", "Default", "Only where", "What"],
            rows,
        ));
        let example = serde_json::to_string_pretty(&spec.example).unwrap();
        text.push_str(&format!("For example:\n\n```json\n{example}\n```\n\n"));
        if !spec.signature_presets.is_empty() {
            text.push_str("### Signature presets\n\n");
            text.push_str(&signature_presets(spec));
        }
        if !spec.presets.is_empty() {
            text.push_str(
                "### Vendor presets\n\nReady-made feeds: connection, mapping, tests and a sample.\n\n",
            );
            text.push_str(&vendor_presets(&spec.presets));
        }
    }
    check("connectors.md", &text);
}
