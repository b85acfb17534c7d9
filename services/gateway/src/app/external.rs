//! Users whom another issuer vouches for: each is made when they first come, and is known by the issuer's word for
//! them alone. That their e-mail address is also a local user's means nothing.

use halcyon_domain::{
    access::{Grant, Principal, Scope, Subject},
    audit::{Actor, ActorKind, AuditEntry, AuditOutcome, Resource},
    id::{AuditEntryId, OrganizationId, UserId},
};
use halcyon_store::{AllTenants, ExternalIdentity, Tenant, User};

use super::{App, Error, Result, authenticate::REFUSED};
use crate::auth::{Authenticated, Credential, ExternalClaims, ExternalError, ExternalIssuer};

const WHOSE: AllTenants =
    AllTenants::because("whom another issuer means belongs to no organisation before they are found");

impl App {
    /// Who holds a token of another issuer. The roles that it names count in the organisation that it is good in,
    /// beside those that the user was given here.
    pub(super) async fn authenticate_external(
        &self,
        issuer: &ExternalIssuer,
        token: &str,
    ) -> Result<Authenticated> {
        let claims = issuer.verify(token).await.map_err(|error| match error {
            ExternalError::NoKeys => Error::Unavailable {
                detail: "the keys of the external issuer cannot be had now",
            },
            ExternalError::Refused(_) => {
                tracing::debug!(error = %error, "an access token was refused");
                REFUSED
            }
        })?;
        let named = claims.organization.or(issuer.organization());
        let organization = named.ok_or(REFUSED)?;
        if self
            .store
            .read()
            .organizations()
            .find(Tenant(organization))
            .await?
            .is_none()
        {
            return Err(REFUSED);
        }
        let identity = ExternalIdentity {
            issuer: issuer.name().to_owned(),
            subject: claims.subject.clone(),
        };
        let user = self.external_user(identity, &claims, organization).await?;
        if user.disabled {
            return Err(REFUSED);
        }
        let subject = Subject::User(user.id);
        let mut grants = self.grants(subject, organization).await?;
        let scope = Scope::Organization(organization);
        grants.extend(claims.roles.iter().map(|role| Grant { role: *role, scope }));
        if user.organization != organization && grants.is_empty() {
            return Err(REFUSED);
        }
        let principal = Principal {
            subject,
            name: user.email,
            organization,
            grants,
        };
        let credential = Credential::new(token, None, Some(claims.expires_at));
        Ok(Authenticated::new(principal, credential))
    }

    /// The user whom the token means, made or brought up to date if need be.
    async fn external_user(
        &self,
        identity: ExternalIdentity,
        claims: &ExternalClaims,
        organization: OrganizationId,
    ) -> Result<User> {
        let found = self.store.read().users().by_identity(WHOSE, &identity).await?;
        let Some(user) = found else {
            return self.make_external_user(identity, claims, organization).await;
        };
        let current = User {
            email: claims.email.clone().unwrap_or_else(|| user.email.clone()),
            name: claims.name.clone().unwrap_or_else(|| user.name.clone()),
            ..user.clone()
        };
        if current == user || user.disabled {
            return Ok(user);
        }
        let tx = self.store.begin().await?;
        match tx.users().update(&current, None, self.clock.now()).await {
            Ok(updated) => {
                self.record_external(
                    &tx,
                    &updated,
                    "user.update",
                    "the issuer says another name or address",
                )
                .await?;
                self.commit(tx).await?;
                Ok(updated)
            }
            // Somebody else was faster, perhaps with the same.
            Err(halcyon_store::Error::StaleRevision { .. }) => Ok(user),
            Err(error) => Err(error.into()),
        }
    }

    async fn make_external_user(
        &self,
        identity: ExternalIdentity,
        claims: &ExternalClaims,
        organization: OrganizationId,
    ) -> Result<User> {
        let now = self.clock.now();
        let email = claims
            .email
            .clone()
            .unwrap_or_else(|| claims.subject.to_lowercase());
        let user = User {
            id: UserId::generate(),
            organization,
            name: claims.name.clone().unwrap_or_else(|| email.clone()),
            email,
            disabled: false,
            external: Some(identity.clone()),
            created_at: now,
            updated_at: now,
            revision: 1,
        };
        let tx = self.store.begin().await?;
        match tx.users().insert(&user, None).await {
            Ok(()) => {}
            Err(halcyon_store::Error::Conflict(_)) => {
                // Their first two requests came at once.
                tx.rollback().await?;
                let found = self.store.read().users().by_identity(WHOSE, &identity).await?;
                return found.ok_or(REFUSED);
            }
            Err(error) => return Err(error.into()),
        }
        self.record_external(
            &tx,
            &user,
            "user.create",
            "came with a token of the external issuer",
        )
        .await?;
        self.commit(tx).await?;
        tracing::info!(user.id = %user.id, "a user of the external issuer came for the first time");
        Ok(user)
    }

    /// Writes what a token made of its user into the trail; the user is their own actor.
    async fn record_external(
        &self,
        tx: &halcyon_store::WriteTx,
        user: &User,
        action: &str,
        summary: &str,
    ) -> Result<()> {
        let entry = AuditEntry {
            id: AuditEntryId::generate(),
            organization: user.organization,
            at: self.clock.now(),
            actor: Actor {
                kind: ActorKind::User,
                id: Some(user.id.0),
                name: user.email.clone(),
            },
            action: action.to_owned(),
            resource: Resource {
                kind: "user".to_owned(),
                id: Some(user.id.to_string()),
                name: Some(user.email.clone()),
            },
            version: None,
            outcome: AuditOutcome::Succeeded,
            diff: None,
            summary: Some(summary.to_owned()),
            request_id: None,
            remote_ip: None,
        };
        self.append_audit(tx, &entry, None).await
    }
}
