//! What the API says of approvals, comments and samples.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use halcyon_domain::{
    approval::{ApprovalRecord, ApprovalStatus},
    audit::Actor,
    clock::Timestamp,
    comment::Comment,
    id::{ApprovalId, CommentId, DatasourceId, SampleId},
    sample::{Sample, SampleOrigin},
};
use schemars::JsonSchema;
use serde::Serialize;

/// A request to publish a draft.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Approval")]
pub struct ApprovalView {
    /// Its identifier.
    pub id: ApprovalId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The datasource's name.
    pub datasource_name: String,
    /// The draft's number.
    pub version: u32,
    /// The SHA-256 of the configuration that it is about, in hexadecimal digits. Another configuration needs
    /// another approval.
    pub config_hash: String,
    /// Its state.
    pub status: ApprovalStatus,
    /// What the approver is to know.
    pub note: Option<String>,
    /// Who asked.
    pub requested_by: Actor,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// From when on it counts no more.
    pub expires_at: Option<Timestamp>,
    /// Who approved or rejected.
    pub decided_by: Option<Actor>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// Why.
    pub decision_comment: Option<String>,
    /// Whether the caller may approve or reject it now.
    pub may_decide: bool,
    /// When its state last changed.
    pub updated_at: Timestamp,
    /// Grows with every change; the `ETag`.
    pub revision: i64,
}

impl ApprovalView {
    /// An approval as it is at `now`.
    #[must_use]
    pub fn new(record: ApprovalRecord, datasource_name: String, may_decide: bool, now: Timestamp) -> Self {
        Self {
            status: record.status_at(now),
            id: record.id,
            datasource: record.datasource,
            datasource_name,
            version: record.number,
            config_hash: record.config_hash.to_string(),
            note: record.note,
            requested_by: record.requested_by,
            created_at: record.created_at,
            expires_at: record.expires_at,
            decided_by: record.decided_by,
            decided_at: record.decided_at,
            decision_comment: record.decision_comment,
            may_decide,
            updated_at: record.updated_at,
            revision: record.revision,
        }
    }
}

/// A remark on a version.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Comment")]
pub struct CommentView {
    /// Its identifier.
    pub id: CommentId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The version's number.
    pub version: u32,
    /// The approval that it was made on, if it was made on one.
    pub approval: Option<ApprovalId>,
    /// The comment that began the thread.
    pub thread: CommentId,
    /// The comment that it answers.
    pub reply_to: Option<CommentId>,
    /// The place in the configuration that it is about: a JSON pointer.
    pub pointer: Option<String>,
    /// What was said; empty if it was deleted.
    pub body: String,
    /// Who said it.
    pub author: Actor,
    /// When.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted: its place in the thread stays.
    pub deleted_at: Option<Timestamp>,
    /// When its thread was settled; only on the comment that began it.
    pub resolved_at: Option<Timestamp>,
    /// Who settled it.
    pub resolved_by: Option<Actor>,
    /// Grows with every change; the `ETag`.
    pub revision: i64,
}

impl From<Comment> for CommentView {
    fn from(comment: Comment) -> Self {
        Self {
            id: comment.id,
            datasource: comment.datasource,
            version: comment.version,
            approval: comment.approval,
            thread: comment.thread,
            reply_to: comment.reply_to,
            pointer: comment.pointer,
            body: comment.body,
            author: comment.author,
            created_at: comment.created_at,
            edited_at: comment.edited_at,
            deleted_at: comment.deleted_at,
            resolved_at: comment.resolved_at,
            resolved_by: comment.resolved_by,
            revision: comment.revision,
        }
    }
}

/// A saved payload, without its bytes.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Sample")]
pub struct SampleView {
    /// Its identifier.
    pub id: SampleId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// Its name, unique within the datasource.
    pub name: String,
    /// The payload's media type.
    pub content_type: Option<String>,
    /// What it shows.
    pub note: Option<String>,
    /// Where it comes from.
    pub origin: SampleOrigin,
    /// Which dead letter or preset it was.
    pub origin_id: Option<String>,
    /// The payload's size in bytes.
    pub size: u64,
    /// Who saved it.
    pub created_by: Actor,
    /// When.
    pub created_at: Timestamp,
}

impl From<Sample> for SampleView {
    fn from(sample: Sample) -> Self {
        Self {
            id: sample.id,
            datasource: sample.datasource,
            name: sample.name,
            content_type: sample.content_type,
            note: sample.note,
            origin: sample.origin,
            origin_id: sample.origin_id,
            size: sample.size,
            created_by: sample.created_by,
            created_at: sample.created_at,
        }
    }
}

/// A saved payload with its bytes.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SampleWithPayload {
    /// What is known of it.
    #[serde(flatten)]
    pub sample: SampleView,
    /// The payload, when it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The payload in base64, when it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

impl SampleWithPayload {
    /// A sample and its bytes.
    #[must_use]
    pub fn new(sample: Sample, payload: Vec<u8>) -> Self {
        let (payload, payload_base64) = match String::from_utf8(payload) {
            Ok(text) => (Some(text), None),
            Err(other) => (None, Some(BASE64.encode(other.as_bytes()))),
        };
        Self {
            sample: sample.into(),
            payload,
            payload_base64,
        }
    }
}
