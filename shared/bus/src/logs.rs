//! Datasources' log lines: kept for a while in memory, read back or followed by datasource.

use std::collections::VecDeque;

use futures::StreamExt;
use halcyon_domain::{
    assignment::LogLine,
    id::{DatasourceId, OrganizationId},
};

use crate::{
    Bus, Error, direct,
    subjects::{Stream, Subject},
};

/// Lines read in one round trip.
const PAGE: usize = 500;

/// A datasource's log: what is kept, and what comes.
pub struct LogTail {
    kept: VecDeque<LogLine>,
    messages: async_nats::Subscriber,
}

impl Bus {
    /// Publishes a log line. It waits for no ack and may get lost.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn publish_log(&self, line: &LogLine) -> Result<(), Error> {
        let payload = serde_json::to_vec(line).map_err(Error::malformed)?;
        let subject = Subject::Log(line.organization, line.datasource).to_string();
        self.client()
            .publish(subject, payload.into())
            .await
            .map_err(Error::unavailable)
    }

    /// The newest `limit` lines that are kept of a datasource, oldest first.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn recent_logs(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        limit: usize,
    ) -> Result<Vec<LogLine>, Error> {
        let subject = Subject::Log(organization, datasource).to_string();
        let mut newest = VecDeque::new();
        let mut from = 1;
        loop {
            let page = self
                .read(
                    Stream::Logs.as_str(),
                    &subject,
                    direct::From::Sequence(from),
                    PAGE,
                )
                .await?;
            let Some(last) = page.last() else { break };
            from = last.sequence + 1;
            newest.extend(
                page.into_iter()
                    .filter_map(|read| serde_json::from_slice(&read.payload).ok()),
            );
            let surplus = newest.len().saturating_sub(limit);
            newest.drain(..surplus);
        }
        Ok(newest.into())
    }

    /// A datasource's log: the newest `kept` lines, then those that come.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn tail_logs(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        kept: usize,
    ) -> Result<LogTail, Error> {
        let subject = Subject::Log(organization, datasource).to_string();
        // Subscribed first: a line may come twice, but none is missed.
        let messages = self
            .client()
            .subscribe(subject)
            .await
            .map_err(Error::unavailable)?;
        let kept = if kept > 0 {
            self.recent_logs(organization, datasource, kept).await?
        } else {
            Vec::new()
        };
        Ok(LogTail {
            kept: kept.into(),
            messages,
        })
    }
}

impl LogTail {
    /// Waits for the next line; nothing once the connection is closed for good.
    pub async fn next(&mut self) -> Option<LogLine> {
        if let Some(line) = self.kept.pop_front() {
            return Some(line);
        }
        loop {
            let message = self.messages.next().await?;
            if let Ok(line) = serde_json::from_slice(&message.payload) {
                return Some(line);
            }
        }
    }
}
