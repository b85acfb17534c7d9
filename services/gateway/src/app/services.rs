//! What the use cases ask of other services. Everything of it goes over the bus; tests bring their own.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use halcyon_bus::dead_letters::Place;
use halcyon_bus::objects::PublicObject;
use halcyon_bus::requests::{CheckpointInfo, OnBehalf, SecretChange, SecretInfo};
use halcyon_domain::{
    assignment::LogLine,
    audit::{AuditCheckpoint, AuditEntry},
    capture::Capture,
    clock::Timestamp,
    event::{DeadLetter, EventId, IngestEvent},
    id::{DatasourceId, OrganizationId},
    ontology::ObjectKind,
    test_run::{TestJob, TestReport},
};

use super::{Error, NewPlace, Result, RotatedTokenKey};

/// On which partitions a datasource's events travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// On how many.
    pub parallelism: u16,
    /// Of which pool of workers; the default one if none is named.
    pub pool: Option<String>,
}

/// A secret's new value, on its way to the registry.
pub struct SecretWrite<'a> {
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The secret's name.
    pub name: &'a str,
    /// The value: sealed before it leaves the process.
    pub value: &'a [u8],
    /// From when on it is no longer used.
    pub expires_at: Option<Timestamp>,
    /// What becomes of the versions before.
    pub change: SecretChange,
    /// Who writes it.
    pub by: OnBehalf,
}

/// A dead letter and its place in the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDeadLetter {
    /// Its stream sequence, which is its identifier.
    pub sequence: u64,
    /// The letter.
    pub letter: DeadLetter,
}

/// Committed objects as they come.
pub type ObjectStream = BoxStream<'static, PublicObject>;

/// Log lines as they come.
pub type LogStream = BoxStream<'static, LogLine>;

/// A replay that broke off.
#[derive(Debug)]
pub struct Unsent {
    /// The events that are surely not on their way.
    pub events: Vec<EventId>,
    /// Why.
    pub error: Error,
}

/// The other services, as the use cases see them.
#[async_trait]
pub trait Services: Send + Sync {
    /// Publishes an audit entry and waits until it is kept.
    async fn publish_audit(&self, entry: &AuditEntry) -> Result<()>;

    /// Tells the relay that the outbox has rows.
    fn poke_relay(&self);

    /// Writes a secret.
    async fn put_secret(&self, secret: SecretWrite<'_>) -> Result<SecretInfo>;

    /// Deletes a secret.
    async fn delete_secret(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        name: &str,
        by: OnBehalf,
    ) -> Result<()>;

    /// The names, versions and ages of a datasource's secrets.
    async fn list_secrets(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<Vec<SecretInfo>>;

    /// Makes a new key that access tokens are signed with.
    async fn rotate_token_keys(
        &self,
        organization: OrganizationId,
        drop_old: bool,
        by: OnBehalf,
    ) -> Result<RotatedTokenKey>;

    /// A ticket with which the test-runner may have the named secrets, once.
    async fn issue_ticket(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        names: Vec<String>,
        by: OnBehalf,
    ) -> Result<String>;

    /// Runs a test.
    async fn run_test(&self, job: &TestJob, timeout: Duration) -> Result<TestReport>;

    /// A datasource's dead letters from a place on, and in its direction.
    async fn dead_letters(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        place: Place,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>>;

    /// How many dead letters of a datasource are kept.
    async fn dead_letter_count(&self, organization: OrganizationId, datasource: DatasourceId) -> Result<u64>;

    /// Whether a pool of workers has partitions.
    fn has_pool(&self, pool: &str) -> bool;

    /// Sends events on their way again, in the lane of replays; done when they are durable.
    async fn replay(
        &self,
        lanes: &Lanes,
        events: Vec<IngestEvent>,
        traceparent: Option<&str>,
    ) -> std::result::Result<(), Unsent>;

    /// The captures of a datasource of the last day, the newest first.
    async fn captures(&self, organization: OrganizationId, datasource: DatasourceId) -> Result<Vec<Capture>>;

    /// Writes a capture down: it begins, or has ended.
    async fn put_capture(&self, capture: &Capture) -> Result<()>;

    /// A pull datasource's places in its source, of each of its instances that has one.
    async fn read_checkpoint(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<Vec<CheckpointInfo>>;

    /// Writes a stopped pull datasource's place; null clears it.
    async fn write_checkpoint(
        &self,
        of: (OrganizationId, DatasourceId),
        place: NewPlace,
        revision: Option<u64>,
        by: OnBehalf,
    ) -> Result<CheckpointInfo>;

    /// The newest checkpoint of an organisation's audit trail that was published.
    async fn last_audit_checkpoint(&self, organization: OrganizationId) -> Result<Option<AuditCheckpoint>>;

    /// Hints that an organisation's audit trail has grown.
    async fn audit_hints(&self, organization: OrganizationId) -> Result<BoxStream<'static, ()>>;

    /// The newest lines of a datasource's log, the oldest of them first.
    async fn log_tail(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        limit: usize,
    ) -> Result<Vec<LogLine>>;

    /// The newest `kept` lines of a datasource's log, then those that come.
    async fn follow_log(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        kept: usize,
    ) -> Result<LogStream>;

    /// The objects of a kind that are committed from now on, of one datasource or of all.
    async fn follow_objects(
        &self,
        organization: OrganizationId,
        datasource: Option<DatasourceId>,
        kind: ObjectKind,
    ) -> Result<ObjectStream>;
}
