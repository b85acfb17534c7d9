//! The other issuer's public keys, each with the algorithms that fit it.

use std::collections::{HashMap, HashSet};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most keys of a document.
const MAX_KEYS: usize = 100;
/// The sizes of an RSA key that is neither weak nor a burden, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// How the other issuer signs (RFC 7518, RFC 8037): with private keys only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl SigningAlgorithm {
    /// As the library has it.
    pub(super) const fn get(self) -> Algorithm {
        match self {
            Self::RS256 => Algorithm::RS256,
            Self::RS384 => Algorithm::RS384,
            Self::RS512 => Algorithm::RS512,
            Self::PS256 => Algorithm::PS256,
            Self::PS384 => Algorithm::PS384,
            Self::PS512 => Algorithm::PS512,
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }
}

/// A public key and what it may verify.
pub(super) struct PinnedKey {
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// A key as it is published.
#[derive(Deserialize)]
struct PublishedKey {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// A private key has no business there.
    d: Option<Value>,
}

/// Reads a document (RFC 7517, section 5). A key that cannot be used is left out, as the RFC has it; so are keys that
/// share a name.
pub(super) fn read(document: &[u8]) -> Result<HashMap<String, PinnedKey>, String> {
    #[derive(Deserialize)]
    struct Document {
        keys: Vec<Value>,
    }
    let document: Document = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    if document.keys.len() > MAX_KEYS {
        return Err(format!("more than {MAX_KEYS} keys"));
    }
    let (mut keys, mut seen) = (HashMap::new(), HashSet::new());
    for value in document.keys {
        let Ok(published) = serde_json::from_value::<PublishedKey>(value) else {
            continue;
        };
        let Some(kid) = published.kid.clone().filter(|kid| !kid.is_empty()) else {
            continue;
        };
        if !seen.insert(kid.clone()) {
            keys.remove(&kid);
            continue;
        }
        match pin(&published) {
            Ok(key) => {
                keys.insert(kid, key);
            }
            Err(reason) => tracing::debug!(key.id = kid, reason, "a key of the external issuer is of no use"),
        }
    }
    Ok(keys)
}

fn pin(published: &PublishedKey) -> Result<PinnedKey, &'static str> {
    if published.d.is_some() {
        return Err("it is a private key");
    }
    if published.r#use.as_deref().is_some_and(|purpose| purpose != "sig") {
        return Err("it is not for signatures");
    }
    let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
    if published.key_ops.as_ref().is_some_and(|ops| !verifies(ops)) {
        return Err("it is not for verifying");
    }
    let (mut algorithms, key) = match (published.kty.as_str(), published.crv.as_deref()) {
        ("RSA", _) => rsa(published)?,
        ("EC", Some("P-256")) => (vec![Algorithm::ES256], elliptic(published, 32)?),
        ("EC", Some("P-384")) => (vec![Algorithm::ES384], elliptic(published, 48)?),
        ("OKP", Some("Ed25519")) => (vec![Algorithm::EdDSA], edwards(published)?),
        _ => return Err("it is of no kind that is read"),
    };
    if let Some(alg) = &published.alg {
        let named = alg
            .parse::<Algorithm>()
            .map_err(|_| "its algorithm is not known")?;
        algorithms.retain(|fitting| *fitting == named);
        if algorithms.is_empty() {
            return Err("its algorithm does not fit it");
        }
    }
    Ok(PinnedKey { algorithms, key })
}

fn bytes(part: Option<&String>) -> Result<Vec<u8>, &'static str> {
    let part = part.ok_or("a part is missing")?;
    URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part is no base64url")
}

fn rsa(published: &PublishedKey) -> Result<(Vec<Algorithm>, DecodingKey), &'static str> {
    let (modulus, exponent) = (bytes(published.n.as_ref())?, bytes(published.e.as_ref())?);
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let significant = modulus.get(zeros..).unwrap_or_default();
    let leading = significant
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    if !RSA_BITS.contains(&(significant.len() * 8).saturating_sub(leading)) {
        return Err("its modulus is too short or too long");
    }
    if exponent.last().is_none_or(|last| last % 2 == 0) || exponent == [1] {
        return Err("its exponent is none");
    }
    let algorithms = vec![
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ];
    Ok((
        algorithms,
        DecodingKey::from_rsa_raw_components(significant, &exponent),
    ))
}

fn elliptic(published: &PublishedKey, length: usize) -> Result<DecodingKey, &'static str> {
    let (x, y) = (published.x.as_ref(), published.y.as_ref());
    if bytes(x)?.len() != length || bytes(y)?.len() != length {
        return Err("its point is of the wrong length");
    }
    let (x, y) = (x.ok_or("a part is missing")?, y.ok_or("a part is missing")?);
    DecodingKey::from_ec_components(x, y).map_err(|_| "its point cannot be read")
}

fn edwards(published: &PublishedKey) -> Result<DecodingKey, &'static str> {
    let x = published.x.as_ref();
    if bytes(x)?.len() != 32 {
        return Err("its point is of the wrong length");
    }
    DecodingKey::from_ed_components(x.ok_or("a part is missing")?).map_err(|_| "its point cannot be read")
}
