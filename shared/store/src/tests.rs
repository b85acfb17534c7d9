//! The same suite on both databases: every test runs on a fresh SQLite file and on a fresh Postgres database.

mod access;
mod backfills;
mod datasources;
mod faults;
mod idempotency;
mod journal;
mod ontology;
mod outcomes;
mod retention;
mod reviews;
mod schema;
mod sessions;
mod versions;

use std::{future::Future, sync::Arc};

use chrono::TimeDelta;
use halcyon_domain::{
    clock::Timestamp,
    datasource::Datasource,
    duration::HumanDuration,
    id::{DatasourceId, OrganizationId},
    lifecycle::{DatasourceStatus, DesiredState},
    organization::ApprovalPolicy,
};
use halcyon_tests::postgres::Postgres;
use tempfile::TempDir;

use crate::{Organization, Store, StoreSettings, Tenant};

/// A database, and what keeps it alive.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) settings: StoreSettings,
    _folder: TempDir,
    _server: Option<Postgres>,
}

impl Fixture {
    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db?mode=rwc", folder.path().display());
        Self::open(url, folder, None).await
    }

    async fn postgres() -> Self {
        let server = Postgres::start().await.unwrap();
        let url = server.database().await.unwrap();
        Self::open(url, tempfile::tempdir().unwrap(), Some(server)).await
    }

    async fn open(url: String, folder: TempDir, server: Option<Postgres>) -> Self {
        // A busy test machine is no reason to fail.
        let patient = HumanDuration::from_secs(30);
        let settings = StoreSettings {
            url,
            acquire_timeout: patient,
            busy_timeout: patient,
            ..StoreSettings::default()
        };
        let store = Store::connect(&settings).await.unwrap();
        store.migrate().await.unwrap();
        Self {
            store,
            settings,
            _folder: folder,
            _server: server,
        }
    }

    /// A new organisation.
    pub(crate) async fn tenant(&self, name: &str) -> Tenant {
        let id = OrganizationId::generate();
        let tx = self.store.begin().await.unwrap();
        let organization = Organization {
            id,
            name: name.into(),
            approval_policy: ApprovalPolicy::Off,
            created_at: at(0),
            updated_at: at(0),
            revision: 1,
        };
        tx.organizations().insert(&organization).await.unwrap();
        tx.commit().await.unwrap();
        Tenant(id)
    }
}

/// Runs a test on both databases.
pub(crate) async fn on_both<F: Future<Output = ()>>(test: impl Fn(Arc<Fixture>) -> F) {
    for fixture in [Fixture::sqlite().await, Fixture::postgres().await] {
        let fixture = Arc::new(fixture);
        test(Arc::clone(&fixture)).await;
    }
}

/// Seconds after a fixed time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    "2026-11-21T00:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::seconds(seconds)
}

/// A datasource, not written yet.
pub(crate) fn datasource(tenant: Tenant, name: &str) -> Datasource {
    Datasource {
        id: DatasourceId::generate(),
        organization: tenant.0,
        project: None,
        name: name.into(),
        connector: "http_webhook".into(),
        description: None,
        tags: vec!["edr".into()],
        owner: Some("soc".into()),
        env: "production".into(),
        status: DatasourceStatus::Draft,
        desired_state: DesiredState::Running,
        current_version: None,
        draft_version: None,
        generation: 1,
        revision: 1,
        created_at: at(0),
        created_by: None,
        updated_at: at(0),
        updated_by: None,
    }
}
