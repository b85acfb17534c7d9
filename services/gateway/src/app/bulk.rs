//! One action on many datasources: each by its own use case, in a transaction of its own, with its own permission
//! check and audit entry. What fails for one fails for that one.

use std::{collections::BTreeSet, time::Instant};

use futures::{StreamExt, stream};
use halcyon_domain::{
    access::Permission,
    datasource::{Datasource, check_tags},
    error::InputError,
    id::DatasourceId,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    App, Error, IfMatch, ListDatasources, PublishVersion, RequestContext, Result, UpdateDatasource,
    access::{resource_of, target_of, tenant},
    bulk_input::{BulkAction, BulkChange, MAX_BULK, RunBulk, too_many},
    datasource_input::check_update,
};
use crate::problem::Problem;

/// So many datasources are worked on at a time.
const AT_A_TIME: usize = 4;

/// How it ended for a datasource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkOutcome {
    /// Done; in a dry run: it would be done.
    Ok,
    /// There is nothing to do.
    Skipped,
    /// The caller may not.
    Refused,
    /// It makes no sense in the present state, does not fit, or something that is needed is away.
    Failed,
    /// There is no such datasource, or it is not for the caller to know.
    NotFound,
}

/// What became of one datasource.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BulkItem {
    /// The datasource.
    pub id: DatasourceId,
    /// Its name, if the caller may know it.
    pub name: Option<String>,
    /// How it ended.
    pub outcome: BulkOutcome,
    /// A stable word for programs, where it did not end with `ok`.
    pub code: Option<String>,
    /// What was done, what would be done, or why not.
    pub detail: String,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub errors: Vec<InputError>,
}

/// What became of all of them.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct BulkReport {
    /// What was asked for.
    pub action: BulkAction,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// How many ended with `ok`.
    pub ok: usize,
    /// How many had nothing to do.
    pub skipped: usize,
    /// How many the caller may do nothing about.
    pub refused: usize,
    /// How many failed.
    pub failed: usize,
    /// How many are not there.
    pub not_found: usize,
    /// Each of them, in the order asked for.
    pub items: Vec<BulkItem>,
}

/// What there is to do about a datasource.
enum Step {
    Do(Option<UpdateDatasource>),
    Skip(&'static str, &'static str),
}

impl App {
    /// Does one thing to many datasources, or says what would happen.
    ///
    /// # Errors
    /// The request itself does not fit. What fails for one datasource is in the report.
    pub async fn run_bulk(&self, context: &RequestContext, input: RunBulk) -> Result<BulkReport> {
        input.check()?;
        let ids = self.bulk_ids(context, &input).await?;
        // What is under way is finished and told before the request's own time is over.
        let until = Instant::now() + self.options.request_timeout.mul_f64(0.7);
        let items: Vec<BulkItem> = stream::iter(ids)
            .map(|id| self.bulk_item_until(until, context, id, &input))
            .buffered(AT_A_TIME)
            .collect()
            .await;
        let count = |outcome| items.iter().filter(|item| item.outcome == outcome).count();
        Ok(BulkReport {
            action: input.action,
            dry_run: input.dry_run,
            ok: count(BulkOutcome::Ok),
            skipped: count(BulkOutcome::Skipped),
            refused: count(BulkOutcome::Refused),
            failed: count(BulkOutcome::Failed),
            not_found: count(BulkOutcome::NotFound),
            items,
        })
    }

    /// The datasources that are meant, each once.
    async fn bulk_ids(&self, context: &RequestContext, input: &RunBulk) -> Result<Vec<DatasourceId>> {
        if let Some(ids) = &input.ids {
            let mut seen = BTreeSet::new();
            return Ok(ids.iter().copied().filter(|id| seen.insert(*id)).collect());
        }
        let mut query = ListDatasources::from(input.filter.clone().unwrap_or_default());
        let mut ids = Vec::new();
        loop {
            let page = self.list_datasources(context, query.clone()).await?;
            ids.extend(page.items.into_iter().map(|datasource| datasource.id));
            if ids.len() > MAX_BULK {
                return Err(too_many("/filter"));
            }
            if page.next_cursor.is_none() {
                return Ok(ids);
            }
            query.cursor = page.next_cursor;
        }
    }

    async fn bulk_item_until(
        &self,
        until: Instant,
        context: &RequestContext,
        id: DatasourceId,
        input: &RunBulk,
    ) -> BulkItem {
        if Instant::now() < until {
            return self.bulk_item(context, id, input).await;
        }
        BulkItem {
            id,
            name: None,
            outcome: BulkOutcome::Failed,
            code: Some("not_reached".to_owned()),
            detail: "there was no time left for it, and nothing was done; ask again for what is left"
                .to_owned(),
            errors: Vec::new(),
        }
    }

    async fn bulk_item(&self, context: &RequestContext, id: DatasourceId, input: &RunBulk) -> BulkItem {
        let known = match self.bulk_known(context, id).await {
            Ok(known) => known,
            Err(error) => return failed(id, None, error),
        };
        let name = Some(known.name.clone());
        let verb = input.action.verb();
        let done = async {
            let step = self.bulk_step(context, &known, input).await?;
            if let (Step::Do(change), false) = (&step, input.dry_run) {
                self.bulk_act(context, &known, input, change.clone()).await?;
            }
            Ok(step)
        };
        match done.await {
            Ok(Step::Skip(code, detail)) => BulkItem {
                id,
                name,
                outcome: BulkOutcome::Skipped,
                code: Some(code.to_owned()),
                detail: detail.to_owned(),
                errors: Vec::new(),
            },
            Ok(Step::Do(_)) => BulkItem {
                id,
                name,
                outcome: BulkOutcome::Ok,
                code: None,
                detail: if input.dry_run {
                    format!("would {verb}")
                } else {
                    format!("{verb}: done")
                },
                errors: Vec::new(),
            },
            Err(error) => failed(id, name, error),
        }
    }

