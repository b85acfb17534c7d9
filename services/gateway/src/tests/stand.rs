//! The other services, as stand-ins that remember.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use halcyon_bus::{
    dead_letters::Place,
    requests::{CheckpointInfo, OnBehalf, SecretInfo, SecretVersionInfo},
};
use halcyon_domain::{
    assignment::LogLine,
    audit::{AuditCheckpoint, AuditEntry},
    capture::Capture,
    clock::{Clock, SystemClock},
    event::IngestEvent,
    id::{DatasourceId, OrganizationId},
    ontology::ObjectKind,
    test_run::{TestJob, TestReport},
};

use crate::app::{
    Error, Lanes, LogStream, NewPlace, ObjectStream, Result, RotatedTokenKey, SecretWrite, Services,
    StoredDeadLetter, Unsent,
};

/// The other services, as far as a test needs them.
#[derive(Default)]
pub(super) struct Stand {
    /// The entries that were published at once.
    pub(super) audit: Mutex<Vec<AuditEntry>>,
    /// The checkpoint of the audit trail that the bus holds.
    pub(super) anchor: Mutex<Option<AuditCheckpoint>>,
    /// The request to break off as soon as it has committed.
    pub(super) cut: Mutex<Option<tokio::task::AbortHandle>>,
    /// Whether the bus is gone.
    pub(super) down: Mutex<bool>,
    /// The secrets that were written.
    pub(super) secrets: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What the test-runner answers.
    pub(super) report: Mutex<Option<TestReport>>,
    /// The jobs that it got.
    pub(super) jobs: Mutex<Vec<TestJob>>,
    /// The dead letters there are.
    pub(super) dead_letters: Mutex<Vec<StoredDeadLetter>>,
    /// The events that were sent on their way again.
    pub(super) replayed: Mutex<Vec<IngestEvent>>,
    /// How many of them there is room for.
    pub(super) lane: Mutex<Option<usize>>,
    /// The captures there are.
    pub(super) captures: Mutex<Vec<Capture>>,
    /// Whether captures can be read and not written.
    pub(super) captures_stuck: Mutex<bool>,
    /// The checkpoint there is.
    pub(super) checkpoint: Mutex<Option<CheckpointInfo>>,
}

const DOWN: Error = Error::Unavailable { detail: "down" };

impl Stand {
    fn up(&self) -> Result<()> {
        if *self.down.lock().unwrap() {
            Err(DOWN)
        } else {
            Ok(())
        }
    }
}

fn info(name: &str) -> SecretInfo {
    let at = SystemClock.now();
    SecretInfo {
        name: name.to_owned(),
        versions: vec![SecretVersionInfo {
            version: 1,
            created_at: at,
            created_by: None,
            expires_at: None,
            valid_until: None,
            last_read_at: None,
        }],
    }
}

#[async_trait]
impl Services for Stand {
    async fn publish_audit(&self, entry: &AuditEntry) -> Result<()> {
        self.up()?;
        self.audit.lock().unwrap().push(entry.clone());
        Ok(())
    }

    fn poke_relay(&self) {
        if let Some(request) = self.cut.lock().unwrap().take() {
            request.abort();
        }
    }

    async fn put_secret(&self, secret: SecretWrite<'_>) -> Result<SecretInfo> {
        self.up()?;
        self.secrets
            .lock()
            .unwrap()
            .insert(secret.name.to_owned(), secret.value.to_vec());
        Ok(info(secret.name))
    }

    async fn delete_secret(&self, _: OrganizationId, _: DatasourceId, name: &str, _: OnBehalf) -> Result<()> {
        self.up()?;
        self.secrets
            .lock()
            .unwrap()
            .remove(name)
            .map(|_| ())
            .ok_or(Error::NotFound("secret"))
    }

    async fn list_secrets(&self, _: OrganizationId, _: DatasourceId) -> Result<Vec<SecretInfo>> {
        self.up()?;
        Ok(self
            .secrets
            .lock()
            .unwrap()
            .keys()
            .map(|name| info(name))
            .collect())
    }

    async fn rotate_token_keys(&self, _: OrganizationId, _: bool, _: OnBehalf) -> Result<RotatedTokenKey> {
        self.up()?;
        Ok(RotatedTokenKey {
            id: "two".to_owned(),
            signs_from: SystemClock.now(),
        })
    }

