//! Approvals, comments, samples, what a publish would do, and one action on many datasources.

use halcyon_domain::id::{ApprovalId, CommentId, DatasourceId, SampleId};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    api::Api,
    arguments::{About, New, Within, done, precondition},
};
use crate::app::{
    DecideApproval, EditComment, InferSchema, ListApprovals, ListComments, ListInbox, ListSamples,
    PreviewImpact, RequestApproval, RunBulk, SaveSample, WithdrawApproval, WriteComment,
};

/// Which approval.
#[derive(Deserialize, JsonSchema)]
struct Approval {
    /// The datasource.
    datasource: DatasourceId,
    /// The approval's identifier.
    id: ApprovalId,
}

/// Which approval, as the caller knows it, and what to say to it.
#[derive(Deserialize, JsonSchema)]
struct Decide<T> {
    /// The datasource.
    datasource: DatasourceId,
    /// The approval's identifier.
    id: ApprovalId,
    /// The details.
    input: T,
    /// The `revision` of the approval as the caller knows it: if it has another one, nothing is done.
    #[serde(default)]
    if_match: Option<i64>,
}

/// Which approval's comments.
#[derive(Deserialize, JsonSchema)]
struct ApprovalComments {
    /// The datasource.
    datasource: DatasourceId,
    /// The approval.
    approval: ApprovalId,
    #[serde(flatten)]
    list: ListComments,
}

/// Which approval, and what to say to it.
#[derive(Deserialize, JsonSchema)]
struct ApprovalComment {
    /// The datasource.
    datasource: DatasourceId,
    /// The approval.
    approval: ApprovalId,
    /// The comment.
    input: WriteComment,
}

/// Which version's comments.
#[derive(Deserialize, JsonSchema)]
struct VersionComments {
    /// The datasource.
    datasource: DatasourceId,
    /// The version's number.
    number: u32,
    #[serde(flatten)]
    list: ListComments,
}

/// Which version, and what about it.
#[derive(Deserialize, JsonSchema)]
struct OnVersion<T> {
    /// The datasource.
    datasource: DatasourceId,
    /// The version's number.
    number: u32,
    /// The details.
    input: T,
}

/// Which comment.
#[derive(Deserialize, JsonSchema)]
struct Comment {
    /// The datasource.
    datasource: DatasourceId,
    /// The version's number.
    number: u32,
    /// The comment's identifier.
    id: CommentId,
}

/// Which comment, as the caller knows it.
#[derive(Deserialize, JsonSchema)]
struct CommentAt {
    /// The datasource.
    datasource: DatasourceId,
    /// The version's number.
    number: u32,
    /// The comment's identifier.
    id: CommentId,
    /// The `revision` of the comment as the caller knows it: if it has another one, nothing is done.
    #[serde(default)]
    if_match: Option<i64>,
}

/// Which comment, as the caller knows it, and what to change of it.
#[derive(Deserialize, JsonSchema)]
struct CommentChange {
    /// The datasource.
    datasource: DatasourceId,
    /// The version's number.
    number: u32,
    /// The comment's identifier.
    id: CommentId,
    /// What to change.
    input: EditComment,
    /// The `revision` of the comment as the caller knows it: if it has another one, nothing is done.
    #[serde(default)]
    if_match: Option<i64>,
}

/// Which sample.
#[derive(Deserialize, JsonSchema)]
struct Sample {
    /// The datasource.
    datasource: DatasourceId,
    /// The sample's identifier.
    id: SampleId,
}

