//! Captures: which of them run, in a bucket that workers follow, and what workers take for them.

use std::time::Duration;

use halcyon_domain::{
    capture::{Capture, Captured},
    id::{CaptureId, DatasourceId, OrganizationId},
};

use crate::{
    Bucket, Bus, Error,
    publish::with_message_id,
    subjects::{BucketName, Subject},
};

/// How long a capture is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);

fn key(datasource: DatasourceId, capture: CaptureId) -> String {
    format!("{datasource}.{capture}")
}

impl Bus {
    /// The captures of the last day. Key: datasource and capture.
    #[must_use]
    pub fn captures(&self) -> Bucket<Capture> {
        Bucket::new(self, BucketName::Captures, "")
    }

    /// Writes a capture down: it begins, or has ended.
    ///
    /// # Errors
    /// The bus cannot be reached, or there are too many captures.
    pub async fn put_capture(&self, capture: &Capture) -> Result<(), Error> {
        let key = key(capture.datasource, capture.id);
        self.captures()
            .put_with_ttl(&key, capture, REMEMBERED)
            .await
            .map(|_| ())
    }

    /// A capture of a datasource.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn capture(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        capture: CaptureId,
    ) -> Result<Option<Capture>, Error> {
        let found = self.captures().get(&key(datasource, capture)).await?;
        let found = found.map(|entry| entry.value);
        Ok(found.filter(|capture| capture.organization == organization))
    }

    /// The captures of a datasource that are remembered, the newest first.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn captures_of(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<Vec<Capture>, Error> {
        let entries = self.captures().entries_below(&datasource.to_string()).await?;
        let mut captures: Vec<Capture> = entries
            .into_iter()
            .map(|(_, entry)| entry.value)
            .filter(|capture| capture.organization == organization)
            .collect();
        captures.sort_by_key(|capture| std::cmp::Reverse((capture.started_at, capture.id)));
        Ok(captures)
    }

    /// Hands a record on that was taken for a capture; done when it is stored. One event counts once.
    ///
    /// # Errors
    /// The bus cannot be reached, or nobody has taken what came before.
    pub async fn publish_captured(&self, captured: &Captured) -> Result<(), Error> {
        let subject = Subject::Captured(captured.organization, captured.datasource).to_string();
        let headers = with_message_id(&format!("{}/{}", captured.capture, captured.event));
        let payload = serde_json::to_vec(captured).map_err(Error::malformed)?;
        self.publish_until_stored(subject, headers, payload.into())
            .await
            .map(|_| ())
    }
}
