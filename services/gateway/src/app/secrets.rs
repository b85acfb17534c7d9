//! Secrets of a datasource: their values go to the registry, sealed, and never come back.

use chrono::{DateTime, Utc};
use halcyon_bus::requests::SecretChange;
use halcyon_domain::{
    config::is_secret_name, datasource::Datasource, duration::HumanDuration, id::DatasourceId,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    App, Error, RequestContext, Result,
    access::Action,
    services::SecretWrite,
    views::{List, SecretView},
};

/// The longest value of a secret, in bytes.
const MAX_VALUE: usize = 64 * 1024;

/// A secret's new value.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteSecret {
    /// The value: a text as it is, or anything else as its JSON text. It is never shown again.
    pub value: Value,
    /// From when on it is no longer used.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for WriteSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriteSecret([REDACTED])")
    }
}

/// A secret's next value.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// The value: a text as it is, or anything else as its JSON text. It is never shown again.
    pub value: Value,
    /// For how long what comes in may still be signed with the previous value; a default if absent.
    #[serde(default)]
    pub overlap: Option<HumanDuration>,
    /// From when on the new value is no longer used.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for RotateSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RotateSecret([REDACTED])")
    }
}

/// A value on its way to the registry.
struct NewValue {
    value: Value,
    expires_at: Option<DateTime<Utc>>,
    change: SecretChange,
}

impl App {
    /// The names, versions and ages of a datasource's secrets.
    ///
    /// # Errors
    /// There is no such datasource, or no registry.
    pub async fn list_secrets(&self, context: &RequestContext, id: DatasourceId) -> Result<List<SecretView>> {
        let datasource = self.datasource(context, id, Action::READ_SECRETS).await?;
        let secrets = self.services.list_secrets(datasource.organization, id).await?;
        let now = self.clock.now();
        Ok(List::whole(
            secrets
                .into_iter()
                .filter_map(|secret| SecretView::new(secret, now))
                .collect(),
        ))
    }

    /// Writes a secret in the place of what it was. The registry writes the audit entry and the notice with it.
    ///
    /// # Errors
    /// The name or value does not fit, or there is no registry.
    pub async fn write_secret(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        name: &str,
        input: WriteSecret,
    ) -> Result<SecretView> {
        let datasource = self.datasource(context, id, Action::WRITE_SECRET).await?;
        let WriteSecret { value, expires_at } = input;
        let new = NewValue {
            value,
            expires_at,
            change: SecretChange::Replace,
        };
        self.send_secret(context, &datasource, name, new).await
    }

    /// Rotates a secret: what goes out uses the new value at once, what comes in may be signed with the previous one
    /// until the overlap ends.
    ///
    /// # Errors
    /// There is no such secret, the value or the overlap does not fit, or there is no registry.
    pub async fn rotate_secret(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        name: &str,
        input: RotateSecret,
    ) -> Result<SecretView> {
        let datasource = self.datasource(context, id, Action::ROTATE_SECRET).await?;
        let new = NewValue {
            value: input.value,
            expires_at: input.expires_at,
            change: SecretChange::Rotate {
                overlap: input.overlap,
            },
        };
        self.send_secret(context, &datasource, name, new).await
    }

    async fn send_secret(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        name: &str,
        new: NewValue,
    ) -> Result<SecretView> {
        if !is_secret_name(name) {
            return Err(Error::field(
                "",
                "invalid",
                "a secret's name has 1 to 64 of `a-z A-Z 0-9 _ -`",
            ));
        }
        let now = self.clock.now();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::field(
                "/expires_at",
                "in_the_past",
                "a secret expires in the future",
            ));
        }
        let value = Zeroizing::new(match new.value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        });
        if value.is_empty() || value.len() > MAX_VALUE {
            return Err(Error::field("/value", "invalid", "a value has 1 to 65,536 bytes"));
        }
        let write = SecretWrite {
            organization: datasource.organization,
            datasource: datasource.id,
            name,
            value: value.as_bytes(),
            expires_at: new.expires_at,
            change: new.change,
            by: context.on_behalf(),
        };
        let secret = self.services.put_secret(write).await?;
        SecretView::new(secret, now).ok_or(Error::NotFound("secret"))
    }

    /// Destroys a secret with all its versions.
    ///
    /// # Errors
    /// There is none, or no registry.
    pub async fn delete_secret(&self, context: &RequestContext, id: DatasourceId, name: &str) -> Result<()> {
        let datasource = self.datasource(context, id, Action::DELETE_SECRET).await?;
        if !is_secret_name(name) {
            return Err(Error::NotFound("secret"));
        }
        self.services
            .delete_secret(datasource.organization, id, name, context.on_behalf())
            .await
    }
}
