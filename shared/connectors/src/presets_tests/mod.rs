//! Each vendor preset over its whole sample file: every event becomes an alert, nothing is dead-lettered, and
//! severity and time are the vendor's own.

mod feeds;
mod logs;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use halcyon_domain::ontology::{Alert, OntologyObject, Severity};
use serde_json::Value;
use support::{Expectation, Mapped, Sample, received_at};

/// What is asked of a preset besides what is asked of all.
struct Vendor {
    preset: &'static str,
    events: usize,
    /// The event's own time, read straight from the event.
    time: fn(&Value) -> Option<String>,
    /// The alert's severity, by the vendor's scale.
    severity: fn(&Value) -> Severity,
    /// The events that name nobody and nothing.
    without_entity: &'static [usize],
    /// Titles of some events, by place in the file.
    titles: &'static [(usize, &'static str)],
}

fn text(event: &Value, pointers: &[&str]) -> Option<String> {
    pointers.iter().find_map(|pointer| match event.pointer(pointer)? {
        Value::String(text) if !text.is_empty() && text != "redacted" => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

fn word(event: &Value, pointers: &[&str]) -> Severity {
    match text(event, pointers).unwrap_or_default().to_lowercase().as_str() {
        "low" => Severity::Low,
        "medium" | "warn" => Severity::Medium,
        "high" | "error" => Severity::High,
        "critical" => Severity::Critical,
        _ => Severity::Informational,
    }
}

fn guardduty() -> Vendor {
    Vendor {
        preset: "aws_guardduty",
        events: 8,
        time: |event| text(event, &["/updatedAt"]),
        severity: |event| match event["severity"].as_f64().unwrap() {
            9.0.. => Severity::Critical,
            7.0.. => Severity::High,
            4.0.. => Severity::Medium,
            _ => Severity::Low,
        },
        without_entity: &[],
        titles: &[(
            0,
            "Potential credential compromise of IAMUser/john_doe indicated by a sequence of actions.",
        )],
    }
}

fn security_hub() -> Vendor {
    Vendor {
        preset: "aws_security_hub",
        events: 10,
        time: |event| text(event, &["/UpdatedAt"]),
        severity: |event| word(event, &["/Severity/Label"]),
        without_entity: &[],
        titles: &[(
            4,
            "Suspicious activity detected accessing private decoy S3 bucket panther-databucket",
        )],
    }
}

fn wiz() -> Vendor {
    Vendor {
        preset: "wiz_alerts",
        events: 57,
        time: |event| {
            text(
                event,
                &["/updatedAt", "/createdAt", "/issue/created", "/timestamp"],
            )
        },
        severity: |event| word(event, &["/severity", "/issue/severity"]),
        without_entity: &[],
        titles: &[
            (0, "Alert Name on someName"),
            (5, "DeleteCICDScanPolicy by test@company.com failed"),
            (12, "Recon:EC2/PortProbeUnprotectedPort on Your-EC2-Instance"),
            (33, "DeleteSAMLIdentityProvider by test-graphql-api"),
        ],
    }
}

fn okta() -> Vendor {
    Vendor {
        preset: "okta_system_log",
        events: 100,
        time: |event| {
            let recent = ["policy", "enrollment", "swa", "extraction"];
            let recent = recent
                .iter()
                .filter_map(|what| text(event, &[&format!("/recent_{what}_last_event")]));
            text(
                event,
                &[
                    "/published",
                    "/p_event_time",
                    "/detection_timestamp",
                    "/recent_last_event",
                ],
            )
            .or_else(|| recent.max())
        },
        severity: |event| match (
            event["severity"].as_str(),
            event["anomaly_severity_score"].as_f64(),
        ) {
            (Some(_), _) => word(event, &["/severity"]),
            (None, Some(100.0..)) => Severity::Critical,
            (None, Some(50.0..)) => Severity::High,
            (None, Some(20.0..)) => Severity::Medium,
            (None, Some(_)) => Severity::Low,
            (None, None) if event["anomaly_type"].is_string() => Severity::Medium,
            (None, None) => Severity::Informational,
        },
        without_entity: &[6, 67, 68, 79, 80, 85, 86],
        titles: &[
            (2, "Anomalous sign-in activity by compromised.user@company.com"),
            (8, "New IP Address: system.api_token.create by Admin User"),
            (18, "Grant user privilege by jack@acme.io"),
            (80, "Anomalous app or credential access"),
            (88, "Request from suspicious actor by 1.2.3.4 (DENY)"),
        ],
    }
}

fn github() -> Vendor {
    fn time(event: &Value) -> Option<String> {
        let audit =
            event.get("actor").is_some() || text(event, &["/action"]).is_some_and(|a| a.contains('.'));
        let paths: &[&str] = if audit {
            &[
                "/@timestamp",
                "/at_sign_timestamp",
                "/created_at",
                "/p_event_time",
            ]
        } else {
            &[
                "/workflow_job/completed_at",
                "/workflow_job/started_at",
                "/review/submitted_at",
                "/comment/created_at",
                "/pull_request/created_at",
                "/issue/created_at",
                "/commits/0/timestamp",
                "/repository/created_at",
            ]
        };
        // Some rows lack the dot before the fraction of a second: the minute is still theirs.
        text(event, paths).map(|time| match time.strip_suffix(":00000000") {
            Some(minute) => format!("{minute}:00"),
            None => time,
        })
    }
    Vendor {
        preset: "github_audit",
        events: 177,
        time,
        severity: |event| match event["action"].as_str().unwrap_or_default() {
            "protected_branch.destroy" | "repo.destroy" | "ip_allow_list.disable" => Severity::High,
            "secret_scanning.disable" | "repository_ruleset.destroy" => Severity::High,
            "public_key.create" | "org.invite_member" | "repo.transfer" => Severity::Medium,
            "team.create" | "repo.create" => Severity::Low,
            "git.push" | "opened" | "completed" | "submitted" => Severity::Informational,
            _ => Severity::Unknown,
        },
        without_entity: &[105],
        titles: &[
            (0, "protected_branch.destroy by cat in my-org/my-repo"),
            (
                17,
                "Workflow Build and Test requested on malicious-feature (pull_request) in example-org/example-repo",
            ),
            (20, "Comment created on issue #1 by malicious-user in org/repo"),
            (
                37,
                "Issue #123 opened: Bug report $(echo 'malicious command') by suspicious-user in target-org/repo",
            ),
            (150, "Workflow job Deploy success in example-org/example-repo"),
        ],
    }
}

fn crowdstrike() -> Vendor {
    Vendor {
        preset: "crowdstrike_fdr",
        events: 119,
        time: |event| {
            let paths = [
                "/ContextTimeStamp",
                "/ContextTimestamp",
                "/event/ContextTimeStamp",
                "/event/timestamp",
                "/unknown_payload/timestamp",
                "/event/UTCTimestamp",
                "/UTCTimestamp",
                "/timestamp",
                "/metadata/eventCreationTime",
            ];
            text(event, &paths)
        },
        severity: |event| word(event, &["/event/SeverityName", "/SeverityName"]),
        without_entity: &[61, 98],
        titles: &[
            (
                0,
                "Process started: powershell.exe by pwsh.exe on 877761efa8db44d792ddc2redacted",
            ),
            (
                20,
                "Network connection to 152.206.0.1:443 on 877761efa8db44d7redacted",
            ),
            (
                29,
                "DNS request for baddomain.com on 00000000000000000000000000000001",
            ),
            (36, "Process started: security by zsh on 1234abcdefghijklmnop"),
            (61, "CrowdStrike event without a type"),
            (66, "Remote response session started on John Macbook Pro"),
            (92, "DeleteAPIClients by tester@panther.com failed"),
            (96, "Known Malware: msedge.exe on AA-BB-CC-DD-71-7F"),
        ],
    }
}

fn the_alert(mapped: &Mapped) -> &Alert {
    let mut alerts = mapped.objects.iter().filter_map(|object| match object {
        OntologyObject::Alert(alert) => Some(alert),
        _ => None,
    });
    let alert = alerts
        .next()
        .unwrap_or_else(|| panic!("event {} became no alert", mapped.index));
    assert!(
        alerts.next().is_none(),
        "event {} became several alerts",
        mapped.index
    );
    alert
}

fn check_alert(vendor: &Vendor, event: &Value, mapped: &Mapped) {
    let (preset, index, alert) = (vendor.preset, mapped.index, the_alert(mapped));
    assert!(
        !alert.title.trim().is_empty() && !alert.title.contains('\n'),
        "{preset} {index}"
    );
    assert!(
        alert.vendor.is_some() && alert.product.is_some() && alert.category.is_some(),
        "{preset} {index}"
    );
    let source = alert.attributes["time_source"].as_str().unwrap();
    match (vendor.time)(event) {
        Some(own) => {
            assert_eq!(alert.time, support::time(&own), "{preset} {index} says {own}");
            assert_ne!(source, "received_at", "{preset} {index}");
        }
        None => {
            assert_eq!(alert.time, received_at(), "{preset} {index}: {event}");
            assert_eq!(source, "received_at", "{preset} {index}");
        }
    }
    assert_ne!(alert.severity, Severity::Unknown, "{preset} {index}");
    let expected = (vendor.severity)(event);
    assert!(
        expected == Severity::Unknown || expected == alert.severity,
        "{preset} {index}: {event}"
    );
    assert!(
        alert.attributes["severity_source"].is_string(),
        "{preset} {index}"
    );
    if let Some((_, title)) = vendor.titles.iter().find(|(at, _)| *at == index) {
        assert_eq!(alert.title, *title, "{preset} {index}");
    }
}

/// Ends of relationships are objects that the same event makes, and no object comes twice.
fn check_objects(preset: &str, mapped: &Mapped) {
    let mut ends = BTreeSet::new();
    let mut links = BTreeSet::new();
    for object in &mapped.objects {
        let (kind, key) = match object {
            OntologyObject::Alert(alert) => ("alert", alert.external_id.as_str()),
            OntologyObject::Entity(entity) => (entity.kind.as_str(), entity.key.as_str()),
            OntologyObject::Relationship(_) => continue,
        };
        assert_eq!(key, key.trim(), "{preset} {}", mapped.index);
        assert!(
            ends.insert((kind, key)),
            "{preset} {} makes {kind} {key} twice",
            mapped.index
        );
    }
    for object in &mapped.objects {
        let OntologyObject::Relationship(link) = object else {
            continue;
        };
        for end in [&link.source, &link.target] {
            assert!(
                ends.contains(&(end.kind.as_str(), end.key.as_str())),
                "{preset} {} {end:?}",
                mapped.index
            );
        }
        assert_ne!(link.source, link.target, "{preset} {}", mapped.index);
        assert!(
            links.insert((&link.kind, &link.source, &link.target)),
            "{preset} {} {link:?}",
            mapped.index
        );
    }
}

fn check(vendor: &Vendor) -> BTreeMap<&'static str, usize> {
    let sample = Sample::of(vendor.preset);
    assert_eq!(sample.events.len(), vendor.events, "{}", vendor.preset);
    let mut without_entity = Vec::new();
    let mut counts = BTreeMap::new();
    for (index, event) in sample.events.iter().enumerate() {
        let mapped = sample.map(index, event);
        check_alert(vendor, event, &mapped);
        check_objects(vendor.preset, &mapped);
        if !mapped
            .objects
            .iter()
            .any(|object| matches!(object, OntologyObject::Entity(_)))
        {
            without_entity.push(index);
        }
        for object in &mapped.objects {
            *counts.entry(object.kind().as_str()).or_default() += 1;
        }
    }
    assert_eq!(without_entity, vendor.without_entity, "{}", vendor.preset);
    counts
}

#[test]
fn every_event_of_every_vendor_becomes_an_alert_with_its_own_time_and_severity() {
    let (mut total, mut events) = (BTreeMap::new(), 0);
    let mut vendors = vec![
        guardduty(),
        security_hub(),
        wiz(),
        okta(),
        github(),
        crowdstrike(),
    ];
    vendors.extend(feeds::vendors());
    vendors.extend(logs::vendors());
    for vendor in &vendors {
        events += vendor.events;
        for (kind, count) in check(vendor) {
            *total.entry(kind).or_insert(0) += count;
        }
    }
    assert_eq!(total["alert"], events, "one for each event");
    let tested: BTreeSet<&str> = vendors.iter().map(|vendor| vendor.preset).collect();
    let presets = crate::vendor_presets().iter().map(|preset| preset.id.as_str());
    assert_eq!(
        tested,
        presets.collect::<BTreeSet<_>>(),
        "each preset has its sample file"
    );
    assert!(
        total["entity"] > 1_000 && total["relationship"] > 1_500,
        "{total:?}"
    );
}

#[test]
fn findings_keep_their_identity_and_the_others_take_the_events() {
    for (preset, own) in [
        ("aws_guardduty", "/id"),
        ("aws_security_hub", "/Id"),
        ("wiz_alerts", "/id"),
    ] {
        let sample = Sample::of(preset);
        let event = &sample.events[0];
        let mapped = sample.map(0, event);
        assert_eq!(
            Some(the_alert(&mapped).external_id.as_str()),
            event.pointer(own).and_then(Value::as_str)
        );
    }
    for preset in ["okta_system_log", "github_audit", "crowdstrike_fdr"] {
        let sample = Sample::of(preset);
        let mapped = sample.map(7, &sample.events[0]);
        assert_eq!(the_alert(&mapped).external_id, "event-7", "{preset}");
    }
}

#[test]
fn one_person_is_one_user_whatever_the_case() {
    let sample = Sample::of("okta_system_log");
    let mut event = sample.events[18].clone();
    event["actor"]["alternateId"] = "Jack@ACME.io".into();
    let mapped = sample.map(18, &event);
    let keys = mapped.objects.iter().filter_map(|object| match object {
        OntologyObject::Entity(entity) if entity.kind == "user" => Some(entity.key.as_str()),
        _ => None,
    });
    assert!(keys.collect::<Vec<_>>().contains(&"jack@acme.io"));
}

#[test]
fn the_stored_tests_of_every_preset_are_green() {
    for preset in crate::vendor_presets() {
        let sample = Sample::of(&preset.id);
        assert!((2..=4).contains(&preset.tests.len()), "{}", preset.id);
        for test in &preset.tests {
            Expectation::of(test).check(&sample);
        }
        let mapped = sample.map(0, &preset.sample);
        assert!(!mapped.objects.is_empty(), "{}", preset.id);
    }
}

/// A preset over `syslog` is tested on lines as they were sent, taken apart by the connector.
#[test]
fn the_samples_of_syslog_are_what_the_connector_makes() {
    for preset in crate::vendor_presets() {
        if preset.connector != "syslog" {
            continue;
        }
        let sample = Sample::of(&preset.id);
        for event in &sample.events {
            let made = crate::syslog::payload_of(event["raw"].as_str().unwrap());
            assert_eq!(made.as_ref(), Some(event));
        }
    }
}
