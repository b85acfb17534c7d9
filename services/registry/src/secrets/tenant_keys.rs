//! Tenants' data keys: made when first needed, and unwrapped when needed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use halcyon_secrets::{DataKey, Wrapped};
use halcyon_store::{Tenant, TenantKey};
use tokio::time::Instant;
use uuid::Uuid;

use super::keeper::Keeper;
use crate::Error;

/// How long an unwrapped key is used without asking again.
const FRESH: Duration = Duration::from_secs(300);

/// Held by who makes or retires a tenant's key, and by who encrypts with it.
pub(super) fn tenant_key_lock(tenant: Tenant) -> String {
    format!("halcyon.tenant-key.{}", tenant.0)
}

/// Keys that Vault has unwrapped, so that it is not asked at each opening.
#[derive(Default)]
pub(super) struct KeyCache(Mutex<HashMap<Uuid, (Arc<DataKey>, Instant)>>);

impl KeyCache {
    fn get(&self, id: Uuid) -> Option<Arc<DataKey>> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, until) = cache.get(&id)?;
        (*until > Instant::now()).then(|| key.clone())
    }

    fn put(&self, id: Uuid, key: DataKey) -> Arc<DataKey> {
        let (key, now) = (Arc::new(key), Instant::now());
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|_, (_, until)| *until > now);
        cache.insert(id, (key.clone(), now + FRESH));
        key
    }
}

impl Keeper {
    /// The tenant's newest data key; made if there is none yet.
    pub(super) async fn newest_key(&self, tenant: Tenant) -> Result<(Uuid, Arc<DataKey>), Error> {
        let kept = self.store.read().keys().of_tenant(tenant).await?;
        if let Some(newest) = kept.iter().find(|key| key.retired_at.is_none()) {
            return Ok((newest.id, self.unwrap(newest).await?));
        }
        let made = self.new_key(tenant, 1).await?;
        let tx = self.store.begin().await?;
        tx.lock(&tenant_key_lock(tenant)).await?;
        let kept = tx.keys().of_tenant(tenant).await?;
        match kept.iter().find(|key| key.retired_at.is_none()) {
            // Another registry was faster.
            Some(newest) => Ok((newest.id, self.unwrap(newest).await?)),
            None => {
                tx.keys().insert(&made).await?;
                tx.commit().await?;
                Ok((made.id, self.unwrap(&made).await?))
            }
        }
    }

    /// A new data key, wrapped.
    pub(super) async fn new_key(&self, tenant: Tenant, version: u32) -> Result<TenantKey, Error> {
        let (id, key) = (Uuid::now_v7(), DataKey::generate()?);
        let Wrapped { bytes, wrapped_by } = self.keys.wrap(&tenant.0.0, &id, &key).await?;
        Ok(TenantKey {
            id,
            organization: tenant.0,
            version,
            wrapped: bytes,
            wrapped_by,
            created_at: self.clock.now(),
            retired_at: None,
        })
    }

    /// A tenant's data key; nothing if there is none of this identifier (any more).
    pub(super) async fn data_key(&self, tenant: Tenant, id: Uuid) -> Result<Option<Arc<DataKey>>, Error> {
        if let Some(key) = self.cache.get(id) {
            return Ok(Some(key));
        }
        let kept = self.store.read().keys().of_tenant(tenant).await?;
        match kept.iter().find(|key| key.id == id) {
            Some(kept) => Ok(Some(self.unwrap(kept).await?)),
            None => Ok(None),
        }
    }

    async fn unwrap(&self, kept: &TenantKey) -> Result<Arc<DataKey>, Error> {
        if let Some(key) = self.cache.get(kept.id) {
            return Ok(key);
        }
        let wrapped = Wrapped {
            bytes: kept.wrapped.clone(),
            wrapped_by: kept.wrapped_by.clone(),
        };
        let key = self.keys.unwrap(&kept.organization.0, &kept.id, &wrapped).await?;
        Ok(if wrapped.is_by_transit() {
            self.cache.put(kept.id, key)
        } else {
            Arc::new(key)
        })
    }
}
