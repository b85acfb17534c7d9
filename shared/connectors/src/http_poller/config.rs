//! The connection, as it is written. Its JSON Schema is `schema.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::tls::{SecretRef, Tls};

/// What to ask, how to walk its pages, and where to go on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) method: Method,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) secret_headers: BTreeMap<String, SecretRef>,
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) body: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) auth: Auth,
    #[serde(default)]
    pub(crate) format: Format,
    pub(crate) records: Option<String>,
    #[serde(default)]
    pub(crate) records_optional: bool,
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) pagination: Pagination,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) range: Option<Range>,
    pub(crate) rate_limit: Option<f64>,
    #[serde(default = "default_timeout")]
    pub(crate) timeout: u64,
    #[serde(default = "default_max_pages")]
    pub(crate) max_pages: u64,
    #[serde(default = "default_max_body")]
    pub(crate) max_body_mb: usize,
    pub(crate) tls: Option<Tls>,
}

fn default_timeout() -> u64 {
    30
}

fn default_max_pages() -> u64 {
    1_000
}

fn default_max_body() -> usize {
    16
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Method {
    #[default]
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "POST")]
    Post,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    #[default]
    Json,
    Ndjson,
}

/// Where something stands in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    Header,
    Query,
    Body,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthKind {
    #[default]
    None,
    Basic,
    Bearer,
    ApiKey,
    Oauth2,
    Jwt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grant {
    ClientCredentials,
    RefreshToken,
    JwtBearer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientAuth {
    #[default]
    Basic,
    Body,
}

/// Which fields belong to which type says `plan::AUTH`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    #[serde(rename = "type")]
    pub(crate) kind: AuthKind,
    pub(crate) username: String,
    pub(crate) secret: Option<SecretRef>,
    pub(crate) scheme: Option<String>,
    pub(crate) name: String,
    #[serde(rename = "in")]
    pub(crate) place: Option<Place>,
    pub(crate) prefix: String,
    pub(crate) grant: Option<Grant>,
    pub(crate) token_url: Option<String>,
    pub(crate) client_id: String,
    pub(crate) refresh_token: Option<SecretRef>,
    pub(crate) scope: Option<String>,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) client_auth: ClientAuth,
    pub(crate) algorithm: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) claims: Map<String, Value>,
    pub(crate) lifetime: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PaginationKind {
    #[default]
    None,
    Page,
    Offset,
    Cursor,
    NextUrl,
    Link,
    Odata,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pagination {
    #[serde(rename = "type")]
    pub(crate) kind: PaginationKind,
    pub(crate) param: String,
    #[serde(rename = "in")]
    pub(crate) place: Option<Place>,
    pub(crate) start: Option<u64>,
    pub(crate) size: Option<u64>,
    pub(crate) next: Option<String>,
    pub(crate) more: Option<String>,
    pub(crate) alone: bool,
    pub(crate) stop_on_empty: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    pub(crate) path: String,
    pub(crate) param: Option<String>,
    pub(crate) initial: Option<String>,
    #[serde(default)]
    pub(crate) overlap: u64,
    #[serde(default)]
    pub(crate) kind: CursorKind,
    pub(crate) format: Option<String>,
    pub(crate) param_format: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CursorKind {
    #[default]
    Text,
    Integer,
    Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    pub(crate) from_param: Option<String>,
    pub(crate) to_param: Option<String>,
    pub(crate) format: Option<String>,
}
