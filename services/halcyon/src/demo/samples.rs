//! The vendors' sample events (`tests/samples/README.md` says whose they are), embedded.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

/// The sample file of each preset.
static FILES: &[(&str, &str)] = &[
    (
        "anthropic_activity",
        include_str!("../../../../tests/samples/anthropic_activity.ndjson"),
    ),
    (
        "asana_audit",
        include_str!("../../../../tests/samples/asana_audit.ndjson"),
    ),
    (
        "atlassian_audit",
        include_str!("../../../../tests/samples/atlassian_audit.ndjson"),
    ),
    (
        "auth0_logs",
        include_str!("../../../../tests/samples/auth0_logs.ndjson"),
    ),
    (
        "aws_cloudtrail",
        include_str!("../../../../tests/samples/aws_cloudtrail.ndjson"),
    ),
    (
        "aws_guardduty",
        include_str!("../../../../tests/samples/aws_guardduty.ndjson"),
    ),
    (
        "aws_security_hub",
        include_str!("../../../../tests/samples/aws_security_hub.ndjson"),
    ),
    (
        "cef_appliances",
        include_str!("../../../../tests/samples/cef_appliances.ndjson"),
    ),
    (
        "cloudflare_firewall",
        include_str!("../../../../tests/samples/cloudflare_firewall.ndjson"),
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
        "microsoft_graph_alerts",
        include_str!("../../../../tests/samples/microsoft_graph_alerts.ndjson"),
    ),
    (
        "okta_system_log",
        include_str!("../../../../tests/samples/okta_system_log.ndjson"),
    ),
    (
        "openai_audit",
        include_str!("../../../../tests/samples/openai_audit.ndjson"),
    ),
    (
        "proofpoint_tap",
        include_str!("../../../../tests/samples/proofpoint_tap.ndjson"),
    ),
    (
        "sentinelone_activities",
        include_str!("../../../../tests/samples/sentinelone_activities.ndjson"),
    ),
    (
        "slack_audit_logs",
        include_str!("../../../../tests/samples/slack_audit_logs.ndjson"),
    ),
    (
        "snyk_audit",
        include_str!("../../../../tests/samples/snyk_audit.ndjson"),
    ),
    (
        "socradar_incidents",
        include_str!("../../../../tests/samples/socradar_incidents.ndjson"),
    ),
    (
        "teleport_audit",
        include_str!("../../../../tests/samples/teleport_audit.ndjson"),
    ),
    (
        "thinkst_canary",
        include_str!("../../../../tests/samples/thinkst_canary.ndjson"),
    ),
    (
        "tines_audit",
        include_str!("../../../../tests/samples/tines_audit.ndjson"),
    ),
    (
        "tracebit_alerts",
        include_str!("../../../../tests/samples/tracebit_alerts.ndjson"),
    ),
    (
        "wiz_alerts",
        include_str!("../../../../tests/samples/wiz_alerts.ndjson"),
    ),
    (
        "zoom_operations",
        include_str!("../../../../tests/samples/zoom_operations.ndjson"),
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
