//! The vendors' sample events (`tests/samples/README.md` says whose they are), embedded.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

/// The sample file of each preset.
static FILES: &[(&str, &str)] = &[
    (
        "aws_guardduty",
        include_str!("../../../../tests/samples/aws_guardduty.ndjson"),
    ),
    (
        "aws_security_hub",
        include_str!("../../../../tests/samples/aws_security_hub.ndjson"),
    ),
    (
        "crowdstrike_fdr",
        include_str!("../../../../tests/samples/crowdstrike_fdr.ndjson"),
    ),
    (
        "github_audit",
        include_str!("../../../../tests/samples/github_audit.ndjson"),
    ),
    (
        "okta_system_log",
        include_str!("../../../../tests/samples/okta_system_log.ndjson"),
    ),
    (
        "wiz_alerts",
        include_str!("../../../../tests/samples/wiz_alerts.ndjson"),
    ),
];

/// The events to replay: those of `file`, else the preset's sample file, else its one sample.
pub(super) fn events(preset: &str, file: Option<&Path>, definition: &Value) -> anyhow::Result<Vec<String>> {
    let text = match (file, FILES.iter().find(|(id, _)| *id == preset)) {
        (Some(file), _) => {
            std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?
        }
        (None, Some((_, text))) => (*text).to_owned(),
        (None, None) => definition["sample"].to_string(),
    };
    let events: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect();
    if events.is_empty() {
        bail!("there are no events to replay");
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_its_file() {
        for preset in halcyon_connectors::vendor_presets() {
            assert!(
                events(&preset.id, None, &Value::Null).unwrap().len() > 1,
                "{}",
                preset.id
            );
        }
        assert_eq!(FILES.len(), halcyon_connectors::vendor_presets().len());
    }
}
