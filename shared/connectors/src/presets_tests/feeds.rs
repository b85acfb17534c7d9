//! What is expected of the feeds that are polled or pushed by vendors of applications: the time and the severity are
//! read here by hand, without the mapping.

use halcyon_domain::ontology::Severity::{self, Critical, High, Informational, Low, Medium};
use serde_json::Value;

use super::{Vendor, text, word};

fn is(event: &Value, pointer: &str) -> String {
    text(event, &[pointer]).unwrap_or_default()
}

/// The severity of the first row that has a part of `found`.
fn first(found: &str, rows: &[(&[&str], Severity)]) -> Severity {
    let row = rows
        .iter()
        .find(|(parts, _)| parts.iter().any(|part| found.contains(part)));
    row.map_or(Informational, |(_, severity)| *severity)
}

pub(super) fn vendors() -> Vec<Vendor> {
    let mut all = audit_logs();
    all.extend(more_audit_logs());
    all.extend(detections());
    all.extend(webhooks());
    all
}

fn audit_logs() -> Vec<Vendor> {
    vec![
        Vendor {
            preset: "slack_audit_logs",
            events: 24,
            time: |event| text(event, &["/date_create"]),
            severity: |event| match is(event, "/action").as_str() {
                "app_scopes_expanded" | "role_change_to_owner" => Medium,
                "legal_hold_policy_updated" | "private_channel_converted_to_public" => Low,
                _ => Informational,
            },
            without_entity: &[],
            titles: &[(22, "app_installed by user@example.com")],
        },
        Vendor {
            preset: "asana_audit",
            events: 13,
            time: |event| text(event, &["/created_at"]),
            severity: |event| match is(event, "/event_category").as_str() {
                "admin_settings" | "roles" => Medium,
                "access_control" | "apps" => Low,
                _ => Informational,
            },
            without_entity: &[],
            titles: &[],
        },
        Vendor {
            preset: "snyk_audit",
            events: 22,
            time: |event| text(event, &["/created"]),
            severity: |event| {
                let found = is(event, "/event");
                let rows: &[(&[&str], Severity)] = &[
                    (&["service_account", "sso", ".role.", "user.remove"], Medium),
                    (&["settings", "policy"], Low),
                ];
                first(&found, rows)
            },
            without_entity: &[3, 17],
            titles: &[(3, "group.sso.membership.sync by Snyk")],
        },
        Vendor {
            preset: "openai_audit",
            events: 29,
            time: |event| text(event, &["/effective_at"]),
            severity: |event| {
                let rows: &[(&[&str], Severity)] = &[
                    (&["deactivated", "scim.", "sso."], High),
                    (
                        &[
                            "api_key.",
                            "role.",
                            "service_account.",
                            "ip_allowlist.",
                            "login.failed",
                        ],
                        Medium,
                    ),
                ];
                first(&is(event, "/type"), rows)
            },
            without_entity: &[],
            titles: &[(6, "api_key.created by suspicious@external.com")],
        },
    ]
}

fn more_audit_logs() -> Vec<Vendor> {
    vec![
        Vendor {
            preset: "tines_audit",
            events: 11,
            time: |event| text(event, &["/created_at"]),
            severity: |event| {
                let rows: &[(&[&str], Severity)] = &[
                    (&["Token", "Clear", "SSO", "SetCa", "Global"], Medium),
                    (&["Destruction"], Low),
                ];
                first(&is(event, "/operation_name"), rows)
            },
            without_entity: &[],
            titles: &[(1, "Login by user@company.com")],
        },
        Vendor {
            preset: "anthropic_activity",
            events: 27,
            time: |event| text(event, &["/created_at"]),
            severity: |event| {
                let rows: &[(&[&str], Severity)] = &[
                    (&["ip_restriction", "sso", "organization_settings"], High),
                    (&["key_", "role_", "export"], Medium),
                ];
                first(&is(event, "/type"), rows)
            },
            without_entity: &[],
            titles: &[(12, "claude_chat_access_failed by api_actor")],
        },
        Vendor {
            preset: "zoom_operations",
            events: 19,
            time: |event| text(event, &["/time"]),
            severity: |event| first(&is(event, "/operation_detail"), &[(&["from On to Off"], Medium)]),
            without_entity: &[],
            titles: &[(11, "Batch Update User by admin-test%1223+123@duff.dev.co")],
        },
        Vendor {
            preset: "atlassian_audit",
            events: 2,
            time: |event| text(event, &["/attributes/time"]),
            severity: |event| first(&is(event, "/attributes/action"), &[(&["logged_in_as"], High)]),
            without_entity: &[],
            titles: &[],
        },
    ]
}

