//! The audit trail, read.

use halcyon_domain::{
    audit::{AuditCheckpoint, AuditKey, AuditOutcome, RecordedEntry},
    clock::Timestamp,
    error::InputError,
    hex::Hex,
    id::{AuditEntryId, DatasourceId},
};
use halcyon_store::{AllTenants, AuditFilter, AuditLink};

use super::{
    App, Error, RequestContext, Result,
    access::{Action, tenant},
    paged,
    request::check_times,
    views::List,
};

/// A query that is not paged.
macro_rules! whole {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$fdoc])* pub $field: $kind,)* }
    };
}

/// A query with what entries are chosen by.
macro_rules! choosing {
    ($shape:ident! $(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $kind:ty,)* }) => {
        $shape! {
            $(#[$doc])*
            $name {
                /// Those of this actor: an identifier or a name.
                actor: Option<String>,
                /// Those of this action, such as `datasource.publish`; of all that begin so: `datasource.*`.
                action: Option<String>,
                /// Those about this resource: its kind, its identifier (what belongs to it, too), or `kind:identifier`.
                resource: Option<String>,
                /// Those that ended so.
                outcome: Option<AuditOutcome>,
                /// Those at or after this time.
                from: Option<Timestamp>,
                /// Those before this time.
                to: Option<Timestamp>,
                /// Those of this request.
                request_id: Option<String>,
                /// Those with this text in them.
                q: Option<String>,
                $($(#[$fdoc])* $field: $kind,)*
            }
        }

        impl $name {
            /// What the store looks for.
            ///
            /// # Errors
            /// A time is out of all range.
            pub(crate) fn filter(&self) -> Result<AuditFilter> {
                check_times(self.from, self.to).map_err(Error::Query)?;
                Ok(AuditFilter {
                    actor: self.actor.clone(),
                    action: self.action.clone(),
                    resource: self.resource.clone(),
                    outcome: self.outcome,
                    from: self.from,
                    to: self.to,
                    request_id: self.request_id.clone(),
                    q: self.q.clone(),
                })
            }
        }
    };
}

choosing! { paged!
    /// Which entries of the trail to list.
    ListAudit {}
}

choosing! { whole!
    /// Which entries of the trail to export, and how.
    ExportAudit {
        /// The form: JSON lines (if absent) can be verified, CSV is for people.
        format: Option<ExportFormat>,
    }
}

choosing! { whole!
    /// Which entries of the trail to follow.
    FollowAudit {
        /// Begin behind this entry's number; with the entries to come if absent.
        after: Option<i64>,
    }
}

paged! {
    /// Which checkpoints to list.
    ListAuditCheckpoints {}
}

/// In which form to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// One JSON object a line, with what is needed to verify the trail elsewhere.
    Jsonl,
    /// A table.
    Csv,
}

/// An entry as it stands in the trail.
pub(super) fn recorded(link: AuditLink) -> Result<RecordedEntry> {
    Ok(RecordedEntry {
        sequence: link.sequence,
        entry: link.entry()?,
        hash: Hex(link.hash),
        recorded_at: link.recorded_at,
    })
}

impl App {
    /// The audit trail of the caller's organisation, the newest entries first.
    ///
    /// # Errors
    /// The caller may not read it, or the page cannot be had.
    pub async fn list_audit(
        &self,
        context: &RequestContext,
        query: ListAudit,
    ) -> Result<List<RecordedEntry>> {
        self.authorize_tenant(context, Action::READ_AUDIT).await?;
        self.page_of_audit(context, &query.filter()?, &query).await
    }

    /// The entries about a datasource and what belongs to it, for whoever administers it.
    ///
    /// # Errors
    /// There is no such datasource, the caller may not read its trail, or the page cannot be had.
    pub async fn list_datasource_audit(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: ListAudit,
    ) -> Result<List<RecordedEntry>> {
        self.datasource(context, id, Action::READ_AUDIT).await?;
        if query.resource.is_some() {
            let detail = "the path says which resource";
            return Err(Error::Query(InputError::new("/resource", "ambiguous", detail)));
        }
        let filter = AuditFilter {
            resource: Some(id.to_string()),
            ..query.filter()?
        };
        self.page_of_audit(context, &filter, &query).await
    }

    async fn page_of_audit(
        &self,
        context: &RequestContext,
        filter: &AuditFilter,
        query: &ListAudit,
    ) -> Result<List<RecordedEntry>> {
        let read = self.store.read();
        let page = read.audit().list(tenant(context), filter, &query.page()).await?;
        Ok(List::of(page.try_map(recorded)?, |entry| entry))
    }

    /// An entry of the audit trail.
    ///
    /// # Errors
    /// There is none, or the caller may not read the trail.
    pub async fn get_audit_entry(&self, context: &RequestContext, id: AuditEntryId) -> Result<RecordedEntry> {
        self.authorize_tenant(context, Action::READ_AUDIT).await?;
        let found = self.store.read().audit().find(tenant(context), id).await?;
        recorded(found.ok_or(Error::NotFound("audit entry"))?)
    }

    /// The signed checkpoints of the trail, the newest first.
    ///
    /// # Errors
    /// The caller may not read the trail, or the page cannot be had.
    pub async fn list_audit_checkpoints(
        &self,
        context: &RequestContext,
        query: ListAuditCheckpoints,
    ) -> Result<List<AuditCheckpoint>> {
        self.authorize_tenant(context, Action::READ_AUDIT).await?;
        let read = self.store.read();
        let page = read
            .audit_checkpoints()
            .list(tenant(context), &query.page())
            .await?;
        Ok(List::of(page, |checkpoint| checkpoint))
    }

    /// The public keys that checkpoints are signed with.
    ///
    /// # Errors
    /// The caller may not read the trail, or the database fails.
    pub async fn list_audit_keys(&self, context: &RequestContext) -> Result<List<AuditKey>> {
        self.authorize_tenant(context, Action::READ_AUDIT).await?;
        let reason = AllTenants::because("the keys sign the trails of all organisations");
        Ok(List::whole(
            self.store.read().audit_checkpoints().keys(reason).await?,
        ))
    }
}
