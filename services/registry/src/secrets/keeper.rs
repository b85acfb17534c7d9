//! Secrets as they are kept: written, replaced, rotated, deleted, listed, opened.
//!
//! A value is encrypted with its tenant's data key and kept in its row, or it is kept in Vault and the row says
//! which version there is its own. Each row says by itself where its value is, so that a store which is half moved
//! from one to the other works as a whole.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use chrono::TimeDelta;
use halcyon_bus::requests::{OnBehalf, SecretInfo, SecretVersionInfo};
use halcyon_domain::{
    audit::ActorKind,
    clock::{Clock, Timestamp},
    datasource::{Datasource, DatasourceEventKind},
    error::InputError,
    id::{ActorId, DatasourceId, OrganizationId, SecretId},
};
use halcyon_secrets::{KeyFile, Keys, SecretString, Wrapping, vault::Vault};
use halcyon_store::{SecretChore, SecretMeta, SecretState, Store, StoredSecret, Tenant, WriteTx};
use uuid::Uuid;

use super::{
    entries::{self, Subject},
    tenant_keys::KeyCache,
    values::Prepared,
};
use crate::{Error, Settings, settings::SecretsSettings};

/// How many secrets a datasource may have.
const MAX_NAMES: usize = 64;
/// How many replaced versions of one secret may still be accepted. (Vault keeps ten versions by default.)
const MAX_RETIRING: usize = 8;
/// How often a write begins anew because the backend or the tenant's key changed meanwhile.
const ATTEMPTS: usize = 3;

/// The secrets in the database and in Vault, and the keys that open them.
pub(crate) struct Keeper {
    pub(super) store: Store,
    pub(super) keys: Keys,
    pub(super) vault: Option<Arc<Vault>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: SecretsSettings,
    pub(super) cache: KeyCache,
    /// Whether Vault did not answer when it was last asked.
    pub(super) vault_is_away: AtomicBool,
    /// Datasources whose secrets a gateway has asked for in vain.
    missed: Mutex<BTreeSet<DatasourceId>>,
}

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

/// A secret's version, opened.
pub(super) struct OpenedVersion {
    pub(super) id: SecretId,
    pub(super) version: u32,
    pub(super) value: SecretString,
    pub(super) ends_at: Option<Timestamp>,
    pub(super) last_read_at: Option<Timestamp>,
}

/// Which versions are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All that count: what comes in may be signed with any of them.
    Live,
    /// The newest: what goes out uses it.
    Newest,
}

/// Opened secrets.
#[derive(Default)]
pub(super) struct Opened {
    /// The versions of each name, the newest first. A name without any is left out.
    pub(super) secrets: HashMap<String, Vec<OpenedVersion>>,
    /// Names whose newest version has expired.
    pub(super) expired: Vec<String>,
}

impl Opened {
    /// Each version with its secret's name.
    pub(super) fn versions(&self) -> Vec<(&str, &OpenedVersion)> {
        let mut all = Vec::new();
        for (name, versions) in &self.secrets {
            all.extend(versions.iter().map(|version| (name.as_str(), version)));
        }
        all
    }
}

impl Keeper {
    /// The keys and Vault of the settings.
    ///
    /// # Errors
    /// The key file, or what is said of Vault, is of no use.
    pub(crate) fn new(settings: &Settings, store: Store, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let secrets = settings.secrets.clone();
        let vault = Vault::new(&secrets.vault)?.map(Arc::new);
        // Where Vault wraps the keys, a file is needed only for those that it wrapped before.
        let without_file = secrets.key_wrapping == Wrapping::Transit && !settings.kek_file.exists();
        let file = (!without_file)
            .then(|| KeyFile::open(&settings.kek_file))
            .transpose()?;
        Ok(Self {
            keys: Keys::new(file, vault.clone(), secrets.key_wrapping)?,
            store,
            vault,
            clock,
            settings: secrets,
            cache: KeyCache::default(),
            vault_is_away: AtomicBool::new(false),
            missed: Mutex::default(),
        })
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) const fn has_vault(&self) -> bool {
        self.vault.is_some()
    }

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

