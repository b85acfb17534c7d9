//! The audit trail, read.

use halcyon_domain::{audit::AuditEntry, clock::Timestamp};
use halcyon_store::AuditFilter;

use super::{
    App, RequestContext, Result,
    access::{Action, tenant},
    paged,
    views::List,
};

paged! {
    /// Which entries of the trail to list.
    ListAudit {
        /// Those of this actor: a user's identifier or name.
        actor: Option<String>,
        /// Those of this action, such as `datasource.publish`.
        action: Option<String>,
        /// Those about this resource: its identifier, or its kind.
        resource: Option<String>,
        /// Those at or after this time.
        from: Option<Timestamp>,
        /// Those before this time.
        to: Option<Timestamp>,
    }
}

impl App {
    /// The audit trail of the caller's organisation, the newest entries first.
    ///
    /// # Errors
    /// The caller may not read it, or the page cannot be had.
    pub async fn list_audit(&self, context: &RequestContext, query: ListAudit) -> Result<List<AuditEntry>> {
        self.authorize_tenant(context, Action::READ_AUDIT).await?;
        let page = query.page();
        let filter = AuditFilter {
            actor: query.actor,
            action: query.action,
            resource: query.resource,
            from: query.from,
            to: query.to,
        };
        let page = self
            .store
            .read()
            .audit()
            .list(tenant(context), &filter, &page)
            .await?;
        Ok(List::of(page.try_map(|link| link.entry())?, |entry| entry))
    }
}
