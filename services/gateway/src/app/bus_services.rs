//! The other services, over the bus.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use halcyon_bus::{
    Bus, Error as BusError, InstanceKey, RemoteError,
    dead_letters::Place,
    requests::{
        CheckpointInfo, CheckpointRead, CheckpointWrite, DeleteSecret, Empty, IssueTicket, ListSecrets,
        OnBehalf, PublicKey, PutSecret, ReadCheckpoint, RotateTokenKeys, RunTest, SecretDelete, SecretInfo,
        SecretList, SecretPut, TicketIssue, TokenKeysRotate, WriteCheckpoint,
    },
};
use halcyon_domain::{
    assignment::LogLine,
    audit::{AuditCheckpoint, AuditEntry},
    capture::Capture,
    event::IngestEvent,
    id::{DatasourceId, OrganizationId},
    ontology::ObjectKind,
    partition::slot,
    test_run::{TestJob, TestReport},
};
use tokio::{sync::Notify, time::Instant};

use super::{
    Error, NewPlace, Result, RotatedTokenKey,
    services::{Lanes, LogStream, ObjectStream, SecretWrite, Services, StoredDeadLetter, Unsent},
};

/// How long the registry may take.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a service that is just starting is waited for.
const NO_RESPONDERS: Duration = Duration::from_secs(2);
/// How often a value is sealed anew because another registry got it than the one it was sealed for. With n registries
/// one attempt in n hits: a hundred do not fail before there are dozens of them.
const SEAL_ATTEMPTS: usize = 100;

/// The other services, over the bus.
pub struct BusServices {
    bus: Bus,
    key: Arc<InstanceKey>,
    poke: Arc<Notify>,
}

impl BusServices {
    /// The services behind `bus`. Values are sealed with `key`; `poke` wakes this process's relay.
    #[must_use]
    pub fn new(bus: Bus, key: Arc<InstanceKey>, poke: Arc<Notify>) -> Self {
        Self { bus, key, poke }
    }
}

