//! The gateway's own TLS: a certificate and a key from files, taken up anew when the files change.
//!
//! Connections that are open keep what they were made with; new ones get the new certificate. A pair that does not
//! fit together is not taken up: the old one stays, and readiness and a metric say so.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures::Stream;
use halcyon_domain::clock::{Clock, Timestamp};
use halcyon_infra::{Check, Metric, Metrics, Shutdown};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use salvo::conn::IntoConfigStream;
use tokio::sync::mpsc;

use super::settings::TlsSettings;

/// How long before its end a certificate is complained about.
const SOON: TimeDelta = TimeDelta::days(14);

/// Keeps what the listener is served by up to date.
pub(crate) struct Certificates {
    settings: TlsSettings,
    seen: Option<Stamp>,
    expires: Timestamp,
    /// Why the files that are there now are not in use.
    broken: Option<String>,
    configs: mpsc::UnboundedSender<ServerConfig>,
}

/// The configurations that the listener takes up, one after the other.
pub(crate) struct Configs(mpsc::UnboundedReceiver<ServerConfig>);

impl IntoConfigStream<ServerConfig> for Configs {
    type Stream = std::pin::Pin<Box<dyn Stream<Item = ServerConfig> + Send>>;

    fn into_stream(self) -> Self::Stream {
        Box::pin(futures::stream::unfold(self.0, |mut configs| async {
            Some((configs.recv().await?, configs))
        }))
    }
}

/// What tells that a file is another one than before.
type Stamp = [(Option<SystemTime>, u64, u64); 2];

impl Certificates {
    /// Reads the pair.
    ///
    /// # Errors
    /// It cannot be read, or does not fit together.
    pub(crate) fn open(settings: TlsSettings) -> anyhow::Result<(Self, Configs)> {
        let seen = stamp(&settings).ok();
        let (config, expires) = read(&settings)?;
        let (configs, receiver) = mpsc::unbounded_channel();
        let _ = configs.send(config);
        let certificates = Self {
            settings,
            seen,
            expires,
            broken: None,
            configs,
        };
        Ok((certificates, Configs(receiver)))
    }

    /// Looks at the files until `shutdown`.
    pub(crate) async fn keep(
        mut self,
        check: Check,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) {
        let pause = self.settings.reload.get().max(Duration::from_millis(100));
        loop {
            self.look(&metrics);
            self.report(&check, &metrics, clock.now());
            if shutdown
                .unless_triggered(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Takes up the files if they changed.
    fn look(&mut self, metrics: &Metrics) {
        let now = stamp(&self.settings).ok();
        if now == self.seen && now.is_some() {
            return;
        }
        match read(&self.settings) {
            Ok((config, expires)) => {
                let _ = self.configs.send(config);
                self.expires = expires;
                self.broken = None;
                metrics.add(Metric::TlsReloads, 1, &[("ok", "true")]);
                tracing::info!(tls.expires = %expires, "a changed certificate is in use");
            }
            Err(error) => {
                let error = format!("{error:#}");
                // It is tried again each time: the other file may be about to change too.
                if self.broken.as_deref() != Some(error.as_str()) {
                    metrics.add(Metric::TlsReloads, 1, &[("ok", "false")]);
                    tracing::error!(
                        error,
                        "the changed certificate cannot be used; the one before stays"
                    );
                    self.broken = Some(error);
                }
                return;
            }
        }
        self.seen = now;
    }

    fn report(&self, check: &Check, metrics: &Metrics, now: Timestamp) {
        let left = self.expires - now;
        metrics.set(Metric::TlsExpirySeconds, left.as_seconds_f64(), &[]);
        check.ready_with(match &self.broken {
            Some(error) => format!("the certificate before is in use: {error}"),
            None if left < SOON => format!("the certificate ends at {}", self.expires),
            None => "ok".to_owned(),
        });
    }
}

fn stamp(settings: &TlsSettings) -> std::io::Result<Stamp> {
    let of = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        let file = std::fs::metadata(path)?;
        Ok::<_, std::io::Error>((file.modified().ok(), file.ino(), file.len()))
    };
    Ok([of(&settings.certificate)?, of(&settings.key)?])
}

fn read(settings: &TlsSettings) -> anyhow::Result<(ServerConfig, DateTime<Utc>)> {
    let file = &settings.certificate;
    let chain = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("`{}` cannot be read as certificates in PEM", file.display()))?;
    let first = chain
        .first()
        .with_context(|| format!("`{}` holds no certificate", file.display()))?;
    let expires =
        end_of(first).with_context(|| format!("`{}` holds no X.509 certificate", file.display()))?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).with_context(|| {
        format!(
            "`{}` cannot be read as a private key in PEM",
            settings.key.display()
        )
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and key do not fit together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, expires))
}

/// When a certificate ends.
fn end_of(certificate: &CertificateDer<'_>) -> Option<DateTime<Utc>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}
