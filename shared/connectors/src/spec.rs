//! What a connector says of itself: enough for a form, a validator, a documentation page and a compliance test.

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
