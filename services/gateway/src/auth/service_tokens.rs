//! The tokens of service accounts: `hsa_`, the token's identifier, and a secret of 256 random bits. Only the
//! secret's hash is kept.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use halcyon_domain::id::ServiceAccountTokenId;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// What every such token begins with, so that it is told from others, by scanners for leaked secrets too.
const PREFIX: &str = "hsa_";
/// The length of the identifier's hexadecimal digits.
const ID_LENGTH: usize = 32;

/// A token as somebody shows it.
#[derive(Debug)]
pub(crate) struct ShownToken {
    /// The identifier in it; nil if it cannot be read, which no token has.
    pub(crate) id: ServiceAccountTokenId,
    secret: SecretString,
}

impl ShownToken {
    /// Reads a token; none if it is of another kind.
    pub(crate) fn read(token: &str) -> Option<Self> {
        let rest = token.strip_prefix(PREFIX)?;
        let parts = rest.split_at_checked(ID_LENGTH).and_then(|(id, secret)| {
            let plain = id
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            let id = Uuid::try_parse(id).ok().filter(|_| plain)?;
            Some((id, secret.strip_prefix('_')?))
        });
        let (id, secret) = parts.unwrap_or((Uuid::nil(), ""));
        Some(Self {
            id: ServiceAccountTokenId(id),
            secret: secret.into(),
        })
    }

    /// Whether the secret has this hash. Takes as long wherever they differ.
    pub(crate) fn matches(&self, hash: &[u8]) -> bool {
        hash_of(self.secret.expose_secret()).ct_eq(hash).into()
    }
}

/// A new token.
pub(crate) struct NewToken {
    /// The token, to be shown once.
    pub(crate) token: SecretString,
    /// The hash of its secret, to be kept.
    pub(crate) hash: [u8; 32],
}

impl NewToken {
    /// A token of this identifier with a new secret.
    pub(crate) fn generate(id: ServiceAccountTokenId) -> Self {
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        Self {
            hash: hash_of(&secret),
            token: format!("{PREFIX}{}_{secret}", id.0.simple()).into(),
        }
    }
}

fn hash_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_reads_back_and_matches_its_hash_alone() {
        let id = ServiceAccountTokenId::generate();
        let (one, other) = (NewToken::generate(id), NewToken::generate(id));
        let shown = ShownToken::read(one.token.expose_secret()).unwrap();
        assert_eq!(shown.id, id);
        assert!(shown.matches(&one.hash));
        assert!(!shown.matches(&other.hash));
        assert!(!shown.matches(&[]));
        assert_eq!(one.token.expose_secret().len(), 4 + 32 + 1 + 43);
        assert!(!format!("{shown:?}").contains(one.token.expose_secret().split_at(37).1));
    }

    #[test]
    fn what_is_malformed_is_no_ones_token() {
        assert!(ShownToken::read("eyJhbGciOiJFZERTQSJ9.e30.x").is_none());
        let hex = "0".repeat(31);
        for malformed in [
            "hsa_".to_owned(),
            "hsa_x_y".to_owned(),
            format!("hsa_{hex}ü_x"),
            format!("hsa_{}_x", "A".repeat(32)),
            format!("hsa_{}x", "a".repeat(32)),
        ] {
            assert!(ShownToken::read(&malformed).unwrap().id.0.is_nil(), "{malformed}");
        }
    }
}
