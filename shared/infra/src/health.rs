//! Readiness: named checks, each set by the part that knows.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use tokio::sync::watch;

/// How one check stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "detail", rename_all = "snake_case")]
pub enum CheckState {
    /// All is well.
    Ready,
    /// Work goes on, with less than usual. Counts as ready.
    Degraded(String),
    /// Nothing should be sent here now.
    NotReady(String),
}

/// All checks of a process and whether it is about to end. Clones share them.
#[derive(Clone, Debug)]
pub struct Health {
    shared: Arc<watch::Sender<Board>>,
    scope: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default)]
struct Board {
    checks: BTreeMap<String, CheckState>,
    draining: bool,
}

impl Board {
    fn ready(&self) -> bool {
        !self.draining && self.checks.values().all(|state| !matches!(state, CheckState::NotReady(_)))
    }
}

/// What a probe is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether requests should be sent here.
    pub ready: bool,
    /// Whether the process is about to end.
    pub draining: bool,
    /// The checks by name.
    pub checks: BTreeMap<String, CheckState>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Without a check everything is ready.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: Arc::new(watch::Sender::new(Board::default())), scope: None }
    }

    /// The same board, with check names that start with `scope.`: for several services in one process.
    #[must_use]
    pub fn scoped(&self, scope: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), scope: Some(scope.into()) }
    }

    /// Registers a check. It is not ready until it is set.
    #[must_use]
    pub fn check(&self, name: &str) -> Check {
        let name = self.scope.as_ref().map_or_else(|| name.to_owned(), |scope| format!("{scope}.{name}"));
        let check = Check { shared: Arc::clone(&self.shared), name: name.into() };
        check.not_ready("starting");
        check
    }

    /// From now on the answer is not ready, so that balancers send no new requests.
    pub fn drain(&self) {
        self.shared.send_modify(|board| board.draining = true);
    }

    /// Whether all checks are ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.borrow().ready()
    }

    /// Returns when all checks are ready.
    pub async fn wait_ready(&self) {
        let mut board = self.shared.subscribe();
        // The sender lives in `self`, so the wait cannot end by its loss.
        let _ = board.wait_for(Board::ready).await;
    }

    /// How everything stands.
    #[must_use]
    pub fn report(&self) -> Report {
        let board = self.shared.borrow();
        Report { ready: board.ready(), draining: board.draining, checks: board.checks.clone() }
    }
}

/// One check. Clones set the same one.
#[derive(Clone, Debug)]
pub struct Check {
    shared: Arc<watch::Sender<Board>>,
    name: Arc<str>,
}

impl Check {
    /// All is well.
    pub fn ready(&self) {
        self.set(CheckState::Ready);
    }

    /// Work goes on, with less than usual.
    pub fn degraded(&self, detail: impl Into<String>) {
        self.set(CheckState::Degraded(detail.into()));
    }

    /// Nothing should be sent here now.
    pub fn not_ready(&self, detail: impl Into<String>) {
        self.set(CheckState::NotReady(detail.into()));
    }

    /// Sets the state; whoever waits hears only of changes.
    pub fn set(&self, state: CheckState) {
        self.shared.send_if_modified(|board| {
            let changed = board.checks.get(&*self.name) != Some(&state);
            if changed {
                board.checks.insert(self.name.to_string(), state);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_ready_when_every_check_is() {
        let health = Health::new();
        let bus = health.scoped("gateway").check("bus");
        let database = health.check("database");
        assert!(!health.is_ready());
        bus.ready();
        database.degraded("read only");
        health.wait_ready().await;
        assert!(health.report().checks.contains_key("gateway.bus"));
        health.drain();
        assert!(!health.is_ready());
    }
}
