//! Vendor presets: ready-made feeds, one JSON file each in `presets/`, embedded at build time.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A ready-made feed of a vendor: what to copy into a new datasource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VendorPreset {
    /// A stable word, such as `aws-guardduty`; the file's name without `.json`.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// Who makes the product.
    pub vendor: String,
    /// The product.
    pub product: String,
    /// The connector's type, such as `http_webhook`.
    pub connector: String,
    /// What the feed brings and how it is mapped.
    pub description: String,
    /// A version's `connection`.
    pub connection: Value,
    /// A version's `mapping`.
    pub mapping: Value,
    /// A version's stored `tests`.
    #[serde(default)]
    pub tests: Vec<Value>,
    /// One event of the vendor, to try the mapping on.
    pub sample: Value,
}

/// The files, by name and text; the build script lists them.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/presets.rs"));

static PRESETS: LazyLock<Vec<VendorPreset>> = LazyLock::new(|| {
    // A file that does not read is left out here and fails the crate's tests.
    FILES
        .iter()
        .filter_map(|(_, text)| serde_json::from_str(text).ok())
        .collect()
});

/// Every vendor preset, sorted by file name.
#[must_use]
pub fn vendor_presets() -> &'static [VendorPreset] {
    &PRESETS
}

/// The presets of one connector.
pub(crate) fn of_connector(type_name: &str) -> Vec<VendorPreset> {
    PRESETS
        .iter()
        .filter(|preset| preset.connector == type_name)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_reads_and_is_named_by_its_id() {
        for (file, text) in FILES {
            let preset: VendorPreset =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("presets/{file}: {error}"));
            assert_eq!(*file, format!("{}.json", preset.id));
        }
    }

    #[test]
    fn every_preset_has_a_valid_connection_and_a_test() {
        for preset in vendor_presets() {
            let errors = crate::validate_connection(&preset.connector, &preset.connection);
            assert!(errors.is_empty(), "{}: {errors:?}", preset.id);
            assert!(!preset.tests.is_empty(), "{} has no stored test", preset.id);
        }
    }
}
