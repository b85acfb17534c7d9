//! Secrets opened and sealed for the one process that asks. Each service has its own rule of what it may have;
//! the key to seal for stands in the bucket of instances, where a service can write only its own processes' keys.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use halcyon_bus::{
    Service,
    requests::{OnBehalf, OpenSecrets, OpenedSecrets, SealedSecret},
    subjects::lease_keys,
};
use halcyon_connectors::find;
use halcyon_domain::{
    assignment::WorkerMember,
    config::secret_refs,
    id::{AuditEntryId, DatasourceId, InstanceId, name_based},
    lifecycle::DatasourceStatus,
};
use halcyon_infra::Metric;
use halcyon_secrets::ExposeSecret;
use halcyon_store::Tenant;
use serde_json::Value;

use super::{
    Secrets,
    entries::{self, Subject},
    opening::{Opened, OpenedVersion, Which},
};
use crate::Error;

/// How exactly it is noted when a version was last read.
const READ_PRECISION: TimeDelta = TimeDelta::minutes(1);

impl Secrets {
    pub(super) async fn open(&self, request: OpenSecrets) -> Result<OpenedSecrets, Error> {
        let key = self
            .registered_key(request.service, request.instance, &request.public_key)
            .await?;
        let (which, by) = match request.service {
            Service::Gateway => {
                self.check_gateway(&request).await?;
                (Which::Live, None)
            }
            Service::Worker => {
                self.check_worker(&request).await?;
                (Which::Newest, None)
            }
            Service::TestRunner => (Which::Newest, Some(self.redeem(&request).await?)),
            Service::Registry | Service::Audit | Service::Ontology => {
                return Err(Error::Refused("this service needs no secrets"));
            }
        };
        let opened = self
            .keeper
            .open(request.organization, request.datasource, &request.names, which)
            .await;
        if request.service == Service::Gateway {
            let is_missed = opened.as_ref().is_err_and(Error::is_transient);
            self.keeper.note_missed(request.datasource, is_missed);
        }
        let opened = opened?;
        if let (Service::Worker, Some(name)) = (request.service, opened.expired.first()) {
            return Err(Error::Expired(name.clone()));
        }
        self.note(&request, &opened, by).await?;
        let count = opened.secrets.len() as u64;
        let secrets = self.seal(opened.secrets, &key)?;
        self.shared.metrics.add(
            Metric::SecretsOpened,
            count,
            &[("service", request.service.as_str())],
        );
        Ok(OpenedSecrets {
            from: self.key.public_key().to_owned(),
            secrets,
        })
    }

    /// The key that the asking process registered; what it says of itself must be the same.
    pub(super) async fn registered_key(
        &self,
        service: Service,
        instance: InstanceId,
        claimed: &str,
    ) -> Result<String, Error> {
        let key = self.shared.bus.instance_key(service, instance).await?;
        match key {
            Some(key) if key == claimed => Ok(key),
            Some(_) => Err(Error::Refused("the process has registered another key")),
            None => Err(Error::Refused("the process is not registered")),
        }
    }

    fn seal(
        &self,
        opened: HashMap<String, Vec<OpenedVersion>>,
        key: &str,
    ) -> Result<BTreeMap<String, Vec<SealedSecret>>, Error> {
        let mut sealed = BTreeMap::new();
        for (name, versions) in opened {
            let versions = versions.into_iter().map(|opened| {
                let value = self.key.seal(key, opened.value.expose_secret().as_bytes())?;
                Ok(SealedSecret {
                    version: opened.version,
                    value,
                    expires_at: opened.ends_at,
                })
            });
            sealed.insert(name, versions.collect::<Result<Vec<_>, Error>>()?);
        }
        Ok(sealed)
    }

    /// A gateway may have what the published version of an active push datasource names.
    async fn check_gateway(&self, request: &OpenSecrets) -> Result<(), Error> {
        let read = self.shared.store.read();
        let tenant = Tenant(request.organization);
        let datasource = read.datasources().find(tenant, request.datasource).await?;
        let datasource = datasource.ok_or(Error::NotFound("datasource"))?;
        let push = find(&datasource.connector).is_some_and(|connector| connector.spec().capabilities.push);
        if !push || datasource.status != DatasourceStatus::Active {
            return Err(Error::Refused(
                "gateways get the secrets of active push datasources only",
            ));
        }
        let Some(number) = datasource.current_version else {
            return Err(Error::Refused("nothing is published"));
        };
        let version = read.versions().find(tenant, datasource.id, number).await?;
        let version = version.ok_or(Error::NotFound("version"))?;
        check_names(&request.names, &[&version.config])
    }

