//! What a datasource does: history, numbers, log.

use std::{convert::Infallible, time::Duration};

use futures::StreamExt;
use halcyon_domain::{
    access::Permission,
    assignment::LogLine,
    datasource::{DatasourceEvent, DatasourceMetrics},
    id::DatasourceId,
};
use salvo::{
    Request, Response, Writer,
    http::header::ACCEPT,
    oapi::endpoint,
    sse::{SseEvent, SseKeepAlive},
};

use super::{
    answer::{Found, Outcome},
    extract::{Caller, Path, Query, QueryCaller},
};
use crate::app::{ListEvents, ListLogs, Watched, views::List};

/// Lists a datasource's history, the newest rows first.
#[endpoint(operation_id = "listEvents", tags("observation"))]
pub(crate) async fn events(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<ListEvents>,
) -> Outcome<Found<List<DatasourceEvent>>> {
    Ok(Found::new(
        caller.app.list_events(&caller.context, id.0, query.0).await?,
    ))
}

/// Shows a snapshot of a datasource's numbers.
#[endpoint(operation_id = "getMetrics", tags("observation"))]
pub(crate) async fn metrics(caller: Caller, id: Path<DatasourceId>) -> Outcome<Found<DatasourceMetrics>> {
    Ok(Found::new(caller.app.metrics(&caller.context, id.0).await?))
}

/// Shows the newest lines of a datasource's log.
///
/// With `Accept: text/event-stream` the lines follow as they are written, one event each, until the access token runs
/// out or the caller may see them no more.
#[endpoint(operation_id = "listLogs", tags("observation"))]
pub(crate) async fn logs(
    caller: QueryCaller,
    id: Path<DatasourceId>,
    query: Query<ListLogs>,
    req: &mut Request,
    res: &mut Response,
) -> Outcome<LogAnswer> {
    let accept = req
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !accept.contains("text/event-stream") {
        let list = caller.app.list_logs(&caller.context, id.0, query.0).await?;
        return Ok(LogAnswer::Tail(Found::new(list)));
    }
    let lines = caller.app.follow_logs(&caller.context, id.0, &query.0).await?;
    let right = Watched::Datasource(Permission::DatasourceRead, id.0);
    let lines = caller.app.watch_access(&caller.context, right).guard(lines);
    let filter = query.0;
    let follow = lines.filter_map(move |line| {
        let event = filter.matches(&line).then(|| event(&line)).flatten();
        std::future::ready(event.map(Ok::<_, Infallible>))
    });
    SseKeepAlive::new(follow)
        .max_interval(Duration::from_secs(15))
        .stream(res);
    Ok(LogAnswer::Following)
}

fn event(line: &LogLine) -> Option<SseEvent> {
    SseEvent::default().name("log").json(line).ok()
}

/// The log as JSON, or nothing more because it is being sent as events.
pub(crate) enum LogAnswer {
    /// The newest lines.
    Tail(Found<List<LogLine>>),
    /// The answer has begun and goes on.
    Following,
}

#[salvo::async_trait]
impl Writer for LogAnswer {
    async fn write(self, req: &mut Request, depot: &mut salvo::Depot, res: &mut Response) {
        if let Self::Tail(list) = self {
            list.write(req, depot, res).await;
        }
    }
}

impl salvo::oapi::EndpointOutRegister for LogAnswer {
    fn register(components: &mut salvo::oapi::Components, operation: &mut salvo::oapi::Operation) {
        <Found<List<LogLine>> as salvo::oapi::EndpointOutRegister>::register(components, operation);
        let schema = crate::openapi::schema_of::<LogLine>(components);
        if let Some(salvo::oapi::RefOr::Type(response)) =
            std::ops::DerefMut::deref_mut(&mut operation.responses).get_mut("200")
        {
            let content = salvo::oapi::Content::new(schema);
            response.contents.insert("text/event-stream".to_owned(), content);
        }
    }
}
