//! Who may hand out what, and what must never be lost by it. Each rule has its one home here:
//!
//! - nobody gives or takes a role beyond what they hold themselves at its scope;
//! - nobody changes a user or service account that holds more than they do, because whoever sets a password or
//!   makes a token can act as its owner;
//! - the last admin of an organisation, and the last of all, stay.

use std::collections::BTreeSet;

use halcyon_domain::{
    access::{Grant, Principal, Scope, Target},
    audit::{AuditOutcome, Resource},
    id::OrganizationId,
};
use halcyon_store::{AllTenants, Connection, Read, RoleBinding, RoleBindings, Tenant, WriteTx};
use serde_json::{Value, json};

use super::{
    App, Error, RequestContext, Result,
    access::{Action, Asker, target_of, tenant},
    diff::compare,
};

/// Held by every change that may take an admin away, so that two of them see each other.
const LOCK: &str = "halcyon.access";

const ACROSS: AllTenants = AllTenants::because("admins are looked for wherever a change may take one away");

/// Whether a caller holds all that somebody was given: a role at the same scope or around it that is as strong.
/// What was given in other organisations takes a role everywhere.
pub(crate) fn outranks(principal: &Principal, given: &[RoleBinding]) -> bool {
    let whole = Target::organization(principal.organization);
    given.iter().all(|binding| {
        let held = match binding.organization {
            Some(id) if id == principal.organization => principal.role_at(&whole),
            _ => principal.global_role(),
        };
        held.is_some_and(|held| held >= binding.grant.role)
    })
}

/// What the audit trail says of roles.
pub(crate) fn told(bindings: &[RoleBinding]) -> Value {
    let told = bindings.iter().map(|binding| {
        json!({
            "id": binding.id, "user_id": binding.subject.user(),
            "service_account_id": binding.subject.service_account(),
            "role": binding.grant.role, "scope": binding.grant.scope,
        })
    });
    told.collect()
}

/// A change of something that is no datasource, for the audit trail.
pub(crate) struct ObjectChange<'a> {
    pub(crate) action: Action,
    pub(crate) resource: Resource,
    pub(crate) before: &'a Value,
    pub(crate) after: &'a Value,
    /// One line for people; what changed, if absent.
    pub(crate) message: Option<String>,
}

/// Who was an admin before a change.
pub(crate) struct Admins {
    everywhere: bool,
    organizations: Vec<OrganizationId>,
}

impl Admins {
    /// Looks who is an admin, everywhere and in the organisations that roles were given in, and keeps others
    /// from taking one away until the transaction ends.
    pub(crate) async fn before(
        tx: &WriteTx,
        home: Option<OrganizationId>,
        given: &[RoleBinding],
    ) -> Result<Self> {
        let concerned: BTreeSet<OrganizationId> = given
            .iter()
            .filter_map(|binding| binding.organization)
            .chain(home)
            .collect();
        let bindings = tx.role_bindings();
        let mut organizations = Vec::new();
        for id in concerned {
            if has_admin(&bindings, id).await? {
                organizations.push(id);
            }
        }
        let everywhere = !bindings.global_admins(ACROSS).await?.is_empty();
        Ok(Self {
            everywhere,
            organizations,
        })
    }

    /// Checks, after the change, that what had an admin has one still. `gone` is an organisation that is deleted
    /// by the change.
    pub(crate) async fn are_kept(&self, tx: &WriteTx, gone: Option<OrganizationId>) -> Result<()> {
        let bindings = tx.role_bindings();
        if self.everywhere && bindings.global_admins(ACROSS).await?.is_empty() {
            return Err(last_admin("nobody would be admin everywhere any more"));
        }
        for id in self.organizations.iter().filter(|id| Some(**id) != gone) {
            if !has_admin(&bindings, *id).await? {
                return Err(last_admin("the organisation would have no admin any more"));
            }
        }
        Ok(())
    }
}

async fn has_admin<C: Connection>(bindings: &RoleBindings<'_, C>, id: OrganizationId) -> Result<bool> {
    Ok(!bindings.organization_admins(Tenant(id)).await?.is_empty())
}

/// What is answered of a scope that is not the organisation's.
pub(crate) fn no_such(scope: Scope) -> Error {
    let detail = format!("there is no such {}", scope.kind());
    Error::field("/scope/id", "unknown_value", detail)
}

fn last_admin(detail: &str) -> Error {
    Error::Conflict {
        code: "last_admin",
        detail: detail.to_owned(),
    }
}

impl App {
    /// A transaction that changes who may do what.
    pub(crate) async fn begin_access(&self) -> Result<WriteTx> {
        let tx = self.store.begin().await?;
        tx.lock(LOCK).await?;
        Ok(tx)
    }

    /// Checks that the caller may do something in every organisation.
    pub(crate) async fn authorize_everywhere(
        &self,
        context: &RequestContext,
        action: Action,
        resource: Resource,
    ) -> Result<()> {
        if context.principal.may_everywhere(action.permission) {
            return Ok(());
        }
        Err(self.forbid(context, action, resource).await)
    }

    /// Checks that the caller may give or take a role, and that its scope is one of their organisation's.
    pub(crate) async fn authorize_grant(
        &self,
        context: &RequestContext,
        action: Action,
        grant: Grant,
        resource: Resource,
    ) -> Result<()> {
        let found = self.target_of_scope(context, grant.scope).await?;
        let target = found.unwrap_or_else(|| named(context, grant.scope));
        // Asked first: whether there is such a thing is not for everybody to know.
        if !context.principal.may_grant(grant, &target) {
            return Err(self.forbid(context, action, resource).await);
        }
        found.map(|_| ()).ok_or_else(|| no_such(grant.scope))
    }

    /// What a scope is of, with all that it belongs to; none if it is not the caller's organisation's. The global
    /// scope is asked for at the organisation that the caller acts in.
    pub(crate) async fn target_of_scope(
        &self,
        context: &RequestContext,
        scope: Scope,
    ) -> Result<Option<Target>> {
        let read = self.store.read();
        Ok(match scope {
            Scope::Global => Some(context.tenant()),
            Scope::Organization(id) => (id == context.organization()).then(|| context.tenant()),
            Scope::Project(id) => project_target(&read, context, id).await?,
            Scope::Datasource(id) => {
                let found = read.datasources().find(tenant(context), id).await?;
                found.as_ref().map(target_of)
            }
        })
    }

    /// Writes a change's audit entry into its transaction.
    pub(crate) async fn record_object(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        change: ObjectChange<'_>,
    ) -> Result<()> {
        let (diff, summary) = compare(change.before, change.after);
        let message = match change.message {
            Some(message) => message,
            None if summary.is_empty() => "nothing changed".to_owned(),
            None => summary.join("; "),
        };
        let mut entry = self.entry(
            Asker::of(context),
            change.action.name,
            change.resource,
            AuditOutcome::Succeeded,
            message,
        );
        entry.diff = Some(diff);
        self.append_audit(tx, &entry, None).await
    }
}

async fn project_target(
    read: &Read,
    context: &RequestContext,
    id: halcyon_domain::id::ProjectId,
) -> Result<Option<Target>> {
    let found = read.organizations().project(tenant(context), id).await?;
    Ok(found.map(|project| Target::project(project.organization, project.id)))
}

/// What a scope would be of, if it were there.
fn named(context: &RequestContext, scope: Scope) -> Target {
    let mut target = context.tenant();
    match scope {
        Scope::Global | Scope::Organization(_) => {}
        Scope::Project(id) => target.project = Some(id),
        Scope::Datasource(id) => target.datasource = Some(id),
    }
    target
}
