//! One authenticated encryption: format byte, nonce, ciphertext with tag.

use aes_gcm::{
    Aes256Gcm, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use secrecy::SecretSlice;

use crate::Error;

const FORMAT: u8 = 1;
const NONCE: usize = 12;

/// A key's length in bytes.
pub(crate) const KEY: usize = 32;

/// Encrypts `plain`, bound to `context`.
pub(crate) fn seal(key: &[u8; KEY], context: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
    let nonce = random::<NONCE>()?;
    let payload = Payload {
        msg: plain,
        aad: context,
    };
    let sealed = Aes256Gcm::new(key.into()).encrypt(&Nonce::from(nonce), payload);
    let sealed = sealed.map_err(|_| Error::CannotSeal)?;
    Ok([&[FORMAT][..], &nonce, &sealed].concat())
}

/// Decrypts what [`seal`] made with the same key and context.
pub(crate) fn open(key: &[u8; KEY], context: &[u8], sealed: &[u8]) -> Result<SecretSlice<u8>, Error> {
    let body = sealed.strip_prefix(&[FORMAT]).ok_or(Error::CannotOpen)?;
    let (nonce, body) = body.split_first_chunk::<NONCE>().ok_or(Error::CannotOpen)?;
    let payload = Payload {
        msg: body,
        aad: context,
    };
    let plain = Aes256Gcm::new(key.into()).decrypt(&Nonce::from(*nonce), payload);
    plain.map(SecretSlice::from).map_err(|_| Error::CannotOpen)
}

/// Random bytes from the operating system's generator.
pub(crate) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], Error> {
    let mut bytes = [0; LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::CannotSeal)?;
    Ok(bytes)
}

/// Joins the parts of a context, each with its length, so that no two lists of parts give the same bytes.
pub(crate) fn context(parts: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::new();
    for part in parts {
        joined.extend_from_slice(&(part.len() as u64).to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    proptest! {
        #[test]
        fn only_the_same_bytes_key_and_context_open(
            plain in prop::collection::vec(any::<u8>(), 0..64),
            place in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let key = [7; KEY];
            let sealed = seal(&key, b"here", &plain).unwrap();
            let opened = open(&key, b"here", &sealed).unwrap();
            prop_assert_eq!(opened.expose_secret(), &plain[..]);
            prop_assert!(open(&key, b"there", &sealed).is_err());
            prop_assert!(open(&[8; KEY], b"here", &sealed).is_err());
            let mut changed = sealed.clone();
            let at = place.index(changed.len());
            changed[at] ^= 1 << bit;
            prop_assert!(open(&key, b"here", &changed).is_err());
        }
    }

    #[test]
    fn the_same_value_never_looks_the_same() {
        let key = [7; KEY];
        assert_ne!(
            seal(&key, b"", b"value").unwrap(),
            seal(&key, b"", b"value").unwrap()
        );
    }
}
