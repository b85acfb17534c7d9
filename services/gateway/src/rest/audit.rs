//! `/audit`.

use std::{convert::Infallible, time::Duration};

use futures::StreamExt;
use halcyon_domain::{
    access::Permission,
    audit::{AuditCheckpoint, AuditKey, RecordedEntry},
    error::InputError,
    id::{AuditEntryId, DatasourceId},
};
use salvo::{
    Depot, Request, Response, Writer, async_trait,
    http::{
        HeaderValue,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    oapi::{
        Components, Content, EndpointOutRegister, Object, Operation, Response as ResponseDescription,
        endpoint,
    },
    sse::{SseEvent, SseKeepAlive},
};

use super::{
    answer::{Found, Outcome},
    extract::{Caller, Path, Query, QueryCaller},
};
use crate::{
    app::{
        AuditVerification, Error, ExportAudit, ExportFormat, ExportStream, FollowAudit, ListAudit,
        ListAuditCheckpoints, VerifyAudit, Watched, views::List,
    },
    openapi,
};

/// Where a client that comes back says what it saw last.
const LAST_EVENT_ID: &str = "last-event-id";

/// Lists the audit trail, the newest entries first.
#[endpoint(operation_id = "listAudit", tags("audit"))]
pub(crate) async fn list(
    caller: QueryCaller,
    query: Query<ListAudit>,
) -> Outcome<Found<List<RecordedEntry>>> {
    Ok(Found::new(caller.app.list_audit(&caller.context, query.0).await?))
}

/// Shows an entry of the audit trail.
#[endpoint(operation_id = "getAuditEntry", tags("audit"))]
pub(crate) async fn get(caller: Caller, id: Path<AuditEntryId>) -> Outcome<Found<RecordedEntry>> {
    Ok(Found::new(
        caller.app.get_audit_entry(&caller.context, id.0).await?,
    ))
}

/// Lists the entries about a datasource and what belongs to it, the newest first.
#[endpoint(operation_id = "listDatasourceAudit", tags("audit"))]
pub(crate) async fn of_datasource(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<ListAudit>,
) -> Outcome<Found<List<RecordedEntry>>> {
    Ok(Found::new(
        caller
            .app
            .list_datasource_audit(&caller.context, id.0, query.0)
            .await?,
    ))
}

/// Lists the signed checkpoints of the audit trail, the newest first.
#[endpoint(operation_id = "listAuditCheckpoints", tags("audit"))]
pub(crate) async fn checkpoints(
    caller: QueryCaller,
    query: Query<ListAuditCheckpoints>,
) -> Outcome<Found<List<AuditCheckpoint>>> {
    Ok(Found::new(
        caller
            .app
            .list_audit_checkpoints(&caller.context, query.0)
            .await?,
    ))
}

/// Lists the public keys that checkpoints are signed with.
#[endpoint(operation_id = "listAuditKeys", tags("audit"))]
pub(crate) async fn keys(caller: Caller) -> Outcome<Found<List<AuditKey>>> {
    Ok(Found::new(caller.app.list_audit_keys(&caller.context).await?))
}

/// Verifies the audit trail: the hash chain, and the signed checkpoints.
///
/// The work of one request is bounded; a long trail is verified by several, each with the `next_after` of the answer
/// before as `after`.
#[endpoint(operation_id = "verifyAudit", tags("audit"))]
pub(crate) async fn verify(
    caller: QueryCaller,
    query: Query<VerifyAudit>,
) -> Outcome<Found<AuditVerification>> {
    Ok(Found::new(
        caller.app.verify_audit(&caller.context, query.0).await?,
    ))
}

/// Exports the audit trail as a file.
///
/// JSON lines hold what `halcyon audit verify --from-export` needs. A file without its last line, `"type": "end"`, was
/// cut short.
#[endpoint(operation_id = "exportAudit", tags("audit"))]
pub(crate) async fn export(caller: QueryCaller, query: Query<ExportAudit>) -> Outcome<Exported> {
    let format = query.0.format.unwrap_or(ExportFormat::Jsonl);
    let pieces = caller.app.export_audit(&caller.context, query.0).await?;
    Ok(Exported { format, pieces })
}

/// An export that is being sent.
pub(crate) struct Exported {
    format: ExportFormat,
    pieces: ExportStream,
}

/// The media types of an export.
const JSON_LINES: &str = "application/x-ndjson";
const CSV: &str = "text/csv; charset=utf-8";

#[async_trait]
impl Writer for Exported {
    async fn write(self, _: &mut Request, _: &mut Depot, res: &mut Response) {
        let (kind, file) = match self.format {
            ExportFormat::Jsonl => (JSON_LINES, "attachment; filename=\"audit.jsonl\""),
            ExportFormat::Csv => (CSV, "attachment; filename=\"audit.csv\""),
        };
        let headers = res.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(file));
        res.stream(self.pieces.inspect(|piece| {
            if let Err(error) = piece {
                tracing::warn!(error = %error, "an export of the audit trail was cut short");
            }
        }));
    }
}

impl EndpointOutRegister for Exported {
    fn register(_: &mut Components, operation: &mut Operation) {
        let text = || Content::new(Object::with_type(salvo::oapi::BasicType::String));
        let response = ResponseDescription::new("The file.")
            .add_content(JSON_LINES, text())
            .add_content("text/csv", text());
        operation.responses.insert("200", response);
    }
}

/// Follows the audit trail: each entry as an event once it is in the chain, in order and without gaps.
///
/// An event's `id` is the entry's number: a client that comes back with `Last-Event-ID` goes on behind it.
#[endpoint(operation_id = "followAudit", tags("audit"))]
pub(crate) async fn follow(
    caller: QueryCaller,
    query: Query<FollowAudit>,
    req: &mut Request,
    res: &mut Response,
) -> Outcome<Following> {
    let mut query = query.0;
    if let Some(last) = req.headers().get(LAST_EVENT_ID) {
        let number = last.to_str().ok().and_then(|text| text.parse().ok());
        let detail = "`Last-Event-ID` is no number of an entry";
        let unreadable = || Error::Query(InputError::new("/after", "invalid", detail));
        query.after = Some(number.ok_or_else(unreadable)?);
    }
    let entries = caller.app.follow_audit(&caller.context, query).await?;
    let right = Watched::Organization(Permission::AuditRead);
    let entries = caller.app.watch_access(&caller.context, right).guard(entries);
    let events = entries.filter_map(|entry| std::future::ready(event(&entry).map(Ok::<_, Infallible>)));
    SseKeepAlive::new(events)
        .max_interval(Duration::from_secs(15))
        .stream(res);
    Ok(Following)
}

fn event(entry: &RecordedEntry) -> Option<SseEvent> {
    let event = SseEvent::default().name("audit").id(entry.sequence.to_string());
    event.json(entry).ok()
}

/// The answer has begun and goes on.
pub(crate) struct Following;

#[async_trait]
impl Writer for Following {
    async fn write(self, _: &mut Request, _: &mut Depot, _: &mut Response) {}
}

impl EndpointOutRegister for Following {
    fn register(components: &mut Components, operation: &mut Operation) {
        let content = Content::new(openapi::schema_of::<RecordedEntry>(components));
        let response = ResponseDescription::new("The entries, one event each.")
            .add_content("text/event-stream", content);
        operation.responses.insert("200", response);
    }
}
