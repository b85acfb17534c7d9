//! Service accounts: programs that sign in with tokens of their own.

use chrono::TimeDelta;
use halcyon_domain::access::{Principal, Subject};
use halcyon_store::{AllTenants, Tenant, TokenCredentials};

use super::{App, Result};
use crate::auth::{Authenticated, Credential, ShownToken};

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
        token: &halcyon_store::ServiceAccountToken,
        now: halcyon_domain::clock::Timestamp,
    ) -> halcyon_store::Result<()> {
        let tx = self.store.begin().await?;
        tx.service_accounts().touch_token(tenant, token.id, now).await?;
        tx.commit().await
    }
}
