//! Datasources: create, change, copy, delete.

use halcyon_connectors::find as find_connector;
use halcyon_domain::{
    access::{Scope, Target},
    audit::Resource,
    datasource::{DEFAULT_ENV, Datasource, DatasourceEventKind, check_name, check_tags},
    id::{DatasourceId, ProjectId, VersionId},
    lifecycle::{DatasourceStatus, DesiredState},
    version::Version,
};
use halcyon_store::{PageRequest, WriteTx};
use serde_json::{Value, json};

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, Change, resource_of, tenant},
    authority::told,
    datasource_input::{
        CloneDatasource, CreateDatasource, UpdateDatasource, check_comment, check_text, check_update,
        check_word, merge, unknown_connector,
    },
    datasource_reads::view,
    diff::compare,
    validation,
    views::DatasourceView,
};

impl App {
    /// Makes a datasource, with draft version 1 if a configuration is given.
    ///
    /// # Errors
    /// The input does not fit, or the name is taken.
    pub async fn create_datasource(
        &self,
        context: &RequestContext,
        input: CreateDatasource,
    ) -> Result<DatasourceView> {
        let project = match input.project {
            None => self.project(context, None).await?,
            named => named,
        };
        self.authorize_create(context, Action::CREATE, project, &input.name)
            .await?;
        // A named project is looked for afterwards: whether there is one is not for everybody to know.
        if input.project.is_some() {
            self.project(context, project).await?;
        }
        let mut datasource = self.new_datasource(context, &input, project)?;
        if let Some(owner) = datasource.owner.take() {
            datasource.owner = Some(self.owner_text(context, owner).await?);
        }
        let message = format!("made `{}`", datasource.name);
        let draft = input.config.map(|config| (config, input.comment));
        self.insert_datasource(context, datasource, draft, Action::CREATE, message)
            .await
    }

