//! Who holds a token.

use halcyon_store::{AllTenants, SessionOwner};

use super::{App, Error, Result};
use crate::auth::{Authenticated, Credential, ShownToken, TokenError};

/// The same whatever is wrong with a token.
pub(super) const REFUSED: Error = Error::Unauthenticated("the access token does not hold; sign in again");

/// Before the registry handed the keys over, nobody can be signed in.
pub(super) const NO_KEYS: Error = Error::Unavailable {
    detail: "the signing keys are not there yet",
};

pub(super) const WHOSE: AllTenants =
    AllTenants::because("a session and its user's grants may be of several organisations");

impl App {
    /// Who holds a token, and what they are granted now: a role that was taken back, and a session that was ended,
    /// count no more at once.
    ///
    /// # Errors
    /// The token does not hold, its session has ended, or its user is gone or disabled.
    pub async fn authenticate(&self, token: &str) -> Result<Authenticated> {
        if let Some(shown) = ShownToken::read(token) {
            return self
                .authenticate_service_account(token, &shown)
                .await?
                .ok_or(REFUSED);
        }
        if let Some(issuer) = self.external.as_ref().filter(|issuer| issuer.claims(token)) {
            return self.authenticate_external(issuer, token).await;
        }
        let claims = self.tokens.verify(token).map_err(token_error)?;
        let found = self.store.read().sessions().find(WHOSE, claims.sid).await?;
        let owner = found
            .filter(|owner| owner.user.id == claims.sub && self.stands(owner))
            .ok_or(REFUSED)?;
        let principal = self.principal_as(owner.user, claims.org).await?.ok_or(REFUSED)?;
        let credential = Credential::new(token, Some(claims.sid), Some(claims.expires_at()));
        Ok(Authenticated::new(principal, credential))
    }

    /// Whether a session has not ended, and its user may sign in.
    pub(super) fn stands(&self, owner: &SessionOwner) -> bool {
        let session = &owner.session;
        session.ended_at.is_none() && session.expires_at > self.clock.now() && !owner.user.disabled
    }
}

/// A token's failure, as the caller may know it.
pub(super) fn token_error(error: TokenError) -> Error {
    match error {
        TokenError::NoKeys => NO_KEYS,
        error => {
            tracing::debug!(error = %error, "an access token was refused");
            REFUSED
        }
    }
}
