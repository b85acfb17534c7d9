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

const TEXT: &str = "text/plain; charset=utf-8";

/// The answer at `path` to whom it may only be said whether the process is ready: no reasons, no metrics.
#[must_use]
pub fn short_answer(path: &str, health: &Health) -> Option<Answer> {
    let ready = health.report().ready;
    let (status, content_type, body) = match path {
        "/livez" => (200, TEXT, "ok\n".to_owned()),
        "/readyz" if ready => (200, TEXT, "ready\n".to_owned()),
        "/readyz" => (503, TEXT, "not ready\n".to_owned()),
        "/healthz" => (200, "application/json", format!("{{\"ready\":{ready}}}")),
        _ => return None,
    };
    Some(Answer {
        status,
        content_type,
        body,
    })
}

/// The answer at `path`; nothing for other paths.
///
/// `/livez` says that the process runs, `/readyz` whether it may be given work, `/healthz` the same with every
/// check, always with 200, and `/metrics` the metrics in Prometheus text format.
#[must_use]
pub fn answer(path: &str, health: &Health, metrics: &Metrics) -> Option<Answer> {
    match path {
        "/livez" => Some(Answer {
            status: 200,
            content_type: TEXT,
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
                content_type: TEXT,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_answer_gives_no_reasons() {
        let health = Health::new();
        health.check("bus").failing("10.0.0.7 refused");
        let answers = PATHS.map(|path| short_answer(path, &health));
        let statuses = answers
            .each_ref()
            .map(|answer| answer.as_ref().map(|answer| answer.status));
        assert_eq!(statuses, [Some(200), Some(503), Some(200), None]);
        assert!(
            answers
                .iter()
                .flatten()
                .all(|answer| !answer.body.contains("10.0"))
        );
    }
}
