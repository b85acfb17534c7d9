//! Writing of secrets: new ones, replaced, rotated, deleted.

use chrono::TimeDelta;
use halcyon_bus::requests::{OnBehalf, SecretInfo};
use halcyon_domain::{
    audit::ActorKind,
    clock::Timestamp,
    datasource::{Datasource, DatasourceEventKind},
    error::InputError,
    id::{ActorId, DatasourceId, OrganizationId, SecretId},
};
use halcyon_secrets::SecretString;
use halcyon_store::{SecretChore, SecretMeta, SecretState, StoredSecret, Tenant, WriteTx};
use uuid::Uuid;

use super::{
    entries::{self, Subject},
    keeper::{ATTEMPTS, Keeper, infos},
    values::Prepared,
};
use crate::Error;

/// How many secrets a datasource may have.
const MAX_NAMES: usize = 64;
/// How many replaced versions of one secret may still be accepted. (Vault keeps ten versions by default.)
const MAX_RETIRING: usize = 8;

/// A secret to be written.
pub(super) struct NewSecret<'a> {
    pub(super) organization: OrganizationId,
    pub(super) datasource: DatasourceId,
    pub(super) name: &'a str,
    pub(super) value: &'a SecretString,
    pub(super) expires_at: Option<Timestamp>,
    /// A rotation: how long the versions before are still accepted. Nothing destroys them.
    pub(super) overlap: Option<TimeDelta>,
    pub(super) by: &'a OnBehalf,
}

impl Keeper {
    /// Writes a new version of a secret, with its audit entry and the notice of the change.
    pub(super) async fn put(&self, new: &NewSecret<'_>) -> Result<SecretInfo, Error> {
        self.check_datasource(new.organization, new.datasource).await?;
        let id = SecretId::generate();
        for _ in 0..ATTEMPTS {
            let prepared = self.prepare(new, id).await?;
            match self.insert(new, id, &prepared).await {
                Ok(Some(info)) => return Ok(info),
                Ok(None) => self.abandon(prepared).await,
                Err(error) => {
                    self.abandon(prepared).await;
                    return Err(error);
                }
            }
        }
        Err(Error::Busy)
    }

    /// Nothing if the backend or the tenant's key was changed meanwhile.
    async fn insert(
        &self,
        new: &NewSecret<'_>,
        id: SecretId,
        prepared: &Prepared,
    ) -> Result<Option<SecretInfo>, Error> {
        let (tenant, now) = (Tenant(new.organization), self.clock.now());
        let tx = self.store.begin().await?;
        let datasource = lock(&tx, tenant, new.datasource).await?;
        if !self.still_fits(&tx, tenant, prepared).await? {
            return Ok(None);
        }
        let kept = tx.secrets().list(tenant, new.datasource).await?;
        let before = kept.iter().filter(|meta| meta.name == new.name);
        let before: Vec<SecretMeta> = before.cloned().collect();
        check_room(&kept, &before, new, now)?;
        let version = before.first().map_or(1, |newest| newest.version + 1);
        self.step_back(&tx, &before, new, now).await?;
        let meta = SecretMeta {
            id,
            organization: new.organization,
            datasource: new.datasource,
            name: new.name.to_owned(),
            version,
            state: SecretState::Active,
            created_at: now,
            created_by: author(new.by),
            rotated_at: None,
            expires_at: new.expires_at,
            valid_until: None,
            last_read_at: None,
            vault_version: None,
            expiry_notice: None,
        };
        let kept = prepared.seal(&meta, new.value)?;
        tx.secrets().insert(&StoredSecret { meta, kept }).await?;
        tell(&tx, &datasource, new, version, now).await?;
        let kept = tx.secrets().list(tenant, new.datasource).await?;
        tx.commit().await?;
        let info = infos(kept).into_iter().find(|info| info.name == new.name);
        info.map(Some).ok_or(Error::NotFound("secret"))
    }

    /// What becomes of the versions before: accepted for a while, or destroyed.
    async fn step_back(
        &self,
        tx: &WriteTx,
        before: &[SecretMeta],
        new: &NewSecret<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (tenant, secrets) = (Tenant(new.organization), tx.secrets());
        match new.overlap.filter(|overlap| *overlap > TimeDelta::zero()) {
            Some(overlap) => {
                secrets
                    .retire(tenant, new.datasource, new.name, now, now + overlap)
                    .await?;
            }
            None => {
                secrets.destroy(tenant, new.datasource, new.name).await?;
                self.leave_chores(tx, before, now).await?;
            }
        }
        Ok(())
    }