    /// What is known of a datasource's secrets, values excepted.
    pub(super) async fn list(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<Vec<SecretInfo>, Error> {
        self.check_datasource(organization, datasource).await?;
        let read = self.store.read();
        Ok(infos(
            read.secrets().list(Tenant(organization), datasource).await?,
        ))
    }

    /// Opens named secrets.
    pub(super) async fn open(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        names: &[String],
        which: Which,
    ) -> Result<Opened, Error> {
        let mut opened = Opened::default();
        for name in names {
            let (versions, has_expired) = self
                .open_one(Tenant(organization), datasource, name, which)
                .await?;
            if has_expired {
                opened.expired.push(name.clone());
            }
            if !versions.is_empty() {
                opened.secrets.insert(name.clone(), versions);
            }
        }
        Ok(opened)
    }

    /// A value that is not where its row said may just have been moved: the rows are read again then.
    async fn open_one(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        name: &str,
        which: Which,
    ) -> Result<(Vec<OpenedVersion>, bool), Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let now = self.clock.now();
            let kept = self
                .store
                .read()
                .secrets()
                .versions(tenant, datasource, name)
                .await?;
            let has_expired = kept.first().is_some_and(|newest| !newest.meta.is_live(now));
            let live = kept.iter().filter(|stored| {
                let wanted = which == Which::Live || stored.meta.state == SecretState::Active;
                wanted && stored.meta.is_live(now)
            });
            let mut versions = Vec::new();
            let mut moved = None;
            for stored in live {
                match self.value(stored).await {
                    Ok(value) => versions.push(OpenedVersion {
                        id: stored.meta.id,
                        version: stored.meta.version,
                        value,
                        ends_at: stored.meta.ends_at(),
                        last_read_at: stored.meta.last_read_at,
                    }),
                    Err(error @ Error::Secrets(halcyon_secrets::Error::Missing)) => moved = Some(error),
                    Err(error) => return Err(error),
                }
            }
            match moved {
                None => return Ok((versions, has_expired)),
                Some(error) if attempt == ATTEMPTS => return Err(error),
                Some(_) => {}
            }
        }
    }

    /// Datasources whose secrets a gateway has asked this process for in vain.
    pub(crate) fn missed(&self) -> BTreeSet<DatasourceId> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whoever missed a secret asks again.
    pub(super) fn forget_missed(&self) {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Notes whether a gateway got a datasource's secrets.
    pub(super) fn note_missed(&self, datasource: DatasourceId, is_missed: bool) {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if is_missed {
            missed.insert(datasource);
        } else {
            missed.remove(&datasource);
        }
    }

    /// Notes that versions were opened.
    pub(super) async fn note_read(
        &self,
        tenant: Tenant,
        ids: &[SecretId],
        now: Timestamp,
    ) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let tx = self.store.begin().await?;
        tx.secrets().note_read(tenant, ids, now).await?;
        Ok(tx.commit().await?)
    }

    async fn check_datasource(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
    ) -> Result<(), Error> {
        let read = self.store.read();
        let found = read.datasources().find(Tenant(organization), datasource).await?;
        found.map(|_| ()).ok_or(Error::NotFound("datasource"))
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

/// One line for each secret, from its versions: newest first within a name.
fn infos(versions: Vec<SecretMeta>) -> Vec<SecretInfo> {
    let mut infos: Vec<SecretInfo> = Vec::new();
    for meta in versions {
        let version = SecretVersionInfo {
            version: meta.version,
            created_at: meta.created_at,
            created_by: meta.created_by,
            expires_at: meta.expires_at,
            valid_until: meta.valid_until,
            last_read_at: meta.last_read_at,
        };
        match infos.last_mut() {
            Some(info) if info.name == meta.name => info.versions.push(version),
            _ => infos.push(SecretInfo {
                name: meta.name,
                versions: vec![version],
            }),
        }
    }
    infos
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
