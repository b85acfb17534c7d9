//! Role bindings: who was given which role where.

use halcyon_domain::{
    access::{Grant, Permission, Scope, Subject},
    audit::Resource,
    id::{OrganizationId, RoleBindingId, ServiceAccountId, UserId},
};
use halcyon_store::{AllTenants, BindingFilter, RoleBinding, Visibility, WriteTx};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, tenant},
    authority::{Admins, ObjectChange, no_such},
    role_binding_input::{CreateRoleBinding, ListRoleBindings, UpdateRoleBinding, subject_of},
    views::{List, RoleBindingView},
};

const ACROSS: AllTenants = AllTenants::because("a role may be given to somebody of another organisation");

fn resource(id: Option<RoleBindingId>, name: &str) -> Resource {
    Resource {
        kind: "role_binding".to_owned(),
        id: id.map(|id| id.to_string()),
        name: Some(name.to_owned()),
    }
}

fn told_of(binding: &RoleBinding) -> Value {
    json!({
        "user_id": binding.subject.user(), "service_account_id": binding.subject.service_account(),
        "role": binding.grant.role, "scope": binding.grant.scope,
    })
}

fn told_scope(scope: Scope) -> String {
    match scope.id() {
        Some(id) => format!("{} {id}", scope.kind()),
        None => scope.kind().to_string(),
    }
}

impl App {
    /// The role bindings that the caller may give and take: of the organisation, or of the projects and
    /// datasources that they are admin of. Global ones show to who holds the permission everywhere.
    ///
    /// # Errors
    /// The caller may see none, or the page cannot be had.
    pub async fn list_role_bindings(
        &self,
        context: &RequestContext,
        query: ListRoleBindings,
    ) -> Result<List<RoleBindingView>> {
        let visible = visible(context);
        if visible == Some(Visibility::default()) {
            self.authorize_tenant(context, Action::READ_ROLE_BINDINGS).await?;
        }
        let subject = subject_of(query.user_id, query.service_account_id).map_err(Error::Query)?;
        let filter = BindingFilter {
            subject,
            role: query.role,
            kind: query.scope_kind,
            scope_id: query.scope_id,
            global: context.principal.may_everywhere(Permission::RoleBindingRead),
            visible,
        };
        let read = self.store.read();
        let page = read
            .role_bindings()
            .list(tenant(context), &filter, &query.page())
            .await?;
        let names = self.binding_names(context, &page.items).await?;
        Ok(List::of(page, |binding| RoleBindingView::new(binding, &names)))
    }

    /// A role binding.
    ///
    /// # Errors
    /// There is none, or it is not for the caller to know.
    pub async fn get_role_binding(
        &self,
        context: &RequestContext,
        id: RoleBindingId,
    ) -> Result<RoleBindingView> {
        let binding = self.seen_binding(context, id).await?;
        self.binding_view(context, binding).await
    }

