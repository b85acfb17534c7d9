//! Access tokens: JWTs (RFC 7519) signed with EdDSA.
//!
//! The library's defaults accept tokens without issuer and audience, expired ones within a minute, and ones
//! that are not valid yet; so every check is named here, and what the library does not know (subject, time of
//! issue, lifetime, key identifier, critical headers) is checked by hand, with our own clock.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, TimeDelta};
use halcyon_domain::{
    clock::{Clock, Timestamp},
    duration::HumanDuration,
    id::{OrganizationId, SessionId, UserId},
    session::MAX_ACCESS_TOKEN_LIFETIME,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How access tokens are made and checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenSettings {
    /// The `iss` claim.
    pub issuer: String,
    /// The `aud` claim.
    pub audience: String,
    /// How long a token is good: a day at most.
    pub lifetime: HumanDuration,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            issuer: "halcyon".to_owned(),
            audience: "halcyon-api".to_owned(),
            lifetime: HumanDuration::from_secs(15 * 60),
        }
    }
}

impl TokenSettings {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.lifetime.get().as_secs() == 0 || self.lifetime > MAX_ACCESS_TOKEN_LIFETIME {
            return Err(format!(
                "`gateway.tokens.lifetime` is 1 second to {MAX_ACCESS_TOKEN_LIFETIME}"
            ));
        }
        Ok(())
    }
}

/// How far the clocks of two machines may differ.
const LEEWAY: TimeDelta = TimeDelta::seconds(5);

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    /// The user.
    pub(crate) sub: UserId,
    /// The organisation they act in.
    pub(crate) org: OrganizationId,
    /// The session that it was issued to.
    pub(crate) sid: SessionId,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
}

impl Claims {
    /// When the token runs out.
    pub(crate) fn expires_at(&self) -> Timestamp {
        DateTime::from_timestamp(self.exp, 0).unwrap_or_default()
    }
}

/// Whom a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The user.
    pub user: UserId,
    /// The organisation they act in.
    pub organization: OrganizationId,
    /// The session.
    pub session: SessionId,
    /// When the session ends at the latest, and so the token.
    pub until: Timestamp,
}

/// Why a token is refused. The caller is told only that it is.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The signing keys have not come from the registry yet.
    #[error("there are no signing keys yet")]
    NoKeys,
    /// The token names a key that is not known.
    #[error("the key `{0}` is not known")]
    UnknownKey(String),
    /// The token is malformed, forged, for somebody else, or out of its time.
    #[error("the token is refused: {0}")]
    Refused(String),
}

fn refused(reason: impl std::fmt::Display) -> TokenError {
    TokenError::Refused(reason.to_string())
}

/// A key pair that signs tokens.
pub struct TokenKey {
    /// Its identifier, the `kid` of the tokens.
    pub kid: String,
    /// The public key: the `x` of its JWK (base64url without padding).
    pub public: String,
    /// The private key as a PKCS #8 document (DER); none of a key that only verifies any more.
    pub private_der: Option<Vec<u8>>,
    /// From when on it signs.
    pub signs_from: Timestamp,
}

struct Keys {
    signers: Vec<Signer>,
    verify: HashMap<String, DecodingKey>,
    /// The public keys, as everybody may have them.
    published: JwkSet,
}

struct Signer {
    kid: String,
    from: Timestamp,
    key: EncodingKey,
}

impl Keys {
    /// The newest key that signs by now; the first to come if none does.
    fn signer(&self, now: Timestamp) -> Option<&Signer> {
        let begun = self.signers.iter().filter(|signer| signer.from <= now);
        begun
            .max_by_key(|signer| signer.from)
            .or_else(|| self.signers.iter().min_by_key(|signer| signer.from))
    }
}

/// The public keys that access tokens are signed with (RFC 7517).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// A public key (RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Jwk {
    /// The type of key: `OKP`.
    pub kty: &'static str,
    /// The curve: `Ed25519`.
    pub crv: &'static str,
    /// The algorithm: `EdDSA`.
    pub alg: &'static str,
    /// What it is for: `sig`.
    pub r#use: &'static str,
    /// Its identifier.
    pub kid: String,
    /// The key (base64url without padding).
    pub x: String,
}

/// Issues and checks access tokens.
pub struct Tokens {
    settings: TokenSettings,
    clock: Arc<dyn Clock>,
    keys: ArcSwapOption<Keys>,
    unknown_key: tokio::sync::Notify,
}

