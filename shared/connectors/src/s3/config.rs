//! The connection, as it is written, and the rules between its fields.

use halcyon_domain::error::{InputError, from_value};
use http::Uri;
use serde::Deserialize;
use serde_json::Value;

use super::http::Origin;
use crate::{
    files::{Chosen, Format},
    tls::{SecretRef, Tls},
};

/// Where Google Cloud Storage is.
const GCS: &str = "https://storage.googleapis.com";

/// The connection. Its JSON Schema is `schema.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connection {
    #[serde(default)]
    pub(super) provider: Provider,
    #[serde(default)]
    pub(super) bucket: String,
    #[serde(default)]
    pub(super) prefix: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) path_style: Option<bool>,
    pub(super) account: Option<String>,
    pub(super) folder: Option<String>,
    pub(super) auth: Option<Auth>,
    pub(super) ca: Option<String>,
    pub(super) format: Format,
    #[serde(default)]
    pub(super) files: Chosen,
}

/// Who holds the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Provider {
    #[default]
    S3,
    Gcs,
    Azure,
    Local,
}

/// Who we are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    #[serde(rename = "type")]
    pub(super) kind: AuthKind,
    pub(super) access_key_id: Option<String>,
    pub(super) secret_access_key: Option<SecretRef>,
    pub(super) session_token: Option<SecretRef>,
    pub(super) key: Option<SecretRef>,
}

/// How we say who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuthKind {
    Anonymous,
    AccessKey,
    ServiceAccount,
    AccountKey,
    Sas,
}

impl Connection {
    /// Reads a connection and says everything that is wrong with it.
    pub(super) fn read(connection: &Value) -> Result<Self, Vec<InputError>> {
        let connection: Self = from_value(connection.clone()).map_err(|error| vec![error])?;
        let errors = connection.validate();
        if errors.is_empty() {
            Ok(connection)
        } else {
            Err(errors)
        }
    }

    fn validate(&self) -> Vec<InputError> {
        let under = |errors: Vec<InputError>, prefix: &'static str| {
            errors.into_iter().map(move |error| error.under(prefix))
        };
        let mut errors: Vec<InputError> = under(self.files.validate(), "/files").collect();
        errors.extend(under(self.format.validate(), "/format"));
        errors.extend(
            self.tls()
                .validate()
                .into_iter()
                .filter(|error| error.pointer == "/ca"),
        );
        let local = self.provider == Provider::Local;
        let needed = [
            ("/bucket", !local && self.bucket.is_empty()),
            ("/auth", !local && self.auth.is_none()),
            ("/folder", local && self.folder.is_none()),
            (
                "/account",
                self.provider == Provider::Azure && self.account.is_none(),
            ),
        ];
        for (pointer, _) in needed.into_iter().filter(|(_, missing)| *missing) {
            let detail = format!(
                "`{}` is needed with this provider",
                pointer.trim_start_matches('/')
            );
            errors.push(InputError::new(pointer, "required", detail));
        }
        let misplaced = [
            ("/bucket", local && !self.bucket.is_empty()),
            ("/prefix", local && !self.prefix.is_empty()),
            ("/auth", local && self.auth.is_some()),
            ("/endpoint", local && self.endpoint.is_some()),
            ("/folder", !local && self.folder.is_some()),
            ("/region", self.provider != Provider::S3 && self.region.is_some()),
            (
                "/path_style",
                self.provider != Provider::S3 && self.path_style.is_some(),
            ),
            (
                "/account",
                self.provider != Provider::Azure && self.account.is_some(),
            ),
        ];
        for (pointer, _) in misplaced.into_iter().filter(|(_, wrong)| *wrong) {
            errors.push(InputError::new(
                pointer,
                "unsupported",
                "this provider does not have it",
            ));
        }
        if !local && self.origin().is_none() {
            let detail = "the value is not a URL such as https://s3.example.com";
            errors.push(InputError::new("/endpoint", "format", detail));
        }
        errors.extend(self.auth.iter().flat_map(|auth| auth.validate(self.provider)));
        errors
    }

    /// TLS as this connection has it: there is no choice but the authority, as the endpoint says whether to encrypt.
    pub(super) fn tls(&self) -> Tls {
        Tls {
            ca: self.ca.clone(),
            ..Tls::default()
        }
    }

    pub(super) fn region(&self) -> &str {
        self.region.as_deref().unwrap_or("us-east-1")
    }

    /// Whether the bucket is in the path, and not in the host's name.
    pub(super) fn is_path_style(&self) -> bool {
        self.path_style.unwrap_or(self.endpoint.is_some())
    }

    /// Where requests go, without a slash at the end.
    pub(super) fn endpoint(&self) -> String {
        let given = self
            .endpoint
            .as_deref()
            .map(|endpoint| endpoint.trim_end_matches('/'));
        match (self.provider, given) {
            (Provider::S3, given) => {
                let region = self.region();
                let own = format!("https://s3.{region}.amazonaws.com");
                let endpoint = given.unwrap_or(&own);
                match endpoint.split_once("://") {
                    Some((scheme, host)) if !self.is_path_style() => {
                        format!("{scheme}://{}.{host}", self.bucket)
                    }
                    _ => endpoint.to_owned(),
                }
            }
            (Provider::Azure, None) => {
                format!(
                    "https://{}.blob.core.windows.net",
                    self.account.as_deref().unwrap_or_default()
                )
            }
            (Provider::Gcs, None) => GCS.to_owned(),
            (_, Some(given)) => given.to_owned(),
            (Provider::Local, None) => String::new(),
        }
    }

    /// The host that requests go to.
    pub(super) fn origin(&self) -> Option<Origin> {
        let uri: Uri = self.endpoint().parse().ok()?;
        Origin::of(&uri).filter(|origin| !origin.host.is_empty())
    }
}

impl Auth {
    fn validate(&self, provider: Provider) -> Vec<InputError> {
        let mut errors = Vec::new();
        let fits = match self.kind {
            AuthKind::Anonymous => true,
            AuthKind::AccessKey => provider == Provider::S3,
            AuthKind::ServiceAccount => provider == Provider::Gcs,
            AuthKind::AccountKey | AuthKind::Sas => provider == Provider::Azure,
        };
        if !fits {
            let detail = "this provider does not know this way to authenticate";
            errors.push(InputError::new("/auth/type", "unsupported", detail));
        }
        let by_key = self.kind == AuthKind::AccessKey;
        let by_other = !matches!(self.kind, AuthKind::AccessKey | AuthKind::Anonymous);
        let fields = [
            ("access_key_id", self.access_key_id.is_some(), by_key, by_key),
            (
                "secret_access_key",
                self.secret_access_key.is_some(),
                by_key,
                by_key,
            ),
            ("session_token", self.session_token.is_some(), false, by_key),
            ("key", self.key.is_some(), by_other, by_other),
        ];
        for (name, is_there, needed, allowed) in fields {
            let pointer = format!("/auth/{name}");
            if needed && !is_there {
                errors.push(InputError::new(
                    pointer,
                    "required",
                    format!("`{name}` is needed"),
                ));
            } else if is_there && !allowed {
                errors.push(InputError::new(
                    pointer,
                    "unsupported",
                    "this way does not use it",
                ));
            }
        }
        errors
    }
}
