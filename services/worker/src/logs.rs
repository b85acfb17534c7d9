//! Datasources' log lines: published on the bus, and bounded, so that a feed that fails on every record does not
//! drown its own log.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use halcyon_bus::Bus;
use halcyon_domain::{
    assignment::{LogLevel, LogLine},
    clock::Clock,
    id::{DatasourceId, OrganizationId},
};
use tokio::{sync::mpsc, time::Instant};

/// Lines of one datasource in one second.
const LINES_PER_SECOND: u32 = 20;
/// Lines that wait to be published; more are left out.
const QUEUE: usize = 1_024;

/// Where log lines go.
pub(crate) struct Logs {
    queue: mpsc::Sender<LogLine>,
    clock: Arc<dyn Clock>,
    recent: Mutex<HashMap<DatasourceId, Second>>,
}

struct Second {
    began: Instant,
    lines: u32,
}

impl Logs {
    pub(crate) fn new(bus: &Bus, clock: Arc<dyn Clock>) -> Self {
        let (queue, mut lines) = mpsc::channel(QUEUE);
        let bus = bus.clone();
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                if let Err(error) = bus.publish_log(&line).await {
                    tracing::debug!(error = %error, "a log line was not published");
                }
            }
        });
        Self {
            queue,
            clock,
            recent: Mutex::default(),
        }
    }

    /// Says something about a datasource. `about` ties lines together: an event's identifier.
    pub(crate) fn say(
        &self,
        (organization, datasource): (OrganizationId, DatasourceId),
        level: LogLevel,
        component: &str,
        message: String,
        about: Option<String>,
    ) {
        if !self.may_speak(datasource) {
            return;
        }
        let line = LogLine {
            organization,
            datasource,
            at: self.clock.now(),
            level,
            component: format!("worker.{component}"),
            message,
            correlation_id: about,
        };
        // A full queue means a slow bus, and the log is not what must get through then.
        let _ = self.queue.try_send(line);
    }

    fn may_speak(&self, datasource: DatasourceId) -> bool {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if recent.len() > 10_000 {
            recent.retain(|_, second| now - second.began < Duration::from_secs(1));
        }
        let second = recent
            .entry(datasource)
            .or_insert(Second { began: now, lines: 0 });
        if now - second.began >= Duration::from_secs(1) {
            *second = Second { began: now, lines: 0 };
        }
        second.lines += 1;
        second.lines <= LINES_PER_SECOND
    }
}