    pub(super) fn new_datasource(
        &self,
        context: &RequestContext,
        input: &CreateDatasource,
        project: Option<ProjectId>,
    ) -> Result<Datasource> {
        let mut errors = Vec::new();
        errors.extend(check_name(&input.name).err());
        let tags = input.tags.clone().unwrap_or_default();
        errors.extend(check_tags(&tags).err());
        let env = input.env.clone().unwrap_or_else(|| DEFAULT_ENV.to_owned());
        errors.extend(check_word(&env, "/env").err());
        errors.extend(check_text(input.owner.as_deref(), "/owner", 200).err());
        errors.extend(check_text(input.description.as_deref(), "/description", 4_000).err());
        errors.extend(check_comment(input.comment.as_deref()).err());
        match find_connector(&input.r#type) {
            None => errors.push(unknown_connector(&input.r#type)),
            Some(connector) => {
                let config = input.config.as_ref();
                errors.extend(
                    config
                        .map(|config| validation::draft(connector, config))
                        .unwrap_or_default(),
                );
            }
        }
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let now = self.clock.now();
        Ok(Datasource {
            id: DatasourceId::generate(),
            organization: context.organization(),
            project,
            name: input.name.clone(),
            connector: input.r#type.clone(),
            description: input.description.clone(),
            tags,
            owner: input.owner.clone(),
            env,
            status: DatasourceStatus::Draft,
            desired_state: DesiredState::Running,
            current_version: None,
            draft_version: None,
            generation: 0,
            revision: 1,
            created_at: now,
            created_by: Some(context.principal.subject.actor()),
            updated_at: now,
            updated_by: Some(context.principal.subject.actor()),
        })
    }

    async fn insert_datasource(
        &self,
        context: &RequestContext,
        mut datasource: Datasource,
        draft: Option<(Value, Option<String>)>,
        action: Action,
        message: String,
    ) -> Result<DatasourceView> {
        datasource.draft_version = draft.is_some().then_some(1);
        let config = draft.as_ref().map(|(config, _)| config.clone());
        let tx = self.store.begin().await?;
        hold_project(&tx, context, datasource.project).await?;
        tx.datasources().insert(&datasource).await?;
        if let Some((config, comment)) = draft {
            let version = Version::new(
                VersionId::generate(),
                datasource.id,
                1,
                config,
                comment,
                Some(context.principal.subject.actor()),
                datasource.created_at,
            );
            tx.versions().insert(tenant(context), version.record()).await?;
            self.written(&tx, context, version.record()).await?;
        }
        let mut made = metadata(&datasource);
        if let (Some(config), Some(made)) = (config, made.as_object_mut()) {
            made.insert("config".to_owned(), config);
        }
        let change = Change {
            action,
            kind: DatasourceEventKind::Created,
            datasource: &datasource,
            version: datasource.draft_version,
            diff: Some(compare(&json!({}), &made).0),
            message,
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(view(datasource, None))
    }

    /// Changes what is given of a datasource.
    ///
    /// # Errors
    /// The input does not fit, the name is taken, or the revision is another one.
    pub async fn update_datasource(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: UpdateDatasource,
        if_match: IfMatch,
    ) -> Result<DatasourceView> {
        let known = self.datasource(context, id, Action::UPDATE).await?;
        check_update(&known, &input)?;
        let project = match input.project {
            Some(project) if Some(project) != known.project => {
                // Moving it into a project takes the right to make one there.
                self.authorize_create(context, Action::UPDATE, Some(project), &known.name)
                    .await?;
                let project = self.project(context, Some(project)).await?;
                if self.leaves_approvals(&known, project).await? {
                    // Who is bound by approvals does not decide on them.
                    let (whole, about) = (context.tenant(), resource_of(&known));
                    self.authorize(context, Action::UPDATE, &whole, about).await?;
                }
                project
            }
            _ => known.project,
        };
        let owner = match input.owner.clone() {
            Some(owner) => Some(self.owner_text(context, owner).await?),
            None => None,
        };
        let input = UpdateDatasource { owner, ..input };
        let tx = self.store.begin().await?;
        let before = self.locked(&tx, context, id, if_match).await?;
        if project != before.project {
            hold_project(&tx, context, project).await?;
        }
        let mut after = before.clone();
        merge(&mut after, &input, project);
        after.updated_at = self.clock.now();
        after.updated_by = Some(context.principal.subject.actor());
        let mut version = None;
        if let Some(config) = input.config {
            version = Some(
                self.put_draft(&tx, context, &mut after, config, input.comment)
                    .await?,
            );
        }
        let after = tx.datasources().update(&after).await?;
        let (diff, summary) = compare(&metadata(&before), &metadata(&after));
        let message = match (summary.is_empty(), version) {
            (true, Some(number)) => format!("draft {number} changed"),
            (true, None) => "nothing changed".to_owned(),
            (false, _) => summary.join("; "),
        };
        let change = Change {
            action: Action::UPDATE,
            kind: DatasourceEventKind::Updated,
            datasource: &after,
            version,
            diff: Some(diff),
            message,
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        self.with_state(context, after).await
    }

    /// Copies a datasource's metadata and newest configuration into a new draft. Secrets stay where they are.
    ///
    /// # Errors
    /// The name does not fit or is taken.
    pub async fn clone_datasource(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: CloneDatasource,
    ) -> Result<DatasourceView> {
        let source = self.datasource(context, id, Action::READ).await?;
        self.authorize_create(context, Action::CLONE, source.project, &input.name)
            .await?;
        let newest = PageRequest {
            limit: 1,
            ..PageRequest::default()
        };
        let newest = self
            .store
            .read()
            .versions()
            .list(tenant(context), id, None, &newest)
            .await?;
        let newest = newest.items.into_iter().next();
        let message = format!("copied from `{}`", source.name);
        let draft = newest.map(|version| {
            let comment = format!("copied from version {} of `{}`", version.number, source.name);
            (version.config, comment)
        });
        let input = CreateDatasource {
            name: input.name,
            r#type: source.connector,
            project: source.project,
            description: source.description,
            tags: Some(source.tags),
            owner: source.owner,
            env: Some(input.env.unwrap_or(source.env)),
            config: None,
            comment: None,
        };
        let datasource = self.new_datasource(context, &input, source.project)?;
        let draft = draft.map(|(config, comment)| (config, Some(comment)));
        self.insert_datasource(context, datasource, draft, Action::CLONE, message)
            .await
    }

    /// Deletes a datasource, softly; its secrets are destroyed.
    ///
    /// # Errors
    /// There is none, or the revision is another one.
    pub async fn delete_datasource(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        if_match: IfMatch,
    ) -> Result<()> {
        self.datasource(context, id, Action::DELETE).await?;
        let tx = self.store.begin().await?;
        let mut datasource = self.locked(&tx, context, id, if_match).await?;
        datasource.updated_by = Some(context.principal.subject.actor());
        tx.datasources().delete(&datasource, self.clock.now()).await?;
        tx.samples().delete_all(tenant(context), id).await?;
        self.close_approvals(&tx, context, id).await?;
        let given = tx
            .role_bindings()
            .delete_at(tenant(context), Scope::Datasource(id))
            .await?;
        // What the store wrote: it raises the generation so that workers let go.
        datasource.status = DatasourceStatus::Archived;
        datasource.generation += 1;
        let mut known = metadata(&datasource);
        known["role_bindings"] = told(&given);
        let change = Change {
            action: Action::DELETE,
            kind: DatasourceEventKind::Deleted,
            datasource: &datasource,
            version: datasource.current_version,
            diff: Some(compare(&known, &json!({})).0),
            message: format!("deleted `{}`", datasource.name),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await
    }

    /// The datasource, kept from changing until the transaction ends.
    pub(crate) async fn locked(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        id: DatasourceId,
        if_match: IfMatch,
    ) -> Result<Datasource> {
        let found = tx.datasources().lock(tenant(context), id).await?;
        let datasource = found.ok_or(Error::NotFound("datasource"))?;
        if_match.check(datasource.revision)?;
        Ok(datasource)
    }

    pub(crate) async fn project(
        &self,
        context: &RequestContext,
        id: Option<ProjectId>,
    ) -> Result<Option<ProjectId>> {
        let organizations = self.store.read();
        let organizations = organizations.organizations();
        let Some(id) = id else {
            let default = organizations.project_by_name(tenant(context), "default").await?;
            return Ok(default.map(|project| project.id));
        };
        let found = organizations.project(tenant(context), id).await?;
        let unknown = || Error::field("/project", "unknown_value", "there is no such project");
        found.map(|project| Some(project.id)).ok_or_else(unknown)
    }

    pub(crate) async fn authorize_create(
        &self,
        context: &RequestContext,
        action: Action,
        project: Option<ProjectId>,
        name: &str,
    ) -> Result<()> {
        let target = Target {
            organization: context.organization(),
            project,
            datasource: None,
        };
        let resource = Resource {
            kind: "datasource".to_owned(),
            id: None,
            name: Some(name.chars().take(120).collect()),
        };
        self.authorize(context, action, &target, resource).await
    }
}

/// Keeps a datasource's project from being deleted until the datasource is in it.
async fn hold_project(tx: &WriteTx, context: &RequestContext, project: Option<ProjectId>) -> Result<()> {
    if let Some(id) = project
        && !tx.organizations().hold_project(tenant(context), id).await?
    {
        return Err(Error::field(
            "/project",
            "unknown_value",
            "there is no such project",
        ));
    }
    Ok(())
}

/// What the audit trail compares of a datasource.
pub(crate) fn metadata(datasource: &Datasource) -> Value {
    json!({
        "name": datasource.name, "type": datasource.connector, "project": datasource.project,
        "description": datasource.description, "tags": datasource.tags, "owner": datasource.owner,
        "env": datasource.env, "status": datasource.status, "desired_state": datasource.desired_state,
        "current_version": datasource.current_version, "draft_version": datasource.draft_version,
    })
}
