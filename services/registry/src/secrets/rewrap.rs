//! Keys under newer keys: data keys wrapped by the newest key-encryption key, values encrypted by the newest data
//! key. Each step is one row, compared and set, so that any number of processes may do it at once and any of them
//! may die: what is left is what the rows say.

use halcyon_domain::audit::Resource;
use halcyon_secrets::Wrapped;
use halcyon_store::{Kept, SigningKey, StoredSecret, Tenant, TenantKey, WrappedBy};

use super::{
    entries::{self, Subject},
    keeper::Keeper,
    tenant_keys::tenant_key_lock,
    token_keys,
    values::context,
};
use crate::{Error, reconcile::load::CONTROL_PLANE};

/// Rows that are read at a time.
const BATCH: u64 = 64;

impl Keeper {
    /// Wraps with the newest key-encryption key whatever another one has wrapped. `step` is told the count of what
    /// is done. Returns that count.
    pub(crate) async fn rewrap(&self, mut step: impl FnMut(u64) + Send) -> Result<u64, Error> {
        if self.left_to_rewrap().await?.is_empty() {
            return Ok(0);
        }
        let current = self.keys.current().await?;
        let mut done = 0;
        loop {
            let read = self.store.read();
            let tenants = read
                .keys()
                .tenants_not_wrapped_by(CONTROL_PLANE, &current, BATCH)
                .await?;
            let signing = read
                .keys()
                .signing_not_wrapped_by(CONTROL_PLANE, &current, BATCH)
                .await?;
            if tenants.is_empty() && signing.is_empty() {
                if done > 0 {
                    tracing::info!(
                        keys = done,
                        key.id = current,
                        "keys are wrapped by the newest key now"
                    );
                }
                return Ok(done);
            }
            for key in &tenants {
                self.rewrap_tenant(key).await?;
                done += 1;
                step(done);
            }
            for key in &signing {
                self.rewrap_signing(key).await?;
                done += 1;
                step(done);
            }
        }
    }

    /// What has wrapped how many keys, the newest key-encryption key excepted.
    pub(crate) async fn left_to_rewrap(&self) -> Result<WrappedBy, Error> {
        let mut counts = self.store.read().keys().wrapped_by(CONTROL_PLANE).await?;
        if counts.is_empty() {
            return Ok(counts);
        }
        let current = self.keys.current().await?;
        counts.retain(|(by, _)| *by != current);
        Ok(counts)
    }

