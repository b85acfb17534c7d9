//! The keys that access tokens are signed with, which the registry keeps.

use halcyon_domain::{
    access::{Permission, Scope},
    audit::Resource,
    clock::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{App, RequestContext, Result, access::Action};

/// How to replace the key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RotateTokenKeys {
    /// Whether every token that was signed so far is to hold no more: for when a key has leaked. Sessions go on, and get
    /// new access tokens by their refresh tokens.
    pub drop_old: bool,
}

/// A key that is going to sign access tokens.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RotatedTokenKey {
    /// Its identifier, the `kid` of tokens.
    pub id: String,
    /// From when on it signs.
    pub signs_from: Timestamp,
}

impl App {
    /// Makes a new key that access tokens are signed with; for administrators of the whole installation.
    ///
    /// # Errors
    /// The caller may not, or no registry answers.
    pub async fn rotate_token_keys(
        &self,
        context: &RequestContext,
        input: RotateTokenKeys,
    ) -> Result<RotatedTokenKey> {
        let grants = &context.principal.grants;
        let everywhere = grants
            .iter()
            .any(|grant| grant.scope == Scope::Global && grant.role.allows(Permission::TokenKeyRotate));
        if !everywhere {
            let resource = Resource {
                kind: "token_key".to_owned(),
                id: None,
                name: None,
            };
            return Err(self.forbid(context, Action::ROTATE_TOKEN_KEYS, resource).await);
        }
        self.services
            .rotate_token_keys(context.organization(), input.drop_old, context.on_behalf())
            .await
    }
}
