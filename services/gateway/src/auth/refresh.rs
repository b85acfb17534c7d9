//! Refresh tokens: 256 random bits that get a session its next access token, once. The database keeps hashes only.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use halcyon_domain::duration::HumanDuration;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What every refresh token begins with, so that one that leaked is found.
const PREFIX: &str = "hrt_";

/// How long somebody stays signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSettings {
    /// A session that got no access token for this long is over.
    pub idle_timeout: HumanDuration,
    /// How long a session lasts at most, however much it is used.
    pub max_lifetime: HumanDuration,
    /// How long a refresh token that was just used still gets an access token, and no new refresh token: two tabs
    /// of a browser may refresh at once. Later it ends the session.
    pub refresh_grace: HumanDuration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            idle_timeout: HumanDuration::from_secs(12 * 3600),
            max_lifetime: HumanDuration::from_secs(7 * 24 * 3600),
            refresh_grace: HumanDuration::from_secs(10),
        }
    }
}

/// A refresh token.
#[derive(Clone, Debug)]
pub struct RefreshToken(SecretString);

impl RefreshToken {
    /// A new one.
    pub(crate) fn generate() -> Self {
        let random: [u8; 32] = rand::random();
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)).into())
    }

    /// One that somebody showed.
    pub(crate) fn shown(text: &str) -> Self {
        Self(text.into())
    }

    /// What the database knows it by.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose_secret().as_bytes()).into()
    }

    /// The token, for its owner.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_are_long_enough_and_are_not_shown() {
        let (one, two) = (RefreshToken::generate(), RefreshToken::generate());
        assert_ne!(one.hash(), two.hash());
        assert_eq!(one.expose().len(), PREFIX.len() + 43);
        assert_eq!(RefreshToken::shown(one.expose()).hash(), one.hash());
        assert!(!format!("{one:?}").contains(one.expose()));
    }
}
