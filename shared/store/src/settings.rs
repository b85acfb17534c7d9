//! How to reach the database.

use std::fmt;

use chrono::TimeDelta;
use halcyon_domain::{clock::Timestamp, duration::HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::partitions::Month;

/// How to reach the database and how long to wait for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite://path?mode=rwc` or `postgres://user:password@host/database`.
    #[schemars(extend("x-secret" = true))]
    pub url: String,
    /// The most connections held to Postgres, or the readers of SQLite (which has one writer besides).
    pub max_connections: u32,
    /// How long to wait for a free connection, or for a new one to be made.
    pub acquire_timeout: HumanDuration,
    /// How long one statement may take.
    pub statement_timeout: HumanDuration,
    /// SQLite only: how long to wait for another process's lock.
    pub busy_timeout: HumanDuration,
    /// How long rows that only grow in number are kept.
    pub retention: Retention,
}

/// How long rows that only grow in number are kept; for ever where nothing is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// The history of datasources.
    pub events: Option<HumanDuration>,
    /// The audit trail, by whole months: an entry stays for up to a month longer. What is removed leaves a signed
    /// checkpoint behind, from which the rest can be verified.
    pub audit: Option<HumanDuration>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events: Some(HumanDuration::from_secs(400 * 24 * 3_600)),
            audit: None,
        }
    }
}

impl Retention {
    /// The time before which rows are past theirs.
    #[must_use]
    pub fn before(kept: Option<HumanDuration>, now: Timestamp) -> Option<Timestamp> {
        let kept = TimeDelta::from_std(kept?.get()).ok()?;
        now.checked_sub_signed(kept)
    }

    /// The beginning of the month of that time: what is kept in months goes in months.
    #[must_use]
    pub fn month_before(kept: Option<HumanDuration>, now: Timestamp) -> Option<Timestamp> {
        Self::before(kept, now).map(|time| Month::of(time).begin())
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: "sqlite://halcyon.db?mode=rwc".to_owned(),
            max_connections: 16,
            acquire_timeout: HumanDuration::from_millis(1_500),
            statement_timeout: HumanDuration::from_secs(10),
            busy_timeout: HumanDuration::from_secs(5),
            retention: Retention::default(),
        }
    }
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSettings")
            .field("url", &without_password(&self.url))
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("busy_timeout", &self.busy_timeout)
            .field("retention", &self.retention)
            .finish()
    }
}

/// The address with its user and password left out.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://[REDACTED]@{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let url = "postgres://user:p@ss@host/db".to_owned();
        let shown = format!(
            "{:?}",
            StoreSettings {
                url,
                ..StoreSettings::default()
            }
        );
        assert!(
            shown.contains("postgres://[REDACTED]@host/db") && !shown.contains("p@ss"),
            "{shown}"
        );
    }
}
