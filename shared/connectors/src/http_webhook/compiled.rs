//! A connection, checked and made ready to judge requests.

use bytes::Bytes;
use halcyon_domain::{
    clock::Timestamp,
    error::{InputError, from_value},
    network::Network,
};
use http::HeaderMap;
use serde_json::Value;

use super::{
    DEFAULT_MAX_BODY, MAX_BODY,
    auth::{self, Auth},
    body::{BodyError, BodyRules, RawEvent},
    config::{AuthKind, Connection, DedupeConfig, Handshake, RateLimit},
    connector::TYPE,
    dedupe::{DedupeSource, Path},
    handshake::{self, HandshakeAnswer},
    presets::{Identity, Preset},
    request::{Rejection, Request},
};
use crate::{SecretName, Secrets, Verifier, validate::schema_errors};

/// A webhook's rules, compiled once for each version. Cheap to share, holds no secret.
#[derive(Clone, Debug)]
pub struct CompiledWebhook {
    auth: Auth,
    networks: Vec<Network>,
    rate_limit: Option<RateLimit>,
    body: BodyRules,
    handshake: Option<Handshake>,
}

impl CompiledWebhook {
    /// Checks and compiles a connection.
    ///
    /// # Errors
    /// Everything that is wrong with it; pointers are relative to the connection.
    pub fn compile(connection: &Value) -> Result<Self, Vec<InputError>> {
        let errors = schema_errors(TYPE, connection);
        if errors.is_empty() {
            Self::build(connection)
        } else {
            Err(errors)
        }
    }

    /// Compiles a connection that has passed the schema.
    pub(crate) fn build(connection: &Value) -> Result<Self, Vec<InputError>> {
        let connection: Connection = from_value(connection.clone()).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        let preset = connection.auth.preset.as_deref().and_then(Preset::find);
        let handshake = connection
            .handshake
            .or(preset.and_then(|preset| preset.handshake));
        if matches!(handshake, Some(Handshake::Zoom | Handshake::Crc))
            && connection.auth.kind != AuthKind::Hmac
        {
            let detail = "this handshake is answered with the key of auth of type `hmac`";
            errors.push(InputError::new("/handshake", "conflict", detail));
        }
        let auth = auth::compile(&connection.auth, preset, handshake);
        let networks = networks(&connection.allowed_ips);
        let dedupe = dedupe(connection.dedupe.as_ref(), preset);
        let max_body = connection.max_body.unwrap_or(DEFAULT_MAX_BODY);
        match (auth, networks, dedupe) {
            (Ok(auth), Ok(networks), Ok(dedupe)) if errors.is_empty() => Ok(Self {
                auth,
                networks,
                rate_limit: connection.rate_limit,
                body: BodyRules {
                    format: connection.format,
                    max_body: max_body.min(MAX_BODY),
                    max_decompressed: connection.max_decompressed.unwrap_or(max_body * 4),
                    dedupe,
                },
                handshake,
            }),
            (auth, networks, dedupe) => {
                errors.extend(
                    auth.err()
                        .into_iter()
                        .chain(networks.err())
                        .chain(dedupe.err())
                        .flatten(),
                );
                Err(errors)
            }
        }
    }

    /// The secrets that verification needs, by name; each once.
    #[must_use]
    pub fn required_secrets(&self) -> Vec<SecretName> {
        self.auth.secrets().to_vec()
    }

