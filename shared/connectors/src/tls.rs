//! TLS as connections write it (`"x-shared": "tls"` in a connector's schema), for every connector alike: at least
//! TLS 1.2, and a server's certificate is always checked.

use std::sync::Arc;

use halcyon_domain::{config::SECRET_KEY, error::InputError};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Error, Secrets};

/// A reference to a secret, as connections write it: `{"$secret": "name"}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRef {
    /// The secret's name.
    #[serde(rename = "$secret")]
    pub(crate) name: String,
}

// The attribute above cannot take the constant.
const _: () = assert!(matches!(SECRET_KEY.as_bytes(), b"$secret"));

impl SecretRef {
    /// The newest value as text.
    ///
    /// # Errors
    /// There is none, or it is no text.
    pub(crate) fn text(&self, secrets: &Secrets) -> Result<String, Error> {
        let newest = secrets.values(&self.name).last();
        let text = newest.and_then(|value| std::str::from_utf8(value.expose()).ok());
        text.map(ToOwned::to_owned).ok_or_else(|| Error::Secret {
            name: self.name.clone(),
        })
    }
}

/// The `tls` of a connection. Absent in a connection means that nothing is encrypted.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    /// Whether to encrypt.
    pub(crate) enabled: bool,
    /// Certificates (PEM) to trust besides the operating system's.
    pub(crate) ca: Option<String>,
    /// The name that the server's certificate must have.
    pub(crate) server_name: Option<String>,
    /// The certificate chain (PEM) to show.
    pub(crate) certificate: Option<String>,
    /// Its private key (PEM).
    pub(crate) key: Option<SecretRef>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            enabled: true,
            ca: None,
            server_name: None,
            certificate: None,
            key: None,
        }
    }
}

impl Tls {
    /// What is wrong with it; pointers are relative to it.
    pub(crate) fn validate(&self) -> Vec<InputError> {
        let mut errors = Vec::new();
        let mut pem = |text: &Option<String>, pointer: &str| {
            if text.as_deref().is_some_and(|text| certificates(text).is_none()) {
                let detail = "the value holds no certificate in PEM form";
                errors.push(InputError::new(pointer, "format", detail));
            }
        };
        pem(&self.ca, "/ca");
        pem(&self.certificate, "/certificate");
        if self.certificate.is_some() != self.key.is_some() {
            let (pointer, detail) = match self.key {
                None => ("/key", "a client certificate needs its key"),
                Some(_) => ("/certificate", "a client key needs its certificate"),
            };
            errors.push(InputError::new(pointer, "required", detail));
        }
        if let Some(name) = &self.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            let detail = "the value is no host name or address";
            errors.push(InputError::new("/server_name", "format", detail));
        }
        errors
    }

    /// The settings of the library.
    ///
    /// # Errors
    /// Certificates or the key cannot be used.
    pub(crate) fn client_config(&self, secrets: &Secrets) -> Result<Arc<ClientConfig>, Error> {
        self.config(secrets, |verifier| Arc::new(verifier))
    }

    /// The settings for a library that connects to an address and would look for that in the certificate: it is to
    /// have the name of `host` all the same.
    ///
    /// # Errors
    /// Certificates or the key cannot be used, or `host` cannot be in a certificate.
    pub(crate) fn client_config_for(&self, host: &str, secrets: &Secrets) -> Result<ClientConfig, Error> {
        let name = self.name(host)?;
        let config = self.config(secrets, |verifier| Arc::new(Named { verifier, name }))?;
        Ok(Arc::unwrap_or_clone(config))
    }

    fn config(
        &self,
        secrets: &Secrets,
        judge: impl FnOnce(Verifier) -> Arc<dyn ServerCertVerifier>,
    ) -> Result<Arc<ClientConfig>, Error> {
        let broken = |error: rustls::Error| Error::System(format!("TLS cannot be set up: {error}"));
        let provider = Arc::new(default_provider());
        let roots = self.ca.as_deref().and_then(certificates).unwrap_or_default();
        let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider)).map_err(broken)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(broken)?
            .dangerous()
            .with_custom_certificate_verifier(judge(verifier));
        let config = match (&self.certificate, &self.key) {
            (Some(chain), Some(key)) => {
                let unusable = || Error::Secret {
                    name: key.name.clone(),
                };
                let text = key.text(secrets)?;
                let parsed = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| unusable())?;
                let chain = certificates(chain).unwrap_or_default();
                builder
                    .with_client_auth_cert(chain, parsed)
                    .map_err(|_| unusable())?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    /// Encrypts a connection that was made to `host`.
    ///
    /// # Errors
    /// [`Error::Refused`] for a certificate that is not trusted, else [`Error::Transient`].
    pub(crate) async fn wrap(
        &self,
        stream: TcpStream,
        host: &str,
        secrets: &Secrets,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let name = self.name(host)?;
        let connector = TlsConnector::from(self.client_config(secrets)?);
        connector
            .connect(name, stream)
            .await
            .map_err(|error| not_agreed(&error))
    }

    /// The name that the certificate of `host` must have.
    fn name(&self, host: &str) -> Result<ServerName<'static>, Error> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = name.trim_matches(['[', ']']).to_owned();
        ServerName::try_from(name).map_err(|_| Error::Refused {
            message: "the host's name cannot be in a certificate".to_owned(),
        })
    }
}

/// Looks for one name in certificates, whatever the library believes to have connected to.
#[derive(Debug)]
struct Named {
    verifier: Verifier,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier
            .verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Why no TLS came about: a certificate or a protocol does not get better by trying again.
pub(crate) fn not_agreed(error: &std::io::Error) -> Error {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(tls) => Error::Refused {
            message: format!("TLS could not be agreed on: {tls}"),
        },
        None => Error::transient(format!("the connection broke while TLS was agreed on: {error}")),
    }
}

/// The certificates in a PEM text; `None` if there is none or one does not read.
pub(crate) fn certificates(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    found.ok().filter(|found| !found.is_empty())
}
