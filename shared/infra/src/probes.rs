//! The answers to `/livez`, `/readyz`, `/healthz` and `/metrics`, free of any HTTP library.

use crate::{Health, Metrics};

/// An answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// What answers probes. Clones share everything.
#[derive(Clone, Debug)]
pub struct Probes {
    health: Health,
    metrics: Metrics,
}

impl Probes {
    /// The paths that [`Self::answer`] knows.
    pub const PATHS: [&str; 4] = ["/livez", "/readyz", "/healthz", "/metrics"];

    /// Answers from these.
    #[must_use]
    pub fn new(health: Health, metrics: Metrics) -> Self {
        Self { health, metrics }
    }

    /// The answer for a path, if it is one of [`Self::PATHS`].
    #[must_use]
    pub fn answer(&self, path: &str) -> Option<Answer> {
        Some(match path {
            "/livez" => text(200, "ok\n"),
            "/readyz" if self.health.is_ready() => text(200, "ready\n"),
            "/readyz" => self.report(),
            "/healthz" => self.report(),
            "/metrics" => self.metrics(),
            _ => return None,
        })
    }

    fn report(&self) -> Answer {
        let report = self.health.report();
        Answer {
            status: if report.ready { 200 } else { 503 },
            content_type: "application/json",
            body: serde_json::to_string(&report).unwrap_or_default(),
        }
    }

    fn metrics(&self) -> Answer {
        match self.metrics.render() {
            Ok(body) => Answer { status: 200, content_type: "text/plain; version=0.0.4; charset=utf-8", body },
            Err(error) => text(500, &format!("{error}\n")),
        }
    }
}

fn text(status: u16, body: &str) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8", body: body.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_answer() {
        let health = Health::new();
        let probes = Probes::new(health.clone(), Metrics::new().unwrap());
        let check = health.check("bus");
        assert_eq!(probes.answer("/livez").unwrap().status, 200);
        assert_eq!(probes.answer("/readyz").unwrap().status, 503);
        check.ready();
        assert_eq!(probes.answer("/readyz").unwrap().status, 200);
        assert!(probes.answer("/healthz").unwrap().body.contains(r#""bus":{"state":"ready"}"#));
        assert_eq!(probes.answer("/metrics").unwrap().status, 200);
        assert_eq!(probes.answer("/other"), None);
    }
}
