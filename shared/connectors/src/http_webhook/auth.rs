//! How senders prove who they are: checks the settings of each kind and judges requests by them.

use halcyon_domain::{
    clock::Timestamp,
    error::{InputError, escape},
};
use http::{HeaderName, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    config::{AuthConfig, AuthKind, Encoding, Handshake, SecretEncoding, Template},
    hmac::{BASE64, HmacScheme, TimestampSource},
    presets::{DEFAULT_TOLERANCE, Preset},
    request::{Rejection, Request},
    signing_string::{Part, SigningString},
};
use crate::{SecretName, Secrets};
use base64::Engine;

/// A compiled way to judge senders.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    None,
    Bearer {
        secrets: Vec<SecretName>,
    },
    ApiKey {
        header: HeaderName,
        secrets: Vec<SecretName>,
    },
    Basic {
        username: String,
        secrets: Vec<SecretName>,
    },
    Hmac(Box<HmacScheme>),
}

impl Auth {
    /// The secrets that it needs.
    pub(crate) fn secrets(&self) -> &[SecretName] {
        match self {
            Self::None => &[],
            Self::Bearer { secrets } | Self::ApiKey { secrets, .. } | Self::Basic { secrets, .. } => secrets,
            Self::Hmac(scheme) => &scheme.secrets,
        }
    }

    /// Whether the request's sender holds a secret.
    pub(crate) fn verify(
        &self,
        request: &Request<'_>,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        match self {
            Self::None => Ok(()),
            Self::Bearer { secrets: names } => {
                let token = scheme_of(request, "bearer")?;
                is_one_of(token.as_bytes(), names, secrets)
            }
            Self::ApiKey {
                header,
                secrets: names,
            } => {
                let missing = || Rejection::Missing {
                    header: header.to_string(),
                };
                let key = request.headers.get(header).ok_or_else(missing)?;
                is_one_of(key.as_bytes(), names, secrets)
            }
            Self::Basic {
                username,
                secrets: names,
            } => {
                let given = BASE64
                    .decode(scheme_of(request, "basic")?)
                    .map_err(|_| Rejection::NotAuthentic)?;
                let mut halves = given.splitn(2, |byte| *byte == b':');
                let (Some(name), Some(password)) = (halves.next(), halves.next()) else {
                    return Err(Rejection::NotAuthentic);
                };
                let known = same(name, username.as_bytes());
                is_one_of(password, names, secrets)?;
                if known {
                    Ok(())
                } else {
                    Err(Rejection::NotAuthentic)
                }
            }
            Self::Hmac(scheme) => scheme.authenticate(request, secrets, now).map(|_| ()),
        }
    }
}

/// The credentials of the `Authorization` header, if they are of `scheme`.
fn scheme_of<'r>(request: &Request<'r>, scheme: &str) -> Result<&'r str, Rejection> {
    let value = request.header(&AUTHORIZATION).ok_or_else(|| Rejection::Missing {
        header: AUTHORIZATION.to_string(),
    })?;
    match value.split_once(' ') {
        Some((name, credentials)) if name.eq_ignore_ascii_case(scheme) => Ok(credentials.trim()),
        _ => Err(Rejection::NotAuthentic),
    }
}

/// Compares in a time that depends on neither content nor length: digests are compared, not the texts.
fn same(given: &[u8], expected: &[u8]) -> bool {
    Sha256::digest(given)
        .as_slice()
        .ct_eq(Sha256::digest(expected).as_slice())
        .into()
}

fn is_one_of(given: &[u8], names: &[SecretName], secrets: &Secrets) -> Result<(), Rejection> {
    let values = names.iter().flat_map(|name| secrets.values(name.as_str()));
    let mut values = values.filter(|value| !value.expose().is_empty()).peekable();
    if values.peek().is_none() {
        let name = names.first().map(ToString::to_string).unwrap_or_default();
        return Err(Rejection::SecretUnavailable { name });
    }
    let found = values.fold(false, |found, value| found | same(given, value.expose()));
    if found {
        Ok(())
    } else {
        Err(Rejection::NotAuthentic)
    }
}

