//! Signing secrets: fetched from the registry, sealed on the way, held in memory only.

use std::time::Duration;

use halcyon_bus::{
    Bus, Error, InstanceKey, Service,
    requests::{OpenSecrets, SecretsOpen},
};
use halcyon_connectors::{SecretValue, Secrets};
use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, InstanceId, OrganizationId},
};

/// How long the registry may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is to be fetched.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) organization: OrganizationId,
    pub(super) datasource: DatasourceId,
    pub(super) names: Vec<String>,
    /// The route's `secrets_revision`: another one means that something was written.
    pub(super) revision: u64,
}

/// The opened secrets of a datasource.
pub(super) struct Opened {
    pub(super) names: Vec<String>,
    pub(super) revision: u64,
    values: Vec<(String, SecretValue, Option<Timestamp>)>,
}

impl Opened {
    /// Whether these are the answer to what is wanted.
    pub(super) fn answers(&self, names: &[String], revision: u64) -> bool {
        self.revision == revision && self.names == names
    }

    /// Whether each of the names was asked for.
    pub(super) fn covers(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.names.contains(name))
    }

    /// The values that count at a time.
    pub(super) fn live(&self, now: Timestamp) -> Secrets {
        let mut secrets = Secrets::none();
        for (name, value, expires_at) in &self.values {
            if expires_at.is_none_or(|expires_at| expires_at > now) {
                secrets.insert(name.as_str(), value.clone());
            }
        }
        secrets
    }

    /// Whether a value stopped counting in the time span.
    pub(super) fn expired_between(&self, from: Timestamp, to: Timestamp) -> bool {
        self.values
            .iter()
            .any(|(_, _, at)| at.is_some_and(|at| at > from && at <= to))
    }

    /// Whether a value will stop counting.
    pub(super) fn expires_after(&self, now: Timestamp) -> bool {
        self.values.iter().any(|(_, _, at)| at.is_some_and(|at| at > now))
    }
}

/// Asks the registry.
pub(super) async fn fetch(
    bus: &Bus,
    instance: InstanceId,
    key: &InstanceKey,
    wanted: &Wanted,
) -> Result<Opened, Error> {
    let question = OpenSecrets {
        service: Service::Gateway,
        instance,
        public_key: key.public_key().to_owned(),
        organization: wanted.organization,
        datasource: wanted.datasource,
        names: wanted.names.clone(),
        ticket: None,
        backfill: None,
    };
    let answer = bus.call::<SecretsOpen>(&question, TIMEOUT).await?;
    let mut values = Vec::new();
    for (name, versions) in &answer.secrets {
        for version in versions {
            let value = SecretValue::new(key.open(&answer.from, &version.value)?);
            values.push((name.clone(), value, version.expires_at));
        }
    }
    Ok(Opened {
        names: wanted.names.clone(),
        revision: wanted.revision,
        values,
    })
}
