//! Secrets at rest: each value is encrypted with its tenant's data key, which is wrapped by a key-encryption key.

use std::{collections::HashMap, sync::Arc};

use halcyon_bus::requests::{OnBehalf, SecretInfo};
use halcyon_domain::{
    assignment::{ChangeCause, ConfigChange},
    audit::{ActorKind, AuditEntry, AuditOutcome, Resource},
    clock::{Clock, Timestamp},
    datasource::{Datasource, DatasourceEventKind},
    id::{ActorId, AuditEntryId, DatasourceId, OrganizationId, SecretId},
};
use halcyon_secrets::{DataKey, Keyring, SecretContext, SecretSlice, Wrapped};
use halcyon_store::{
    NewMessage, Read, SecretMeta, SecretState, Store, StoredSecret, Tenant, TenantKey, Topic, WriteTx,
};
use uuid::Uuid;

use crate::Error;

/// The secrets in the database, and the keys that open them.
pub(super) struct Vault {
    pub(super) store: Store,
    pub(super) keyring: Keyring,
    pub(super) clock: Arc<dyn Clock>,
}

/// A secret to be written.
pub(super) struct NewSecret<'a> {
    pub(super) organization: OrganizationId,
    pub(super) datasource: DatasourceId,
    pub(super) name: &'a str,
    pub(super) value: &'a [u8],
    pub(super) expires_at: Option<Timestamp>,
    /// Until when the version before still counts.
    pub(super) overlap_until: Option<Timestamp>,
    pub(super) by: &'a OnBehalf,
}

/// A secret's version, opened.
pub(super) struct OpenedVersion {
    pub(super) version: u32,
    pub(super) value: SecretSlice<u8>,
    pub(super) expires_at: Option<Timestamp>,
}