pub(super) fn add(api: &mut Api) {
    approvals(api);
    comments(api);
    api.page(
        "listSamples",
        "samples",
        |call, of: Within<ListSamples>| async move {
            call.app.list_samples(&call.context, of.datasource, of.list).await
        },
    );
    api.query("getSample", "sample", |call, of: Sample| async move {
        call.app.get_sample(&call.context, of.datasource, of.id).await
    });
    api.mutation(
        "saveSample",
        |call, about: About<DatasourceId, SaveSample>| async move {
            call.app.save_sample(&call.context, about.id, about.input).await
        },
    );
    api.query(
        "inferSchema",
        "sampleSchema",
        |call, of: Within<InferSchema>| async move {
            call.app.infer_schema(&call.context, of.datasource, of.list).await
        },
    );
    api.mutation("deleteSample", |call, of: Sample| async move {
        call.app
            .delete_sample(&call.context, of.datasource, of.id)
            .await
            .map(done)
    });
    api.mutation("previewImpact", |call, on: OnVersion<PreviewImpact>| async move {
        call.app
            .preview_impact(&call.context, on.datasource, on.number, on.input)
            .await
    });
    api.mutation("runBulk", |call, new: New<RunBulk>| async move {
        call.app.run_bulk(&call.context, new.input).await
    });
}

fn approvals(api: &mut Api) {
    api.page("listInbox", "inbox", |call, list: ListInbox| async move {
        call.app.list_inbox(&call.context, list).await
    });
    api.page(
        "listApprovals",
        "approvals",
        |call, of: Within<ListApprovals>| async move {
            call.app
                .list_approvals(&call.context, of.datasource, of.list)
                .await
        },
    );
    api.query("getApproval", "approval", |call, of: Approval| async move {
        call.app.get_approval(&call.context, of.datasource, of.id).await
    });
    api.mutation(
        "requestApproval",
        |call, about: About<DatasourceId, RequestApproval>| async move {
            call.app
                .request_approval(&call.context, about.id, about.input)
                .await
        },
    );
    api.mutation("approve", |call, on: Decide<DecideApproval>| async move {
        let if_match = precondition(on.if_match);
        call.app
            .approve(&call.context, on.datasource, on.id, on.input, if_match)
            .await
    });
    api.mutation("reject", |call, on: Decide<DecideApproval>| async move {
        let if_match = precondition(on.if_match);
        call.app
            .reject(&call.context, on.datasource, on.id, on.input, if_match)
            .await
    });
    api.mutation(
        "withdrawApproval",
        |call, on: Decide<WithdrawApproval>| async move {
            let if_match = precondition(on.if_match);
            call.app
                .withdraw_approval(&call.context, on.datasource, on.id, on.input, if_match)
                .await
        },
    );
    api.page(
        "listApprovalComments",
        "approvalComments",
        |call, of: ApprovalComments| async move {
            call.app
                .list_approval_comments(&call.context, of.datasource, of.approval, of.list)
                .await
        },
    );
    api.mutation("createApprovalComment", |call, on: ApprovalComment| async move {
        call.app
            .comment_on_approval(&call.context, on.datasource, on.approval, on.input)
            .await
    });
}

fn comments(api: &mut Api) {
    api.page(
        "listComments",
        "comments",
        |call, of: VersionComments| async move {
            call.app
                .list_comments(&call.context, of.datasource, of.number, of.list)
                .await
        },
    );
    api.query("getComment", "comment", |call, of: Comment| async move {
        call.app
            .get_comment(&call.context, (of.datasource, of.number, of.id))
            .await
    });
    api.mutation("createComment", |call, on: OnVersion<WriteComment>| async move {
        call.app
            .comment_on_version(&call.context, on.datasource, on.number, on.input)
            .await
    });
    api.mutation("editComment", |call, on: CommentChange| async move {
        let path = (on.datasource, on.number, on.id);
        call.app
            .edit_comment(&call.context, path, on.input, precondition(on.if_match))
            .await
    });
    api.mutation("deleteComment", |call, at: CommentAt| async move {
        let path = (at.datasource, at.number, at.id);
        call.app
            .delete_comment(&call.context, path, precondition(at.if_match))
            .await
            .map(done)
    });
    api.mutation("resolveComment", |call, at: CommentAt| async move {
        let path = (at.datasource, at.number, at.id);
        call.app
            .resolve_comment(&call.context, path, precondition(at.if_match))
            .await
    });
    api.mutation("reopenComment", |call, at: CommentAt| async move {
        let path = (at.datasource, at.number, at.id);
        call.app
            .reopen_comment(&call.context, path, precondition(at.if_match))
            .await
    });
}
