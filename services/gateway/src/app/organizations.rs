//! Organisations: the tenants.

use halcyon_domain::{
    access::Subject,
    audit::Resource,
    datasource::check_name,
    id::{OrganizationId, ProjectId},
    organization::ApprovalPolicy,
};
use halcyon_store::{AllTenants, Organization, PageRequest, Project, Tenant, WriteTx};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::Action,
    authority::{Admins, ObjectChange, told},
    paged,
    views::{List, OrganizationView},
};

paged! {
    /// Which organisations to list.
    ListOrganizations {
        /// Those with this text in their name.
        q: Option<String>,
    }
}

/// An organisation to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOrganization {
    /// Its name, unique.
    pub name: String,
    /// Whether what is published needs an approval; `off` if absent.
    #[serde(default)]
    pub approval_policy: Option<ApprovalPolicy>,
}

/// What to change of an organisation; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateOrganization {
    /// Its name.
    pub name: Option<String>,
    /// Whether what is published needs an approval.
    pub approval_policy: Option<ApprovalPolicy>,
}

/// The name of an organisation's first project.
const DEFAULT_PROJECT: &str = "default";

const ACROSS: AllTenants = AllTenants::because("organisations are seen from outside");

fn resource(id: Option<OrganizationId>, name: &str) -> Resource {
    Resource {
        kind: "organization".to_owned(),
        id: id.map(|id| id.to_string()),
        name: Some(name.chars().take(120).collect()),
    }
}

fn told_of(organization: &Organization) -> Value {
    json!({"name": organization.name, "approval_policy": organization.approval_policy})
}

impl App {
    /// The organisations that the caller holds a role in: all of them, with a role everywhere.
    ///
    /// # Errors
    /// The caller holds no role at all, or the page cannot be had.
    pub async fn list_organizations(
        &self,
        context: &RequestContext,
        query: ListOrganizations,
    ) -> Result<List<OrganizationView>> {
        let own = self.own_organizations(context).await?;
        if own.as_ref().is_some_and(Vec::is_empty) {
            self.authorize_tenant(context, Action::READ_ORGANIZATIONS).await?;
        }
        let (q, page) = (query.q.as_deref(), query.page());
        let read = self.store.read();
        let page = read
            .organizations()
            .list(ACROSS, own.as_deref(), q, &page)
            .await?;
        Ok(List::of(page, OrganizationView::from))
    }

    /// The organisations that the caller holds a role in; none given means all.
    async fn own_organizations(&self, context: &RequestContext) -> Result<Option<Vec<OrganizationId>>> {
        let principal = &context.principal;
        if principal.may_everywhere(Action::READ_ORGANIZATIONS.permission) {
            return Ok(None);
        }
        let mut own: Vec<OrganizationId> = match principal.subject {
            Subject::User(_) => {
                let read = self.store.read();
                let given = read.role_bindings().of(ACROSS, principal.subject).await?;
                given.iter().filter_map(|binding| binding.organization).collect()
            }
            // A program acts in the organisation that it belongs to.
            Subject::ServiceAccount(_) => Vec::new(),
        };
        if !principal.grants.is_empty() {
            own.push(principal.organization);
        }
        own.sort_unstable();
        own.dedup();
        Ok(Some(own))
    }

    /// An organisation.
    ///
    /// # Errors
    /// There is none, or the caller holds no role in it.
    pub async fn get_organization(
        &self,
        context: &RequestContext,
        id: OrganizationId,
    ) -> Result<OrganizationView> {
        self.seen_organization(context, id)
            .await
            .map(OrganizationView::from)
    }

    async fn seen_organization(&self, context: &RequestContext, id: OrganizationId) -> Result<Organization> {
        let own = self.own_organizations(context).await?;
        if own.is_some_and(|own| !own.contains(&id)) {
            return Err(Error::NotFound("organisation"));
        }
        let found = self.store.read().organizations().find(Tenant(id)).await?;
        found.ok_or(Error::NotFound("organisation"))
    }

