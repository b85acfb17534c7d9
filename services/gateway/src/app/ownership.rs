//! Who answers for a datasource. The owner is a text: a user's e-mail address, or whatever else people agree on.
//! To hand a datasource over to a user gives them a role for it, too.

use halcyon_domain::{
    access::{Grant, Role, Scope, Subject},
    audit::Resource,
    datasource::DatasourceEventKind,
    id::{DatasourceId, UserId},
};
use halcyon_store::{AllTenants, RoleBinding, WriteTx};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    App, IfMatch, RequestContext, Result,
    access::{Action, Change, tenant},
    authority::told,
    datasources::metadata,
    diff::compare,
    views::DatasourceView,
};

/// To whom a datasource is handed over.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DelegateDatasource {
    /// The user who is to answer for it.
    pub user_id: UserId,
    /// The role that they are given for it; `admin` if absent.
    #[serde(default)]
    pub grant: Option<Role>,
}

const ACROSS: AllTenants = AllTenants::because("an owner may be named by an address of any organisation");

impl App {
    /// Hands a datasource over: the user becomes its owner, and is given a role for this one datasource, unless
    /// they were given one as strong already.
    ///
    /// # Errors
    /// There is no such datasource or user, the caller holds less for it, or the revision is another one.
    pub async fn delegate_datasource(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: DelegateDatasource,
        if_match: IfMatch,
    ) -> Result<DatasourceView> {
        let action = Action::DELEGATE;
        let known = self.datasource(context, id, action).await?;
        let grant = Grant {
            role: input.grant.unwrap_or(Role::Admin),
            scope: Scope::Datasource(id),
        };
        let about = Resource {
            kind: "datasource".to_owned(),
            id: Some(id.to_string()),
            name: Some(known.name),
        };
        self.authorize_grant(context, action, grant, about).await?;
        let subject = Subject::User(input.user_id);
        let owner = self.subject_name(context, subject).await?;
        let tx = self.begin_access().await?;
        let before = self.locked(&tx, context, id, if_match).await?;
        let mut after = before.clone();
        after.owner = Some(owner.clone());
        after.updated_at = self.clock.now();
        after.updated_by = Some(context.principal.subject.actor());
        let after = tx.datasources().update(&after).await?;
        let given = self.give_unless_held(&tx, context, subject, grant).await?;
        let mut told_after = metadata(&after);
        let message = match &given {
            Some(binding) => {
                told_after["role_bindings"] = told(std::slice::from_ref(binding));
                format!("handed over to `{owner}`, with the role {}", grant.role)
            }
            None => format!("handed over to `{owner}`"),
        };
        let change = Change {
            action,
            kind: DatasourceEventKind::OwnerChanged,
            datasource: &after,
            version: None,
            diff: Some(compare(&metadata(&before), &told_after).0),
            message,
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        self.with_state(context, after).await
    }

    async fn give_unless_held(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        subject: Subject,
        grant: Grant,
    ) -> Result<Option<RoleBinding>> {
        let given = tx.role_bindings().of(ACROSS, subject).await?;
        let is_held =
            |known: &RoleBinding| known.grant.scope == grant.scope && known.grant.role >= grant.role;
        if given.iter().any(is_held) {
            return Ok(None);
        }
        let binding = self.new_binding(context, subject, grant);
        tx.role_bindings().insert(&binding).await?;
        Ok(Some(binding))
    }

    /// An owner as it is kept: a user of the organisation, named by identifier or e-mail address, by the latter;
    /// other texts as they are.
    pub(super) async fn owner_text(&self, context: &RequestContext, owner: String) -> Result<String> {
        let read = self.store.read();
        let user = if let Ok(id) = owner.parse::<UserId>() {
            read.users().find(tenant(context), id).await?
        } else if owner.contains('@') {
            let found = read.users().by_email(ACROSS, &owner).await?;
            found
                .map(|found| found.user)
                .filter(|user| user.organization == context.organization())
        } else {
            None
        };
        Ok(user.map_or(owner, |user| user.email))
    }
}
