//! Projects: the parts of an organisation that roles can be given in.

use halcyon_domain::{
    access::{Permission, Scope, Target},
    audit::Resource,
    id::ProjectId,
    organization::ApprovalPolicy,
};
use halcyon_store::{Project, WriteTx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, tenant},
    authority::{ObjectChange, told},
    datasource_input::check_named,
    paged,
    views::{List, ProjectView},
};

paged! {
    /// Which projects to list.
    ListProjects {
        /// Those with this text in their name or description.
        q: Option<String>,
    }
}

/// Whether what is published in a project needs an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectApprovalPolicy {
    /// As the organisation says.
    Inherit,
    /// Whoever may publish does so.
    Off,
    /// Somebody else approves first.
    Required,
}

impl From<Option<ApprovalPolicy>> for ProjectApprovalPolicy {
    fn from(policy: Option<ApprovalPolicy>) -> Self {
        match policy {
            None => Self::Inherit,
            Some(ApprovalPolicy::Off) => Self::Off,
            Some(ApprovalPolicy::Required) => Self::Required,
        }
    }
}

impl From<ProjectApprovalPolicy> for Option<ApprovalPolicy> {
    fn from(policy: ProjectApprovalPolicy) -> Self {
        match policy {
            ProjectApprovalPolicy::Inherit => None,
            ProjectApprovalPolicy::Off => Some(ApprovalPolicy::Off),
            ProjectApprovalPolicy::Required => Some(ApprovalPolicy::Required),
        }
    }
}

/// A project to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Its name, unique in the organisation.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether what is published in it needs an approval; `inherit` if absent.
    #[serde(default)]
    pub approval_policy: Option<ProjectApprovalPolicy>,
}

/// What to change of a project; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateProject {
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether what is published in it needs an approval. To change it takes an admin of the organisation.
    pub approval_policy: Option<ProjectApprovalPolicy>,
}

fn resource(id: Option<ProjectId>, name: &str) -> Resource {
    Resource {
        kind: "project".to_owned(),
        id: id.map(|id| id.to_string()),
        name: Some(name.chars().take(120).collect()),
    }
}

fn told_of(project: &Project) -> Value {
    json!({
        "name": project.name, "description": project.description,
        "approval_policy": ProjectApprovalPolicy::from(project.approval_policy),
    })
}

impl App {
    /// The projects that the caller may see.
    ///
    /// # Errors
    /// The caller may see none, or the page cannot be had.
    pub async fn list_projects(
        &self,
        context: &RequestContext,
        query: ListProjects,
    ) -> Result<List<ProjectView>> {
        let own = own_projects(context);
        if own.as_ref().is_some_and(Vec::is_empty) {
            self.authorize_tenant(context, Action::READ_PROJECTS).await?;
        }
        let (q, page) = (query.q.as_deref(), query.page());
        let read = self.store.read();
        let page = read
            .organizations()
            .projects(tenant(context), own.as_deref(), q, &page)
            .await?;
        Ok(List::of(page, ProjectView::from))
    }

    /// A project.
    ///
    /// # Errors
    /// There is none, or it is not for the caller to know.
    pub async fn get_project(&self, context: &RequestContext, id: ProjectId) -> Result<ProjectView> {
        self.seen_project(context, id).await.map(ProjectView::from)
    }

    async fn seen_project(&self, context: &RequestContext, id: ProjectId) -> Result<Project> {
        let target = Target::project(context.organization(), id);
        if !context.principal.may(Permission::ProjectRead, &target) {
            return Err(Error::NotFound("project"));
        }
        let found = self
            .store
            .read()
            .organizations()
            .project(tenant(context), id)
            .await?;
        found.ok_or(Error::NotFound("project"))
    }