impl Vault {
    pub(super) fn new(store: Store, keyring: Keyring, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            keyring,
            clock,
        }
    }

    /// Writes a new version of a secret, with its audit entry and the notice of the change.
    pub(super) async fn put(&self, new: &NewSecret<'_>) -> Result<SecretInfo, Error> {
        let (tenant, now) = (Tenant(new.organization), self.clock.now());
        let tx = self.store.begin().await?;
        let datasource = lock(&tx, tenant, new.datasource).await?;
        let (key_id, key) = self.tenant_key(&tx, tenant, now).await?;
        let secrets = tx.secrets();
        let version = secrets.next_version(tenant, new.datasource, new.name).await?;
        let context = SecretContext {
            organization: new.organization,
            datasource: new.datasource,
            name: new.name,
            version: u64::from(version),
        };
        let ciphertext = key.encrypt(&context, new.value)?;
        secrets
            .retire(
                tenant,
                new.datasource,
                new.name,
                now,
                new.overlap_until.unwrap_or(now),
            )
            .await?;
        let meta = SecretMeta {
            id: SecretId::generate(),
            organization: new.organization,
            datasource: new.datasource,
            name: new.name.to_owned(),
            version,
            state: SecretState::Active,
            created_at: now,
            created_by: author(new.by),
            rotated_at: None,
            expires_at: new.expires_at,
        };
        secrets
            .insert(&StoredSecret {
                meta,
                key_id,
                ciphertext,
            })
            .await?;
        let summary = format!("wrote version {version} of secret `{}`", new.name);
        tell(&tx, &datasource, new.name, "secret.write", &summary, new.by, now).await?;
        let kept = secrets.list(tenant, new.datasource).await?;
        tx.commit().await?;
        infos(kept)
            .into_iter()
            .find(|info| info.name == new.name)
            .ok_or(Error::NotFound("secret"))
    }

    /// Destroys a secret, or all of a datasource's, with audit entries and notices.
    pub(super) async fn delete(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        name: Option<&str>,
        by: &OnBehalf,
    ) -> Result<(), Error> {
        let (tenant, now) = (Tenant(organization), self.clock.now());
        let tx = self.store.begin().await?;
        let datasource = lock(&tx, tenant, datasource).await?;
        let names: Vec<String> = match name {
            Some(name) => vec![name.to_owned()],
            None => infos(tx.secrets().list(tenant, datasource.id).await?)
                .into_iter()
                .map(|info| info.name)
                .collect(),
        };
        for found in &names {
            if !tx.secrets().destroy(tenant, datasource.id, found).await? {
                return Err(Error::NotFound("secret"));
            }
            let summary = format!("deleted secret `{found}`");
            tell(&tx, &datasource, found, "secret.delete", &summary, by, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// What is known of a datasource's secrets, values excepted.
    pub(super) async fn list(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<Vec<SecretInfo>, Error> {
        let read = self.store.read();
        let tenant = Tenant(organization);
        read.datasources()
            .find(tenant, datasource)
            .await?
            .ok_or(Error::NotFound("datasource"))?;
        Ok(infos(read.secrets().list(tenant, datasource).await?))
    }

    /// The live versions of named secrets, the newest first. A name without any is left out.
    pub(super) async fn open(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        names: &[String],
    ) -> Result<HashMap<String, Vec<OpenedVersion>>, Error> {
        let (tenant, now) = (Tenant(organization), self.clock.now());
        let read = self.store.read();
        let mut keys = None;
        let mut opened = HashMap::new();
        for name in names {
            let versions = read.secrets().versions(tenant, datasource, name).await?;
            let live: Vec<_> = versions
                .into_iter()
                .filter(|version| is_live(&version.meta, now))
                .collect();
            if live.is_empty() {
                continue;
            }
            if keys.is_none() {
                keys = Some(self.tenant_keys(&read, tenant).await?);
            }
            let keys = keys.as_ref().ok_or(Error::NotFound("key"))?;
            let versions = live
                .iter()
                .map(|stored| decrypt(stored, keys))
                .collect::<Result<Vec<_>, _>>()?;
            opened.insert(name.clone(), versions);
        }
        Ok(opened)
    }

    /// The tenant's newest data key; made if there is none yet.
    async fn tenant_key(
        &self,
        tx: &WriteTx,
        tenant: Tenant,
        now: Timestamp,
    ) -> Result<(Uuid, DataKey), Error> {
        let organization = tenant.0;
        tx.lock(&format!("halcyon.tenant-key.{organization}")).await?;
        let keys = tx.keys().of_tenant(tenant).await?;
        if let Some(kept) = keys.iter().find(|key| key.retired_at.is_none()) {
            return Ok((kept.id, self.unwrap(kept)?));
        }
        let (id, key) = (Uuid::now_v7(), DataKey::generate()?);
        let Wrapped { bytes, wrapped_by } = self.keyring.wrap(&organization.0, &id, &key)?;
        let version = keys.first().map_or(1, |newest| newest.version + 1);
        let kept = TenantKey {
            id,
            organization,
            version,
            wrapped: bytes,
            wrapped_by,
            created_at: now,
            retired_at: None,
        };
        tx.keys().insert(&kept).await?;
        Ok((id, key))
    }

    async fn tenant_keys(&self, read: &Read, tenant: Tenant) -> Result<HashMap<Uuid, DataKey>, Error> {
        let kept = read.keys().of_tenant(tenant).await?;
        kept.iter().map(|key| Ok((key.id, self.unwrap(key)?))).collect()
    }

    fn unwrap(&self, kept: &TenantKey) -> Result<DataKey, Error> {
        let wrapped = Wrapped {
            bytes: kept.wrapped.clone(),
            wrapped_by: kept.wrapped_by.clone(),
        };
        Ok(self.keyring.unwrap(&kept.organization.0, &kept.id, &wrapped)?)
    }
}

fn decrypt(stored: &StoredSecret, keys: &HashMap<Uuid, DataKey>) -> Result<OpenedVersion, Error> {
    let meta = &stored.meta;
    let key = keys.get(&stored.key_id).ok_or(Error::NotFound("key"))?;
    let context = SecretContext {
        organization: meta.organization,
        datasource: meta.datasource,
        name: &meta.name,
        version: u64::from(meta.version),
    };
    let value = key.decrypt(&context, &stored.ciphertext)?;
    Ok(OpenedVersion {
        version: meta.version,
        value,
        expires_at: meta.expires_at,
    })
}

fn is_live(meta: &SecretMeta, now: Timestamp) -> bool {
    meta.expires_at.is_none_or(|expires_at| expires_at > now)
}

fn author(by: &OnBehalf) -> Option<ActorId> {
    by.actor
        .id
        .filter(|_| matches!(by.actor.kind, ActorKind::User | ActorKind::ServiceAccount))
        .map(ActorId)
}

async fn lock(tx: &WriteTx, tenant: Tenant, datasource: DatasourceId) -> Result<Datasource, Error> {
    tx.datasources()
        .lock(tenant, datasource)
        .await?
        .ok_or(Error::NotFound("datasource"))
}

/// One line for each secret, from its versions: newest first within a name.
fn infos(versions: Vec<SecretMeta>) -> Vec<SecretInfo> {
    let mut infos: Vec<SecretInfo> = Vec::new();
    for meta in versions {
        match infos.last_mut() {
            Some(info) if info.name == meta.name => info.first_created_at = meta.created_at,
            _ => infos.push(SecretInfo {
                name: meta.name,
                version: meta.version,
                created_at: meta.created_at,
                first_created_at: meta.created_at,
                expires_at: meta.expires_at,
            }),
        }
    }
    infos
}

/// The audit entry of an operation on a secret.
pub(super) fn entry(
    organization: OrganizationId,
    datasource: DatasourceId,
    name: &str,
    action: &str,
    summary: &str,
    by: &OnBehalf,
    at: Timestamp,
) -> AuditEntry {
    AuditEntry {
        id: AuditEntryId::generate(),
        organization,
        at,
        actor: by.actor.clone(),
        action: action.to_owned(),
        resource: Resource {
            kind: "secret".to_owned(),
            id: Some(format!("{datasource}/{name}")),
            name: Some(name.to_owned()),
        },
        version: None,
        outcome: AuditOutcome::Succeeded,
        diff: None,
        summary: Some(summary.to_owned()),
        request_id: by.request_id.clone(),
        remote_ip: by.remote_ip.clone(),
    }
}

/// Puts the audit entry and the notice of the change into the outbox.
async fn tell(
    tx: &WriteTx,
    datasource: &Datasource,
    name: &str,
    action: &str,
    summary: &str,
    by: &OnBehalf,
    now: Timestamp,
) -> Result<(), Error> {
    let (organization, id) = (datasource.organization, datasource.id);
    let change = ConfigChange {
        datasource: id,
        organization,
        generation: datasource.generation,
        cause: Some(ChangeCause {
            kind: DatasourceEventKind::SecretChanged,
            at: now,
            actor: Some(by.actor.name.clone()),
            version: None,
            message: summary.to_owned(),
        }),
    };
    let entry = entry(organization, id, name, action, summary, by, now);
    let messages = [
        NewMessage::new(Topic::Config, id.to_string(), Some(id), &change, now)?,
        NewMessage::new(Topic::Audit, id.to_string(), Some(id), &entry, now)?,
    ];
    Ok(tx.outbox().append(Tenant(organization), &messages).await?)
}
