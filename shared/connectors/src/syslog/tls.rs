//! The server's side of TLS (RFC 5425).

use std::sync::Arc;

use halcyon_domain::error::InputError;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde::Deserialize;

use crate::{
    Error, Secrets,
    tls::{SecretRef, certificates},
};

/// What the server shows, and whom it wants to see.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerTls {
    /// The certificate chain (PEM) that senders are shown.
    pub(super) certificate: String,
    /// Its private key (PEM).
    pub(super) key: SecretRef,
    /// Certificates (PEM) that one of a sender's must be signed by.
    pub(super) client_ca: Option<String>,
}

impl ServerTls {
    /// What is wrong with it; pointers are relative to it.
    pub(super) fn validate(&self) -> Vec<InputError> {
        let mut errors = Vec::new();
        let mut pem = |text: Option<&str>, pointer: &str| {
            if text.is_some_and(|text| certificates(text).is_none()) {
                let detail = "the value holds no certificate in PEM form";
                errors.push(InputError::new(pointer, "format", detail));
            }
        };
        pem(Some(&self.certificate), "/certificate");
        pem(self.client_ca.as_deref(), "/client_ca");
        errors
    }

    /// The settings of the library.
    pub(super) fn server_config(&self, secrets: &Secrets) -> Result<Arc<ServerConfig>, Error> {
        let broken = |error: String| Error::System(format!("TLS cannot be set up: {error}"));
        let unusable = || Error::Secret {
            name: self.key.name.clone(),
        };
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| broken(error.to_string()))?;
        let builder = match self.client_ca.as_deref().and_then(certificates) {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(authorities);
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| broken(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let text = self.key.text(secrets)?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| unusable())?;
        let chain = certificates(&self.certificate).unwrap_or_default();
        let config = builder.with_single_cert(chain, key).map_err(|_| unusable())?;
        Ok(Arc::new(config))
    }
}
