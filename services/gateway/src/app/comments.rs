//! Comments on versions and on approvals: threads that can be settled and taken up again.

use halcyon_domain::{
    comment::{Comment, MAX_COMMENTS, check_body},
    datasource::DatasourceEventKind,
    id::{ApprovalId, CommentId, DatasourceId},
};
use halcyon_store::{CommentFilter, WriteTx};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, Change, Refusal, resource_of, tenant},
    paged,
    review_views::CommentView,
    views::List,
};

paged! {
    /// Which comments to list, the oldest first.
    ListComments {
        /// Those of the thread that this comment began.
        thread: Option<CommentId>,
    }
}

/// What to say.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteComment {
    /// 1 to 4,000 characters.
    pub body: String,
    /// The comment to answer.
    #[serde(default)]
    pub reply_to: Option<CommentId>,
    /// The place in the configuration that it is about: a JSON pointer, such as `/mapping/filter`.
    #[serde(default)]
    pub pointer: Option<String>,
}

/// What to say instead.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditComment {
    /// 1 to 4,000 characters.
    pub body: String,
}

/// Which comment: datasource, version, comment.
pub type CommentPath = (DatasourceId, u32, CommentId);

impl App {
    /// The comments on a version, those on its approvals included.
    ///
    /// # Errors
    /// There is no such version, or the page cannot be had.
    pub async fn list_comments(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        number: u32,
        query: ListComments,
    ) -> Result<List<CommentView>> {
        self.datasource(context, id, Action::READ).await?;
        self.version(context, id, number).await?;
        let filter = CommentFilter {
            version: Some(number),
            thread: query.thread,
            ..CommentFilter::default()
        };
        self.page_of_comments(context, id, &filter, &query).await
    }

    /// The comments on an approval.
    ///
    /// # Errors
    /// There is no such approval, or the page cannot be had.
    pub async fn list_approval_comments(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        approval: ApprovalId,
        query: ListComments,
    ) -> Result<List<CommentView>> {
        self.datasource(context, id, Action::READ).await?;
        self.approval(context, id, approval).await?;
        let filter = CommentFilter {
            approval: Some(approval),
            thread: query.thread,
            ..CommentFilter::default()
        };
        self.page_of_comments(context, id, &filter, &query).await
    }

    async fn page_of_comments(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        filter: &CommentFilter,
        query: &ListComments,
    ) -> Result<List<CommentView>> {
        let read = self.store.read();
        let page = read
            .comments()
            .list(tenant(context), id, filter, &query.page())
            .await?;
        Ok(List::of(page, CommentView::from))
    }