    /// A worker may have what the versions name of a datasource, or of a backfill of it, that is assigned to it.
    async fn check_worker(&self, request: &OpenSecrets) -> Result<(), Error> {
        let refused = Error::Refused("the datasource is not assigned to this worker");
        let assigned = request
            .backfill
            .map_or(request.datasource, |id| DatasourceId(id.0));
        let assignment = self.shared.bus.assignments().get(&assigned.to_string()).await?;
        let Some(assignment) = assignment.map(|entry| entry.value) else {
            return Err(refused);
        };
        let is_holder = assignment.instances.iter().any(|instance| {
            let lease = instance
                .worker
                .and_then(|worker| self.shared.leases.get(&lease_keys::worker(worker)));
            let member = lease.and_then(|entry| entry.value.info::<WorkerMember>().ok());
            member.is_some_and(|member| member.instance == request.instance)
        });
        let datasource = assignment
            .backfill
            .map_or(assignment.datasource, |task| task.datasource);
        let is_same = (assignment.organization, datasource) == (request.organization, request.datasource);
        if !is_holder || !is_same {
            return Err(refused);
        }
        let versions = std::iter::once(&assignment.wanted).chain(&assignment.last_good);
        let configs: Vec<&Value> = versions.map(|version| &version.config).collect();
        check_names(&request.names, &configs)
    }

    /// A test-runner may have what its ticket says, once. Returns on whose behalf.
    async fn redeem(&self, request: &OpenSecrets) -> Result<OnBehalf, Error> {
        let ticket = request
            .ticket
            .as_deref()
            .ok_or(Error::Refused("a test-runner shows a ticket"))?;
        let ticket = self.take_ticket(ticket).await?;
        let same = ticket.organization == request.organization && ticket.datasource == request.datasource;
        if !same || request.names.iter().any(|name| !ticket.names.contains(name)) {
            return Err(Error::Refused("the ticket is for something else"));
        }
        Ok(ticket.by)
    }

    /// Puts into the audit trail who gets what, before it is answered: an entry for each version. A process that
    /// opens the same version again, as after a change of another secret, makes no second entry; a test run does.
    async fn note(&self, request: &OpenSecrets, opened: &Opened, by: Option<OnBehalf>) -> Result<(), Error> {
        let now = self.shared.clock.now();
        let service = request.service.as_str();
        let purpose = match request.service {
            Service::Gateway => "to check what comes in",
            Service::Worker => "to fetch",
            _ => "for a test run",
        };
        let by_user = by.is_some();
        let by = by.unwrap_or_else(|| {
            let mut by = entries::system(service);
            by.actor.id = Some(request.instance.0);
            by
        });
        let mut read = Vec::new();
        for (name, version) in opened.versions() {
            let subject = Subject {
                organization: request.organization,
                datasource: request.datasource,
                name,
                version: Some(version.version),
            };
            let summary = format!(
                "opened version {} of secret `{name}` {purpose}, for {service} {}",
                version.version, request.instance
            );
            let mut entry = entries::entry(subject, "secret.open", summary, &by, now);
            if !by_user {
                let parts = [
                    "secret.open",
                    &request.instance.to_string(),
                    &version.id.to_string(),
                ];
                entry.id = AuditEntryId(name_based(&parts));
            }
            self.shared.bus.publish_audit(&entry).await?;
            if version
                .last_read_at
                .is_none_or(|last| now - last >= READ_PRECISION)
            {
                read.push(version.id);
            }
        }
        if let Err(error) = self
            .keeper
            .note_read(Tenant(request.organization), &read, now)
            .await
        {
            tracing::warn!(error = %error, "when secrets were last read could not be noted");
        }
        Ok(())
    }
}

/// Checks that each name is one that a configuration's connection refers to.
fn check_names(names: &[String], configs: &[&Value]) -> Result<(), Error> {
    let connections = configs.iter().filter_map(|config| config.get("connection"));
    let referred: Vec<String> = connections
        .flat_map(secret_refs)
        .map(|found| found.name)
        .collect();
    if names.iter().all(|name| referred.contains(name)) {
        Ok(())
    } else {
        Err(Error::Refused(
            "the configuration in effect does not name this secret",
        ))
    }
}
