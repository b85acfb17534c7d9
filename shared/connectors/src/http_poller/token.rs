//! Tokens that are fetched: OAuth 2 client credentials and refresh tokens (RFC 6749), signed assertions (RFC 7523),
//! and JWTs that are the token themselves.
//!
//! A token is kept for the process, so runs share it, and renewed before its end. Tokens never go into a checkpoint,
//! which people may read. A refresh token that the other side replaces is therefore known to this process only; once
//! it ends, the one of the datasource's secrets is tried again.

mod assertion;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use chrono::TimeDelta;
use halcyon_domain::clock::{Clock, Timestamp};
use halcyon_egress::Http;
use http::{
    HeaderValue, Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex as AsyncMutex;
use zeroize::Zeroizing;

use super::{
    auth::basic,
    body::read_limited,
    config::{Auth, AuthKind, ClientAuth, Grant},
    status::sending,
};
use crate::{Error, Secrets, tls::SecretRef};

/// How many tokens are kept.
const KEPT: usize = 4_096;
/// A token is renewed so long before its end, or a tenth of its life if that is less.
const MARGIN: i64 = 60;
/// The life of a token whose end is not told; one that ends earlier is renewed when it is refused.
const LIFE: i64 = 3_600;
/// The largest answer of a token endpoint.
const LARGEST: usize = 256 * 1024;

type Slot = Arc<AsyncMutex<Held>>;

static TOKENS: LazyLock<Mutex<HashMap<[u8; 32], Slot>>> = LazyLock::new(Mutex::default);

/// What one set of credentials has got.
#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// The refresh token that replaced the configured one.
    refresh: Option<Zeroizing<String>>,
}

#[derive(Clone)]
struct Token {
    text: Zeroizing<String>,
    renew_at: Timestamp,
}

/// Gets tokens for one datasource.
pub(crate) struct Tokens {
    auth: Auth,
    secrets: Secrets,
    http: Http,
    clock: Arc<dyn Clock>,
    slot: Slot,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<Value>,
    refresh_token: Option<String>,
}

impl Tokens {
    pub(crate) fn new(auth: &Auth, secrets: &Secrets, http: Http, clock: Arc<dyn Clock>) -> Self {
        Self {
            slot: slot(auth, secrets, clock.now()),
            auth: auth.clone(),
            secrets: secrets.clone(),
            http,
            clock,
        }
    }

    /// A token that is good now; another one than `refused`.
    ///
    /// # Errors
    /// [`Error::Refused`] if none is given, and the other classes.
    pub(crate) async fn get(&self, refused: Option<&str>) -> Result<Zeroizing<String>, Error> {
        let mut held = self.slot.lock().await;
        let now = self.clock.now();
        if let Some(token) = &held.token
            && token.renew_at > now
            && refused != Some(token.text.as_str())
        {
            return Ok(token.text.clone());
        }
        held.token = None;
        let token = match (self.auth.kind, &self.auth.token_url) {
            (AuthKind::Jwt, None) => self.own(now)?,
            (_, Some(url)) => self.granted(url, &mut held, now).await?,
            (_, None) => return Err(Error::System("a token is asked for that nobody gives".to_owned())),
        };
        held.token = Some(token.clone());
        Ok(token.text)
    }

    /// The assertion as the token.
    fn own(&self, now: Timestamp) -> Result<Token, Error> {
        let text = assertion::sign(&self.auth, &self.secrets, now)?;
        Ok(Token {
            text,
            renew_at: renewal(now, assertion::lifetime(&self.auth)),
        })
    }

