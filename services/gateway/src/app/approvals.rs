//! Approvals: ask, decide, take back.

use halcyon_domain::{
    approval::{Approval, ApprovalStatus, Asked, ConfigHash, Decision, DecisionRefused},
    audit::Actor,
    clock::Timestamp,
    datasource::DatasourceEventKind,
    id::{ApprovalId, DatasourceId, VersionId},
};
use halcyon_store::WriteTx;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, Change, Refusal, resource_of, tenant},
    datasource_input::{check_comment, check_text},
    review_views::ApprovalView,
};

/// What is asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestApproval {
    /// The draft's number; the newest draft if absent.
    pub version: Option<u32>,
    /// What the approver is to know.
    pub note: Option<String>,
    /// From when on the approval counts no more; never if absent.
    pub expires_at: Option<Timestamp>,
}

/// Why it is decided so.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecideApproval {
    /// Why; a rejection says why.
    pub comment: Option<String>,
}

/// Why it is taken back.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WithdrawApproval {
    /// Why.
    pub comment: Option<String>,
}

/// Which way it is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Approve,
    Reject,
}

impl App {
    /// Asks somebody else to approve a draft as it is now.
    ///
    /// # Errors
    /// It is no draft, or a request for it is open.
    pub async fn request_approval(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: RequestApproval,
    ) -> Result<ApprovalView> {
        self.datasource(context, id, Action::REQUEST_APPROVAL).await?;
        check_text(input.note.as_deref(), "/note", 2_000)?;
        let now = self.clock.now();
        if input.expires_at.is_some_and(|end| end <= now) {
            return Err(Error::field(
                "/expires_at",
                "in_the_past",
                "it expires in the future",
            ));
        }
        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let number = match input.version.or(datasource.draft_version) {
            Some(number) => number,
            None => return Err(no_draft()),
        };
        let found = tx.versions().find(tenant(context), id, number).await?;
        let record = found.ok_or(Error::NotFound("version"))?;
        let draft = record.into_draft("be submitted for approval")?.into_record();
        self.make_room(&tx, context, draft.id).await?;
        let asked = Asked {
            id: ApprovalId::generate(),
            datasource: id,
            version: draft.id,
            number,
            config_hash: ConfigHash::of(&draft.config),
            note: input.note,
            expires_at: input.expires_at.map(halcyon_domain::clock::truncate),
        };
        let approval = Approval::new(asked, context.actor(), now).into_record();
        tx.approvals().insert(tenant(context), &approval).await?;
        self.holders_too(&tx, context, draft.id).await?;
        let change = Change {
            action: Action::REQUEST_APPROVAL,
            kind: DatasourceEventKind::ApprovalRequested,
            datasource: &datasource,
            version: Some(number),
            diff: None,
            message: format!("approval of draft {number} asked for ({})", approval.config_hash),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        self.approval_view(context, &datasource, approval).await
    }

    /// Closes what has run out of time for a draft; what is open otherwise is in the way.
    async fn make_room(&self, tx: &WriteTx, context: &RequestContext, draft: VersionId) -> Result<()> {
        let Some(open) = tx.approvals().open(tenant(context), draft).await? else {
            return Ok(());
        };
        let now = self.clock.now();
        let status = open.status_at(now);
        if status != ApprovalStatus::Expired {
            let detail = format!("request {} for this draft is {status}", open.id);
            return Err(Error::Conflict {
                code: "approval_open",
                detail,
            });
        }
        let expired = open.into_open("be closed")?.expire(now);
        Ok(tx.approvals().update(tenant(context), expired.record()).await?)
    }

    /// Approves a draft.
    ///
    /// # Errors
    /// The caller had a hand in the draft, or it is decided or over.
    pub async fn approve(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        approval: ApprovalId,
        input: DecideApproval,
        if_match: IfMatch,
    ) -> Result<ApprovalView> {
        self.datasource(context, id, Action::APPROVE).await?;
        self.decide(context, (id, approval), Verdict::Approve, input, if_match)
            .await
    }

    /// Rejects a draft.
    ///
    /// # Errors
    /// The caller had a hand in the draft, says not why, or it is decided or over.
    pub async fn reject(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        approval: ApprovalId,
        input: DecideApproval,
        if_match: IfMatch,
    ) -> Result<ApprovalView> {
        self.datasource(context, id, Action::REJECT).await?;
        if input.comment.as_deref().is_none_or(|why| why.trim().is_empty()) {
            return Err(Error::field("/comment", "required", "a rejection says why"));
        }
        self.decide(context, (id, approval), Verdict::Reject, input, if_match)
            .await
    }

    async fn decide(
        &self,
        context: &RequestContext,
        (id, approval): (DatasourceId, ApprovalId),
        verdict: Verdict,
        input: DecideApproval,
        if_match: IfMatch,
    ) -> Result<ApprovalView> {
        check_comment(input.comment.as_deref())?;
        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let found = tx.approvals().find(tenant(context), id, approval).await?;
        let record = found.ok_or(Error::NotFound("approval"))?;
        if_match.check(record.revision)?;
        let authors = self.authors(&tx, context, record.version).await?;
        let decision = Decision {
            by: context.actor(),
            at: self.clock.now(),
            comment: input.comment.clone(),
        };
        let number = record.number;
        let (action, kind, word, decided) = match verdict {
            Verdict::Approve => {
                let pending = record.into_pending("be approved", decision.at)?;
                let approved = pending.approve(decision, &authors).map(Approval::into_record);
                (
                    Action::APPROVE,
                    DatasourceEventKind::Approved,
                    "approved",
                    approved,
                )
            }
            Verdict::Reject => {
                let pending = record.into_pending("be rejected", decision.at)?;
                let rejected = pending.reject(decision, &authors).map(Approval::into_record);
                (
                    Action::REJECT,
                    DatasourceEventKind::Rejected,
                    "rejected",
                    rejected,
                )
            }
        };
        let record = match decided {
            Ok(record) => record,
            Err(refused) => {
                drop(tx);
                let resource = resource_of(&datasource);
                return Err(self.refuse(context, action, resource, refusal(&refused)).await);
            }
        };
        tx.approvals().update(tenant(context), &record).await?;
        let because = input.comment.map(|why| format!(": {why}")).unwrap_or_default();
        let change = Change {
            action,
            kind,
            datasource: &datasource,
            version: Some(number),
            diff: None,
            message: format!("draft {number} {word}{because}"),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        self.approval_view(context, &datasource, record).await
    }

    async fn authors(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        version: VersionId,
    ) -> Result<Vec<Actor>> {
        let mut authors = tx.versions().authors(tenant(context), &[version]).await?;
        Ok(authors.remove(&version).unwrap_or_default())
    }

    /// Takes a request back.
    ///
    /// # Errors
    /// Somebody else asked, or it is used or over.
    pub async fn withdraw_approval(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        approval: ApprovalId,
        input: WithdrawApproval,
        if_match: IfMatch,
    ) -> Result<ApprovalView> {
        let known = self.datasource(context, id, Action::WITHDRAW_APPROVAL).await?;
        check_comment(input.comment.as_deref())?;
        let record = self.approval(context, id, approval).await?;
        let (by, asked) = (context.actor(), &record.requested_by);
        if (by.kind, by.id) != (asked.kind, asked.id) {
            let refusal = Refusal {
                code: "not_yours",
                detail: "a request is taken back by whoever made it; reject it instead".to_owned(),
            };
            return Err(self
                .refuse(context, Action::WITHDRAW_APPROVAL, resource_of(&known), refusal)
                .await);
        }
        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let found = tx.approvals().find(tenant(context), id, approval).await?;
        let record = found.ok_or(Error::NotFound("approval"))?;
        if_match.check(record.revision)?;
        let number = record.number;
        let record = record
            .into_open("be withdrawn")?
            .withdraw(self.clock.now())
            .into_record();
        tx.approvals().update(tenant(context), &record).await?;
        let because = input.comment.map(|why| format!(": {why}")).unwrap_or_default();
        let change = Change {
            action: Action::WITHDRAW_APPROVAL,
            kind: DatasourceEventKind::ApprovalWithdrawn,
            datasource: &datasource,
            version: Some(number),
            diff: None,
            message: format!("the request to approve draft {number} was taken back{because}"),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        self.approval_view(context, &datasource, record).await
    }
}

fn refusal(refused: &DecisionRefused) -> Refusal {
    let detail = refused.to_string();
    match refused {
        DecisionRefused::OwnWork => Refusal {
            code: "own_work",
            detail,
        },
        DecisionRefused::NotAPerson => Refusal {
            code: "not_a_person",
            detail,
        },
    }
}

fn no_draft() -> Error {
    Error::Conflict {
        code: "no_draft",
        detail: "there is no draft to approve".to_owned(),
    }
}
