//! Captures: a few of a datasource's live records, taken as they come by, redacted where they are taken.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    audit::Actor,
    clock::Timestamp,
    event::EventId,
    id::{CaptureId, DatasourceId, OrganizationId},
    lifecycle::states,
    redact::RedactionSpec,
};

/// The most records of one capture.
pub const MAX_CAPTURED: u32 = 100;
/// The most captures of a datasource that are remembered, which they are for a day.
pub const MAX_CAPTURES: usize = 50;
/// The longest that one capture waits for them, in seconds.
pub const MAX_CAPTURE_SECONDS: u32 = 300;

states! {
    /// Where records are taken.
    CapturePoint {
        /// Events as they came in.
        Raw = "raw",
        /// What the mapping made of them.
        Mapped = "mapped",
        /// Events of which a record could not be mapped.
        DeadLetter = "dead_letter",
    }
}

states! {
    /// Why a capture has ended.
    CaptureEnd {
        /// It has as many records as were asked for.
        Complete = "complete",
        /// Its time is over.
        TimedOut = "timed_out",
        /// Somebody ended it.
        Stopped = "stopped",
        /// The datasource has no room for more samples.
        NoRoom = "no_room",
    }
}

/// A capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Its identifier.
    pub id: CaptureId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// Where records are taken.
    pub point: CapturePoint,
    /// How many, at most.
    pub count: u32,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Only what has this text in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// What is taken out.
    #[serde(default)]
    pub redaction: RedactionSpec,
    /// Who began it.
    pub started_by: Actor,
    /// When.
    pub started_at: Timestamp,
    /// When and why it has ended, if something else than its time has ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<(Timestamp, CaptureEnd)>,
}

impl Capture {
    /// When and why it has ended; nothing while it runs.
    #[must_use]
    pub fn ended_at(&self, now: Timestamp) -> Option<(Timestamp, CaptureEnd)> {
        self.ended
            .or_else(|| (now >= self.until).then_some((self.until, CaptureEnd::TimedOut)))
    }
}

/// A record that a worker took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Captured {
    /// The capture.
    pub capture: CaptureId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The event.
    pub event: EventId,
    /// The version that mapped it.
    pub version: u32,
    /// The payload's media type.
    pub content_type: Option<String>,
    /// The payload, without what was taken out.
    pub payload: String,
}
