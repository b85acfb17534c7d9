//! The tokens of service accounts, and who shows one.

use chrono::TimeDelta;
use halcyon_domain::{
    access::{Principal, Subject},
    clock::Timestamp,
    id::{ServiceAccountId, ServiceAccountTokenId},
};
use halcyon_store::{AllTenants, ServiceAccount, ServiceAccountToken, Tenant, TokenCredentials, WriteTx};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, tenant},
    authority::{ObjectChange, outranks},
    datasource_input::check_named,
    paged,
    repeats::answer_holds_secret,
    service_accounts::{locked, resource},
    views::{List, NewTokenView, TokenView},
};
use crate::auth::{Authenticated, Credential, NewToken, ShownToken};

paged! {
    /// Which tokens of a service account to list.
    ListServiceAccountTokens {}
}

/// A token to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateServiceAccountToken {
    /// What people call it.
    pub name: String,
    /// From when on it does not count; never, if absent.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// The most tokens of a service account that are not revoked.
const MAX_TOKENS: u64 = 50;

/// How exactly it is kept when a token was last used: each request would be a write otherwise.
const USED: TimeDelta = TimeDelta::minutes(1);

impl App {
    /// Who holds a service account's token, and what they are granted now. None if the token is not known, was
    /// revoked or has expired, or if its account or organisation is disabled or gone.
    pub(crate) async fn authenticate_service_account(
        &self,
        text: &str,
        shown: &ShownToken,
    ) -> Result<Option<Authenticated>> {
        let read = self.store.read();
        let reason = AllTenants::because("a token says of which organisation it is");
        let found = read.service_accounts().credentials(reason, shown.id).await?;
        let now = self.clock.now();
        let holds = |known: &TokenCredentials| {
            let token = &known.token;
            shown.matches(&known.hash)
                && token.revoked_at.is_none()
                && token.expires_at.is_none_or(|at| at > now)
                && !known.account.disabled
        };
        let Some(TokenCredentials { account, token, .. }) = found.filter(holds) else {
            tracing::debug!(token.id = %shown.id, "a service account's token was refused");
            return Ok(None);
        };
        let tenant = Tenant(account.organization);
        if read.organizations().find(tenant).await?.is_none() {
            return Ok(None);
        }
        if token.last_used_at.is_none_or(|at| now - at >= USED) {
            let noted = self.note_use(tenant, &token, now).await;
            if let Err(error) = noted {
                tracing::warn!(error = %error, token.id = %token.id, "the use of a token could not be noted");
            }
        }
        let subject = Subject::ServiceAccount(account.id);
        let principal = Principal {
            subject,
            name: account.name,
            organization: account.organization,
            grants: self.grants(subject, account.organization).await?,
        };
        let credential = Credential::new(text, None, token.expires_at);
        Ok(Some(Authenticated::new(principal, credential)))
    }

    async fn note_use(
        &self,
        tenant: Tenant,
        token: &ServiceAccountToken,
        now: Timestamp,
    ) -> halcyon_store::Result<()> {
        let tx = self.store.begin().await?;
        tx.service_accounts().touch_token(tenant, token.id, now).await?;
        tx.commit().await
    }

    /// The tokens of a service account: names and ages, revoked ones too.
    ///
    /// # Errors
    /// The caller may not see them, there is no such account, or the page cannot be had.
    pub async fn list_service_account_tokens(
        &self,
        context: &RequestContext,
        id: ServiceAccountId,
        query: ListServiceAccountTokens,
    ) -> Result<List<TokenView>> {
        self.known_account(context, id, Action::READ_SERVICE_ACCOUNTS)
            .await?;
        let read = self.store.read();
        let page = read
            .service_accounts()
            .tokens(tenant(context), id, &query.page())
            .await?;
        let now = self.clock.now();
        Ok(List::of(page, |token| TokenView::new(token, now)))
    }

    /// Makes a token. It is shown in the answer and never again.
    ///
    /// # Errors
    /// There is no such account, it holds more than the caller, it has too many tokens, or the input does not fit.
    pub async fn create_service_account_token(
        &self,
        context: &RequestContext,
        id: ServiceAccountId,
        input: CreateServiceAccountToken,
    ) -> Result<NewTokenView> {
        let action = Action::CREATE_SERVICE_ACCOUNT_TOKEN;
        self.known_account(context, id, action).await?;
        check_named(Some(&input.name), None)?;
        let now = self.clock.now();
        if input.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::field("/expires_at", "out_of_range", "a time to come"));
        }
        let tx = self.begin_access().await?;
        let (account, given) = locked(&tx, context, id, IfMatch::Any).await?;
        if !outranks(&context.principal, &given) {
            drop(tx);
            return Err(self
                .forbid(context, action, resource(Some(id), &account.name))
                .await);
        }
        if tx.service_accounts().count_tokens(tenant(context), id).await? >= MAX_TOKENS {
            let detail = format!("the account has {MAX_TOKENS} tokens; revoke some first");
            return Err(Error::Conflict {
                code: "too_many_tokens",
                detail,
            });
        }
        let token = ServiceAccountToken {
            id: ServiceAccountTokenId::generate(),
            organization: account.organization,
            account: id,
            name: input.name,
            created_at: now,
            created_by: Some(context.principal.subject.actor()),
            expires_at: input.expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        let made = NewToken::generate(token.id);
        tx.service_accounts().insert_token(&token, made.hash).await?;
        let message = format!("made the token `{}`", token.name);
        self.record_token(&tx, context, action, (&account, &token), message)
            .await?;
        answer_holds_secret();
        self.commit(tx).await?;
        Ok(NewTokenView {
            about: TokenView::new(token, now),
            token: made.token.expose_secret().to_owned(),
        })
    }

    /// Revokes a token; it counts no more at once.
    ///
    /// # Errors
    /// There is no such account, or it has no such token that was not revoked yet.
    pub async fn delete_service_account_token(
        &self,
        context: &RequestContext,
        id: ServiceAccountId,
        token: ServiceAccountTokenId,
    ) -> Result<()> {
        let action = Action::REVOKE_SERVICE_ACCOUNT_TOKEN;
        self.known_account(context, id, action).await?;
        let tx = self.begin_access().await?;
        let (account, given) = locked(&tx, context, id, IfMatch::Any).await?;
        if !outranks(&context.principal, &given) {
            drop(tx);
            return Err(self
                .forbid(context, action, resource(Some(id), &account.name))
                .await);
        }
        let now = self.clock.now();
        let accounts = tx.service_accounts();
        let revoked = accounts.revoke_token(tenant(context), id, token, now).await?;
        let revoked = revoked.ok_or(Error::NotFound("token"))?;
        let message = format!("revoked the token `{}`", revoked.name);
        self.record_token(&tx, context, action, (&account, &revoked), message)
            .await?;
        self.commit(tx).await
    }

    async fn record_token(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        action: Action,
        (account, token): (&ServiceAccount, &ServiceAccountToken),
        message: String,
    ) -> Result<()> {
        let told = json!({"token": {"id": token.id, "name": token.name, "expires_at": token.expires_at}});
        let (before, after) = match token.revoked_at {
            None => (json!({}), told),
            Some(_) => (told, json!({})),
        };
        let change = ObjectChange {
            action,
            resource: resource(Some(account.id), &account.name),
            before: &before,
            after: &after,
            message: Some(message),
        };
        self.record_object(tx, context, change).await
    }
}