    async fn issue_ticket(
        &self,
        _: OrganizationId,
        _: DatasourceId,
        names: Vec<String>,
        _: OnBehalf,
    ) -> Result<String> {
        self.up()?;
        Ok(format!("ticket for {}", names.join(", ")))
    }

    async fn run_test(&self, job: &TestJob, _: Duration) -> Result<TestReport> {
        self.jobs.lock().unwrap().push(job.clone());
        self.report.lock().unwrap().clone().ok_or(DOWN)
    }

    async fn dead_letters(
        &self,
        _: OrganizationId,
        _: DatasourceId,
        place: Place,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>> {
        let kept = self.dead_letters.lock().unwrap();
        let mut letters: Vec<StoredDeadLetter> = kept.clone();
        letters.sort_by_key(|stored| stored.sequence);
        match place {
            Place::From(from) => letters.retain(|stored| stored.sequence >= from),
            Place::Since(time) => letters.retain(|stored| stored.letter.failed_at >= time),
            Place::Before(before) => {
                letters.retain(|stored| stored.sequence < before);
                letters.reverse();
            }
        }
        letters.truncate(limit);
        Ok(letters)
    }

    async fn dead_letter_count(&self, _: OrganizationId, _: DatasourceId) -> Result<u64> {
        Ok(self.dead_letters.lock().unwrap().len() as u64)
    }

    fn has_pool(&self, pool: &str) -> bool {
        ["default", "edge"].contains(&pool)
    }

    async fn replay(
        &self,
        _: &Lanes,
        mut events: Vec<IngestEvent>,
        _: Option<&str>,
    ) -> std::result::Result<(), Unsent> {
        let mut replayed = self.replayed.lock().unwrap();
        let room = self.lane.lock().unwrap().unwrap_or(usize::MAX) - replayed.len();
        let unsent = events.split_off(room.min(events.len()));
        replayed.extend(events);
        if unsent.is_empty() {
            return Ok(());
        }
        Err(Unsent {
            events: unsent.into_iter().map(|event| event.id).collect(),
            error: DOWN,
        })
    }

    async fn captures(&self, _: OrganizationId, datasource: DatasourceId) -> Result<Vec<Capture>> {
        self.up()?;
        let mut captures = self.captures.lock().unwrap().clone();
        captures.retain(|capture| capture.datasource == datasource);
        Ok(captures)
    }

    async fn put_capture(&self, capture: &Capture) -> Result<()> {
        self.up()?;
        if *self.captures_stuck.lock().unwrap() {
            return Err(DOWN);
        }
        let mut captures = self.captures.lock().unwrap();
        captures.retain(|known| known.id != capture.id);
        captures.insert(0, capture.clone());
        Ok(())
    }

    async fn read_checkpoint(&self, _: OrganizationId, _: DatasourceId) -> Result<Vec<CheckpointInfo>> {
        self.up()?;
        Ok(self.checkpoint.lock().unwrap().iter().cloned().collect())
    }

    async fn write_checkpoint(
        &self,
        _: (OrganizationId, DatasourceId),
        place: NewPlace,
        revision: Option<u64>,
        by: OnBehalf,
    ) -> Result<CheckpointInfo> {
        self.up()?;
        let written = CheckpointInfo {
            instance: place.instance,
            position: place.position,
            at: SystemClock.now(),
            by: Some(by.actor.name),
            revision: revision.unwrap_or_default() + 1,
            history: Vec::new(),
        };
        *self.checkpoint.lock().unwrap() = Some(written.clone());
        Ok(written)
    }

    async fn log_tail(&self, _: OrganizationId, _: DatasourceId, _: usize) -> Result<Vec<LogLine>> {
        Ok(Vec::new())
    }

    async fn last_audit_checkpoint(&self, _: OrganizationId) -> Result<Option<AuditCheckpoint>> {
        self.up()?;
        Ok(self.anchor.lock().unwrap().clone())
    }

    async fn audit_hints(&self, _: OrganizationId) -> Result<BoxStream<'static, ()>> {
        Ok(futures::stream::pending().boxed())
    }

    async fn follow_log(&self, _: OrganizationId, _: DatasourceId, _: usize) -> Result<LogStream> {
        Ok(futures::stream::empty().boxed())
    }

    async fn follow_objects(
        &self,
        _: OrganizationId,
        _: Option<DatasourceId>,
        _: ObjectKind,
    ) -> Result<ObjectStream> {
        Ok(futures::stream::pending().boxed())
    }
}
