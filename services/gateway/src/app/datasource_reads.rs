//! Datasources: list and show.

use std::collections::HashMap;

use halcyon_domain::{
    access::{Permission, Role, Scope},
    datasource::Datasource,
    id::DatasourceId,
};
use halcyon_store::{DatasourceFilter, StateRecord, Visibility};

use super::{
    App, RequestContext, Result,
    access::{Action, tenant},
    datasource_input::ListDatasources,
    views::{DatasourceView, List},
};

impl App {
    /// The datasources that the caller may see.
    ///
    /// # Errors
    /// The page cannot be had.
    pub async fn list_datasources(
        &self,
        context: &RequestContext,
        query: ListDatasources,
    ) -> Result<List<DatasourceView>> {
        let visible = self.visible(context).await?;
        let page = query.page();
        let filter = DatasourceFilter {
            status: query.status,
            connector: query.r#type,
            owner: query.owner,
            tag: query.tag,
            project: query.project,
            env: query.env,
            q: query.q,
            visible,
        };
        let read = self.store.read();
        let page = read.datasources().list(tenant(context), &filter, &page).await?;
        let ids: Vec<DatasourceId> = page.items.iter().map(|datasource| datasource.id).collect();
        let mut states: HashMap<_, _> = read.states().find_many(tenant(context), &ids).await?;
        Ok(List::of(page, |datasource| {
            let state = states.remove(&datasource.id);
            view(datasource, state)
        }))
    }

    /// What the caller may see of the organisation's datasources; nothing given means all.
    pub(crate) async fn visible(&self, context: &RequestContext) -> Result<Option<Visibility>> {
        if context
            .principal
            .may(Permission::DatasourceRead, &context.tenant())
        {
            return Ok(None);
        }
        let mut visible = Visibility::default();
        for grant in context
            .principal
            .grants
            .iter()
            .filter(|grant| grant.role >= Role::Viewer)
        {
            match grant.scope {
                Scope::Project(id) => visible.projects.push(id),
                Scope::Datasource(id) => visible.datasources.push(id),
                Scope::Global | Scope::Organization(_) => {}
            }
        }
        if visible == Visibility::default() {
            self.authorize_tenant(context, Action::READ).await?;
        }
        Ok(Some(visible))
    }

    /// A datasource.
    ///
    /// # Errors
    /// There is none, or it is not for the caller to know.
    pub async fn get_datasource(&self, context: &RequestContext, id: DatasourceId) -> Result<DatasourceView> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        self.with_state(context, datasource).await
    }

    /// A datasource with what its worker reached.
    pub(crate) async fn with_state(
        &self,
        context: &RequestContext,
        datasource: Datasource,
    ) -> Result<DatasourceView> {
        let state = self
            .store
            .read()
            .states()
            .find(tenant(context), datasource.id)
            .await?;
        Ok(view(datasource, state))
    }
}

/// A datasource as the API shows it.
pub(super) fn view(datasource: Datasource, state: Option<StateRecord>) -> DatasourceView {
    let (state, metrics) = state
        .map(|record| (record.state, record.metrics))
        .unwrap_or_default();
    DatasourceView::new(datasource, state, metrics)
}
