//! What belongs to objects that the caller has already: many at once, so that a list costs no more questions to the
//! database than one object. What the caller may not see is left out.

use std::collections::HashMap;

use halcyon_domain::{access::Permission, datasource::Datasource, id::DatasourceId};

use super::{
    App, RequestContext, Result,
    access::{target_of, tenant},
    datasource_reads::view,
    views::{DatasourceView, VersionView},
};

impl App {
    /// Several datasources.
    ///
    /// # Errors
    /// The database fails.
    pub async fn datasources_by_id(
        &self,
        context: &RequestContext,
        ids: &[DatasourceId],
    ) -> Result<HashMap<DatasourceId, DatasourceView>> {
        let found = self.visible_of(context, ids).await?;
        let mut states = self.store.read().states().find_many(tenant(context), ids).await?;
        let views = found.into_iter().map(|datasource| {
            let state = states.remove(&datasource.id);
            (datasource.id, view(datasource, state))
        });
        Ok(views.collect())
    }

    /// Several versions, named by their datasources and numbers.
    ///
    /// # Errors
    /// The database fails.
    pub async fn versions_by_number(
        &self,
        context: &RequestContext,
        wanted: &[(DatasourceId, u32)],
    ) -> Result<HashMap<(DatasourceId, u32), VersionView>> {
        let ids: Vec<_> = wanted.iter().map(|(datasource, _)| *datasource).collect();
        let visible = self.visible_of(context, &ids).await?;
        let is_visible = |wanted: &&(DatasourceId, u32)| visible.iter().any(|seen| seen.id == wanted.0);
        let wanted: Vec<_> = wanted.iter().filter(is_visible).copied().collect();
        let found = self
            .store
            .read()
            .versions()
            .find_many(tenant(context), &wanted)
            .await?;
        let views = found
            .into_iter()
            .map(|version| ((version.datasource, version.number), version.into()));
        Ok(views.collect())
    }

    /// Those of the datasources that the caller may see.
    async fn visible_of(&self, context: &RequestContext, ids: &[DatasourceId]) -> Result<Vec<Datasource>> {
        let mut found = self
            .store
            .read()
            .datasources()
            .find_many(tenant(context), ids)
            .await?;
        found.retain(|datasource| {
            context
                .principal
                .may(Permission::DatasourceRead, &target_of(datasource))
        });
        Ok(found)
    }
}
