//! Which headers must not be kept with an event.

use http::{HeaderName, header::AUTHORIZATION};

use super::{auth::Auth, compiled::CompiledWebhook};

impl CompiledWebhook {
    /// Whether a header carries this connection's credentials or signature, whatever its name.
    #[must_use]
    pub fn carries_credentials(&self, name: &HeaderName) -> bool {
        match self.auth() {
            Auth::None => false,
            Auth::Bearer { .. } | Auth::Basic { .. } => *name == AUTHORIZATION,
            Auth::ApiKey { header, .. } => name == header,
            Auth::Hmac(scheme) => *name == scheme.header,
        }
    }
}
