//! The connection of an `http_webhook` datasource, as it is written.

use halcyon_domain::duration::HumanDuration;
use serde::{Deserialize, Serialize};

use crate::SecretName;

/// The connection. Its JSON Schema is `schema.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    pub(crate) auth: AuthConfig,
    #[serde(default)]
    pub(crate) allowed_ips: Vec<String>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) max_body: Option<usize>,
    pub(crate) max_decompressed: Option<usize>,
    #[serde(default)]
    pub(crate) format: Format,
    pub(crate) dedupe: Option<DedupeConfig>,
    pub(crate) handshake: Option<Handshake>,
}

/// How senders prove who they are. Which fields belong to which type is checked in `auth`;
/// unknown fields are the schema's to refuse (serde cannot, beside `flatten`).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AuthConfig {
    #[serde(rename = "type")]
    pub(crate) kind: AuthKind,
    pub(crate) preset: Option<String>,
    pub(crate) secret: Option<SecretRef>,
    #[serde(default)]
    pub(crate) secrets: Vec<SecretRef>,
    pub(crate) username: Option<String>,
    #[serde(flatten)]
    pub(crate) template: Template,
}

/// The parts of a signature scheme. A preset fills in what is not written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Template {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) algorithm: Option<Algorithm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<Encoding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) separator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signing_string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp_header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp_field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id_header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tolerance: Option<HumanDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret_encoding: Option<SecretEncoding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret_prefix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthKind {
    None,
    Bearer,
    ApiKey,
    Basic,
    Hmac,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encoding {
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecretEncoding {
    Text,
    Hex,
    Base64,
}

/// `{"$secret": "name"}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRef {
    #[serde(rename = "$secret")]
    pub(crate) name: SecretName,
}

/// How many requests a second are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests per second, kept up for ever; at least 1.
    pub requests_per_second: u32,
    /// Requests let in at once after a quiet time; as many as per second if absent.
    pub burst: Option<u32>,
}

/// Where an event's identity is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DedupeConfig {
    pub(crate) header: Option<String>,
    pub(crate) path: Option<String>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// By its content type.
    #[default]
    Auto,
    Json,
    Ndjson,
    Form,
}

/// The vendor's way to see that the address is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Handshake {
    /// A signed event of type `url_verification`; the challenge is the answer.
    Slack,
    /// A GET with header `x-okta-verification-challenge`.
    Okta,
    /// A signed event `endpoint.url_validation`; its token and the token's MAC are the answer.
    Zoom,
    /// A GET with query parameter `crc_token`; the token's MAC is the answer.
    Crc,
}
