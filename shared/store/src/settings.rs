//! How to reach the database.

use std::fmt;

use halcyon_domain::duration::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: "sqlite://halcyon.db?mode=rwc".to_owned(),
            max_connections: 16,
            acquire_timeout: HumanDuration::from_millis(1_500),
            statement_timeout: HumanDuration::from_secs(10),
            busy_timeout: HumanDuration::from_secs(5),
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