    /// A comment; of a deleted one its place.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_comment(
        &self,
        context: &RequestContext,
        (id, number, comment): CommentPath,
    ) -> Result<CommentView> {
        self.datasource(context, id, Action::READ).await?;
        let read = self.store.read();
        let found = read.comments().find(tenant(context), id, number, comment).await?;
        found.map(CommentView::from).ok_or(Error::NotFound("comment"))
    }

    /// Comments on a version.
    ///
    /// # Errors
    /// There is none, or the comment does not fit.
    pub async fn comment_on_version(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        number: u32,
        input: WriteComment,
    ) -> Result<CommentView> {
        self.datasource(context, id, Action::COMMENT).await?;
        self.write_comment(context, id, number, None, input).await
    }

    /// Comments on an approval: the comment stands with those on its version.
    ///
    /// # Errors
    /// There is none, or the comment does not fit.
    pub async fn comment_on_approval(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        approval: ApprovalId,
        input: WriteComment,
    ) -> Result<CommentView> {
        self.datasource(context, id, Action::COMMENT).await?;
        let record = self.approval(context, id, approval).await?;
        self.write_comment(context, id, record.number, Some(approval), input)
            .await
    }

    async fn write_comment(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        number: u32,
        approval: Option<ApprovalId>,
        input: WriteComment,
    ) -> Result<CommentView> {
        check_body(&input.body)?;
        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let found = tx.versions().find(tenant(context), id, number).await?;
        let version = found.ok_or(Error::NotFound("version"))?;
        check_pointer(input.pointer.as_deref(), &version.config)?;
        if tx.comments().count(tenant(context), id, number).await? >= MAX_COMMENTS {
            return Err(Error::Conflict {
                code: "too_many_comments",
                detail: format!("a version has at most {MAX_COMMENTS} comments"),
            });
        }
        let comment_id = CommentId::generate();
        let thread = match input.reply_to {
            Some(answered) => self.answered(&tx, context, (id, number, answered)).await?.thread,
            None => comment_id,
        };
        let comment = Comment {
            id: comment_id,
            datasource: id,
            version: number,
            approval,
            thread,
            reply_to: input.reply_to,
            pointer: input.pointer,
            body: input.body,
            author: context.actor(),
            created_at: self.clock.now(),
            edited_at: None,
            deleted_at: None,
            resolved_at: None,
            resolved_by: None,
            revision: 1,
        };
        tx.comments().insert(tenant(context), &comment).await?;
        let change = Change {
            action: Action::COMMENT,
            kind: DatasourceEventKind::Commented,
            datasource: &datasource,
            version: Some(number),
            diff: None,
            message: format!("commented on version {number}"),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(comment.into())
    }

    async fn answered(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        (id, number, comment): CommentPath,
    ) -> Result<Comment> {
        let found = tx.comments().find(tenant(context), id, number, comment).await?;
        let unknown = || {
            Error::field(
                "/reply_to",
                "unknown_value",
                "there is no such comment on this version",
            )
        };
        found
            .filter(|comment| comment.deleted_at.is_none())
            .ok_or_else(unknown)
    }

    /// Changes what the caller said.
    ///
    /// # Errors
    /// There is no such comment, it is somebody else's, or the revision is another one.
    pub async fn edit_comment(
        &self,
        context: &RequestContext,
        path: CommentPath,
        input: EditComment,
        if_match: IfMatch,
    ) -> Result<CommentView> {
        check_body(&input.body)?;
        let change = |comment: &mut Comment, app: &Self| {
            comment.body = input.body;
            comment.edited_at = Some(app.clock.now());
            Ok(())
        };
        self.change_comment(context, path, if_match, Action::EDIT_COMMENT, change)
            .await
    }

    /// Deletes what the caller said; its place in the thread stays.
    ///
    /// # Errors
    /// There is no such comment, it is somebody else's, or the revision is another one.
    pub async fn delete_comment(
        &self,
        context: &RequestContext,
        path: CommentPath,
        if_match: IfMatch,
    ) -> Result<()> {
        let change = |comment: &mut Comment, app: &Self| {
            comment.body.clear();
            comment.pointer = None;
            comment.deleted_at = Some(app.clock.now());
            Ok(())
        };
        self.change_comment(context, path, if_match, Action::DELETE_COMMENT, change)
            .await
            .map(|_| ())
    }

    /// Settles a thread. Doing it twice is doing it once.
    ///
    /// # Errors
    /// The comment began no thread.
    pub async fn resolve_comment(
        &self,
        context: &RequestContext,
        path: CommentPath,
        if_match: IfMatch,
    ) -> Result<CommentView> {
        let by = context.actor();
        let change = |comment: &mut Comment, app: &Self| {
            if comment.resolved_at.is_none() {
                comment.resolved_at = Some(app.clock.now());
                comment.resolved_by = Some(by);
            }
            only_root(comment)
        };
        self.change_comment(context, path, if_match, Action::RESOLVE_COMMENT, change)
            .await
    }

    /// Takes a settled thread up again. Doing it twice is doing it once.
    ///
    /// # Errors
    /// The comment began no thread.
    pub async fn reopen_comment(
        &self,
        context: &RequestContext,
        path: CommentPath,
        if_match: IfMatch,
    ) -> Result<CommentView> {
        let change = |comment: &mut Comment, _: &Self| {
            comment.resolved_at = None;
            comment.resolved_by = None;
            only_root(comment)
        };
        self.change_comment(context, path, if_match, Action::REOPEN_COMMENT, change)
            .await
    }

    async fn change_comment(
        &self,
        context: &RequestContext,
        (id, number, comment): CommentPath,
        if_match: IfMatch,
        action: Action,
        change: impl FnOnce(&mut Comment, &Self) -> Result<()> + Send,
    ) -> Result<CommentView> {
        let known = self.datasource(context, id, action).await?;
        let gone = || Error::NotFound("comment");
        let read = self.store.read();
        let found = read.comments().find(tenant(context), id, number, comment).await?;
        let found = found
            .filter(|comment| comment.deleted_at.is_none())
            .ok_or_else(gone)?;
        let own = [Action::EDIT_COMMENT.name, Action::DELETE_COMMENT.name].contains(&action.name);
        if own && !found.is_by(&context.actor()) {
            let refusal = Refusal {
                code: "not_yours",
                detail: "a comment is changed by whoever made it".to_owned(),
            };
            return Err(self.refuse(context, action, resource_of(&known), refusal).await);
        }
        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let found = tx.comments().find(tenant(context), id, number, comment).await?;
        let mut comment = found
            .filter(|comment| comment.deleted_at.is_none())
            .ok_or_else(gone)?;
        if_match.check(comment.revision)?;
        change(&mut comment, self)?;
        let comment = tx.comments().update(tenant(context), &comment).await?;
        let did = action.name.rsplit('.').next().unwrap_or_default();
        let change = Change {
            action,
            kind: DatasourceEventKind::Commented,
            datasource: &datasource,
            version: Some(number),
            diff: None,
            message: format!("comment on version {number}: {did}"),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(comment.into())
    }
}

fn only_root(comment: &Comment) -> Result<()> {
    if comment.is_root() {
        return Ok(());
    }
    Err(Error::Conflict {
        code: "not_a_thread",
        detail: format!(
            "settle the thread by the comment that began it: {}",
            comment.thread
        ),
    })
}

/// A pointer leads to something in the configuration as it is.
fn check_pointer(pointer: Option<&str>, config: &Value) -> Result<()> {
    let Some(pointer) = pointer else {
        return Ok(());
    };
    if pointer.len() > 1_000 || config.pointer(pointer).is_none() {
        let detail = "it leads to nothing in the configuration of this version";
        return Err(Error::field("/pointer", "unknown_value", detail));
    }
    Ok(())
}
