//! TLS as connections write it (`"x-shared": "tls"` in a connector's schema), for every connector alike: at least
//! TLS 1.2, and a server's certificate is always checked.

use std::sync::Arc;

use halcyon_domain::{config::SECRET_KEY, error::InputError};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
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
    /// [`Error::Refused`] for a certificate that is not trusted or of another name, [`Error::Transient`] for what
    /// passes.
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

/// Why no TLS came about.
pub(crate) fn not_agreed(error: &std::io::Error) -> Error {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(tls) => of_tls(tls, format!("TLS could not be agreed on: {tls}")),
        None => Error::transient(format!("the connection broke while TLS was agreed on: {error}")),
    }
}

/// What a failure of TLS means: a stranger's certificate or a protocol does not get better by trying again, but a
/// certificate is renewed, a clock is set right, and a proxy that restarts gets over it.
pub(crate) fn of_tls(error: &rustls::Error, message: String) -> Error {
    use rustls::Error as Tls;
    let passes = match error {
        Tls::AlertReceived(alert) => !is_about_us(*alert),
        Tls::InvalidCertificate(error) => is_a_matter_of_time(error),
        Tls::InvalidMessage(_)
        | Tls::InappropriateMessage { .. }
        | Tls::InappropriateHandshakeMessage { .. }
        | Tls::PeerMisbehaved(_)
        | Tls::PeerSentOversizedRecord
        | Tls::DecryptError
        | Tls::FailedToGetCurrentTime => true,
        _ => false,
    };
    if passes {
        Error::transient(message)
    } else {
        Error::Refused { message }
    }
}

const fn is_a_matter_of_time(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. }
            | CertificateError::UnknownRevocationStatus
    )
}

/// Whether the other side says that it does not take who we are, or what we offer.
const fn is_about_us(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::HandshakeFailure
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::MissingExtension
            | Alert::UnsupportedExtension
            | Alert::UnrecognisedName
            | Alert::NoApplicationProtocol
    )
}

/// The certificates in a PEM text; `None` if there is none or one does not read.
pub(crate) fn certificates(text: &str) -> Option<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    found.ok().filter(|found| !found.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// What becomes of a connection to a server that answers as it is told to.
    async fn outcome(tls: &Tls, answer: Answer) -> Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            match answer {
                Answer::Bytes(bytes) => {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(bytes).await;
                    let _ = stream.read(&mut [0; 4096]).await;
                }
                Answer::Tls(acceptor) => drop(acceptor.accept(stream).await),
            }
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let secrets = Secrets::none();
        let wrapped = timeout(Duration::from_secs(30), tls.wrap(stream, "127.0.0.1", &secrets));
        let error = wrapped.await.unwrap().expect_err("nothing was agreed on");
        server.abort();
        error
    }

    enum Answer {
        Bytes(&'static [u8]),
        Tls(TlsAcceptor),
    }

    /// A server with a certificate for `name` until the year; and whom to trust for it.
    fn server(name: &str, until: i32) -> (Tls, Answer) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let tls = Tls {
            ca: Some(certificate.pem()),
            ..Tls::default()
        };
        (tls, Answer::Tls(TlsAcceptor::from(Arc::new(config))))
    }

    #[tokio::test]
    async fn what_passes_is_told_from_what_does_not() {
        let (tls, expired) = server("127.0.0.1", 2001);
        let (trusting, other) = server("other.example", 2900);
        let (_, stranger) = server("127.0.0.1", 2900);
        for (tls, answer, passes, what) in [
            // Alerts: an internal error, and a certificate that is asked of us.
            (
                &tls,
                Answer::Bytes(&[21, 3, 3, 0, 2, 2, 80]),
                true,
                "internal error",
            ),
            (
                &tls,
                Answer::Bytes(&[21, 3, 3, 0, 2, 2, 116]),
                false,
                "certificate required",
            ),
            (
                &tls,
                Answer::Bytes(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"),
                true,
                "plain bytes",
            ),
            (&tls, expired, true, "an expired certificate"),
            (&trusting, other, false, "another name"),
            (&Tls::default(), stranger, false, "an unknown issuer"),
        ] {
            let error = outcome(tls, answer).await;
            assert_eq!(error.is_transient(), passes, "{what}: {error:?}");
        }
    }
}
