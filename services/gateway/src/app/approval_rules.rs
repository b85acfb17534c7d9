//! What approvals have to say when a draft is written, changed or published.

use halcyon_domain::{
    approval::{Approval, ApprovalRecord, ApprovalStatus, Approved, ConfigHash},
    datasource::{Datasource, DatasourceEventKind},
    id::{DatasourceId, ProjectId},
    organization::ApprovalPolicy,
    version::VersionRecord,
};
use halcyon_store::{Approvals, Connection, Organizations, WriteTx};
use serde_json::Value;

use super::{App, Error, RequestContext, Result, access::tenant};

/// Why a draft may be published.
pub(crate) enum Clearance {
    /// Nobody has to agree.
    NotNeeded,
    /// Somebody agreed to exactly this configuration.
    Approved(Box<Approval<Approved>>),
    /// Somebody has to agree, did not, and an admin does without, with a reason.
    BreakGlass,
}

impl App {
    /// Whether what is published of a datasource takes an approval: its project says so, or the organisation where
    /// the project says nothing.
    pub(crate) async fn requires_approval<C: Connection>(
        &self,
        organizations: &Organizations<'_, C>,
        datasource: &Datasource,
    ) -> Result<bool> {
        let tenant = datasource.organization.into();
        let policy = organizations.approval_policy(tenant, datasource.project).await?;
        Ok(policy == ApprovalPolicy::Required)
    }

    /// Whether what is published of a datasource takes an approval now, and would take none in that project.
    pub(crate) async fn leaves_approvals(
        &self,
        datasource: &Datasource,
        project: Option<ProjectId>,
    ) -> Result<bool> {
        let moved = Datasource {
            project,
            ..datasource.clone()
        };
        let read = self.store.read();
        let organizations = read.organizations();
        Ok(self.requires_approval(&organizations, datasource).await?
            && !self.requires_approval(&organizations, &moved).await?)
    }

    /// Why `draft` may be published as it is. In the transaction of the publish this is the last word.
    pub(crate) async fn clearance<C: Connection>(
        &self,
        organizations: &Organizations<'_, C>,
        approvals: &Approvals<'_, C>,
        datasource: &Datasource,
        draft: &VersionRecord,
        break_glass: bool,
    ) -> Result<Clearance> {
        let required = self.requires_approval(organizations, datasource).await?;
        let open = approvals.open(datasource.organization.into(), draft.id).await?;
        let now = self.clock.now();
        let hash = ConfigHash::of(&draft.config);
        match open.clone().and_then(|open| open.into_usable(hash, now)) {
            _ if break_glass && !required => Err(not_needed("no approval is needed here")),
            Some(_) if break_glass => Err(not_needed("the draft is approved")),
            Some(approval) => Ok(Clearance::Approved(Box::new(approval))),
            None if !required => Ok(Clearance::NotNeeded),
            None if break_glass => Ok(Clearance::BreakGlass),
            None => Err(Error::Conflict {
                code: "approval_required",
                detail: what_to_do(draft.number, open.map(|open| (open.status_at(now), open))),
            }),
        }
    }

    /// Notes that the caller changed a draft from `before`: they are one of its authors now, and what was approved
    /// is another configuration than this. A comment alone changes neither.
    pub(crate) async fn rewritten(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        datasource: &Datasource,
        before: &Value,
        draft: &VersionRecord,
    ) -> Result<()> {
        if ConfigHash::of(before) == ConfigHash::of(&draft.config) {
            return Ok(());
        }
        self.written(tx, context, draft).await?;
        let why = format!("draft {} was changed", draft.number);
        self.reset_approval(tx, context, datasource, draft, &why).await
    }

    /// Ends what is open for a version, and tells its history.
    pub(crate) async fn reset_approval(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        datasource: &Datasource,
        version: &VersionRecord,
        why: &str,
    ) -> Result<()> {
        let Some(open) = tx.approvals().open(tenant(context), version.id).await? else {
            return Ok(());
        };
        let now = self.clock.now();
        let status = open.status_at(now);
        let open = open.into_open("be reset")?;
        if status == ApprovalStatus::Expired {
            let expired = open.expire(now);
            return Ok(tx.approvals().update(tenant(context), expired.record()).await?);
        }
        let closed = open.supersede(now);
        tx.approvals().update(tenant(context), closed.record()).await?;
        let was = if status == ApprovalStatus::Approved {
            "approval"
        } else {
            "request for approval"
        };
        self.tell(
            tx,
            context,
            datasource,
            DatasourceEventKind::ApprovalReset,
            version.number,
            format!("the {was} of version {} counts no more: {why}", version.number),
        )
        .await
    }

    /// Ends all that is open of a datasource that goes.
    pub(crate) async fn close_approvals(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        datasource: DatasourceId,
    ) -> Result<()> {
        for open in tx.approvals().open_of(tenant(context), datasource).await? {
            let closed = open.into_open("be closed")?.supersede(self.clock.now());
            tx.approvals().update(tenant(context), closed.record()).await?;
        }
        Ok(())
    }
}

fn not_needed(why: &str) -> Error {
    let detail = format!("{why}; publish without `break_glass`");
    Error::field("/break_glass", "not_needed", detail)
}

/// What to do about a missing approval.
fn what_to_do(number: u32, open: Option<(ApprovalStatus, ApprovalRecord)>) -> String {
    match open {
        Some((ApprovalStatus::Pending, open)) => format!(
            "version {number} waits for approval: somebody who did not write it approves request {}",
            open.id
        ),
        Some((ApprovalStatus::Expired, open)) => format!(
            "the approval {} of version {number} has expired: ask again with `POST .../approvals`",
            open.id
        ),
        _ => format!(
            "version {number} needs the approval of somebody who did not write it: ask with `POST .../approvals`"
        ),
    }
}
