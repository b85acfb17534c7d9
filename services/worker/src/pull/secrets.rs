//! A source's secrets: asked of the registry, sealed for this process, opened here and kept in memory only.

use std::time::Duration;

use halcyon_bus::{
    Bus, Error, InstanceKey, Service,
    requests::{OpenSecrets, SecretsOpen},
};
use halcyon_connectors::{SecretValue, Secrets, secret_names};
use halcyon_domain::id::{BackfillId, DatasourceId, InstanceId, OrganizationId};
use serde_json::Value;

/// How long the registry may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Opens secrets for this process.
pub(crate) struct Opener {
    bus: Bus,
    instance: InstanceId,
    key: InstanceKey,
}

impl Opener {
    pub(crate) const fn new(bus: Bus, instance: InstanceId, key: InstanceKey) -> Self {
        Self { bus, instance, key }
    }

    /// The secrets that a connection names, for a datasource's own source or a backfill of it.
    ///
    /// # Errors
    /// No registry answers, or it refuses.
    pub(crate) async fn open(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        backfill: Option<BackfillId>,
        connection: &Value,
    ) -> Result<Secrets, Error> {
        let mut secrets = Secrets::none();
        let names: Vec<String> = secret_names(connection)
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect();
        if names.is_empty() {
            return Ok(secrets);
        }
        let request = OpenSecrets {
            service: Service::Worker,
            instance: self.instance,
            public_key: self.key.public_key().to_owned(),
            organization,
            datasource,
            names,
            ticket: None,
            backfill,
        };
        let opened = self.bus.call::<SecretsOpen>(&request, TIMEOUT).await?;
        for (name, versions) in opened.secrets {
            for version in versions {
                let value = self.key.open(&opened.from, &version.value)?;
                secrets.insert(name.as_str(), SecretValue::new(value));
            }
        }
        Ok(secrets)
    }
}
