//! What belongs to many objects of an answer, asked for at once. The objects of a list ask each for itself, at about
//! the same time; a loader gathers what they ask for a moment and asks the use cases once.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use async_graphql::dataloader::{DataLoader, Loader};
use halcyon_domain::id::DatasourceId;

use crate::{
    app::{
        App, RequestContext, Result,
        views::{DatasourceView, VersionView},
    },
    problem::Problem,
};

/// The most keys that are asked for at once.
const MOST: usize = 500;

/// On whose behalf things are loaded.
pub(super) struct Source {
    app: Arc<App>,
    context: Arc<RequestContext>,
}

/// The loaders of a request. They remember nothing beyond the moment: a mutation's fields show what it changed.
pub(super) struct Loaders(DataLoader<Source>);

impl Loaders {
    /// Loaders on behalf of a caller.
    pub(super) fn new(app: Arc<App>, context: Arc<RequestContext>) -> Self {
        let source = Source { app, context };
        Self(DataLoader::new(source, tokio::spawn).max_batch_size(MOST))
    }

    /// What belongs to `key`, if the caller may see it.
    ///
    /// # Errors
    /// The use case fails.
    pub(super) async fn find<K>(
        &self,
        key: K,
    ) -> std::result::Result<Option<<Source as Loader<K>>::Value>, Problem>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        Source: Loader<K, Error = Problem>,
    {
        self.0.load_one(key).await
    }
}

fn loaded<K, V>(found: Result<HashMap<K, V>>) -> std::result::Result<HashMap<K, V>, Problem> {
    found.map_err(Problem::from)
}

/// A version of a datasource, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct VersionKey(pub(super) DatasourceId, pub(super) u32);

impl Loader<DatasourceId> for Source {
    type Value = DatasourceView;
    type Error = Problem;

    async fn load(
        &self,
        ids: &[DatasourceId],
    ) -> std::result::Result<HashMap<DatasourceId, DatasourceView>, Problem> {
        loaded(self.app.datasources_by_id(&self.context, ids).await)
    }
}

impl Loader<VersionKey> for Source {
    type Value = VersionView;
    type Error = Problem;

    async fn load(
        &self,
        keys: &[VersionKey],
    ) -> std::result::Result<HashMap<VersionKey, VersionView>, Problem> {
        let wanted: Vec<_> = keys.iter().map(|key| (key.0, key.1)).collect();
        let found = self.app.versions_by_number(&self.context, &wanted).await;
        let named = found.map(|found| {
            found
                .into_iter()
                .map(|((id, number), view)| (VersionKey(id, number), view))
        });
        loaded(named.map(Iterator::collect))
    }
}