/// Compiles the `auth` part of a connection. Pointers of errors are relative to the connection.
pub(crate) fn compile(
    config: &AuthConfig,
    preset: Option<&Preset>,
    handshake: Option<Handshake>,
) -> Result<Auth, Vec<InputError>> {
    let mut errors = misplaced(config);
    if let Some(preset) = preset
        && preset.kind != config.kind
    {
        let detail = format!(
            "preset `{}` is for auth of type `{}`",
            preset.id,
            kind_name(preset.kind)
        );
        errors.push(at("preset", "conflict", detail));
    }
    let secrets = secret_names(config);
    if config.kind != AuthKind::None && secrets.is_empty() {
        errors.push(at(
            "secret",
            "required",
            "a secret is needed, as {\"$secret\": \"name\"}",
        ));
    }
    let template = match preset {
        Some(preset) => config.template.clone().or(preset.template()),
        None => config.template.clone(),
    };
    let auth = match config.kind {
        AuthKind::None => Ok(Auth::None),
        AuthKind::Bearer => Ok(Auth::Bearer { secrets }),
        AuthKind::ApiKey => {
            header(&template.header, "header", "x-api-key").map(|header| Auth::ApiKey { header, secrets })
        }
        AuthKind::Basic => match config.username.clone() {
            Some(name) if !name.contains(':') => Ok(Auth::Basic {
                username: name,
                secrets,
            }),
            Some(_) => Err(vec![at(
                "username",
                "invalid",
                "a user name has no `:` (RFC 7617)",
            )]),
            None => Err(vec![at("username", "required", "`username` is needed")]),
        },
        AuthKind::Hmac => scheme(template, secrets, handshake).map(|scheme| Auth::Hmac(Box::new(scheme))),
    };
    match auth {
        Ok(auth) if errors.is_empty() => Ok(auth),
        Ok(_) => Err(errors),
        Err(more) => {
            errors.extend(more);
            Err(errors)
        }
    }
}

fn at(field: &str, code: &str, detail: impl Into<String>) -> InputError {
    InputError::new(format!("/auth/{}", escape(field)), code, detail)
}

fn kind_name(kind: AuthKind) -> &'static str {
    match kind {
        AuthKind::None => "none",
        AuthKind::Bearer => "bearer",
        AuthKind::ApiKey => "api_key",
        AuthKind::Basic => "basic",
        AuthKind::Hmac => "hmac",
    }
}

fn secret_names(config: &AuthConfig) -> Vec<SecretName> {
    let mut names: Vec<SecretName> = Vec::new();
    for reference in config.secret.iter().chain(&config.secrets) {
        if !names.contains(&reference.name) {
            names.push(reference.name.clone());
        }
    }
    names
}

/// Fields that have no meaning for the kind of auth: they were meant for something, so they are not ignored.
fn misplaced(config: &AuthConfig) -> Vec<InputError> {
    let allowed: &[&str] = match config.kind {
        AuthKind::None => &[],
        AuthKind::Bearer => &["secret", "secrets"],
        AuthKind::ApiKey => &["secret", "secrets", "header", "preset"],
        AuthKind::Basic => &["secret", "secrets", "username"],
        AuthKind::Hmac => return misplaced_beside_hmac(config),
    };
    let template = serde_json::to_value(&config.template).unwrap_or_default();
    let template = template
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys().map(String::as_str));
    let others = [
        ("preset", config.preset.is_some()),
        ("secret", config.secret.is_some()),
        ("secrets", !config.secrets.is_empty()),
        ("username", config.username.is_some()),
    ];
    let others = others
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name));
    template
        .chain(others)
        .filter(|name| !allowed.contains(name))
        .map(|name| {
            let detail = format!(
                "`{name}` has no meaning for auth of type `{}`",
                kind_name(config.kind)
            );
            at(name, "conflict", detail)
        })
        .collect()
}