    /// The word for the kind of authentication, for the ingest route: `none`, `bearer`, `api_key`, `basic`, `hmac`.
    #[must_use]
    pub const fn auth_kind(&self) -> &'static str {
        match self.auth {
            Auth::None => "none",
            Auth::Bearer { .. } => "bearer",
            Auth::ApiKey { .. } => "api_key",
            Auth::Basic { .. } => "basic",
            Auth::Hmac(_) => "hmac",
        }
    }

    /// The largest body as sent, in bytes: read no more than this.
    #[must_use]
    pub const fn max_body(&self) -> usize {
        self.body.max_body
    }

    /// The largest body after decompression, in bytes.
    #[must_use]
    pub const fn max_decompressed(&self) -> usize {
        self.body.max_decompressed
    }

    /// How many requests to let in; `None` is no limit of this datasource's own.
    #[must_use]
    pub const fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }

    /// Whether the request is authentic, fresh and from an allowed address; on the raw bytes, before anything is
    /// parsed or decompressed.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, request: &Request<'_>, secrets: &Secrets, now: Timestamp) -> Result<(), Rejection> {
        self.check_address(request)?;
        self.auth.verify(request, secrets, now)
    }

    /// The answer to a vendor's handshake, if the request is one; such a request is no event. Ask before `verify`.
    ///
    /// # Errors
    /// The request is a handshake but not authentic.
    pub fn handshake(
        &self,
        request: &Request<'_>,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<Option<HandshakeAnswer>, Rejection> {
        handshake::answer(self, request, secrets, now)
    }

    /// The events of an accepted body: one, or one for each line of NDJSON. What is not JSON is an event, too (the
    /// mapping dead-letters it): an accepted body is never dropped in silence.
    ///
    /// # Errors
    /// The body is empty, too large, or of a type or encoding that is not read here.
    pub fn events(&self, headers: &HeaderMap, body: Bytes) -> Result<Vec<RawEvent>, BodyError> {
        self.body.events(headers, body)
    }

    pub(crate) fn check_address(&self, request: &Request<'_>) -> Result<(), Rejection> {
        if self.networks.is_empty() {
            return Ok(());
        }
        let allowed = |address| self.networks.iter().any(|network| network.contains(address));
        if request.remote_ip.is_some_and(allowed) {
            Ok(())
        } else {
            Err(Rejection::Address)
        }
    }

    pub(crate) const fn auth(&self) -> &Auth {
        &self.auth
    }

    pub(crate) const fn handshake_kind(&self) -> Option<Handshake> {
        self.handshake
    }
}

impl Verifier for CompiledWebhook {
    fn required_secrets(&self) -> Vec<SecretName> {
        Self::required_secrets(self)
    }

    fn verify(&self, request: &Request<'_>, secrets: &Secrets, now: Timestamp) -> Result<(), Rejection> {
        Self::verify(self, request, secrets, now)
    }

    fn handshake(
        &self,
        request: &Request<'_>,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<Option<HandshakeAnswer>, Rejection> {
        Self::handshake(self, request, secrets, now)
    }

    fn events(&self, headers: &HeaderMap, body: Bytes) -> Result<Vec<RawEvent>, BodyError> {
        Self::events(self, headers, body)
    }
}

fn networks(texts: &[String]) -> Result<Vec<Network>, Vec<InputError>> {
    let mut errors = Vec::new();
    let mut networks = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match Network::parse(text) {
            Some(network) => networks.push(network),
            None => {
                let detail = "the value is neither an address nor a network such as 192.0.2.0/24";
                errors.push(InputError::new(format!("/allowed_ips/{index}"), "format", detail));
            }
        }
    }
    if errors.is_empty() {
        Ok(networks)
    } else {
        Err(errors)
    }
}

/// Where identities are looked for: what is written, else where the vendor puts them, else `Idempotency-Key`.
fn dedupe(
    config: Option<&DedupeConfig>,
    preset: Option<&Preset>,
) -> Result<Vec<DedupeSource>, Vec<InputError>> {
    let bad = |field: &str, detail: &str| vec![InputError::new(format!("/dedupe{field}"), "format", detail)];
    let header = |name: &str| {
        name.parse()
            .map(DedupeSource::Header)
            .map_err(|_| bad("/header", "the value is not a header name"))
    };
    let path = |text: &str| {
        let path = Path::parse(text).map(DedupeSource::Path);
        path.ok_or_else(|| bad("/path", "the value is not a dotted path such as event.id"))
    };
    let mut sources = Vec::new();
    match (config, preset.map_or(Identity::Nowhere, |preset| preset.identity)) {
        (
            Some(DedupeConfig {
                header: Some(name),
                path: None,
            }),
            _,
        ) => sources.push(header(name)?),
        (
            Some(DedupeConfig {
                header: None,
                path: Some(text),
            }),
            _,
        ) => sources.push(path(text)?),
        (Some(_), _) => return Err(bad("", "either `header` or `path` is needed")),
        (None, Identity::Header(name)) => sources.push(header(name)?),
        (None, Identity::Path(text)) => sources.push(path(text)?),
        (None, Identity::Nowhere) => {}
    }
    sources.push(header("idempotency-key")?);
    Ok(sources)
}