    async fn bulk_known(&self, context: &RequestContext, id: DatasourceId) -> Result<Datasource> {
        let found = self.store.read().datasources().find(tenant(context), id).await?;
        found
            .filter(|found| {
                context
                    .principal
                    .may(Permission::DatasourceRead, &target_of(found))
            })
            .ok_or(Error::NotFound("datasource"))
    }

    /// What there is to do. A dry run checks all that the act itself would, and leaves nothing behind.
    async fn bulk_step(&self, context: &RequestContext, known: &Datasource, input: &RunBulk) -> Result<Step> {
        let action = input.action.action();
        self.bulk_may(context, known, input, action).await?;
        if let Some(operation) = input.action.operation() {
            let changes = operation.apply(&mut known.clone())?;
            return Ok(if changes {
                Step::Do(None)
            } else {
                Step::Skip("as_desired", "it is so already")
            });
        }
        match input.action {
            BulkAction::Publish if known.draft_version.is_none() => {
                Ok(Step::Skip("no_draft", "there is no draft to publish"))
            }
            BulkAction::Publish => {
                if input.dry_run {
                    self.checked_draft(context, known, known.draft_version, false)
                        .await?;
                }
                Ok(Step::Do(None))
            }
            BulkAction::Update => {
                let change = input.change.clone().unwrap_or_default();
                let Some(update) = update(known, change)? else {
                    return Ok(Step::Skip("as_desired", "it is so already"));
                };
                check_update(known, &update)?;
                if let (Some(project), true) = (update.project, input.dry_run) {
                    self.bulk_may_move(context, known, project).await?;
                }
                Ok(Step::Do(Some(update)))
            }
            _ => Ok(Step::Do(None)),
        }
    }

    /// Whether the caller may. A refusal of a dry run is told, and leaves no audit entry: nothing was tried.
    async fn bulk_may(
        &self,
        context: &RequestContext,
        known: &Datasource,
        input: &RunBulk,
        action: super::access::Action,
    ) -> Result<()> {
        let target = target_of(known);
        if !input.dry_run {
            return self.authorize(context, action, &target, resource_of(known)).await;
        }
        if context.principal.may(action.permission, &target) {
            Ok(())
        } else {
            Err(Error::Forbidden {
                permission: action.permission.as_str(),
            })
        }
    }

    async fn bulk_may_move(
        &self,
        context: &RequestContext,
        known: &Datasource,
        project: halcyon_domain::id::ProjectId,
    ) -> Result<()> {
        let target = halcyon_domain::access::Target {
            organization: known.organization,
            project: Some(project),
            datasource: None,
        };
        let permission = Permission::DatasourceUpdate;
        let forbidden = || Error::Forbidden {
            permission: permission.as_str(),
        };
        if !context.principal.may(permission, &target) {
            return Err(forbidden());
        }
        let project = self.project(context, Some(project)).await?;
        if !context.principal.may(permission, &context.tenant())
            && self.leaves_approvals(known, project).await?
        {
            return Err(forbidden());
        }
        Ok(())
    }

    async fn bulk_act(
        &self,
        context: &RequestContext,
        known: &Datasource,
        input: &RunBulk,
        change: Option<UpdateDatasource>,
    ) -> Result<()> {
        let id = known.id;
        if let Some(operation) = input.action.operation() {
            return self
                .operate(context, id, operation, IfMatch::Any)
                .await
                .map(|_| ());
        }
        match (input.action, change) {
            (BulkAction::Delete, _) => self.delete_datasource(context, id, IfMatch::Any).await,
            (_, Some(change)) => {
                // The tags were worked out from what was read: what was changed meanwhile is not overwritten.
                let read = IfMatch::Revision(known.revision);
                self.update_datasource(context, id, change, read)
                    .await
                    .map(|_| ())
            }
            _ => {
                let publish = PublishVersion {
                    version: known.draft_version,
                    comment: input.comment.clone(),
                    break_glass: None,
                };
                self.publish(context, id, publish, IfMatch::Any).await.map(|_| ())
            }
        }
    }
}

/// The change of one datasource; nothing if it is as it should be.
fn update(known: &Datasource, change: BulkChange) -> Result<Option<UpdateDatasource>> {
    let removed = change.remove_tags.unwrap_or_default();
    let mut tags: Vec<String> = known
        .tags
        .iter()
        .filter(|tag| !removed.contains(tag))
        .cloned()
        .collect();
    for tag in change.add_tags.unwrap_or_default() {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    check_tags(&tags).map_err(|error| InputError::new("/change/add_tags", error.code, error.detail))?;
    let update = UpdateDatasource {
        tags: Some(tags).filter(|tags| *tags != known.tags),
        owner: change.owner.filter(|owner| known.owner.as_ref() != Some(owner)),
        project: change.project.filter(|project| known.project != Some(*project)),
        ..UpdateDatasource::default()
    };
    let changes = update.tags.is_some() || update.owner.is_some() || update.project.is_some();
    Ok(changes.then_some(update))
}

fn failed(id: DatasourceId, name: Option<String>, error: Error) -> BulkItem {
    let outcome = match &error {
        Error::NotFound("datasource") => BulkOutcome::NotFound,
        Error::Forbidden { .. } | Error::NotAllowed { .. } => BulkOutcome::Refused,
        _ => BulkOutcome::Failed,
    };
    let problem = Problem::from(error);
    BulkItem {
        id,
        name: name.filter(|_| outcome != BulkOutcome::NotFound),
        outcome,
        code: Some(problem.code.to_owned()),
        detail: problem.detail,
        errors: problem.errors,
    }
}
