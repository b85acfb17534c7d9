//! Approvals: what waits, what became of it, and whether the caller may decide.

use std::collections::HashMap;

use halcyon_domain::{
    access::Permission,
    approval::{ApprovalRecord, ApprovalStatus, may_decide},
    audit::Actor,
    clock::Timestamp,
    datasource::Datasource,
    id::{ApprovalId, DatasourceId, VersionId},
};
use halcyon_store::{ApprovalFilter, PageRequest};

use super::{
    App, Error, RequestContext, Result,
    access::{Action, target_of, tenant},
    paged,
    review_views::ApprovalView,
    views::List,
};

paged! {
    /// Which approvals of a datasource to list.
    ListApprovals {
        /// Those in this state.
        status: Option<ApprovalStatus>,
        /// Those of this version.
        version: Option<u32>,
    }
}

paged! {
    /// Which approvals to list, of all datasources that the caller may see.
    ListInbox {
        /// Those in this state.
        status: Option<ApprovalStatus>,
        /// Those of this datasource.
        datasource: Option<DatasourceId>,
        /// Those that the caller asked for.
        mine: Option<bool>,
    }
}

impl App {
    /// The approvals of a datasource.
    ///
    /// # Errors
    /// There is no such datasource, or the page cannot be had.
    pub async fn list_approvals(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: ListApprovals,
    ) -> Result<List<ApprovalView>> {
        self.datasource(context, id, Action::READ).await?;
        let page = query.page();
        let filter = ApprovalFilter {
            status: query.status,
            datasource: Some(id),
            number: query.version,
            ..ApprovalFilter::default()
        };
        self.page_of_approvals(context, &filter, &page).await
    }

    /// The approvals of all datasources that the caller may see.
    ///
    /// # Errors
    /// The page cannot be had.
    pub async fn list_inbox(&self, context: &RequestContext, query: ListInbox) -> Result<List<ApprovalView>> {
        let visible = self.visible(context).await?;
        let page = query.page();
        let filter = ApprovalFilter {
            status: query.status,
            datasource: query.datasource,
            requested_by: query.mine.filter(|mine| *mine).and_then(|_| context.actor().id),
            visible,
            ..ApprovalFilter::default()
        };
        self.page_of_approvals(context, &filter, &page).await
    }

    async fn page_of_approvals(
        &self,
        context: &RequestContext,
        filter: &ApprovalFilter,
        request: &PageRequest,
    ) -> Result<List<ApprovalView>> {
        let read = self.store.read();
        let page = read
            .approvals()
            .list(tenant(context), filter, self.clock.now(), request)
            .await?;
        let ids: Vec<DatasourceId> = page.items.iter().map(|record| record.datasource).collect();
        let versions: Vec<VersionId> = page.items.iter().map(|record| record.version).collect();
        let found = read.datasources().find_many(tenant(context), &ids).await?;
        let datasources: HashMap<_, _> = found.iter().map(|found| (found.id, found)).collect();
        let authors = read.versions().authors(tenant(context), &versions).await?;
        let now = self.clock.now();
        Ok(List::of(page, |record| {
            match datasources.get(&record.datasource) {
                Some(datasource) => shown(context, datasource, &authors, record, now),
                // It was deleted between the two statements.
                None => ApprovalView::new(record, String::new(), false, now),
            }
        }))
    }

    /// An approval.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_approval(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        approval: ApprovalId,
    ) -> Result<ApprovalView> {
        let datasource = self.datasource(context, id, Action::READ).await?;
        let record = self.approval(context, id, approval).await?;
        self.approval_view(context, &datasource, record).await
    }

    /// An approval of a datasource that the caller may see.
    pub(crate) async fn approval(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        approval: ApprovalId,
    ) -> Result<ApprovalRecord> {
        let read = self.store.read();
        let found = read.approvals().find(tenant(context), id, approval).await?;
        found.ok_or(Error::NotFound("approval"))
    }

    pub(crate) async fn approval_view(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        record: ApprovalRecord,
    ) -> Result<ApprovalView> {
        let read = self.store.read();
        let authors = read
            .versions()
            .authors(tenant(context), &[record.version])
            .await?;
        Ok(shown(context, datasource, &authors, record, self.clock.now()))
    }
}

fn shown(
    context: &RequestContext,
    datasource: &Datasource,
    authors: &HashMap<VersionId, Vec<Actor>>,
    record: ApprovalRecord,
    now: Timestamp,
) -> ApprovalView {
    let authors = authors.get(&record.version).map_or(&[][..], Vec::as_slice);
    let may = record.status_at(now) == ApprovalStatus::Pending
        && context
            .principal
            .may(Permission::ApprovalDecide, &target_of(datasource))
        && may_decide(&record, &context.actor(), authors).is_ok();
    ApprovalView::new(record, datasource.name.clone(), may, now)
}
