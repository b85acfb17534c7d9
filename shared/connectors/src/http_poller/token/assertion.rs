//! Signed assertions: JWTs that say who asks.

use std::sync::atomic::{AtomicU64, Ordering};

use halcyon_domain::clock::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::super::config::Auth;
use crate::{Error, Secrets, tls::SecretRef};

/// The grant that takes an assertion (RFC 7523, 2.1).
pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The kind of an assertion that stands for the client's secret (RFC 7523, 2.2).
pub(super) const CLIENT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is good, in seconds.
pub(super) fn lifetime(auth: &Auth) -> i64 {
    i64::from(auth.lifetime.unwrap_or(300))
}

/// Signs an assertion.
///
/// # Errors
/// The secret holds no key of the algorithm.
pub(super) fn sign(auth: &Auth, secrets: &Secrets, now: Timestamp) -> Result<Zeroizing<String>, Error> {
    let nothing = SecretRef { name: String::new() };
    let secret = auth.secret.as_ref().unwrap_or(&nothing);
    let unusable = || Error::Secret {
        name: secret.name.clone(),
    };
    let text = Zeroizing::new(secret.text(secrets)?);
    let (algorithm, key) = match auth.algorithm.as_deref() {
        Some("RS256") => (Algorithm::RS256, EncodingKey::from_rsa_pem(text.as_bytes())),
        Some("ES256") => (Algorithm::ES256, EncodingKey::from_ec_pem(text.as_bytes())),
        _ => (Algorithm::HS256, Ok(EncodingKey::from_secret(text.as_bytes()))),
    };
    let mut header = Header::new(algorithm);
    header.kid.clone_from(&auth.key_id);
    let token = encode(&header, &claims(auth, now), &key.map_err(|_| unusable())?);
    token.map(Zeroizing::new).map_err(|_| unusable())
}

fn claims(auth: &Auth, now: Timestamp) -> Map<String, Value> {
    let mut claims = auth.claims.clone();
    let issued = now.timestamp();
    for (name, value) in [
        ("iss", auth.issuer.as_ref()),
        ("sub", auth.subject.as_ref()),
        ("aud", auth.audience.as_ref().or(auth.token_url.as_ref())),
    ] {
        if let Some(value) = value {
            claims.insert(name.to_owned(), json!(value));
        }
    }
    claims.insert("iat".to_owned(), json!(issued));
    claims.insert("exp".to_owned(), json!(issued + lifetime(auth)));
    claims.entry("jti").or_insert_with(|| json!(unique(now)));
    claims
}

/// An id that no other assertion has.
fn unique(now: Timestamp) -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    let text = format!("{}/{}/{made}", std::process::id(), now.timestamp_micros());
    hex::encode(&Sha256::digest(text)[..16])
}
