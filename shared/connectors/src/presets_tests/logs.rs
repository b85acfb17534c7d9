//! What is expected of the logs of clouds and of appliances.

use chrono::{DateTime, SecondsFormat};
use halcyon_domain::ontology::Severity::{Critical, High, Informational, Low, Medium};

use super::{Vendor, text, word};

pub(super) fn vendors() -> Vec<Vendor> {
    vec![cloudtrail(), cef()]
}

fn cloudtrail() -> Vendor {
    Vendor {
        preset: "aws_cloudtrail",
        events: 80,
        time: |event| text(event, &["/eventTime"]),
        severity: |event| match event["eventName"].as_str().unwrap() {
            "StopLogging" | "DeleteTrail" => High,
            "AttachUserPolicy" | "AttachRolePolicy" | "PutUserPolicy" | "CreateUser" | "DisableKey" => Medium,
            "AuthorizeSecurityGroupIngress" | "ModifySnapshotAttribute" | "ModifyImageAttribute" => Medium,
            "ScheduleKeyDeletion" => Medium,
            _ if text(event, &["/errorCode"]).is_some() => Low,
            _ => Informational,
        },
        without_entity: &[],
        titles: &[
            (0, "ChangePassword by test_user"),
            (32, "StopLogging by tester"),
            (38, "GetRole by tester failed (AccessDenied)"),
        ],
    }
}

fn cef() -> Vendor {
    Vendor {
        preset: "cef_appliances",
        events: 11,
        time: |event| {
            let own = ["/cef/extension/rt", "/cef/extension/details_clientTimestamp"];
            let own = text(event, &own).or_else(|| text(event, &["/timestamp"]))?;
            let zoned = DateTime::parse_from_rfc3339(&own);
            Some(zoned.map_or(own, |time| {
                time.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true)
            }))
        },
        severity: |event| {
            let number = text(event, &["/cef/severity"]).and_then(|text| text.parse::<f64>().ok());
            match number {
                Some(9.0..) => Critical,
                Some(7.0..) => High,
                Some(4.0..) => Medium,
                Some(_) => Low,
                None if event["cef"]["severity"] == "Substantial" => Medium,
                None => word(event, &["/cef/severity"]),
            }
        },
        without_entity: &[4],
        titles: &[(2, "WAF from 101.173.234.143")],
    }
}