    async fn rewrap_tenant(&self, kept: &TenantKey) -> Result<(), Error> {
        let (organization, id) = (kept.organization.0, kept.id);
        let before = Wrapped {
            bytes: kept.wrapped.clone(),
            wrapped_by: kept.wrapped_by.clone(),
        };
        let key = self.keys.unwrap(&organization, &id, &before).await?;
        let fresh = self.keys.wrap(&organization, &id, &key).await?;
        self.keys.unwrap(&organization, &id, &fresh).await?;
        let tx = self.store.begin().await?;
        tx.keys()
            .rewrap_tenant(kept, &fresh.bytes, &fresh.wrapped_by)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn rewrap_signing(&self, kept: &SigningKey) -> Result<(), Error> {
        use halcyon_secrets::ExposeSecret;
        let label = token_keys::label(&kept.id);
        let before = Wrapped {
            bytes: kept.wrapped.clone(),
            wrapped_by: kept.wrapped_by.clone(),
        };
        let key = self.keys.open_system(&label, &before).await?;
        let fresh = self.keys.seal_system(&label, key.expose_secret()).await?;
        self.keys.open_system(&label, &fresh).await?;
        let tx = self.store.begin().await?;
        tx.keys()
            .rewrap_signing(kept, &fresh.bytes, &fresh.wrapped_by)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Gives each tenant that has a data key a new one. Values are encrypted with it by [`Keeper::reencrypt`].
    pub(crate) async fn renew_data_keys(&self) -> Result<u64, Error> {
        let tenants = self.store.read().keys().tenants(CONTROL_PLANE).await?;
        for tenant in &tenants {
            let kept = self.store.read().keys().of_tenant(*tenant).await?;
            let version = kept.first().map_or(1, |newest| newest.version + 1);
            let made = self.new_key(*tenant, version).await?;
            let tx = self.store.begin().await?;
            tx.lock(&tenant_key_lock(*tenant)).await?;
            let newest = tx.keys().of_tenant(*tenant).await?;
            if newest.first().is_some_and(|newest| newest.version >= version) {
                // Another process renews it, too: one new key is enough.
                continue;
            }
            tx.keys().insert(&made).await?;
            tx.keys().retire_before(*tenant, version, made.created_at).await?;
            self.record_renewal(&tx, *tenant, version).await?;
            tx.commit().await?;
        }
        Ok(tenants.len() as u64)
    }

    async fn record_renewal(
        &self,
        tx: &halcyon_store::WriteTx,
        tenant: Tenant,
        version: u32,
    ) -> Result<(), Error> {
        use halcyon_store::{NewMessage, Topic};
        let subject = Subject {
            organization: tenant.0,
            datasource: halcyon_domain::id::DatasourceId(tenant.0.0),
            name: "",
            version: Some(version),
        };
        let summary = format!("made version {version} of the organisation's data key");
        let by = entries::system("halcyon secret-store");
        let mut entry = entries::entry(subject, "data_key.rotate", summary, &by, self.clock.now());
        entry.resource = Resource {
            kind: "data_key".to_owned(),
            id: Some(tenant.0.to_string()),
            name: None,
        };
        let message = NewMessage::new(Topic::Audit, tenant.0.to_string(), None, &entry, entry.at)?;
        Ok(tx.outbox().append(tenant, &[message]).await?)
    }

    /// Encrypts values with the newest data keys, and destroys the keys that nothing is encrypted with any more.
    pub(crate) async fn reencrypt(&self, mut step: impl FnMut(u64) + Send) -> Result<u64, Error> {
        let mut done = 0;
        for tenant in self.store.read().keys().tenants(CONTROL_PLANE).await? {
            let (newest, _) = self.newest_key(tenant).await?;
            loop {
                let read = self.store.read();
                let stale = read.secrets().under_other_keys(tenant, newest, BATCH).await?;
                if stale.is_empty() {
                    break;
                }
                for stored in &stale {
                    self.reencrypt_one(tenant, stored).await?;
                    done += 1;
                    step(done);
                }
            }
            self.destroy_unused_keys(tenant).await?;
        }
        Ok(done)
    }

    async fn reencrypt_one(&self, tenant: Tenant, stored: &StoredSecret) -> Result<(), Error> {
        use halcyon_secrets::ExposeSecret;
        let value = match self.value(stored).await {
            // Replaced or moved meanwhile.
            Err(Error::Secrets(halcyon_secrets::Error::Missing)) => return Ok(()),
            value => value?,
        };
        let (key_id, key) = self.newest_key(tenant).await?;
        let ciphertext = key.encrypt(&context(&stored.meta), value.expose_secret().as_bytes())?;
        let to = Kept::Here { key_id, ciphertext };
        let tx = self.store.begin().await?;
        tx.secrets()
            .relocate(tenant, stored.meta.id, &stored.kept, &to)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn destroy_unused_keys(&self, tenant: Tenant) -> Result<(), Error> {
        let tx = self.store.begin().await?;
        tx.lock(&tenant_key_lock(tenant)).await?;
        for key in tx.keys().of_tenant(tenant).await? {
            if key.retired_at.is_some() && !tx.keys().is_in_use(tenant, key.id).await? {
                tx.keys().destroy(tenant, key.id).await?;
            }
        }
        Ok(tx.commit().await?)
    }
}
