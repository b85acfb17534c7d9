//! The tokens of service accounts: `hsa_`, the token's identifier, and a secret of 256 random bits. Only the
//! secret's hash is kept.

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

fn hash_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
