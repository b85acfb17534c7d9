//! Whether the process can do its work, check by check.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a check stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckState {
    /// Whether the process may be given work as far as this check goes.
    pub ready: bool,
    /// Why.
    pub detail: String,
}

/// How all checks stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthReport {
    /// Whether every check is ready.
    pub ready: bool,
    /// The checks by name.
    pub checks: BTreeMap<String, CheckState>,
}

/// The checks of a process. Clones are the same checks.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: Arc<RwLock<BTreeMap<String, CheckState>>>,
}

impl Health {
    /// No checks yet: ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check that is not ready until it is said to be.
    #[must_use]
    pub fn check(&self, name: impl Into<String>) -> Check {
        let check = Check {
            name: name.into(),
            health: self.clone(),
        };
        check.failing("starting");
        check
    }

    /// How all checks stand now.
    #[must_use]
    pub fn report(&self) -> HealthReport {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner).clone();
        HealthReport {
            ready: checks.values().all(|check| check.ready),
            checks,
        }
    }

    fn set(&self, name: &str, state: CheckState) {
        let mut checks = self.checks.write().unwrap_or_else(PoisonError::into_inner);
        if checks.get(name) != Some(&state) {
            checks.insert(name.to_owned(), state);
        }
    }
}

/// A named check.
#[derive(Clone, Debug)]
pub struct Check {
    name: String,
    health: Health,
}

impl Check {
    /// All is well.
    pub fn ready(&self) {
        self.health.set(
            &self.name,
            CheckState {
                ready: true,
                detail: "ok".to_owned(),
            },
        );
    }

    /// All is well, with something to say.
    pub fn ready_with(&self, detail: impl Into<String>) {
        self.health.set(
            &self.name,
            CheckState {
                ready: true,
                detail: detail.into(),
            },
        );
    }

    /// Something is missing.
    pub fn failing(&self, detail: impl Into<String>) {
        self.health.set(
            &self.name,
            CheckState {
                ready: false,
                detail: detail.into(),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failing_check_is_enough_not_to_be_ready() {
        let health = Health::new();
        let (bus, database) = (health.check("bus"), health.check("database"));
        bus.ready();
        assert!(!health.report().ready);
        database.ready();
        assert!(health.report().ready);
        bus.failing("connection lost");
        assert_eq!(health.report().checks["bus"].detail, "connection lost");
    }
}