    /// Values in Vault of rows that are being deleted are to be destroyed, too.
    pub(crate) async fn leave_chores(
        &self,
        tx: &WriteTx,
        gone: &[SecretMeta],
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut last: Option<(DatasourceId, &str)> = None;
        for meta in gone {
            if meta.vault_version.is_none() || last == Some((meta.datasource, &meta.name)) {
                continue;
            }
            last = Some((meta.datasource, &meta.name));
            let chore = SecretChore {
                id: Uuid::now_v7(),
                organization: meta.organization,
                datasource: meta.datasource,
                name: meta.name.clone(),
                due_at: now,
            };
            tx.secrets().add_chore(&chore).await?;
        }
        Ok(())
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
        let kept = tx.secrets().list(tenant, datasource.id).await?;
        let doomed: Vec<_> = kept
            .into_iter()
            .filter(|meta| name.is_none_or(|name| meta.name == name))
            .collect();
        self.leave_chores(&tx, &doomed, now).await?;
        let mut names: Vec<&str> = doomed.iter().map(|meta| meta.name.as_str()).collect();
        names.dedup();
        if names.is_empty() && name.is_some() {
            return Err(Error::NotFound("secret"));
        }
        for name in names {
            tx.secrets().destroy(tenant, datasource.id, name).await?;
            let subject = Subject {
                organization,
                datasource: datasource.id,
                name,
                version: None,
            };
            let summary = format!("deleted secret `{name}`");
            let entry = entries::entry(subject, "secret.delete", summary.clone(), by, now);
            entries::record(&tx, subject, &entry).await?;
            let (kind, actor) = (DatasourceEventKind::SecretChanged, Some(by.actor.name.clone()));
            entries::notify(&tx, &datasource, kind, actor, summary, now).await?;
        }
        Ok(tx.commit().await?)
    }
}

fn author(by: &OnBehalf) -> Option<ActorId> {
    by.actor
        .id
        .filter(|_| matches!(by.actor.kind, ActorKind::User | ActorKind::ServiceAccount))
        .map(ActorId)
}

fn check_room(
    kept: &[SecretMeta],
    before: &[SecretMeta],
    new: &NewSecret<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    if new.overlap.is_some() {
        if before.is_empty() {
            return Err(Error::NotFound("secret"));
        }
        let retiring = before.iter().filter(|meta| meta.state == SecretState::Retiring);
        if retiring.filter(|meta| meta.is_live(now)).count() >= MAX_RETIRING {
            let detail =
                "eight earlier versions are still accepted: write the value without an overlap, or wait";
            return Err(InputError::new("/overlap", "too_many", detail).into());
        }
    }
    let mut names: Vec<&str> = kept.iter().map(|meta| meta.name.as_str()).collect();
    names.dedup();
    if before.is_empty() && names.len() >= MAX_NAMES {
        let detail = format!("a datasource has at most {MAX_NAMES} secrets");
        return Err(InputError::new("", "too_many", detail).into());
    }
    Ok(())
}

async fn lock(tx: &WriteTx, tenant: Tenant, datasource: DatasourceId) -> Result<Datasource, Error> {
    tx.datasources()
        .lock(tenant, datasource)
        .await?
        .ok_or(Error::NotFound("datasource"))
}

async fn tell(
    tx: &WriteTx,
    datasource: &Datasource,
    new: &NewSecret<'_>,
    version: u32,
    now: Timestamp,
) -> Result<(), Error> {
    let subject = Subject {
        organization: new.organization,
        datasource: new.datasource,
        name: new.name,
        version: Some(version),
    };
    let (action, verb) = match new.overlap {
        Some(_) => ("secret.rotate", "rotated to"),
        None => ("secret.write", "wrote"),
    };
    let mut summary = format!("{verb} version {version} of secret `{}`", new.name);
    if let Some(overlap) = new.overlap.and_then(|overlap| overlap.to_std().ok()) {
        let overlap = halcyon_domain::duration::HumanDuration(overlap);
        summary.push_str(&format!("; earlier ones are accepted for {overlap}"));
    }
    let entry = entries::entry(subject, action, summary.clone(), new.by, now);
    entries::record(tx, subject, &entry).await?;
    let actor = Some(new.by.actor.name.clone());
    let kind = DatasourceEventKind::SecretChanged;
    entries::notify(tx, datasource, kind, actor, summary, now).await
}