    /// Gives a role.
    ///
    /// # Errors
    /// The caller holds less at that scope, there is no such subject or scope, or the role was given already.
    pub async fn create_role_binding(
        &self,
        context: &RequestContext,
        input: CreateRoleBinding,
    ) -> Result<RoleBindingView> {
        let missing = || Error::field("/user_id", "required", "a user or a service account");
        let subject = subject_of(input.user_id, input.service_account_id)?.ok_or_else(missing)?;
        let grant = Grant {
            role: input.role,
            scope: input.scope.scope()?,
        };
        let action = Action::CREATE_ROLE_BINDING;
        let summary = format!("{} at {}", grant.role, told_scope(grant.scope));
        self.authorize_grant(context, action, grant, resource(None, &summary))
            .await?;
        let tx = self.begin_access().await?;
        // Nobody is deleted meanwhile, nor what the scope is of.
        let name = self.subject_name(context, subject).await?;
        hold(&tx, context, grant.scope).await?;
        let binding = self.new_binding(context, subject, grant);
        tx.role_bindings().insert(&binding).await?;
        let change = ObjectChange {
            action,
            resource: resource(Some(binding.id), &summary),
            before: &json!({}),
            after: &told_of(&binding),
            message: Some(format!("gave `{name}` the role {summary}")),
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await?;
        self.binding_view(context, binding).await
    }

    /// A role that is given now, not written yet.
    pub(super) fn new_binding(
        &self,
        context: &RequestContext,
        subject: Subject,
        grant: Grant,
    ) -> RoleBinding {
        let now = self.clock.now();
        RoleBinding {
            id: RoleBindingId::generate(),
            organization: (grant.scope != Scope::Global).then(|| context.organization()),
            subject,
            grant,
            created_at: now,
            created_by: Some(context.principal.subject.actor()),
            updated_at: now,
            revision: 1,
        }
    }

    /// Changes the role of a binding.
    ///
    /// # Errors
    /// There is none, the caller holds less at its scope than the role it is or is to be, it is the last admin's,
    /// the role was given already, or the revision is another one.
    pub async fn update_role_binding(
        &self,
        context: &RequestContext,
        id: RoleBindingId,
        input: UpdateRoleBinding,
        if_match: IfMatch,
    ) -> Result<RoleBindingView> {
        let action = Action::UPDATE_ROLE_BINDING;
        let known = self.seen_binding(context, id).await?;
        let scope = known.grant.scope;
        let about = || {
            resource(
                Some(id),
                &format!("{} at {}", known.grant.role, told_scope(scope)),
            )
        };
        let wanted = input.role.unwrap_or(known.grant.role);
        let strongest = known.grant.role.max(wanted);
        let grant = Grant {
            role: strongest,
            scope,
        };
        self.authorize_grant(context, action, grant, about()).await?;
        let tx = self.begin_access().await?;
        let before = tx.role_bindings().find(tenant(context), id).await?;
        let before = before.ok_or(Error::NotFound("role binding"))?;
        if_match.check(before.revision)?;
        if before.revision != known.revision {
            return Err(Error::Stale {
                current: before.revision,
            });
        }
        let home = home_of(&tx, before.subject).await?;
        let admins = Admins::before(&tx, home, std::slice::from_ref(&before)).await?;
        let mut after = before.clone();
        after.grant.role = wanted;
        let after = tx
            .role_bindings()
            .update(tenant(context), &after, self.clock.now())
            .await?;
        admins.are_kept(&tx, None).await?;
        let change = ObjectChange {
            action,
            resource: about(),
            before: &told_of(&before),
            after: &told_of(&after),
            message: None,
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await?;
        self.binding_view(context, after).await
    }

    /// Takes a role back.
    ///
    /// # Errors
    /// There is none, the caller holds less at its scope, it is the last admin's, or the revision is another one.
    pub async fn delete_role_binding(
        &self,
        context: &RequestContext,
        id: RoleBindingId,
        if_match: IfMatch,
    ) -> Result<()> {
        let action = Action::DELETE_ROLE_BINDING;
        let known = self.seen_binding(context, id).await?;
        let summary = format!("{} at {}", known.grant.role, told_scope(known.grant.scope));
        self.authorize_grant(context, action, known.grant, resource(Some(id), &summary))
            .await?;
        let tx = self.begin_access().await?;
        let before = tx.role_bindings().find(tenant(context), id).await?;
        let before = before.ok_or(Error::NotFound("role binding"))?;
        if_match.check(before.revision)?;
        if before.revision != known.revision {
            return Err(Error::Stale {
                current: before.revision,
            });
        }
        let home = home_of(&tx, before.subject).await?;
        let admins = Admins::before(&tx, home, std::slice::from_ref(&before)).await?;
        tx.role_bindings().delete(tenant(context), id).await?;
        admins.are_kept(&tx, None).await?;
        let change = ObjectChange {
            action,
            resource: resource(Some(id), &summary),
            before: &told_of(&before),
            after: &json!({}),
            message: Some(format!("took back the role {summary}")),
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await
    }

    /// A role binding that the caller may see; else it does not exist.
    async fn seen_binding(&self, context: &RequestContext, id: RoleBindingId) -> Result<RoleBinding> {
        let found = self
            .store
            .read()
            .role_bindings()
            .find(tenant(context), id)
            .await?;
        let binding = found.ok_or(Error::NotFound("role binding"))?;
        let scope = binding.grant.scope;
        let principal = &context.principal;
        let sees = match self.target_of_scope(context, scope).await? {
            _ if scope == Scope::Global => principal.may_everywhere(Permission::RoleBindingRead),
            Some(target) => principal.may(Permission::RoleBindingRead, &target),
            None => false,
        };
        if sees {
            Ok(binding)
        } else {
            Err(Error::NotFound("role binding"))
        }
    }

    /// The name of whom a role is given to. A user of another organisation is named only by who could see them.
    pub(super) async fn subject_name(&self, context: &RequestContext, subject: Subject) -> Result<String> {
        let read = self.store.read();
        match subject {
            Subject::User(id) => {
                let found = if context.principal.may_everywhere(Permission::UserRead) {
                    read.users().find_any(ACROSS, id).await?
                } else {
                    read.users().find(tenant(context), id).await?
                };
                let unknown = || Error::field("/user_id", "unknown_value", "there is no such user");
                found.map(|user| user.email).ok_or_else(unknown)
            }
            Subject::ServiceAccount(id) => {
                let found = read.service_accounts().find(tenant(context), id).await?;
                let detail = "there is no such service account";
                let unknown = || Error::field("/service_account_id", "unknown_value", detail);
                found.map(|account| account.name).ok_or_else(unknown)
            }
        }
    }

    async fn binding_view(&self, context: &RequestContext, binding: RoleBinding) -> Result<RoleBindingView> {
        let names = self
            .binding_names(context, std::slice::from_ref(&binding))
            .await?;
        Ok(RoleBindingView::new(binding, &names))
    }

    /// The names of whom roles were given to and of where they hold.
    async fn binding_names(
        &self,
        context: &RequestContext,
        bindings: &[RoleBinding],
    ) -> Result<std::collections::HashMap<Uuid, String>> {
        let scopes: Vec<Scope> = bindings.iter().map(|binding| binding.grant.scope).collect();
        let mut names = self.scope_names(tenant(context), &scopes).await?;
        let users: Vec<UserId> = bindings
            .iter()
            .filter_map(|binding| binding.subject.user())
            .collect();
        let accounts: Vec<ServiceAccountId> = bindings
            .iter()
            .filter_map(|binding| binding.subject.service_account())
            .collect();
        let read = self.store.read();
        let users = read.users().find_many(ACROSS, &users).await?;
        names.extend(users.into_iter().map(|user| (user.id.0, user.email)));
        let accounts = read.service_accounts().find_many(ACROSS, &accounts).await?;
        names.extend(accounts.into_iter().map(|account| (account.id.0, account.name)));
        Ok(names)
    }
}

/// The organisation that somebody belongs to, if it is a person: a global admin is an admin of their own.
async fn home_of(tx: &WriteTx, subject: Subject) -> Result<Option<OrganizationId>> {
    let Subject::User(id) = subject else {
        return Ok(None);
    };
    let user = tx.users().find_any(ACROSS, id).await?;
    Ok(user.map(|user| user.organization))
}

/// Keeps what a scope is of from being deleted until the role is given.
async fn hold(tx: &WriteTx, context: &RequestContext, scope: Scope) -> Result<()> {
    let is_there = match scope {
        Scope::Global | Scope::Organization(_) => true,
        Scope::Project(id) => tx.organizations().hold_project(tenant(context), id).await?,
        Scope::Datasource(id) => tx.datasources().lock(tenant(context), id).await?.is_some(),
    };
    if is_there { Ok(()) } else { Err(no_such(scope)) }
}

/// Where the caller may see role bindings, when that is not the whole organisation.
fn visible(context: &RequestContext) -> Option<Visibility> {
    let principal = &context.principal;
    if principal.may(Permission::RoleBindingRead, &context.tenant()) {
        return None;
    }
    let mut visible = Visibility::default();
    let counted = principal
        .grants
        .iter()
        .filter(|grant| grant.role.allows(Permission::RoleBindingRead));
    for grant in counted {
        match grant.scope {
            Scope::Project(id) => visible.projects.push(id),
            Scope::Datasource(id) => visible.datasources.push(id),
            Scope::Global | Scope::Organization(_) => {}
        }
    }
    Some(visible)
}
