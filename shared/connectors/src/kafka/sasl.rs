//! Proving who we are: SASL PLAIN (RFC 4616) and SCRAM (RFC 5802).

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The most rounds that a server may ask for: more would keep a core busy for long. Brokers ask for 4,096 to 16,384.
const ROUNDS: u32 = 100_000;

/// How a password is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    Scram256,
    #[serde(rename = "SCRAM-SHA-512")]
    Scram512,
}

impl Mechanism {
    /// Its name on the wire.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram256 => "SCRAM-SHA-256",
            Self::Scram512 => "SCRAM-SHA-512",
        }
    }

    pub(super) fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        // A key of any length will do.
        match self {
            Self::Scram512 => Hmac::<Sha512>::new_from_slice(key)
                .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec())
                .unwrap_or_default(),
            _ => Hmac::<Sha256>::new_from_slice(key)
                .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec())
                .unwrap_or_default(),
        }
    }

    pub(super) fn hash(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Scram512 => Sha512::digest(message).to_vec(),
            _ => Sha256::digest(message).to_vec(),
        }
    }

    /// `Hi` of RFC 5802.
    pub(super) fn salted(self, password: &[u8], salt: &[u8], rounds: u32) -> Zeroizing<Vec<u8>> {
        let mut last = self.hmac(password, &[salt, &1_u32.to_be_bytes()].concat());
        let mut result = Zeroizing::new(last.clone());
        for _ in 1..rounds {
            last = self.hmac(password, &last);
            result.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
        }
        result
    }
}

/// The one message of PLAIN.
pub(super) fn plain(user: &str, password: &str) -> Vec<u8> {
    format!("\0{user}\0{password}").into_bytes()
}

/// Our side of a SCRAM exchange.
pub(super) struct Scram {
    mechanism: Mechanism,
    password: Zeroizing<String>,
    nonce: String,
    bare: String,
    signature: Vec<u8>,
}

impl Scram {
    /// `nonce` is of printable characters without a comma, and of this exchange only.
    pub(super) fn new(mechanism: Mechanism, user: &str, password: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self {
            mechanism,
            password: Zeroizing::new(password.to_owned()),
            bare: format!("n={user},r={nonce}"),
            nonce,
            signature: Vec::new(),
        }
    }

    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The proof; `None` if the server's message is none of the exchange. Keeps a core busy for up to some tenths of a
    /// second.
    pub(super) fn proof(&mut self, server: &str) -> Option<String> {
        let nonce = attribute(server, 'r')
            .filter(|nonce| nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len())?;
        let salt = STANDARD.decode(attribute(server, 's')?).ok()?;
        let rounds = attribute(server, 'i')?.parse().ok();
        let rounds = rounds.filter(|rounds| (1..=ROUNDS).contains(rounds))?;
        let mechanism = self.mechanism;
        let salted = mechanism.salted(self.password.as_bytes(), &salt, rounds);
        let client_key = mechanism.hmac(&salted, b"Client Key");
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{server},{without_proof}", self.bare);
        let signature = mechanism.hmac(&mechanism.hash(&client_key), message.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(key, sign)| key ^ sign)
            .collect();
        self.signature = mechanism.hmac(&mechanism.hmac(&salted, b"Server Key"), message.as_bytes());
        Some(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Whether the server knows the password too.
    pub(super) fn is_genuine(&self, server: &str) -> bool {
        let signature = attribute(server, 'v').and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|signature| {
            !self.signature.is_empty() && bool::from(signature.ct_eq(&self.signature))
        })
    }
}

/// The value of `name` in a message such as `r=abc,s=def,i=4096`.
pub(super) fn attribute(message: &str, name: char) -> Option<&str> {
    let mut parts = message.split(',');
    parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange that RFC 7677 prints.
    #[test]
    fn the_published_exchange_comes_out() {
        let mut scram = Scram::new(
            Mechanism::Scram256,
            "user",
            "pencil",
            "rOprNGfwEbeRWgbNEkqO".to_owned(),
        );
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            scram.proof(server).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(scram.is_genuine("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!scram.is_genuine("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="));
        assert!(!scram.is_genuine("e=invalid-proof"));
    }

    #[test]
    fn a_server_that_does_not_keep_to_it_gets_no_proof() {
        let new = || Scram::new(Mechanism::Scram512, "a,b=c", "p", "abc".to_owned());
        assert_eq!(new().first(), "n,,n=a=2Cb=3Dc,r=abc");
        for server in [
            "",
            "r=abc,s=c2FsdA==,i=4096",
            "r=xyzabc1,s=c2FsdA==,i=4096",
            "r=abcdef,s=?,i=4096",
            "r=abcdef,s=c2FsdA==,i=0",
            "r=abcdef,s=c2FsdA==,i=100001",
            "r=abcdef,s=c2FsdA==,i=4000000000",
            "e=unknown-user",
        ] {
            assert!(new().proof(server).is_none(), "{server}");
        }
        assert!(!new().is_genuine("v="));
    }
}
