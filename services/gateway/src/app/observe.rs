//! What a datasource does: its history, its numbers and its log.

use halcyon_domain::{
    assignment::{LogLevel, LogLine},
    clock::Timestamp,
    datasource::{DatasourceEvent, DatasourceEventKind, DatasourceMetrics},
    error::InputError,
    id::DatasourceId,
};
use halcyon_store::EventFilter;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    App, Error, RequestContext, Result,
    access::{Action, tenant},
    paged,
    request::check_times,
    services::LogStream,
    views::List,
};

/// Log lines that are looked through for a filter.
const LOG_WINDOW: usize = 5_000;

paged! {
    /// Which rows of the history to list.
    ListEvents {
        /// Those of this kind.
        kind: Option<DatasourceEventKind>,
        /// Those at or after this time.
        from: Option<Timestamp>,
        /// Those before this time.
        to: Option<Timestamp>,
    }
}

/// Which log lines to show.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListLogs {
    /// Lines of this level and above.
    pub level: Option<LogLevel>,
    /// Lines of this component, such as `worker.mapping`.
    pub component: Option<String>,
    /// Lines of this event or trace.
    pub correlation_id: Option<String>,
    /// Lines with this text in their message.
    pub q: Option<String>,
    /// The most lines to give: 1 to 1,000, 200 if absent.
    #[schemars(range(min = 1, max = 1_000))]
    pub limit: Option<u32>,
}

impl ListLogs {
    /// Whether the line is one of those asked for.
    #[must_use]
    pub fn matches(&self, line: &LogLine) -> bool {
        self.level.is_none_or(|level| line.level >= level)
            && self
                .component
                .as_ref()
                .is_none_or(|component| line.component == *component)
            && self
                .correlation_id
                .as_ref()
                .is_none_or(|id| line.correlation_id.as_ref() == Some(id))
            && self
                .q
                .as_ref()
                .is_none_or(|q| line.message.to_lowercase().contains(&q.to_lowercase()))
    }

    fn limit(&self) -> Result<usize> {
        match self.limit.unwrap_or(200) {
            limit @ 1..=1_000 => Ok(limit as usize),
            _ => Err(Error::Query(InputError::new(
                "/limit",
                "out_of_range",
                "1 to 1,000 lines",
            ))),
        }
    }
}

impl App {
    /// A datasource's history.
    ///
    /// # Errors
    /// There is no such datasource, or the page cannot be had.
    pub async fn list_events(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: ListEvents,
    ) -> Result<List<DatasourceEvent>> {
        self.datasource(context, id, Action::READ).await?;
        check_times(query.from, query.to).map_err(Error::Query)?;
        let filter = EventFilter {
            kind: query.kind,
            from: query.from,
            to: query.to,
        };
        let read = self.store.read();
        let page = read
            .datasource_events()
            .list(tenant(context), id, &filter, &query.page())
            .await?;
        Ok(List::of(page, |event| event))
    }

    /// A snapshot of a datasource's numbers.
    ///
    /// # Errors
    /// There is no such datasource.
    pub async fn metrics(&self, context: &RequestContext, id: DatasourceId) -> Result<DatasourceMetrics> {
        self.datasource(context, id, Action::READ).await?;
        let state = self.store.read().states().find(tenant(context), id).await?;
        Ok(state.map(|state| state.metrics).unwrap_or_default())
    }

    /// The newest lines of a datasource's log, the oldest of them first.
    ///
    /// # Errors
    /// There is no such datasource.
    pub async fn list_logs(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: ListLogs,
    ) -> Result<List<LogLine>> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        let limit = query.limit()?;
        let lines = self
            .services
            .log_tail(datasource.organization, id, LOG_WINDOW)
            .await?;
        let mut items: Vec<LogLine> = lines.into_iter().filter(|line| query.matches(line)).collect();
        items.drain(..items.len().saturating_sub(limit));
        Ok(List::whole(items))
    }

    /// A datasource's log as it is written, beginning with its newest lines.
    ///
    /// # Errors
    /// There is no such datasource.
    pub async fn follow_logs(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: &ListLogs,
    ) -> Result<LogStream> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        self.services
            .follow_log(datasource.organization, id, query.limit()?)
            .await
    }
}

#[cfg(test)]
mod tests {
    use halcyon_domain::id::OrganizationId;

    use super::*;

    #[test]
    fn a_line_is_filtered_by_level_component_event_and_text() {
        let line = LogLine {
            organization: OrganizationId::generate(),
            datasource: DatasourceId::generate(),
            at: Timestamp::default(),
            level: LogLevel::Warn,
            component: "worker.mapping".into(),
            message: "A field is Missing".into(),
            correlation_id: Some("e1".into()),
        };
        let fits = |query: ListLogs| query.matches(&line);
        assert!(fits(ListLogs::default()));
        assert!(fits(ListLogs {
            level: Some(LogLevel::Info),
            ..ListLogs::default()
        }));
        assert!(!fits(ListLogs {
            level: Some(LogLevel::Error),
            ..ListLogs::default()
        }));
        assert!(!fits(ListLogs {
            component: Some("worker".into()),
            ..ListLogs::default()
        }));
        assert!(fits(ListLogs {
            correlation_id: Some("e1".into()),
            ..ListLogs::default()
        }));
        assert!(fits(ListLogs {
            q: Some("missing".into()),
            ..ListLogs::default()
        }));
    }
}