/// A token that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl Tokens {
    /// Without keys: nothing can be issued or checked before [`Tokens::set_keys`].
    #[must_use]
    pub fn new(settings: TokenSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            clock,
            keys: ArcSwapOption::empty(),
            unknown_key: tokio::sync::Notify::new(),
        }
    }

    /// How long a token is good.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.settings.lifetime.get()
    }

    /// Takes the keys into use: the newest whose time has come signs, all verify.
    ///
    /// # Errors
    /// There is none that signs, or one cannot be used.
    pub fn set_keys(&self, keys: &[TokenKey]) -> Result<(), TokenError> {
        let mut taken = Keys {
            signers: Vec::new(),
            verify: HashMap::new(),
            published: JwkSet::default(),
        };
        for key in keys {
            let public = DecodingKey::from_ed_components(&key.public).map_err(refused)?;
            taken.verify.insert(key.kid.clone(), public);
            taken.published.keys.push(Jwk {
                kty: "OKP",
                crv: "Ed25519",
                alg: "EdDSA",
                r#use: "sig",
                kid: key.kid.clone(),
                x: key.public.clone(),
            });
            if let Some(private) = &key.private_der {
                taken.signers.push(Signer {
                    kid: key.kid.clone(),
                    from: key.signs_from,
                    key: EncodingKey::from_ed_der(private),
                });
            }
        }
        if taken.signers.is_empty() {
            return Err(TokenError::NoKeys);
        }
        // A private key that does not fit shows when it signs: here rather than at the first login.
        for signer in &taken.signers {
            self.sign_and_verify(&taken, signer)?;
        }
        self.keys.store(Some(Arc::new(taken)));
        Ok(())
    }

    fn sign_and_verify(&self, keys: &Keys, signer: &Signer) -> Result<(), TokenError> {
        let nobody = uuid::Uuid::nil();
        let claims = self.claims(&Holder {
            user: UserId(nobody),
            organization: OrganizationId(nobody),
            session: SessionId(nobody),
            until: Timestamp::MAX_UTC,
        });
        let token = sign(signer, &claims)?;
        let key = keys.verify.get(&signer.kid).ok_or(TokenError::NoKeys)?;
        self.decode(&token, key).map(|_| ())
    }

    /// The public keys; none before there are any.
    #[must_use]
    pub fn published(&self) -> JwkSet {
        let keys = self.keys.load();
        keys.as_ref()
            .map(|keys| keys.published.clone())
            .unwrap_or_default()
    }

    /// Whether there are keys.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.keys.load().is_some()
    }

    /// Waits until a token named a key that is not known: the keys may have changed.
    pub(crate) async fn unknown_key(&self) {
        self.unknown_key.notified().await;
    }

    fn claims(&self, holder: &Holder) -> Claims {
        let now = self.clock.now().timestamp();
        let lifetime = i64::try_from(self.settings.lifetime.get().as_secs()).unwrap_or(i64::MAX);
        Claims {
            iss: self.settings.issuer.clone(),
            aud: self.settings.audience.clone(),
            sub: holder.user,
            org: holder.organization,
            sid: holder.session,
            iat: now,
            nbf: now,
            exp: now.saturating_add(lifetime).min(holder.until.timestamp()),
            jti: uuid::Uuid::new_v4().to_string(),
        }
    }

    /// Issues a token.
    ///
    /// # Errors
    /// There are no keys yet.
    pub fn issue(&self, holder: &Holder) -> Result<IssuedToken, TokenError> {
        let keys = self.keys.load_full().ok_or(TokenError::NoKeys)?;
        let signer = keys.signer(self.clock.now()).ok_or(TokenError::NoKeys)?;
        let claims = self.claims(holder);
        Ok(IssuedToken {
            token: sign(signer, &claims)?,
            expires_at: claims.expires_at(),
        })
    }

    /// What a token says, if it holds.
    ///
    /// # Errors
    /// It does not hold, or there are no keys yet.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let keys = self.keys.load_full().ok_or(TokenError::NoKeys)?;
        let header = decode_header(token).map_err(refused)?;
        if header.crit.is_some() {
            return Err(refused("critical headers are not understood"));
        }
        let kid = header.kid.ok_or_else(|| refused("no key is named"))?;
        let Some(key) = keys.verify.get(&kid) else {
            self.unknown_key.notify_one();
            return Err(TokenError::UnknownKey(kid));
        };
        let claims = self.decode(token, key)?;
        if claims.sub.0.is_nil() || claims.org.0.is_nil() || claims.sid.0.is_nil() {
            return Err(refused("nobody is named"));
        }
        Ok(claims)
    }

    fn decode(&self, token: &str, key: &DecodingKey) -> Result<Claims, TokenError> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        // The times are checked right below, by our clock and not the library's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = true;
        let claims = decode::<Claims>(token, key, &validation).map_err(refused)?.claims;
        self.check_times(&claims)?;
        Ok(claims)
    }

    fn check_times(&self, claims: &Claims) -> Result<(), TokenError> {
        let now = self.clock.now().timestamp();
        let leeway = LEEWAY.num_seconds();
        if claims.exp <= now.saturating_sub(leeway) {
            return Err(refused("it has expired"));
        }
        if claims.nbf > now.saturating_add(leeway) || claims.iat > now.saturating_add(leeway) {
            return Err(refused("it is from the future"));
        }
        let lifetime = claims.exp.saturating_sub(claims.iat);
        let most = i64::try_from(self.settings.lifetime.get().as_secs()).unwrap_or(i64::MAX);
        if lifetime <= 0 || lifetime > most {
            return Err(refused("its lifetime is not one that we give"));
        }
        Ok(())
    }
}

fn sign(signer: &Signer, claims: &Claims) -> Result<String, TokenError> {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(signer.kid.clone());
    encode(&header, claims, &signer.key).map_err(refused)
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::key as test_key;
