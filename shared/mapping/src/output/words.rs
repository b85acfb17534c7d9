//! Vendors' words for severities and states.

use halcyon_domain::ontology::{AlertStatus, Severity};

/// The severity that a word names, whatever its case. Numbers name none: their scales differ by vendor, so a
/// mapping translates them by a lookup.
pub(crate) fn severity(word: &str) -> Option<Severity> {
    severity_of(word).or_else(|| severity_of(&plain(word)))
}

fn severity_of(word: &str) -> Option<Severity> {
    Some(match word {
        "unknown" | "none" | "undefined" => Severity::Unknown,
        "informational" | "information" | "info" | "notice" | "debug" => Severity::Informational,
        "low" | "minor" => Severity::Low,
        "medium" | "med" | "moderate" | "warning" | "warn" => Severity::Medium,
        "high" | "major" | "error" | "severe" => Severity::High,
        "critical" | "crit" | "alert" => Severity::Critical,
        "fatal" | "emergency" | "emerg" => Severity::Fatal,
        _ => return None,
    })
}

/// The status that a word names, whatever its case.
pub(crate) fn status(word: &str) -> Option<AlertStatus> {
    status_of(word).or_else(|| status_of(&plain(word)))
}

fn status_of(word: &str) -> Option<AlertStatus> {
    Some(match word {
        "new" | "open" | "opened" | "active" | "created" => AlertStatus::New,
        "in_progress" | "inprogress" | "investigating" | "acknowledged" | "assigned" | "notified"
        | "triaged" | "reopened" => AlertStatus::InProgress,
        "suppressed" | "ignored" | "muted" | "rejected" | "archived" => AlertStatus::Suppressed,
        "resolved" | "closed" | "done" | "fixed" | "remediated" => AlertStatus::Resolved,
        _ => return None,
    })
}

fn plain(word: &str) -> String {
    word.trim().to_ascii_lowercase().replace([' ', '-'], "_")
}
