//! The event that feeds of JSON are filled with.

use serde_json::{Value, json};

/// An event of about 650 bytes.
pub(crate) fn event(number: usize) -> Value {
    json!({
        "id": format!("event-{number}"), "created_at": "2026-01-01T00:00:00Z", "severity": "high",
        "message": "m".repeat(400), "actor": {"email": "someone@example.com", "ip": "203.0.113.7"},
        "target": {"type": "host", "name": "web-1.example.com", "tags": ["a", "b", "c"]}, "attempt": 3,
    })
}
