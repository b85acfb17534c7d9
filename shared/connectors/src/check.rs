//! Named results of a check, in few words.

use halcyon_domain::test_run::{CheckResult, CheckStatus};

use crate::{SecretName, Secrets};

/// A thing that is as it should be.
pub fn passed(name: impl Into<String>, message: impl Into<String>) -> CheckResult {
    CheckResult {
        name: name.into(),
        status: CheckStatus::Passed,
        message: message.into(),
        remedy: None,
    }
}

/// A thing that is not, and what to do about it.
pub fn failed(name: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> CheckResult {
    let remedy = Some(remedy.into());
    CheckResult {
        name: name.into(),
        status: CheckStatus::Failed,
        message: message.into(),
        remedy,
    }
}

/// A thing that was not tried, and why.
pub fn skipped(name: impl Into<String>, message: impl Into<String>) -> CheckResult {
    CheckResult {
        name: name.into(),
        status: CheckStatus::Skipped,
        message: message.into(),
        remedy: None,
    }
}

/// The `secrets` check: each named secret has a value.
#[must_use]
pub fn of_secrets(names: &[SecretName], secrets: &Secrets) -> CheckResult {
    if names.is_empty() {
        return skipped("secrets", "the connection names no secret");
    }
    let missing: Vec<&str> = names
        .iter()
        .map(SecretName::as_str)
        .filter(|name| !secrets.has(name))
        .collect();
    if missing.is_empty() {
        return passed(
            "secrets",
            format!("every named secret ({}) has a value", names.len()),
        );
    }
    let missing = missing.join("`, `");
    failed(
        "secrets",
        format!("no value for `{missing}`"),
        format!("store a value for `{missing}` under the datasource's secrets"),
    )
}
