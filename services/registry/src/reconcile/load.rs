//! What the database wants of all datasources.

use std::collections::{BTreeMap, HashMap, HashSet};

use halcyon_connectors::find;
use halcyon_domain::{
    assignment::AssignedVersion,
    backfill::{Backfill, BackfillStatus, BackfillTask},
    config::secret_refs,
    datasource::Datasource,
    id::{BackfillId, DatasourceId, OrganizationId},
    lifecycle::{DatasourceStatus, DesiredState},
};
use halcyon_store::{AllTenants, Read, Store, Tenant};
use serde_json::Value;

use super::{DesiredDatasource, desired::SecretFault};
use crate::Error;

/// Leave to look at all tenants' datasources.
pub(crate) const CONTROL_PLANE: AllTenants = AllTenants::because("the control plane serves all tenants");

/// What is wanted of all datasources, by identifier.
pub(crate) struct DesiredSet {
    store: Store,
    /// Backfills that are to run are among them.
    datasources: Vec<DesiredDatasource>,
    /// The backfills that are queued or run.
    backfills: BTreeMap<BackfillId, Backfill>,
    /// Configurations of versions that are or were in effect: they never change.
    configs: HashMap<(DatasourceId, u32), Value>,
}

impl DesiredSet {
    /// Nothing is known yet.
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            datasources: Vec::new(),
            backfills: BTreeMap::new(),
            configs: HashMap::new(),
        }
    }

    /// All of it, backfills included.
    pub(crate) fn as_slice(&self) -> &[DesiredDatasource] {
        &self.datasources
    }

    /// The datasources.
    pub(crate) fn datasources(&self) -> impl Iterator<Item = &DesiredDatasource> {
        self.datasources
            .iter()
            .filter(|desired| desired.backfill.is_none())
    }

    /// The backfills that are queued or run.
    pub(crate) const fn backfills(&mut self) -> &mut BTreeMap<BackfillId, Backfill> {
        &mut self.backfills
    }

    /// Reads everything anew. `last_good` and `secrets` say what the database does not: the newest version that
    /// ran, and the revision of the secrets. Returns the backfills that are not to be carried on any more.
    ///
    /// # Errors
    /// The database fails; what was known before stays.
    pub(crate) async fn read_all(&mut self, known: &impl Known) -> Result<Vec<BackfillId>, Error> {
        let read = self.store.read();
        let mut datasources = Vec::new();
        for datasource in read.datasources().all(CONTROL_PLANE).await? {
            datasources.push(self.desired(&read, datasource, known).await?);
        }
        datasources.sort_by_key(|datasource| datasource.datasource);
        self.datasources = datasources;
        let gone = self.read_backfills(known).await?;
        let used: HashSet<(DatasourceId, u32)> = self
            .datasources
            .iter()
            .flat_map(|desired| {
                let id = desired
                    .backfill
                    .map_or(desired.datasource, |task| task.datasource);
                let versions = desired.wanted.iter().chain(&desired.last_good);
                versions.map(move |version| (id, version.number))
            })
            .collect();
        self.configs.retain(|key, _| used.contains(key));
        Ok(gone)
    }

    /// Reads anew which backfills there are. One of each datasource is to run: the one that runs, else the oldest.
    /// Those of a datasource that is switched off wait. Returns those that are not to be carried on any more.
    ///
    /// # Errors
    /// The database fails; what was known before stays.
    pub(crate) async fn read_backfills(&mut self, known: &impl Known) -> Result<Vec<BackfillId>, Error> {
        let read = self.store.read();
        let mut open = read.backfills().all_open(CONTROL_PLANE).await?;
        open.sort_by_key(|job| (job.status != BackfillStatus::Running, job.created_at, job.id));
        let (mut jobs, mut taken) = (Vec::new(), HashSet::new());
        for job in &open {
            let is_active = self.datasources().any(|desired| {
                desired.datasource == job.datasource && desired.status == DatasourceStatus::Active
            });
            if is_active && taken.insert(job.datasource) {
                jobs.extend(self.desired_backfill(&read, job, known).await?);
            }
        }
        self.datasources.retain(|desired| desired.backfill.is_none());
        self.datasources.extend(jobs);
        self.datasources.sort_by_key(|desired| desired.datasource);
        let open: BTreeMap<BackfillId, Backfill> = open.into_iter().map(|job| (job.id, job)).collect();
        let before = std::mem::replace(&mut self.backfills, open);
        let gone = before.into_keys().filter(|id| !self.backfills.contains_key(id));
        Ok(gone.collect())
    }

    async fn desired_backfill(
        &mut self,
        read: &Read,
        job: &Backfill,
        known: &impl Known,
    ) -> Result<Option<DesiredDatasource>, Error> {
        let found = read
            .datasources()
            .find(Tenant(job.organization), job.datasource)
            .await?;
        let version = self
            .version(read, (job.organization, job.datasource), job.version)
            .await?;
        let (Some(datasource), Some(version)) = (found, version) else {
            return Ok(None);
        };
        Ok(Some(DesiredDatasource {
            datasource: DatasourceId(job.id.0),
            organization: job.organization,
            connector: datasource.connector,
            pull: true,
            shared: false,
            status: datasource.status,
            desired: DesiredState::Running,
            // Nobody restarts a backfill.
            generation: 1,
            accepted: 0,
            wanted: Some(version),
            last_good: None,
            secrets_revision: known.secrets_revision(job.datasource),
            backlog_full: false,
            secret_fault: None,
            backfill: Some(BackfillTask {
                datasource: job.datasource,
                from: job.from,
                to: job.to,
                records_per_second: job.records_per_second,
            }),
        }))
    }

    /// Notes whose backlogs have filled up or have room again; whether there are any.
    pub(crate) fn note_backlogs(&mut self, known: &impl Known) -> bool {
        let mut changed = false;
        for desired in &mut self.datasources {
            let full = known.backlog_full(desired.datasource);
            changed |= desired.backlog_full != full;
            desired.backlog_full = full;
        }
        changed
    }

    /// Notes what is the matter with secrets now.
    pub(crate) fn note_secret_faults(&mut self, known: &impl Known) {
        for desired in &mut self.datasources {
            *desired = desired.clone().with_secret_fault(known);
        }
    }

    /// Reads one datasource anew.
    ///
    /// # Errors
    /// The database fails; what was known before stays.
    pub(crate) async fn read_one(&mut self, id: DatasourceId, known: &impl Known) -> Result<(), Error> {
        let read = self.store.read();
        let found = match read.datasources().find_any(CONTROL_PLANE, id).await? {
            Some(datasource) => Some(self.desired(&read, datasource, known).await?),
            None => None,
        };
        let place = self
            .datasources
            .binary_search_by_key(&id, |desired| desired.datasource);
        match (place, found) {
            (Ok(place), Some(desired)) => self.datasources[place] = desired,
            (Err(place), Some(desired)) => self.datasources.insert(place, desired),
            (Ok(place), None) => drop(self.datasources.remove(place)),
            (Err(_), None) => {}
        }
        Ok(())
    }

    async fn desired(
        &mut self,
        read: &Read,
        datasource: Datasource,
        known: &impl Known,
    ) -> Result<DesiredDatasource, Error> {
        let wanted = match datasource.current_version {
            Some(number) => {
                self.version(read, (datasource.organization, datasource.id), number)
                    .await?
            }
            None => None,
        };
        let good = known
            .last_good(datasource.id)
            .filter(|good| datasource.current_version != Some(*good));
        let last_good = match good {
            Some(number) => {
                self.version(read, (datasource.organization, datasource.id), number)
                    .await?
            }
            None => None,
        };
        let able = find(&datasource.connector).map(|connector| connector.spec().capabilities);
        Ok(DesiredDatasource {
            datasource: datasource.id,
            organization: datasource.organization,
            pull: able.is_some_and(|able| able.pull),
            shared: able.is_some_and(|able| able.shared),
            connector: datasource.connector,
            status: datasource.status,
            desired: datasource.desired_state,
            generation: datasource.generation,
            accepted: known.accepted(datasource.id),
            wanted,
            last_good,
            secrets_revision: known.secrets_revision(datasource.id),
            backlog_full: known.backlog_full(datasource.id),
            secret_fault: None,
            backfill: None,
        }
        .with_secret_fault(known))
    }

    async fn version(
        &mut self,
        read: &Read,
        (organization, datasource): (OrganizationId, DatasourceId),
        number: u32,
    ) -> Result<Option<AssignedVersion>, Error> {
        let key = (datasource, number);
        if let Some(config) = self.configs.get(&key) {
            return Ok(Some(AssignedVersion {
                number,
                config: config.clone(),
            }));
        }
        let record = read
            .versions()
            .find(Tenant(organization), datasource, number)
            .await?;
        let Some(record) = record else {
            tracing::error!(datasource.id = %datasource, version = number, "a version in effect is not there");
            return Ok(None);
        };
        self.configs.insert(key, record.config.clone());
        Ok(Some(AssignedVersion {
            number,
            config: record.config,
        }))
    }
}

/// What the registry knows of a datasource besides its configuration.
pub(crate) trait Known {
    /// The newest version that ran.
    fn last_good(&self, datasource: DatasourceId) -> Option<u32>;
    /// The revision of its secrets.
    fn secrets_revision(&self, datasource: DatasourceId) -> u64;
    /// The newest generation at which somebody accepted what its records have come to be like.
    fn accepted(&self, datasource: DatasourceId) -> i64;
    /// Whether it may take no more events for now.
    fn backlog_full(&self, datasource: DatasourceId) -> bool;
    /// What is the matter with one of these secrets of a datasource.
    fn secret_fault(&self, datasource: DatasourceId, names: &[String]) -> Option<SecretFault>;
}

impl DesiredDatasource {
    fn with_secret_fault(mut self, known: &impl Known) -> Self {
        let connection = self
            .wanted
            .as_ref()
            .and_then(|version| version.config.get("connection"));
        let refs = connection.map(secret_refs).unwrap_or_default();
        let names: Vec<String> = refs.into_iter().map(|found| found.name).collect();
        self.secret_fault = known.secret_fault(self.datasource, &names);
        self
    }
}
