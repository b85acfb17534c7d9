//! Who the caller is and what they hold now, read anew with each request: what was taken back counts no more at
//! once.

use std::collections::HashMap;

use halcyon_domain::{
    access::{Grant, Principal, Scope, Subject},
    id::{DatasourceId, OrganizationId, ProjectId},
};
use halcyon_store::{
    AllTenants, DatasourceFilter, MAX_LIMIT, PageRequest, RoleBinding, Tenant, User, Visibility,
};
use uuid::Uuid;

use super::{
    App, Error, RequestContext, Result,
    access::tenant,
    views::{HeldRole, Me, ScopeView},
};

/// Whether a role that was given counts where somebody acts: one of the organisation, or a global one.
pub(crate) fn counts_in(binding: &RoleBinding, organization: OrganizationId) -> bool {
    binding.organization.is_none_or(|own| own == organization)
}

impl App {
    /// A user as they act in an organisation: their own, or one that a role of theirs counts in. None if they
    /// are disabled, or have no business there.
    pub(super) async fn principal_as(
        &self,
        user: User,
        organization: OrganizationId,
    ) -> Result<Option<Principal>> {
        if user.disabled {
            return Ok(None);
        }
        let read = self.store.read();
        let grants = self.grants(Subject::User(user.id), organization).await?;
        if user.organization != organization && grants.is_empty() {
            return Ok(None);
        }
        let found = read.organizations().find(Tenant(organization)).await?;
        Ok(found.map(|_| Principal {
            subject: Subject::User(user.id),
            name: user.email,
            organization,
            grants,
        }))
    }

    /// What somebody holds in an organisation.
    pub(crate) async fn grants(&self, subject: Subject, organization: OrganizationId) -> Result<Vec<Grant>> {
        let reason = AllTenants::because("what somebody was given may be global");
        let given = self.store.read().role_bindings().of(reason, subject).await?;
        let held = given
            .into_iter()
            .filter(|binding| counts_in(binding, organization));
        Ok(held.map(|binding| binding.grant).collect())
    }

    /// The caller.
    ///
    /// # Errors
    /// The database fails.
    pub async fn me(&self, context: &RequestContext) -> Result<Me> {
        let principal = &context.principal;
        let read = self.store.read();
        let (name, email) = match principal.subject {
            Subject::User(id) => {
                let reason = AllTenants::because("a user may act outside the organisation they belong to");
                let user = read.users().find_any(reason, id).await?;
                let user = user.ok_or(Error::NotFound("user"))?;
                (user.name, Some(user.email))
            }
            Subject::ServiceAccount(_) => (principal.name.clone(), None),
        };
        let scopes: Vec<Scope> = principal.grants.iter().map(|grant| grant.scope).collect();
        let names = self.scope_names(tenant(context), &scopes).await?;
        let roles = principal.grants.iter().map(|grant| HeldRole {
            role: grant.role,
            scope: ScopeView::new(grant.scope, &names),
        });
        Ok(Me {
            kind: principal.subject.kind(),
            id: principal.subject.actor(),
            email,
            name,
            organization: principal.organization,
            roles: roles.collect(),
        })
    }

    /// The names of what scopes are of, as far as it is the tenant's.
    pub(crate) async fn scope_names(
        &self,
        tenant: Tenant,
        scopes: &[Scope],
    ) -> Result<HashMap<Uuid, String>> {
        let read = self.store.read();
        let mut names = HashMap::new();
        if scopes.contains(&Scope::Organization(tenant.0))
            && let Some(organization) = read.organizations().find(tenant).await?
        {
            names.insert(organization.id.0, organization.name);
        }
        let projects: Vec<ProjectId> = scopes.iter().filter_map(project_of).collect();
        if !projects.is_empty() {
            let projects = read.organizations().projects_of(tenant, &projects).await?;
            names.extend(projects.into_iter().map(|project| (project.id.0, project.name)));
        }
        let datasources: Vec<DatasourceId> = scopes.iter().filter_map(datasource_of).collect();
        for datasources in datasources.chunks(MAX_LIMIT as usize) {
            let filter = DatasourceFilter {
                visible: Some(Visibility {
                    projects: Vec::new(),
                    datasources: datasources.to_vec(),
                }),
                ..DatasourceFilter::default()
            };
            let whole = PageRequest {
                limit: MAX_LIMIT,
                ..PageRequest::default()
            };
            let found = read.datasources().list(tenant, &filter, &whole).await?;
            let found = found.items.into_iter();
            names.extend(found.map(|datasource| (datasource.id.0, datasource.name)));
        }
        Ok(names)
    }
}

const fn project_of(scope: &Scope) -> Option<ProjectId> {
    match scope {
        Scope::Project(id) => Some(*id),
        _ => None,
    }
}

const fn datasource_of(scope: &Scope) -> Option<DatasourceId> {
    match scope {
        Scope::Datasource(id) => Some(*id),
        _ => None,
    }
}
