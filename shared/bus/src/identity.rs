//! Who connects: a service and its key.

use std::{fmt, path::Path};

use nkeys::KeyPair;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::Error;

/// A service, as the server's permissions know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// API, Studio, ingest; relays the outbox.
    Gateway,
    /// Control plane; makes the streams and trims them.
    Registry,
    /// Data plane.
    Worker,
    /// Sandboxed test runs.
    #[serde(alias = "test_runner")]
    TestRunner,
    /// The audit trail.
    Audit,
    /// Alerts, entities, relationships.
    Ontology,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 6] = [
        Self::Gateway,
        Self::Registry,
        Self::Worker,
        Self::TestRunner,
        Self::Audit,
        Self::Ontology,
    ];

    /// The service's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Registry => "registry",
            Self::Worker => "worker",
            Self::TestRunner => "test-runner",
            Self::Audit => "audit",
            Self::Ontology => "ontology",
        }
    }

    /// The prefix of the inboxes that only this service may read.
    #[must_use]
    pub fn inbox_prefix(self) -> String {
        format!("_INBOX_{}", self.as_str())
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A service and what proves that it is it.
#[derive(Clone, Debug)]
pub struct Identity {
    service: Service,
    seed: Option<SecretString>,
}

impl Identity {
    /// An identity proved by an nkey seed (`SU...`).
    ///
    /// # Errors
    /// The text is no seed of a user key.
    pub fn from_seed(service: Service, seed: &str) -> Result<Self, Error> {
        let seed = seed.trim();
        KeyPair::from_seed(seed).map_err(|error| Error::Setup(format!("nkey seed: {error}")))?;
        if !seed.starts_with("SU") {
            return Err(Error::Setup("the nkey seed is not a user's".to_owned()));
        }
        Ok(Self {
            service,
            seed: Some(SecretString::from(seed)),
        })
    }

    /// An identity proved by the nkey seed in a file.
    ///
    /// # Errors
    /// The file cannot be read or holds no seed.
    pub fn from_seed_file(service: Service, file: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Error::Setup(format!("nkey seed file {}: {error}", file.display())))?;
        Self::from_seed(service, &text)
    }

    /// An identity proved by what stands in the URL, or by nothing.
    #[must_use]
    pub const fn from_url(service: Service) -> Self {
        Self { service, seed: None }
    }

    /// A new key for a service.
    #[must_use]
    pub fn generate(service: Service) -> Self {
        let seed = KeyPair::new_user().seed().ok().map(SecretString::from);
        Self { service, seed }
    }

    /// The service.
    #[must_use]
    pub const fn service(&self) -> Service {
        self.service
    }

    /// The seed, to be kept in a file that only the service can read.
    #[must_use]
    pub const fn seed(&self) -> Option<&SecretString> {
        self.seed.as_ref()
    }

    /// The public key that the server's configuration names, if there is a seed.
    #[must_use]
    pub fn public_key(&self) -> Option<String> {
        let seed = self.seed.as_ref()?;
        KeyPair::from_seed(seed.expose_secret())
            .ok()
            .map(|pair| pair.public_key())
    }
}