    /// Makes a project.
    ///
    /// # Errors
    /// The caller is no admin of the organisation, or the input does not fit, or the name is taken.
    pub async fn create_project(
        &self,
        context: &RequestContext,
        input: CreateProject,
    ) -> Result<ProjectView> {
        let action = Action::CREATE_PROJECT;
        self.authorize(context, action, &context.tenant(), resource(None, &input.name))
            .await?;
        check_named(Some(&input.name), input.description.as_deref())?;
        let now = self.clock.now();
        let project = Project {
            id: ProjectId::generate(),
            organization: context.organization(),
            name: input.name,
            description: input.description,
            approval_policy: input.approval_policy.and_then(Option::from),
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let tx = self.store.begin().await?;
        tx.organizations().insert_project(&project).await?;
        let change = ObjectChange {
            action,
            resource: resource(Some(project.id), &project.name),
            before: &json!({}),
            after: &told_of(&project),
            message: Some(format!("made `{}`", project.name)),
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(project.into())
    }

    /// Changes what is given of a project.
    ///
    /// # Errors
    /// There is none, the input does not fit, the name is taken, or the revision is another one.
    pub async fn update_project(
        &self,
        context: &RequestContext,
        id: ProjectId,
        input: UpdateProject,
        if_match: IfMatch,
    ) -> Result<ProjectView> {
        let action = Action::UPDATE_PROJECT;
        let known = self.seen_project(context, id).await?;
        let wanted: Option<Option<ApprovalPolicy>> = input.approval_policy.map(Option::from);
        let target = if wanted.is_some_and(|wanted| wanted != known.approval_policy) {
            // Who is bound by approvals does not decide on them.
            context.tenant()
        } else {
            Target::project(context.organization(), id)
        };
        self.authorize(context, action, &target, resource(Some(id), &known.name))
            .await?;
        check_named(input.name.as_deref(), input.description.as_deref())?;
        let tx = self.store.begin().await?;
        let before = locked(&tx, context, id, if_match).await?;
        let mut after = before.clone();
        if let Some(name) = input.name {
            after.name = name;
        }
        if input.description.is_some() {
            after.description = input.description;
        }
        if let Some(policy) = wanted.filter(|_| target == context.tenant()) {
            after.approval_policy = policy;
        }
        let after = tx
            .organizations()
            .update_project(&after, self.clock.now())
            .await?;
        let change = ObjectChange {
            action,
            resource: resource(Some(id), &after.name),
            before: &told_of(&before),
            after: &told_of(&after),
            message: None,
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(after.into())
    }

    /// Deletes a project without datasources, with the roles that were given in it.
    ///
    /// # Errors
    /// There is none, it has datasources, or the revision is another one.
    pub async fn delete_project(
        &self,
        context: &RequestContext,
        id: ProjectId,
        if_match: IfMatch,
    ) -> Result<()> {
        let action = Action::DELETE_PROJECT;
        let known = self.seen_project(context, id).await?;
        let target = Target::project(context.organization(), id);
        self.authorize(context, action, &target, resource(Some(id), &known.name))
            .await?;
        let tx = self.store.begin().await?;
        let before = locked(&tx, context, id, if_match).await?;
        if tx.datasources().any_in(tenant(context), Some(id)).await? {
            let detail = "the project has datasources; move or delete them first".to_owned();
            return Err(Error::Conflict {
                code: "not_empty",
                detail,
            });
        }
        tx.organizations()
            .delete_project(&before, self.clock.now())
            .await?;
        let taken = tx
            .role_bindings()
            .delete_at(tenant(context), Scope::Project(id))
            .await?;
        let mut told_before = told_of(&before);
        told_before["role_bindings"] = told(&taken);
        let change = ObjectChange {
            action,
            resource: resource(Some(id), &before.name),
            before: &told_before,
            after: &json!({}),
            message: Some(format!("deleted `{}`", before.name)),
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await
    }
}

/// The projects that the caller holds a role in; none given means all of the organisation.
fn own_projects(context: &RequestContext) -> Option<Vec<ProjectId>> {
    let principal = &context.principal;
    if principal.may(Permission::ProjectRead, &context.tenant()) {
        return None;
    }
    let own = principal.grants.iter().filter_map(|grant| match grant.scope {
        Scope::Project(id) if grant.role.allows(Permission::ProjectRead) => Some(id),
        _ => None,
    });
    Some(own.collect())
}

async fn locked(tx: &WriteTx, context: &RequestContext, id: ProjectId, if_match: IfMatch) -> Result<Project> {
    let found = tx.organizations().lock_project(tenant(context), id).await?;
    let project = found.ok_or(Error::NotFound("project"))?;
    if_match.check(project.revision)?;
    Ok(project)
}
