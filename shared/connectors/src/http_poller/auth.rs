//! Credentials on a request.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use reqwest::Url;

use super::{
    config::{Auth, AuthKind, Place},
    plan::Plan,
};
use crate::{Error, Secrets, tls::SecretRef};

/// The header or query parameter of a key, if it is not given another name.
const KEY: &str = "x-api-key";

impl Plan {
    /// The parameter of the query that holds the key, if one does.
    pub(crate) fn key_in_query(&self) -> Option<&str> {
        let auth = &self.auth;
        (auth.kind == AuthKind::ApiKey && auth.place == Some(Place::Query)).then_some(auth.name.as_str())
    }

    /// Whether credentials are tokens that are fetched and end.
    pub(crate) fn renews(&self) -> bool {
        matches!(self.auth.kind, AuthKind::Oauth2 | AuthKind::Jwt)
    }

    /// Puts the credentials on a request; `token` for those that are fetched.
    ///
    /// # Errors
    /// A secret is missing, or cannot stand in a header.
    pub(crate) fn sign(
        &self,
        url: &mut Url,
        headers: &mut HeaderMap,
        secrets: &Secrets,
        token: Option<&str>,
    ) -> Result<(), Error> {
        for (name, secret) in &self.secret_headers {
            headers.insert(name, sensitive(&secret.text(secrets)?, secret)?);
        }
        let auth = &self.auth;
        let scheme = auth.scheme.as_deref().unwrap_or("Bearer");
        match (auth.kind, &auth.secret, token) {
            (AuthKind::Basic, Some(secret), _) => {
                let password = secret.text(secrets)?;
                let value = basic(&auth.username, &password);
                headers.insert(AUTHORIZATION, sensitive(&value, secret)?);
            }
            (AuthKind::Bearer, Some(secret), _) => {
                let value = format!("{scheme} {}", secret.text(secrets)?.trim());
                headers.insert(AUTHORIZATION, sensitive(&value, secret)?);
            }
            (AuthKind::ApiKey, Some(secret), _) => {
                let value = format!("{}{}", auth.prefix, secret.text(secrets)?.trim());
                if self.key_in_query().is_some() {
                    url.query_pairs_mut().append_pair(&auth.name, &value);
                } else {
                    headers.insert(key_header(auth), sensitive(&value, secret)?);
                }
            }
            (AuthKind::Oauth2 | AuthKind::Jwt, _, Some(token)) => {
                let mut value = HeaderValue::from_str(&format!("{scheme} {token}"))
                    .map_err(|_| Error::transient("the token that was given cannot be sent"))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            _ => {}
        }
        Ok(())
    }
}

fn key_header(auth: &Auth) -> HeaderName {
    auth.name.parse().unwrap_or_else(|_| HeaderName::from_static(KEY))
}

/// The value of `Authorization` for a name and a password (RFC 7617).
pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn sensitive(text: &str, secret: &SecretRef) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Error::Secret {
        name: secret.name.clone(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
