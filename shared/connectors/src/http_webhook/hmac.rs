//! HMAC signatures of any vendor, by a template: header, encoding, prefix, signing string, timestamp, tolerance.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use halcyon_domain::clock::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderName;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    config::{Algorithm, Encoding, SecretEncoding},
    request::{Rejection, Request},
    signing_string::SigningString,
};
use crate::{SecretName, SecretValue, Secrets};

/// The most signatures of one header that are looked at; vendors send one for each live secret.
const MAX_CANDIDATES: usize = 16;

/// The longest token that a CRC handshake answers, in bytes.
pub(crate) const MAX_CRC_TOKEN: usize = 128;

/// Base64 with or without padding.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A message authentication code of up to 64 bytes.
#[derive(Clone)]
pub(crate) struct Tag {
    bytes: [u8; 64],
    length: usize,
}

impl Tag {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn from_slice(slice: &[u8]) -> Self {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(slice) {
            *to = *from;
        }
        Self {
            bytes,
            length: slice.len().min(64),
        }
    }
}

/// The code of `pieces`, joined, under `key`.
pub(crate) fn mac<'a>(
    algorithm: Algorithm,
    key: &[u8],
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Option<Tag> {
    fn run<'a, M: Mac + KeyInit>(key: &[u8], pieces: impl Iterator<Item = &'a [u8]>) -> Option<Tag> {
        let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
        pieces.for_each(|piece| mac.update(piece));
        Some(Tag::from_slice(&mac.finalize().into_bytes()))
    }
    match algorithm {
        Algorithm::Sha1 => run::<Hmac<Sha1>>(key, pieces),
        Algorithm::Sha256 => run::<Hmac<Sha256>>(key, pieces),
        Algorithm::Sha512 => run::<Hmac<Sha512>>(key, pieces),
    }
}

/// Where the signed time is.
#[derive(Clone, Debug)]
pub(crate) enum TimestampSource {
    /// In a header of its own.
    Header(HeaderName),
    /// In the signature header, as `field=seconds`.
    Field(String),
}

/// A compiled signature scheme.
#[derive(Clone, Debug)]
pub(crate) struct HmacScheme {
    pub(crate) algorithm: Algorithm,
    pub(crate) header: HeaderName,
    pub(crate) encoding: Encoding,
    pub(crate) prefix: String,
    pub(crate) separator: Option<char>,
    pub(crate) signing_string: SigningString,
    pub(crate) timestamp: Option<TimestampSource>,
    pub(crate) id_header: Option<HeaderName>,
    /// Seconds that the signed time may be off, either way.
    pub(crate) tolerance: i64,
    pub(crate) secrets: Vec<SecretName>,
    pub(crate) secret_encoding: SecretEncoding,
    pub(crate) secret_prefix: String,
    /// Whether a CRC handshake lets anyone have short tokens signed; such tokens are then never events.
    pub(crate) signs_tokens: bool,
}

