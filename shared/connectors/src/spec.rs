//! What a connector says of itself: enough for a form, a validator, a documentation page and a compliance test.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::VendorPreset;

/// A connector's description, as `GET /connectors/{type}` shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ConnectorSpec {
    /// The word a datasource's `type` holds, such as `http_webhook`.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// A name for people.
    pub name: &'static str,
    /// One or two sentences for people.
    pub description: &'static str,
    /// An SVG image.
    pub icon: &'static str,
    /// JSON Schema (2020-12) of a version's `connection`. Each property has `title`, `x-group`, `x-order` and
    /// `x-help`; `x-secret` marks a reference to a secret; `x-when` says for which values of a sibling field a
    /// property makes sense.
    pub config_schema: Value,
    /// A connection that is valid and shows the usual fields.
    pub example: Value,
    /// What the connector is able to do.
    pub capabilities: Capabilities,
    /// Payloads to try a mapping on.
    pub samples: Vec<SamplePayload>,
    /// Signature schemes of vendors, for connectors that verify signatures.
    pub signature_presets: Vec<SignaturePreset>,
    /// Ready-made feeds of vendors.
    pub presets: Vec<VendorPreset>,
}

/// What a connector is able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Capabilities {
    /// Events are sent to us.
    pub push: bool,
    /// Events are fetched by a [`Source`](crate::Source) in a worker.
    pub pull: bool,
    /// Several [`Source`](crate::Source)s may fetch side by side, each its own [`Share`](crate::Share) of the feed.
    pub shared: bool,
    /// A [`Source`](crate::Source) reads what there is and ends; it is begun again at the times of the version's
    /// `schedule`, and every minute without one.
    pub scheduled: bool,
    /// How far the order of events is kept; with several sources, by each of them.
    pub ordering: Ordering,
    /// Goes on from a checkpoint after a restart.
    pub resumable: bool,
    /// Can fetch a past range again.
    pub backfill: bool,
    /// Can fetch a few records for a test run.
    pub sample: bool,
}

/// How far the order of events is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// Not at all.
    None,
    /// Within a key or partition of the source.
    PerKey,
    /// All events, in the order of the source.
    Total,
}

/// A payload to try a mapping on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SamplePayload {
    /// A name for people.
    pub name: &'static str,
    /// The event.
    pub payload: Value,
}

/// A vendor's signature scheme, ready to be named in a configuration.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SignaturePreset {
    /// The word for `auth.preset`.
    pub id: &'static str,
    /// A name for people.
    pub name: &'static str,
    /// The `auth` settings that the preset stands for, as they could be written by hand.
    pub auth: Value,
    /// The vendor's description of the scheme.
    pub documentation: &'static str,
}

/// Parts of JSON Schemas that several connectors have, by name.
static SHARED: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("shared.json")).unwrap_or_default());

/// Reads a connector's `schema.json`. A property with `"x-shared": "tls"` gets what `shared.json` has under that name,
/// beneath what it says itself; `#/$defs/secret` is there without being written down. A text that is no JSON becomes
/// null, which fails the crate's tests.
pub(crate) fn schema(text: &str) -> Value {
    let mut schema: Value = serde_json::from_str(text).unwrap_or_default();
    expand(&mut schema);
    if let Some(object) = schema.as_object_mut() {
        let definitions = object
            .entry("$defs")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if definitions.get("secret").is_none() {
            definitions["secret"] = SHARED["secret"].clone();
        }
    }
    schema
}

fn expand(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::String(name)) = object.remove("x-shared") {
                for (key, value) in SHARED[&name].as_object().into_iter().flatten() {
                    object.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            object.values_mut().for_each(expand);
        }
        Value::Array(items) => items.iter_mut().for_each(expand),
        _ => {}
    }
}
