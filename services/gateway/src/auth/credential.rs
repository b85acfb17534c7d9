//! What a caller showed, and for how long it holds: kept with a request, so that what it opened (a stream) can be
//! ended when the caller is no longer who they were.

use std::sync::Arc;

use halcyon_domain::{access::Principal, clock::Timestamp, id::SessionId};
use secrecy::{ExposeSecret, SecretString};

/// A caller, and what shows that it is them.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who.
    pub principal: Principal,
    /// What they showed.
    pub credential: Credential,
}

impl Authenticated {
    /// A caller and what they showed.
    #[must_use]
    pub const fn new(principal: Principal, credential: Credential) -> Self {
        Self {
            principal,
            credential,
        }
    }
}

/// A token that held when it was shown.
#[derive(Clone, Debug)]
pub struct Credential {
    token: Arc<SecretString>,
    /// The session that it belongs to, if it does.
    pub session: Option<SessionId>,
    /// When it runs out, if it does.
    pub expires_at: Option<Timestamp>,
}

impl Credential {
    /// The token `token`.
    #[must_use]
    pub fn new(token: &str, session: Option<SessionId>, expires_at: Option<Timestamp>) -> Self {
        Self {
            token: Arc::new(SecretString::from(token)),
            session,
            expires_at,
        }
    }

    /// The token, to be looked at again.
    pub(crate) fn token(&self) -> &str {
        self.token.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let credential = Credential::new("hunter2", None, None);
        assert!(!format!("{credential:?}").contains("hunter2"));
        assert_eq!(credential.token(), "hunter2");
    }
}
