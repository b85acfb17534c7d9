//! `/datasources/{id}/dead-letters`: what was not mapped.

use futures::StreamExt;
use halcyon_domain::id::DatasourceId;
use salvo::{
    Depot, Request, Response, Writer, async_trait,
    http::{
        HeaderValue,
        header::{CONTENT_DISPOSITION, CONTENT_TYPE},
    },
    oapi::{
        BasicType, Components, Content, EndpointOutRegister, Object, Operation,
        Response as ResponseDescription, endpoint,
    },
};

use super::{
    answer::{Found, Outcome, StateConflict},
    extract::{Body, Caller, Path, Query, QueryCaller},
};
use crate::app::{
    DeadLetterSummary, DeadLetterTest, DeadLetterView, DownloadDeadLetters, LetterFormat, LetterStream,
    ListDeadLetters, ReplayDeadLetters, ReplayReport, TestDeadLetters, views::List,
};

/// Lists the records that could not be mapped, the oldest first.
///
/// A page may hold fewer than `limit` where a filter fits few: then `next_cursor` goes on. Bodies and headers are for
/// operators; others see that they are `withheld`.
#[endpoint(operation_id = "listDeadLetters", tags("observation"))]
pub(crate) async fn list(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<ListDeadLetters>,
) -> Outcome<Found<List<DeadLetterView>>> {
    Ok(Found::new(
        caller
            .app
            .list_dead_letters(&caller.context, id.0, query.0)
            .await?,
    ))
}

/// Counts the dead letters by reason and version.
#[endpoint(operation_id = "summarizeDeadLetters", tags("observation"))]
pub(crate) async fn summary(caller: Caller, id: Path<DatasourceId>) -> Outcome<Found<DeadLetterSummary>> {
    Ok(Found::new(
        caller.app.dead_letter_summary(&caller.context, id.0).await?,
    ))
}

/// Shows a dead letter, and what became of its record since.
#[endpoint(operation_id = "getDeadLetter", tags("observation"))]
pub(crate) async fn get(
    caller: Caller,
    id: Path<DatasourceId>,
    letter: Path<String>,
) -> Outcome<Found<DeadLetterView>> {
    let (app, context) = (&caller.app, &caller.context);
    Ok(Found::new(app.get_dead_letter(context, id.0, &letter.0).await?))
}

/// Processes dead letters anew, with the version that is in effect.
///
/// They travel in a lane of their own, so that live events neither wait for them nor stand in their way. Of an event
/// only the records that had failed are mapped, where they can be told from the others; what was delivered before
/// stays the object it was. With `dry_run` they are only counted.
#[endpoint(
    operation_id = "replayDeadLetters",
    tags("observation"),
    responses(StateConflict)
)]
pub(crate) async fn replay(
    caller: Caller,
    id: Path<DatasourceId>,
    body: Body<ReplayDeadLetters>,
) -> Outcome<Found<ReplayReport>> {
    Ok(Found::new(
        caller
            .app
            .replay_dead_letters(&caller.context, id.0, body.0)
            .await?,
    ))
}

/// Tries a mapping on dead letters: which of them it would map now, and why it would not map the others.
#[endpoint(operation_id = "testDeadLetters", tags("observation"))]
pub(crate) async fn test(
    caller: Caller,
    id: Path<DatasourceId>,
    body: Body<TestDeadLetters>,
) -> Outcome<Found<DeadLetterTest>> {
    let (app, context) = (&caller.app, &caller.context);
    Ok(Found::new(app.test_dead_letters(context, id.0, body.0).await?))
}

/// Downloads dead letters with their bodies, the oldest first.
#[endpoint(operation_id = "downloadDeadLetters", tags("observation"))]
pub(crate) async fn download(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<DownloadDeadLetters>,
) -> Outcome<Download> {
    let format = query.0.format.unwrap_or_default();
    let pieces = caller
        .app
        .download_dead_letters(&caller.context, id.0, query.0)
        .await?;
    Ok(Download { format, pieces })
}

/// A download that is being sent.
pub(crate) struct Download {
    format: LetterFormat,
    pieces: LetterStream,
}

/// The media types of a download.
const JSON_LINES: &str = "application/x-ndjson";
const BYTES: &str = "application/octet-stream";

#[async_trait]
impl Writer for Download {
    async fn write(self, _: &mut Request, _: &mut Depot, res: &mut Response) {
        let (kind, file) = match self.format {
            LetterFormat::Jsonl => (JSON_LINES, "attachment; filename=\"dead-letters.jsonl\""),
            LetterFormat::Raw => (BYTES, "attachment; filename=\"dead-letters.raw\""),
        };
        let headers = res.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(file));
        res.stream(self.pieces.inspect(|piece| {
            if let Err(error) = piece {
                tracing::warn!(error = %error, "a download of dead letters was cut short");
            }
        }));
    }
}

impl EndpointOutRegister for Download {
    fn register(_: &mut Components, operation: &mut Operation) {
        let text = || Content::new(Object::with_type(BasicType::String));
        let response = ResponseDescription::new("The file.")
            .add_content(JSON_LINES, text())
            .add_content(BYTES, text());
        operation.responses.insert("200", response);
    }
}