    async fn granted(&self, url: &str, held: &mut Held, now: Timestamp) -> Result<Token, Error> {
        let url = Url::parse(url).map_err(|_| Error::System("the token's address is no URL".to_owned()))?;
        let form = self.form(held, now)?;
        let body = {
            let mut writer = Url::parse("form:").map_err(|error| Error::System(error.to_string()))?;
            writer
                .query_pairs_mut()
                .extend_pairs(form.iter().map(|(name, value)| (*name, value.as_str())));
            Zeroizing::new(writer.query().unwrap_or_default().to_owned())
        };
        let mut request = self
            .http
            .request(Method::POST, url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        if let Some(value) = self.client_header()? {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(body.as_bytes().to_vec()).build();
        let request =
            request.map_err(|_| Error::System("the request for a token cannot be built".to_owned()))?;
        let answer = self.http.send(request).await.map_err(sending)?;
        let status = answer.status().as_u16();
        let text = Zeroizing::new(read_limited(answer, LARGEST).await?);
        if !(200..300).contains(&status) {
            return Err(not_granted(status, &text));
        }
        let granted: Granted = serde_json::from_slice(&text)
            .map_err(|_| Error::transient("the token endpoint answered something else than a token"))?;
        if let Some(newer) = granted.refresh_token {
            held.refresh = Some(Zeroizing::new(newer));
        }
        let life = granted.expires_in.as_ref().and_then(|life| match life {
            Value::String(text) => text.parse().ok(),
            other => other.as_f64().map(|seconds| seconds as i64),
        });
        Ok(Token {
            renew_at: renewal(now, life.unwrap_or(LIFE)),
            text: Zeroizing::new(granted.access_token),
        })
    }

    fn form(&self, held: &Held, now: Timestamp) -> Result<Vec<(&str, Zeroizing<String>)>, Error> {
        let auth = &self.auth;
        let plain = |text: &str| Zeroizing::new(text.to_owned());
        let mut form: Vec<(&str, Zeroizing<String>)> = Vec::new();
        match (auth.kind, auth.grant) {
            (AuthKind::Jwt, Some(Grant::ClientCredentials)) => {
                let signed = assertion::sign(auth, &self.secrets, now)?;
                form.push(("grant_type", plain("client_credentials")));
                form.push(("client_assertion_type", plain(assertion::CLIENT)));
                form.push(("client_assertion", signed));
            }
            (AuthKind::Jwt, _) => {
                form.push(("grant_type", plain(assertion::GRANT)));
                form.push(("assertion", assertion::sign(auth, &self.secrets, now)?));
            }
            (_, Some(Grant::RefreshToken)) => {
                form.push(("grant_type", plain("refresh_token")));
                form.push(("refresh_token", self.refresh(held)?));
            }
            _ => form.push(("grant_type", plain("client_credentials"))),
        }
        let secret = auth.secret.as_ref().filter(|_| auth.kind == AuthKind::Oauth2);
        let in_body = auth.client_auth == ClientAuth::Body || secret.is_none();
        if in_body && !auth.client_id.is_empty() {
            form.push(("client_id", plain(&auth.client_id)));
        }
        if in_body && let Some(secret) = secret {
            form.push(("client_secret", Zeroizing::new(secret.text(&self.secrets)?)));
        }
        form.extend(auth.scope.iter().map(|scope| ("scope", plain(scope))));
        for (name, value) in &auth.parameters {
            // Some vendors have grants of their own: what is written down goes before.
            form.retain(|(known, _)| known != name);
            form.push((name, plain(value)));
        }
        Ok(form)
    }

    fn refresh(&self, held: &Held) -> Result<Zeroizing<String>, Error> {
        match (&held.refresh, &self.auth.refresh_token) {
            (Some(newer), _) => Ok(newer.clone()),
            (None, Some(secret)) => Ok(Zeroizing::new(secret.text(&self.secrets)?)),
            (None, None) => Err(Error::System("there is no refresh token".to_owned())),
        }
    }

    fn client_header(&self) -> Result<Option<HeaderValue>, Error> {
        let auth = &self.auth;
        let secret = auth
            .secret
            .as_ref()
            .filter(|_| auth.kind == AuthKind::Oauth2 && auth.client_auth == ClientAuth::Basic);
        let Some(secret) = secret else {
            return Ok(None);
        };
        // RFC 6749, 2.3.1: both are form-encoded first.
        let encode = |text: &str| {
            let mut url = Url::parse("form:").ok()?;
            url.query_pairs_mut().append_key_only(text);
            url.query().map(str::to_owned)
        };
        let unusable = || Error::Secret {
            name: secret.name.clone(),
        };
        let (name, password) = encode(&auth.client_id)
            .zip(encode(&secret.text(&self.secrets)?))
            .ok_or_else(unusable)?;
        let mut value = HeaderValue::from_str(&basic(&name, &password)).map_err(|_| unusable())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn renewal(now: Timestamp, life: i64) -> Timestamp {
    let life = life.clamp(0, 366 * 86_400);
    now + TimeDelta::seconds(life - MARGIN.min(life / 10))
}

/// Why there is no token, by the word of RFC 6749, 5.2; what else is in the answer is not shown.
fn not_granted(status: u16, body: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Problem {
        error: String,
    }
    let word = serde_json::from_slice::<Problem>(body).map(|problem| problem.error);
    let known = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
    ];
    let said = word
        .ok()
        .and_then(|word| known.into_iter().find(|known| *known == word));
    match (status, said) {
        (_, Some("invalid_grant")) => Error::Refused {
            message: "the token endpoint refuses the grant (invalid_grant): the refresh token or the key is not valid \
                      any more; if the other side replaces refresh tokens, give the datasource a new one"
                .to_owned(),
        },
        (400..=499, Some(word)) => Error::Refused {
            message: format!("the token endpoint gives no token ({word})"),
        },
        (408 | 425 | 429 | 500.., _) => {
            Error::transient(format!("the token endpoint answered with status {status}"))
        }
        _ => Error::Refused {
            message: format!("the token endpoint gives no token (status {status})"),
        },
    }
}

/// The place of a set of credentials: other values of the secrets have another one.
fn slot(auth: &Auth, secrets: &Secrets, now: Timestamp) -> Slot {
    let mut hash = Sha256::new();
    hash.update(format!("{auth:?}"));
    for SecretRef { name } in auth.secret.iter().chain(&auth.refresh_token) {
        if let Some(value) = secrets.values(name).last() {
            hash.update((value.expose().len() as u64).to_be_bytes());
            hash.update(value.expose());
        }
    }
    let mut slots = TOKENS.lock().unwrap_or_else(PoisonError::into_inner);
    if slots.len() >= KEPT {
        // Those in use, and those that would be missed, stay.
        slots.retain(|_, slot| {
            let held = slot.try_lock();
            held.map_or(true, |held| {
                held.refresh.is_some() || held.token.as_ref().is_some_and(|token| token.renew_at > now)
            })
        });
    }
    Arc::clone(slots.entry(hash.finalize().into()).or_default())
}