fn misplaced_beside_hmac(config: &AuthConfig) -> Vec<InputError> {
    if config.username.is_some() {
        return vec![at(
            "username",
            "conflict",
            "`username` has no meaning for auth of type `hmac`",
        )];
    }
    Vec::new()
}

fn header(name: &Option<String>, field: &str, default: &str) -> Result<HeaderName, Vec<InputError>> {
    let name = name.as_deref().unwrap_or(default);
    name.parse()
        .map_err(|_| vec![at(field, "format", "the value is not a header name")])
}

fn optional_header(name: &Option<String>, field: &str) -> Result<Option<HeaderName>, Vec<InputError>> {
    name.as_ref().map(|_| header(name, field, "")).transpose()
}

fn scheme(
    template: Template,
    secrets: Vec<SecretName>,
    handshake: Option<Handshake>,
) -> Result<HmacScheme, Vec<InputError>> {
    let Some(name) = template.header.clone() else {
        return Err(vec![at(
            "header",
            "required",
            "`header` is needed where no preset names it",
        )]);
    };
    let text = template.signing_string.as_deref().unwrap_or("{body}");
    let signing_string =
        SigningString::parse(text).map_err(|detail| vec![at("signing_string", "invalid", detail)])?;
    let timestamp = timestamp_source(&template, &signing_string)?;
    let id_header = optional_header(&template.id_header, "id_header")?;
    if signing_string.has(&Part::Id) != id_header.is_some() {
        let detail = "`{id}` in the signing string and `id_header` belong together";
        return Err(vec![at("id_header", "conflict", detail)]);
    }
    let tolerance = template.tolerance.unwrap_or(DEFAULT_TOLERANCE).get().as_secs();
    if !(1..=86_400).contains(&tolerance) {
        return Err(vec![at(
            "tolerance",
            "out_of_range",
            "the tolerance is between 1s and 1day",
        )]);
    }
    Ok(HmacScheme {
        algorithm: template.algorithm.unwrap_or(super::config::Algorithm::Sha256),
        header: header(&Some(name), "header", "")?,
        encoding: template.encoding.unwrap_or(Encoding::Hex),
        prefix: template.prefix.unwrap_or_default(),
        separator: template.separator.and_then(|text| text.chars().next()),
        signing_string,
        timestamp,
        id_header,
        tolerance: i64::try_from(tolerance).unwrap_or(i64::MAX),
        secrets,
        secret_encoding: template.secret_encoding.unwrap_or(SecretEncoding::Text),
        secret_prefix: template.secret_prefix.unwrap_or_default(),
        signs_tokens: handshake == Some(Handshake::Crc),
    })
}

/// A time that is checked but not signed would be no protection, so both or neither.
fn timestamp_source(
    template: &Template,
    signing_string: &SigningString,
) -> Result<Option<TimestampSource>, Vec<InputError>> {
    let source = match (&template.timestamp_header, &template.timestamp_field) {
        (Some(_), Some(_)) => {
            let detail =
                "the time is in a header of its own or in a field of the signature header, not in both";
            return Err(vec![at("timestamp_field", "conflict", detail)]);
        }
        (Some(_), None) => {
            optional_header(&template.timestamp_header, "timestamp_header")?.map(TimestampSource::Header)
        }
        (None, Some(field)) => Some(TimestampSource::Field(field.clone())),
        (None, None) => None,
    };
    match (&source, signing_string.has(&Part::Timestamp)) {
        (None, true) => {
            let detail = "`{timestamp}` needs `timestamp_header` or `timestamp_field`";
            Err(vec![at("timestamp_header", "required", detail)])
        }
        (Some(_), false) => {
            let detail = "the signing string has no `{timestamp}`: a time that is not signed proves nothing";
            Err(vec![at("signing_string", "unsigned_timestamp", detail)])
        }
        (None, false) if template.tolerance.is_some() => Err(vec![at(
            "tolerance",
            "conflict",
            "a tolerance has no meaning where no time is signed",
        )]),
        _ => Ok(source),
    }
}