impl HmacScheme {
    /// Which key signed the request, if one did and the signed time is fresh.
    pub(crate) fn authenticate<'s>(
        &self,
        request: &Request<'_>,
        secrets: &'s Secrets,
        now: Timestamp,
    ) -> Result<Key<'s>, Rejection> {
        let signature = self.needed(request, &self.header)?;
        let timestamp = match &self.timestamp {
            None => "",
            Some(TimestampSource::Header(header)) => self.needed(request, header)?,
            Some(TimestampSource::Field(field)) => {
                let fields = self
                    .elements(signature)
                    .filter_map(|element| element.split_once('='));
                let mut values = fields.filter(|(name, _)| name == field).map(|(_, value)| value);
                values.next().ok_or(Rejection::NotAuthentic)?
            }
        };
        if self.timestamp.is_some() {
            self.check_fresh(timestamp, now)?;
        }
        let id = match &self.id_header {
            Some(header) => self.needed(request, header)?,
            None => "",
        };
        let pieces = self.signing_string.pieces(timestamp, id, request.body);
        if self.signs_tokens && is_token(pieces.clone().flatten()) {
            return Err(Rejection::NotAuthentic);
        }
        self.signing_key(signature, pieces, secrets)
    }

    fn signing_key<'a, 's>(
        &self,
        signature: &str,
        pieces: impl Iterator<Item = &'a [u8]> + Clone,
        secrets: &'s Secrets,
    ) -> Result<Key<'s>, Rejection> {
        let mut usable = 0;
        for value in self.secrets.iter().flat_map(|name| secrets.values(name.as_str())) {
            let Some(key) = self.key(value) else { continue };
            let Some(expected) = mac(self.algorithm, key.bytes(), pieces.clone()) else {
                continue;
            };
            usable += 1;
            if self.any_matches(signature, &expected) {
                return Ok(key);
            }
        }
        if usable > 0 {
            Err(Rejection::NotAuthentic)
        } else {
            Err(self.no_secret())
        }
    }

    /// Whether one of the header's signatures is the expected one; each is compared in constant time.
    fn any_matches(&self, signature: &str, expected: &Tag) -> bool {
        let candidates = self
            .elements(signature)
            .filter_map(|element| element.strip_prefix(self.prefix.as_str()));
        let mut found = subtle::Choice::from(0);
        for candidate in candidates.take(MAX_CANDIDATES) {
            if let Some(given) = self.decode(candidate, expected.length) {
                found |= given.as_bytes().ct_eq(expected.as_bytes());
            }
        }
        found.into()
    }

    fn decode(&self, candidate: &str, length: usize) -> Option<Tag> {
        let mut bytes = [0_u8; 64];
        match self.encoding {
            Encoding::Hex => hex::decode_to_slice(candidate, bytes.get_mut(..length)?).ok()?,
            Encoding::Base64 => {
                // Longer text than 64 bytes need is no signature; the buffer has room for base64's estimate.
                let mut buffer = [0_u8; 72];
                let written = BASE64.decode_slice(candidate, &mut buffer).ok()?;
                if written != length {
                    return None;
                }
                bytes.get_mut(..length)?.copy_from_slice(buffer.get(..length)?);
            }
        }
        Some(Tag { bytes, length })
    }

    fn elements<'h>(&self, header: &'h str) -> impl Iterator<Item = &'h str> + use<'h> {
        let separator = self.separator;
        header.split(move |c| Some(c) == separator).map(str::trim)
    }

    fn check_fresh(&self, timestamp: &str, now: Timestamp) -> Result<(), Rejection> {
        // 13 digits are milliseconds until the year 2286; longer numbers are no time at all.
        let is_number = (1..=13).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
        let number: i64 = timestamp
            .parse()
            .ok()
            .filter(|_| is_number)
            .ok_or(Rejection::NotAuthentic)?;
        let seconds = if number > 99_999_999_999 {
            number / 1000
        } else {
            number
        };
        if (now.timestamp() - seconds).abs() > self.tolerance {
            return Err(Rejection::Stale {
                tolerance_seconds: self.tolerance,
            });
        }
        Ok(())
    }

    fn needed<'r>(&self, request: &Request<'r>, header: &HeaderName) -> Result<&'r str, Rejection> {
        request.header(header).ok_or_else(|| Rejection::Missing {
            header: header.to_string(),
        })
    }

    /// The first live key, for answers that a handshake wants signed.
    pub(crate) fn first_key<'s>(&self, secrets: &'s Secrets) -> Result<Key<'s>, Rejection> {
        let mut values = self.secrets.iter().flat_map(|name| secrets.values(name.as_str()));
        values
            .find_map(|value| self.key(value))
            .ok_or_else(|| self.no_secret())
    }

    fn no_secret(&self) -> Rejection {
        let name = self.secrets.first().map(ToString::to_string).unwrap_or_default();
        Rejection::SecretUnavailable { name }
    }

    /// The key of a secret as the vendor writes it; `None` if it is not in that form. An empty key is no key:
    /// anyone could sign with it.
    pub(crate) fn key<'s>(&self, value: &'s SecretValue) -> Option<Key<'s>> {
        let bytes = value.expose();
        let bytes = bytes.strip_prefix(self.secret_prefix.as_bytes()).unwrap_or(bytes);
        let key = match self.secret_encoding {
            SecretEncoding::Text => Key(Cow::Borrowed(bytes), Zeroizing::default()),
            SecretEncoding::Hex => Key(Cow::Borrowed(&[]), Zeroizing::new(hex::decode(bytes).ok()?)),
            SecretEncoding::Base64 => Key(Cow::Borrowed(&[]), Zeroizing::new(BASE64.decode(bytes).ok()?)),
        };
        (!key.bytes().is_empty()).then_some(key)
    }
}

/// A signing key: the secret itself, or what it decodes to (wiped when dropped).
pub(crate) struct Key<'s>(Cow<'s, [u8]>, Zeroizing<Vec<u8>>);

impl Key<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.1.is_empty() { &self.0 } else { &self.1 }
    }
}

/// Whether the bytes are what a CRC handshake would sign for anyone who asks.
pub(crate) fn is_token<'a>(bytes: impl Iterator<Item = &'a u8>) -> bool {
    let mut length = 0;
    for byte in bytes {
        length += 1;
        if length > MAX_CRC_TOKEN || !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            return false;
        }
    }
    true
}