fn detections() -> Vec<Vendor> {
    vec![
        Vendor {
            preset: "socradar_incidents",
            events: 6,
            time: |event| text(event, &["/date"]),
            severity: |event| word(event, &["/alarm_risk_level"]),
            without_entity: &[],
            titles: &[],
        },
        Vendor {
            preset: "proofpoint_tap",
            events: 35,
            time: |event| text(event, &["/messageTime"]),
            severity: |event| {
                let score = |name: &str| event[name].as_i64().unwrap_or_default();
                match score("malwareScore")
                    .max(score("phishScore"))
                    .max(score("impostorScore"))
                {
                    90.. => High,
                    50.. => Medium,
                    1.. => Low,
                    _ => Informational,
                }
            },
            without_entity: &[],
            titles: &[],
        },
        Vendor {
            preset: "microsoft_graph_alerts",
            events: 4,
            time: |event| text(event, &["/lastUpdateDateTime"]),
            severity: |event| word(event, &["/severity"]),
            without_entity: &[2, 3],
            titles: &[(1, "Password Spray")],
        },
        Vendor {
            preset: "sentinelone_activities",
            events: 11,
            time: |event| text(event, &["/createdat"]),
            severity: |event| match is(event, "/data/confidencelevel").as_str() {
                "malicious" => High,
                "suspicious" => Medium,
                _ => Informational,
            },
            without_entity: &[],
            titles: &[],
        },
    ]
}

fn webhooks() -> Vec<Vendor> {
    vec![
        Vendor {
            preset: "cloudflare_firewall",
            events: 6,
            time: |event| text(event, &["/Datetime"]),
            severity: |event| first(&is(event, "/Action"), &[(&["block"], Low)]),
            without_entity: &[],
            titles: &[],
        },
        Vendor {
            preset: "thinkst_canary",
            events: 3,
            time: |event| Some(is(event, "/Timestamp").replace(" (UTC)", "")),
            severity: |event| match is(event, "/Description").as_str() {
                "Canary Disconnected" => Medium,
                _ => Critical,
            },
            without_entity: &[],
            titles: &[(
                2,
                "AWS API Key Canarytoken triggered on aws api key inside keepass",
            )],
        },
        Vendor {
            preset: "auth0_logs",
            events: 12,
            time: |event| text(event, &["/data/date"]),
            severity: |event| first(&is(event, "/data/type"), &[(&["pwd_leak", "limit_"], High)]),
            without_entity: &[],
            titles: &[(
                0,
                "Set the Multi-factor Authentication policies by user.name@yourcompany.io",
            )],
        },
        Vendor {
            preset: "teleport_audit",
            events: 8,
            time: |event| text(event, &["/time"]),
            severity: |event| match is(event, "/event").as_str() {
                "auth" | "saml.created" | "lock.created" => Medium,
                _ => Informational,
            },
            without_entity: &[3],
            titles: &[(7, "session.network by panther")],
        },
        Vendor {
            preset: "tracebit_alerts",
            events: 4,
            time: |event| text(event, &["/timestamp"]),
            severity: |event| word(event, &["/severity"]),
            without_entity: &[],
            titles: &[(1, "Canary AWS credentials used (john.smith@us-sf01-596)")],
        },
    ]
}
