//! The answers to `/livez`, `/readyz`, `/healthz` and `/metrics`, for whichever server gives them.

use crate::{Health, Metrics};

/// An answer of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status: 200, or 503 when not ready.
    pub status: u16,
    /// The media type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// The paths that [`answer`] knows.
pub const PATHS: [&str; 4] = ["/livez", "/readyz", "/healthz", "/metrics"];

/// The answer at `path`; nothing for other paths.
///
/// `/livez` says that the process runs, `/readyz` whether it may be given work, `/healthz` the same with every
/// check, always with 200, and `/metrics` the metrics in Prometheus text format.
#[must_use]
pub fn answer(path: &str, health: &Health, metrics: &Metrics) -> Option<Answer> {
    let text = "text/plain; charset=utf-8";
    match path {
        "/livez" => Some(Answer {
            status: 200,
            content_type: text,
            body: "ok\n".to_owned(),
        }),
        "/readyz" => {
            let report = health.report();
            let failing = report.checks.iter().filter(|(_, check)| !check.ready);
            let lines: String = failing
                .map(|(name, check)| format!("{name}: {}\n", check.detail))
                .collect();
            let (status, body) = if report.ready {
                (200, "ready\n".to_owned())
            } else {
                (503, lines)
            };
            Some(Answer {
                status,
                content_type: text,
                body,
            })
        }
        "/healthz" => {
            let body = serde_json::to_string(&health.report()).unwrap_or_default();
            Some(Answer {
                status: 200,
                content_type: "application/json",
                body,
            })
        }
        "/metrics" => {
            let content_type = "text/plain; version=0.0.4; charset=utf-8";
            Some(Answer {
                status: 200,
                content_type,
                body: metrics.render(),
            })
        }
        _ => None,
    }
}
