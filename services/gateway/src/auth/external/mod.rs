//! Tokens of another issuer, such as a company's single sign-on: its public keys come by URL (JWKS, RFC 7517).
//!
//! Nothing of a token counts before its signature does, and nothing in a token chooses how that is checked: the
//! algorithms stand in the settings, and each key takes only those that fit it.

mod claims;
mod fetch;
mod keys;

#[cfg(test)]
pub(crate) mod tests;

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use halcyon_domain::{
    clock::Clock, duration::HumanDuration, id::OrganizationId, session::MAX_ACCESS_TOKEN_LIFETIME,
};
use jsonwebtoken::{Validation, decode, decode_header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use self::claims::ExternalClaims;
use self::fetch::Jwks;
pub use self::keys::SigningAlgorithm;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Another issuer whose tokens count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalIssuerSettings {
    /// The `iss` of its tokens, to the letter.
    pub issuer: String,
    /// Where its public keys are: HTTPS, or HTTP on loopback.
    pub jwks_url: String,
    /// What stands in the `aud` of tokens that are for us.
    pub audience: String,
    /// The algorithms that it signs with. None that works with a shared secret can be named.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<SigningAlgorithm>,
    /// The claim with the identifier of the organisation that a token is good in. Dots lead into objects.
    #[serde(default = "organization_claim")]
    pub organization_claim: String,
    /// The organisation of tokens that name none; without it they are refused.
    #[serde(default)]
    pub organization: Option<OrganizationId>,
    /// The claim with roles: `datasource:admin`, `datasource:operator` or `datasource:viewer` count, in a list or
    /// separated by spaces.
    #[serde(default = "roles_claim")]
    pub roles_claim: String,
    /// The claim with the e-mail address, for people to read.
    #[serde(default = "email_claim")]
    pub email_claim: String,
    /// The claim with the name, for people to read.
    #[serde(default = "name_claim")]
    pub name_claim: String,
    /// The longest that a token may be good.
    #[serde(default = "max_lifetime")]
    pub max_lifetime: HumanDuration,
    /// How often the keys are fetched anew. A token with a key that is not known has them fetched, too.
    #[serde(default = "refresh")]
    pub refresh: HumanDuration,
}

fn algorithms() -> Vec<SigningAlgorithm> {
    vec![
        SigningAlgorithm::RS256,
        SigningAlgorithm::ES256,
        SigningAlgorithm::EdDSA,
    ]
}

fn organization_claim() -> String {
    "org".to_owned()
}

fn roles_claim() -> String {
    "roles".to_owned()
}

fn email_claim() -> String {
    "email".to_owned()
}

fn name_claim() -> String {
    "name".to_owned()
}

const fn max_lifetime() -> HumanDuration {
    MAX_ACCESS_TOKEN_LIFETIME
}

const fn refresh() -> HumanDuration {
    HumanDuration(Duration::from_secs(600))
}

/// Why a token of the other issuer does not count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExternalError {
    /// Its keys cannot be had, so nothing can be said.
    #[error("the keys of the external issuer are not there")]
    NoKeys,
    /// It is malformed, forged, for somebody else, or out of its time.
    #[error("the token of the external issuer is refused: {0}")]
    Refused(String),
}

fn refused(reason: impl std::fmt::Display) -> ExternalError {
    ExternalError::Refused(reason.to_string())
}

/// Checks the tokens of another issuer.
pub struct ExternalIssuer {
    settings: ExternalIssuerSettings,
    clock: Arc<dyn Clock>,
    jwks: Arc<Jwks>,
}

impl ExternalIssuer {
    /// Without its keys: they are fetched with the first token.
    ///
    /// # Errors
    /// A setting does not fit.
    pub fn new(settings: ExternalIssuerSettings, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let named = |what: &str| format!("`gateway.external_issuer.{what}` is not to be empty");
        for (what, empty) in [
            ("issuer", settings.issuer.is_empty()),
            ("audience", settings.audience.is_empty()),
            ("algorithms", settings.algorithms.is_empty()),
        ] {
            anyhow::ensure!(!empty, named(what));
        }
        let jwks = Jwks::new(&settings.jwks_url, settings.refresh.get(), clock.clone())?;
        Ok(Self {
            settings,
            clock,
            jwks: Arc::new(jwks),
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.settings.issuer
    }

    /// The organisation of tokens that name none.
    pub(crate) const fn organization(&self) -> Option<OrganizationId> {
        self.settings.organization
    }

    /// Whether a token says that it is of this issuer: who is to check it, and nothing else.
    pub(crate) fn claims(&self, token: &str) -> bool {
        let payload = token.split('.').nth(1).filter(|_| token.len() <= MAX_TOKEN);
        let bytes = payload.and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
        let claims = bytes.and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
        claims.is_some_and(|claims| {
            claims.get("iss").and_then(Value::as_str) == Some(self.settings.issuer.as_str())
        })
    }

    /// What a token says, if it holds.
    ///
    /// # Errors
    /// It does not hold, or the keys cannot be had.
    pub(crate) async fn verify(&self, token: &str) -> Result<ExternalClaims, ExternalError> {
        if token.len() > MAX_TOKEN {
            return Err(refused("it is too long"));
        }
        let header = decode_header(token).map_err(refused)?;
        if header.crit.is_some() {
            return Err(refused("critical headers are not understood"));
        }
        if header.typ.as_deref().is_some_and(|typ| !is_token_type(typ)) {
            return Err(refused("it is of another type"));
        }
        let named = self
            .settings
            .algorithms
            .iter()
            .any(|known| known.get() == header.alg);
        if !named {
            return Err(refused("its algorithm is none of the settings'"));
        }
        let kid = header.kid.ok_or_else(|| refused("no key is named"))?;
        let key = self
            .jwks
            .key(&kid)
            .await?
            .ok_or_else(|| refused("its key is not known"))?;
        if !key.algorithms.contains(&header.alg) {
            return Err(refused("its algorithm is none of its key's"));
        }
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // The times are checked with the claims, by our clock and not the library's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = true;
        let claims = decode::<Map<String, Value>>(token, &key.key, &validation)
            .map_err(refused)?
            .claims;
        ExternalClaims::read(&claims, &self.settings, self.clock.now().timestamp())
    }
}

/// Whether a `typ` is that of an access token (RFC 7519, RFC 9068); a logout token, for one, is of another.
fn is_token_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}
