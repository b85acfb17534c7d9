//! The secrets that a configuration names: opened by the registry for the ticket of the job, sealed for this
//! process.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use halcyon_bus::{
    Bus, Error, InstanceKey, Service,
    requests::{OpenSecrets, SecretsOpen},
};
use halcyon_connectors::{SecretValue, Secrets};
use halcyon_domain::{clock::Clock, id::InstanceId, test_run::TestJob};

/// Where secrets come from.
#[async_trait]
pub(crate) trait SecretSource: Send + Sync {
    /// The named secrets that exist; `Err` says why they cannot be had at all.
    async fn open(&self, job: &TestJob, names: Vec<String>) -> Result<Secrets, Error>;
}

/// The registry, over the bus.
pub(crate) struct Registry {
    pub(crate) bus: Bus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) instance: InstanceId,
    pub(crate) key: InstanceKey,
    pub(crate) timeout: Duration,
}

#[async_trait]
impl SecretSource for Registry {
    async fn open(&self, job: &TestJob, names: Vec<String>) -> Result<Secrets, Error> {
        let mut secrets = Secrets::none();
        if names.is_empty() || job.ticket.is_none() {
            return Ok(secrets);
        }
        let request = OpenSecrets {
            service: Service::TestRunner,
            instance: self.instance,
            public_key: self.key.public_key().to_owned(),
            organization: job.organization,
            datasource: job.datasource,
            names,
            ticket: job.ticket.clone(),
            backfill: None,
        };
        let opened = self.bus.call::<SecretsOpen>(&request, self.timeout).await?;
        let now = self.clock.now();
        for (name, versions) in &opened.secrets {
            let live = versions
                .iter()
                .filter(|version| version.expires_at.is_none_or(|until| until > now));
            for version in live {
                let value = self.key.open(&opened.from, &version.value)?;
                secrets.insert(name.as_str(), SecretValue::new(value));
            }
        }
        Ok(secrets)
    }
}