/// Asks again for a while when nobody serves the subject: the service may be starting.
async fn patiently<T, F>(ask: impl Fn() -> F + Send) -> std::result::Result<T, BusError>
where
    F: Future<Output = std::result::Result<T, BusError>> + Send,
{
    let deadline = Instant::now() + NO_RESPONDERS;
    loop {
        match ask().await {
            Err(BusError::NoResponders(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => return other,
        }
    }
}

/// What the registry says: what it does not know is 404, the rest is as the bus sees it.
fn registry_error(error: BusError, what: &'static str) -> Error {
    match error {
        BusError::Remote(remote) if remote.code == "secrets_unavailable" => {
            tracing::warn!("the registry cannot reach the store of secrets");
            Error::Unavailable {
                detail: "secrets cannot be reached now: their store does not answer",
            }
        }
        BusError::Remote(remote) if remote.code == "not_found" => Error::NotFound(what),
        BusError::Remote(RemoteError {
            input: Some(input), ..
        }) => (*input).into(),
        other if other.is_unavailable() => {
            tracing::warn!(error = %other, "the registry cannot be reached");
            Error::Unavailable {
                detail: "secrets cannot be reached now: no registry answers",
            }
        }
        other => other.into(),
    }
}

/// What the registry says of a checkpoint.
fn checkpoint_error(error: BusError) -> Error {
    match error {
        BusError::Remote(remote) if remote.code == "conflict" => Error::Conflict {
            code: "invalid_transition",
            detail: remote.message,
        },
        BusError::Remote(remote) if remote.code == "refused" => {
            Error::field("/position", "too_long", remote.message)
        }
        BusError::Remote(remote) if remote.code == "not_found" => Error::NotFound("datasource"),
        other if other.is_unavailable() => Error::Unavailable {
            detail: "checkpoints cannot be reached now: no registry answers",
        },
        other => other.into(),
    }
}

#[async_trait]
impl Services for BusServices {
    async fn publish_audit(&self, entry: &AuditEntry) -> Result<()> {
        self.bus.publish_audit(entry).await.map_err(|error| {
            tracing::warn!(error = %error, "an audit entry could not be published");
            Error::Unavailable {
                detail: "the audit trail cannot be reached now",
            }
        })
    }

    fn poke_relay(&self) {
        self.poke.notify_one();
        let bus = self.bus.clone();
        // The relay may be another process's: it is told, too, and looks by itself if this gets lost.
        tokio::spawn(async move { bus.poke_outbox().await });
    }

    async fn put_secret(&self, secret: SecretWrite<'_>) -> Result<SecretInfo> {
        let failed = |error| registry_error(error, "datasource");
        for _ in 0..SEAL_ATTEMPTS {
            let key = patiently(|| self.bus.call::<PublicKey>(&Empty {}, REGISTRY_TIMEOUT)).await;
            let to = key.map_err(failed)?.public_key;
            let request = PutSecret {
                organization: secret.organization,
                datasource: secret.datasource,
                name: secret.name.to_owned(),
                from: self.key.public_key().to_owned(),
                value: self.key.seal(&to, secret.value)?,
                to,
                expires_at: secret.expires_at,
                change: secret.change,
                by: secret.by.clone(),
            };
            match self.bus.call::<SecretPut>(&request, REGISTRY_TIMEOUT).await {
                // With several registries another one than the addressee may have got it.
                Err(BusError::Remote(remote)) if remote.code == "unknown_key" => {}
                other => return other.map_err(failed),
            }
        }
        Err(Error::Unavailable {
            detail: "no registry took the secret",
        })
    }

    async fn delete_secret(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        name: &str,
        by: OnBehalf,
    ) -> Result<()> {
        let request = DeleteSecret {
            organization,
            datasource,
            name: Some(name.to_owned()),
            by,
        };
        let deleted = patiently(|| self.bus.call::<SecretDelete>(&request, REGISTRY_TIMEOUT)).await;
        deleted
            .map(|_| ())
            .map_err(|error| registry_error(error, "secret"))
    }

    async fn list_secrets(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<Vec<SecretInfo>> {
        let request = ListSecrets {
            organization,
            datasource,
        };
        let listed = patiently(|| self.bus.call::<SecretList>(&request, REGISTRY_TIMEOUT)).await;
        listed.map_err(|error| registry_error(error, "datasource"))
    }

    async fn rotate_token_keys(
        &self,
        organization: OrganizationId,
        drop_old: bool,
        by: OnBehalf,
    ) -> Result<RotatedTokenKey> {
        let request = RotateTokenKeys {
            organization,
            drop_old,
            by,
        };
        let made = self
            .bus
            .call::<TokenKeysRotate>(&request, REGISTRY_TIMEOUT)
            .await
            .map_err(|error| registry_error(error, "key"))?;
        Ok(RotatedTokenKey {
            id: made.id,
            signs_from: made.signs_from,
        })
    }

    async fn issue_ticket(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        names: Vec<String>,
        by: OnBehalf,
    ) -> Result<String> {
        let request = IssueTicket {
            organization,
            datasource,
            names,
            by,
        };
        let issued = patiently(|| self.bus.call::<TicketIssue>(&request, REGISTRY_TIMEOUT)).await;
        issued
            .map(|ticket| ticket.ticket)
            .map_err(|error| registry_error(error, "secret"))
    }

    async fn run_test(&self, job: &TestJob, timeout: Duration) -> Result<TestReport> {
        patiently(|| self.bus.call::<RunTest>(job, timeout))
            .await
            .map_err(|error| match error {
                error if error.is_unavailable() => {
                    tracing::warn!(error = %error, "no test-runner answered");
                    Error::Unavailable {
                        detail: "no test-runner answers now",
                    }
                }
                other => other.into(),
            })
    }

    async fn dead_letters(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        place: Place,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>> {
        let letters = self
            .bus
            .dead_letters_at(organization, datasource, place, limit)
            .await?;
        let stored = letters.into_iter().map(|stored| StoredDeadLetter {
            sequence: stored.sequence,
            letter: stored.dead_letter,
        });
        Ok(stored.collect())
    }

    fn has_pool(&self, pool: &str) -> bool {
        self.bus.partitions().has_pool(pool)
    }

    async fn dead_letter_count(&self, organization: OrganizationId, datasource: DatasourceId) -> Result<u64> {
        Ok(self.bus.dead_letter_count(organization, datasource).await?)
    }

    async fn replay(
        &self,
        lanes: &Lanes,
        events: Vec<IngestEvent>,
        traceparent: Option<&str>,
    ) -> std::result::Result<(), Unsent> {
        let mut groups: BTreeMap<(Option<u16>, DatasourceId), Vec<IngestEvent>> = BTreeMap::new();
        for event in events {
            let slot = slot(&event.id, lanes.parallelism);
            let pool = lanes.pool.as_deref();
            let partition = self.bus.partitions().of(pool, event.datasource, slot);
            groups
                .entry((partition, event.datasource))
                .or_default()
                .push(event);
        }
        let mut groups = groups.into_iter();
        while let Some(((partition, datasource), events)) = groups.next() {
            let (reached, error) = match partition {
                Some(partition) => {
                    let sent = self.bus.replay(partition, datasource, &events, traceparent);
                    match sent.await {
                        Ok(()) => continue,
                        Err(broke) => (broke.reached, broke.error),
                    }
                }
                None => {
                    let why = "the feed's pool of workers is not there".to_owned();
                    (0, BusError::Unavailable(why))
                }
            };
            let behind = groups.flat_map(|(_, events)| events);
            let unsent = events.into_iter().skip(reached).chain(behind);
            return Err(Unsent {
                events: unsent.map(|event| event.id).collect(),
                error: error.into(),
            });
        }
        Ok(())
    }

    async fn captures(&self, organization: OrganizationId, datasource: DatasourceId) -> Result<Vec<Capture>> {
        Ok(self.bus.captures_of(organization, datasource).await?)
    }

    async fn put_capture(&self, capture: &Capture) -> Result<()> {
        Ok(self.bus.put_capture(capture).await?)
    }

    async fn read_checkpoint(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<Vec<CheckpointInfo>> {
        let request = ReadCheckpoint {
            organization,
            datasource,
        };
        let read = patiently(|| self.bus.call::<CheckpointRead>(&request, REGISTRY_TIMEOUT)).await;
        read.map_err(checkpoint_error)
    }

    async fn write_checkpoint(
        &self,
        (organization, datasource): (OrganizationId, DatasourceId),
        place: NewPlace,
        revision: Option<u64>,
        by: OnBehalf,
    ) -> Result<CheckpointInfo> {
        let request = WriteCheckpoint {
            organization,
            datasource,
            instance: place.instance,
            position: place.position,
            revision,
            by,
        };
        let written = patiently(|| self.bus.call::<CheckpointWrite>(&request, REGISTRY_TIMEOUT)).await;
        written.map_err(checkpoint_error)
    }

    async fn last_audit_checkpoint(&self, organization: OrganizationId) -> Result<Option<AuditCheckpoint>> {
        Ok(self.bus.last_checkpoint(organization).await?)
    }

    async fn audit_hints(&self, organization: OrganizationId) -> Result<BoxStream<'static, ()>> {
        let entries = self.bus.recorded_entries(organization).await?;
        let hints = futures::stream::unfold(entries, |mut entries| async move {
            entries.next().await.map(|_| ((), entries))
        });
        Ok(hints.boxed())
    }

    async fn log_tail(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        limit: usize,
    ) -> Result<Vec<LogLine>> {
        Ok(self.bus.recent_logs(organization, datasource, limit).await?)
    }

    async fn follow_log(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        kept: usize,
    ) -> Result<LogStream> {
        let tail = self.bus.tail_logs(organization, datasource, kept).await?;
        let lines = futures::stream::unfold(tail, |mut tail| async move {
            let line = tail.next().await?;
            Some((line, tail))
        });
        Ok(lines.boxed())
    }

    async fn follow_objects(
        &self,
        organization: OrganizationId,
        datasource: Option<DatasourceId>,
        kind: ObjectKind,
    ) -> Result<ObjectStream> {
        let objects = self.bus.objects(organization, datasource, Some(kind)).await?;
        let objects = futures::stream::unfold(objects, |mut objects| async move {
            let object = objects.next().await?;
            Some((object, objects))
        });
        Ok(objects.boxed())
    }
}
