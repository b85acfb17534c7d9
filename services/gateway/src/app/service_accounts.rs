//! Service accounts: programs that sign in with tokens of their own.

use halcyon_domain::{access::Subject, audit::Resource, id::ServiceAccountId};
use halcyon_store::{AllTenants, RoleBinding, ServiceAccount, WriteTx};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, tenant},
    authority::{ObjectChange, outranks, told},
    datasource_input::check_named,
    paged,
    views::{List, ServiceAccountView},
};

paged! {
    /// Which service accounts to list.
    ListServiceAccounts {
        /// Those with this text in their name or description.
        q: Option<String>,
    }
}

/// A service account to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateServiceAccount {
    /// Its name, unique in the organisation.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

/// What to change of a service account; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateServiceAccount {
    /// Its name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether its tokens do not count.
    pub disabled: Option<bool>,
}

const ACROSS: AllTenants = AllTenants::because("a service account may hold a global role");

pub(super) fn resource(id: Option<ServiceAccountId>, name: &str) -> Resource {
    Resource {
        kind: "service_account".to_owned(),
        id: id.map(|id| id.to_string()),
        name: Some(name.chars().take(120).collect()),
    }
}

fn told_of(account: &ServiceAccount) -> Value {
    json!({"name": account.name, "description": account.description, "disabled": account.disabled})
}

impl App {
    /// The service accounts of the organisation.
    ///
    /// # Errors
    /// The caller may not see them, or the page cannot be had.
    pub async fn list_service_accounts(
        &self,
        context: &RequestContext,
        query: ListServiceAccounts,
    ) -> Result<List<ServiceAccountView>> {
        self.authorize_tenant(context, Action::READ_SERVICE_ACCOUNTS)
            .await?;
        let read = self.store.read();
        let page = read
            .service_accounts()
            .list(tenant(context), query.q.as_deref(), &query.page())
            .await?;
        Ok(List::of(page, ServiceAccountView::from))
    }

    /// A service account.
    ///
    /// # Errors
    /// The caller may not see them, or there is none.
    pub async fn get_service_account(
        &self,
        context: &RequestContext,
        id: ServiceAccountId,
    ) -> Result<ServiceAccountView> {
        let account = self
            .known_account(context, id, Action::READ_SERVICE_ACCOUNTS)
            .await?;
        Ok(account.into())
    }

    /// Makes a service account, without any role or token.
    ///
    /// # Errors
    /// The caller may not, the input does not fit, or the name is taken.
    pub async fn create_service_account(
        &self,
        context: &RequestContext,
        input: CreateServiceAccount,
    ) -> Result<ServiceAccountView> {
        let action = Action::CREATE_SERVICE_ACCOUNT;
        self.authorize(context, action, &context.tenant(), resource(None, &input.name))
            .await?;
        check_named(Some(&input.name), input.description.as_deref())?;
        let now = self.clock.now();
        let account = ServiceAccount {
            id: ServiceAccountId::generate(),
            organization: context.organization(),
            name: input.name,
            description: input.description,
            disabled: false,
            created_at: now,
            created_by: Some(context.principal.subject.actor()),
            updated_at: now,
            revision: 1,
        };
        let tx = self.store.begin().await?;
        tx.service_accounts().insert(&account).await?;
        let change = ObjectChange {
            action,
            resource: resource(Some(account.id), &account.name),
            before: &json!({}),
            after: &told_of(&account),
            message: Some(format!("made `{}`", account.name)),
        };
        self.record_object(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(account.into())
    }

    /// Changes what is given of a service account. While it is disabled, its tokens do not count.
    ///
    /// # Errors
    /// There is none, it holds more than the caller, the input does not fit, the name is taken, or the revision
    /// is another one.
    pub async fn update_service_account(
        &self,
        context: &RequestContext,
        id: ServiceAccountId,
        input: UpdateServiceAccount,
        if_match: IfMatch,
    ) -> Result<ServiceAccountView> {
        let action = Action::UPDATE_SERVICE_ACCOUNT;
        self.known_account(context, id, action).await?;
        check_named(input.name.as_deref(), input.description.as_deref())?;
        let tx = self.begin_access().await?;
        let (before, given) = locked(&tx, context, id, if_match).await?;
        if !outranks(&context.principal, &given) {
            drop(tx);
            return Err(self
                .forbid(context, action, resource(Some(id), &before.name))
                .await);
        }
        let mut after = before.clone();
        after.name = input.name.unwrap_or(after.name);
        after.description = input.description.or(after.description);
        after.disabled = input.disabled.unwrap_or(after.disabled);
        let after = tx.service_accounts().update(&after, self.clock.now()).await?;
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

    /// Deletes a service account with its roles, and revokes its tokens.
    ///
    /// # Errors
    /// There is none, it holds more than the caller, or the revision is another one.
    pub async fn delete_service_account(
        &self,
        context: &RequestContext,
        id: ServiceAccountId,
        if_match: IfMatch,
    ) -> Result<()> {
        let action = Action::DELETE_SERVICE_ACCOUNT;
        self.known_account(context, id, action).await?;
        let tx = self.begin_access().await?;
        let (before, given) = locked(&tx, context, id, if_match).await?;
        if !outranks(&context.principal, &given) {
            drop(tx);
            return Err(self
                .forbid(context, action, resource(Some(id), &before.name))
                .await);
        }
        tx.service_accounts().delete(&before, self.clock.now()).await?;
        let subject = Subject::ServiceAccount(id);
        let taken = tx.role_bindings().delete_of(ACROSS, subject).await?;
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

    /// A service account of the organisation, for an action.
    pub(super) async fn known_account(
        &self,
        context: &RequestContext,
        id: ServiceAccountId,
        action: Action,
    ) -> Result<ServiceAccount> {
        let found = self
            .store
            .read()
            .service_accounts()
            .find(tenant(context), id)
            .await?;
        let name = found.as_ref().map_or("", |account| &account.name);
        self.authorize(context, action, &context.tenant(), resource(Some(id), name))
            .await?;
        found.ok_or(Error::NotFound("service account"))
    }
}

/// The service account, kept from changing until the transaction ends, and all that it was given.
pub(super) async fn locked(
    tx: &WriteTx,
    context: &RequestContext,
    id: ServiceAccountId,
    if_match: IfMatch,
) -> Result<(ServiceAccount, Vec<RoleBinding>)> {
    let found = tx.service_accounts().lock(tenant(context), id).await?;
    let account = found.ok_or(Error::NotFound("service account"))?;
    if_match.check(account.revision)?;
    let given = tx.role_bindings().of(ACROSS, Subject::ServiceAccount(id)).await?;
    Ok((account, given))
}