    /// Makes an organisation and its project `default`.
    ///
    /// # Errors
    /// The caller is no admin everywhere, or the name does not fit or is taken.
    pub async fn create_organization(
        &self,
        context: &RequestContext,
        input: CreateOrganization,
    ) -> Result<OrganizationView> {
        let action = Action::CREATE_ORGANIZATION;
        self.authorize_everywhere(context, action, resource(None, &input.name))
            .await?;
        check_name(&input.name)?;
        let now = self.clock.now();
        let organization = Organization {
            id: OrganizationId::generate(),
            name: input.name,
            approval_policy: input.approval_policy.unwrap_or(ApprovalPolicy::Off),
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let project = Project {
            id: ProjectId::generate(),
            organization: organization.id,
            name: DEFAULT_PROJECT.to_owned(),
            description: None,
            approval_policy: None,
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let tx = self.store.begin().await?;
        tx.organizations().insert(&organization).await?;
        tx.organizations().insert_project(&project).await?;
        let change = ObjectChange {
            action,
            resource: resource(Some(organization.id), &organization.name),
            before: &json!({}),
            after: &told_of(&organization),
            message: Some(format!(
                "made `{}` with the project `{}`",
                organization.name, project.name
            )),
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(organization.into())
    }

    /// Changes what is given of an organisation. Another one than the caller acts in takes the role everywhere.
    ///
    /// # Errors
    /// There is none, the input does not fit, the name is taken, or the revision is another one.
    pub async fn update_organization(
        &self,
        context: &RequestContext,
        id: OrganizationId,
        input: UpdateOrganization,
        if_match: IfMatch,
    ) -> Result<OrganizationView> {
        let action = Action::UPDATE_ORGANIZATION;
        let known = self.seen_organization(context, id).await?;
        let about = resource(Some(id), &known.name);
        if id == context.organization() {
            self.authorize(context, action, &context.tenant(), about).await?;
        } else {
            self.authorize_everywhere(context, action, about).await?;
        }
        if let Some(name) = &input.name {
            check_name(name)?;
        }
        let tx = self.store.begin().await?;
        let before = found(&tx, id, if_match).await?;
        let mut after = before.clone();
        if let Some(name) = input.name {
            after.name = name;
        }
        after.approval_policy = input.approval_policy.unwrap_or(before.approval_policy);
        let after = tx.organizations().update(&after, self.clock.now()).await?;
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

    /// Deletes an organisation without datasources, with its projects, users, service accounts and roles.
    ///
    /// # Errors
    /// The caller is no admin everywhere or acts in it, it has datasources, the last admin would go with it, or
    /// the revision is another one.
    pub async fn delete_organization(
        &self,
        context: &RequestContext,
        id: OrganizationId,
        if_match: IfMatch,
    ) -> Result<()> {
        let action = Action::DELETE_ORGANIZATION;
        let known = self.seen_organization(context, id).await?;
        self.authorize_everywhere(context, action, resource(Some(id), &known.name))
            .await?;
        if id == context.organization() {
            let detail = "you act in this organisation; switch to another one to delete it".to_owned();
            return Err(Error::Conflict {
                code: "own_organization",
                detail,
            });
        }
        let tx = self.begin_access().await?;
        let before = found(&tx, id, if_match).await?;
        let (tenant, now) = (Tenant(id), self.clock.now());
        // First the projects: whoever is about to put a datasource into one is done then, or finds none any more.
        tx.organizations().delete_projects(tenant, now).await?;
        if tx.datasources().any_in(tenant, None).await? {
            let detail = "the organisation has datasources; delete them first".to_owned();
            return Err(Error::Conflict {
                code: "not_empty",
                detail,
            });
        }
        let taken = self.empty(&tx, tenant).await?;
        tx.organizations().delete(&before, now).await?;
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

    /// Deletes the users and service accounts of an organisation, and all roles that were given in it or to
    /// them. Returns those roles.
    async fn empty(&self, tx: &WriteTx, tenant: Tenant) -> Result<Vec<halcyon_store::RoleBinding>> {
        let now = self.clock.now();
        let mut users = Vec::new();
        let mut page = PageRequest::default();
        loop {
            let found = tx.users().list(tenant, None, &page).await?;
            users.extend(found.items);
            page.cursor = found.next_cursor;
            if page.cursor.is_none() {
                break;
            }
        }
        let mut given = Vec::new();
        for user in &users {
            given.extend(tx.role_bindings().of(ACROSS, Subject::User(user.id)).await?);
        }
        let admins = Admins::before(tx, None, &given).await?;
        let mut taken = Vec::new();
        for user in &users {
            taken.extend(self.remove_user(tx, user, now).await?);
        }
        taken.extend(tx.role_bindings().delete_in(tenant).await?);
        tx.service_accounts().delete_all(tenant, now).await?;
        admins.are_kept(tx, Some(tenant.0)).await?;
        Ok(taken)
    }
}

async fn found(tx: &WriteTx, id: OrganizationId, if_match: IfMatch) -> Result<Organization> {
    let found = tx.organizations().find(Tenant(id)).await?;
    let organization = found.ok_or(Error::NotFound("organisation"))?;
    if_match.check(organization.revision)?;
    Ok(organization)
}
