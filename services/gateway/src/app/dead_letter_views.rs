//! Dead letters and replays, as they are shown.

use halcyon_domain::{clock::Timestamp, error::InputError, event::Verdict, id::ReplayId};
use schemars::JsonSchema;
use serde::Serialize;

/// A record that could not be mapped.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub struct DeadLetterView {
    /// Its identifier: its place in the stream.
    pub id: String,
    /// The record: `event/index`.
    pub record: String,
    /// The event.
    pub event_id: String,
    /// 0 for a live event; a replay raises it.
    pub attempt: u32,
    /// The replay in which it failed; nothing for a live event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_id: Option<ReplayId>,
    /// The version that failed on it.
    pub version: u32,
    /// What was wrong: a pointer into the mapping (empty if the payload cannot be read), a code and a sentence.
    pub reason: InputError,
    /// When the event was accepted.
    pub received_at: Timestamp,
    /// When it failed.
    pub failed_at: Timestamp,
    /// The body's media type, as sent.
    pub content_type: Option<String>,
    /// How many bytes of the event's body are kept here.
    pub size: u64,
    /// Whether that is all of it. What is not whole cannot be processed anew.
    pub complete: bool,
    /// Whether body and headers are left out because the caller may not see them.
    pub withheld: bool,
    /// The headers that were kept.
    pub headers: std::collections::BTreeMap<String, String>,
    /// What became of the record when it was processed anew, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayView>,
    /// The event's body, when it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The event's body in base64, when it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

/// What became of a record that was processed anew.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Replay")]
pub struct ReplayView {
    /// The newest replay of it.
    pub id: Option<ReplayId>,
    /// The attempt.
    pub attempt: u32,
    /// When it was asked for.
    pub replayed_at: Option<Timestamp>,
    /// By whom.
    pub replayed_by: Option<String>,
    /// The trace of that request; it goes on in what came of it.
    pub trace_id: Option<String>,
    /// The version that decided.
    pub version: Option<u32>,
    /// Its verdict; nothing while it is on its way.
    pub verdict: Option<Verdict>,
    /// When that was written.
    pub at: Option<Timestamp>,
    /// The dead letter that it became when it failed again; told of single dead letters only.
    pub dead_letter: Option<String>,
}

/// What a request for a replay did.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct ReplayReport {
    /// The replay; nothing if it was only counted.
    pub id: Option<ReplayId>,
    /// The trace of this request; it goes on in what comes of it.
    pub trace_id: Option<String>,
    /// Whether it was only counted.
    pub dry_run: bool,
    /// Dead letters that fit.
    pub dead_letters: u64,
    /// Their events, each processed once.
    pub events: u64,
    /// Dead letters that fit and cannot be processed anew, because not all of their bytes are kept.
    pub incomplete: u64,
    /// Whether the numbers are all there are; otherwise they are the least, and `next_cursor` goes on.
    pub exact: bool,
    /// Identifiers of which there is no dead letter.
    pub unknown: Vec<String>,
    /// Where to go on, if there may be more than one request processes.
    pub next_cursor: Option<String>,
}

/// How many dead letters there are of each reason and version.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DeadLetterSummary {
    /// How many there are.
    pub total: u64,
    /// How many of them were counted by reason: the newest ones.
    pub counted: u64,
    /// Whether these are all; otherwise the counts are the least there are.
    pub exact: bool,
    /// The counts, the highest first.
    pub counts: Vec<DeadLetterCount>,
}

/// How many dead letters there are of a reason and a version.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DeadLetterCount {
    /// The reason's code.
    pub code: String,
    /// The version.
    pub version: u32,
    /// How many.
    pub count: u64,
    /// When the oldest of them failed.
    pub oldest: Timestamp,
    /// When the newest did.
    pub newest: Timestamp,
    /// One of them.
    pub example: String,
}
