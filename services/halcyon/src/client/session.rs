//! The token that calls are made with, and how a new one is got when it has run out.

use anyhow::{Context, Result};
use chrono::TimeDelta;
use halcyon_domain::clock::{Clock, SystemClock};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{Credentials, Error, Problem, api::unreachable, credentials::Login, local::Local};

/// A token that ends within this time is renewed first: the clocks of two machines differ.
const MARGIN: TimeDelta = TimeDelta::seconds(20);

/// Who calls.
pub(super) enum Session {
    /// With a token that was given, and cannot be renewed.
    Fixed(SecretString),
    /// As who signed in by `halcyon login`.
    Stored {
        /// What was read; nothing before the first call.
        login: Option<Login>,
        /// A token that the system did not take.
        refused: Option<String>,
    },
    /// As the first administrator of a system on this machine.
    Local {
        /// The system.
        local: Local,
        /// What was read or got; nothing before the first call.
        login: Option<Login>,
        /// A token that the system did not take.
        refused: Option<String>,
    },
}

impl Session {
    pub(super) const fn stored() -> Self {
        Self::Stored {
            login: None,
            refused: None,
        }
    }

    pub(super) const fn local(local: Local) -> Self {
        Self::Local {
            local,
            login: None,
            refused: None,
        }
    }

    /// A token that should hold.
    pub(super) async fn token(&mut self, http: &Client, base: &Url) -> Result<String> {
        let login = match self {
            Self::Fixed(token) => return Ok(token.expose_secret().to_owned()),
            Self::Stored { login, refused } => {
                if !login.as_ref().is_some_and(|login| holds(login, refused.as_ref())) {
                    *login = Some(stored(http, base, refused.as_ref()).await?);
                }
                login
            }
            Self::Local {
                local,
                login,
                refused,
            } => {
                if login.is_none() {
                    *login = local.kept();
                }
                if !login.as_ref().is_some_and(|login| holds(login, refused.as_ref())) {
                    let password = local.password()?;
                    let fresh = sign_in(http, base, local.email(), &password).await?;
                    local.keep(&fresh);
                    *login = Some(fresh);
                }
                login
            }
        };
        let token = login.as_ref().map(|login| login.access_token.clone());
        token.context("there is no token")
    }

    /// The system did not take a token. Returns whether it is worthwhile to try with another one.
    pub(super) fn refused(&mut self, token: &str) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Stored { refused, .. } | Self::Local { refused, .. } => {
                *refused = Some(token.to_owned());
                true
            }
        }
    }
}

fn holds(login: &Login, refused: Option<&String>) -> bool {
    login.expires_at - MARGIN > SystemClock.now() && refused != Some(&login.access_token)
}

/// The login of the file. One process at a time looks, and renews it if it must: a token to renew with can be used
/// only once.
async fn stored(http: &Client, base: &Url, refused: Option<&String>) -> Result<Login> {
    let _lock = Credentials::lock()?;
    let mut credentials = Credentials::load()?;
    let signed_out = || Error::SignedOut(format!("your login has ended: `halcyon login --url {base}`"));
    let login = credentials.login(base).ok_or_else(signed_out)?.clone();
    if holds(&login, refused) {
        return Ok(login);
    }
    let renewed = match &login.refresh_token {
        Some(token) => refresh(http, base, &login.email, token).await?,
        None => None,
    };
    let Some(login) = renewed else {
        return Err(signed_out().into());
    };
    credentials.renew(base, login.clone());
    credentials.save()?;
    Ok(login)
}

/// Signs in.
///
/// # Errors
/// The system refuses, or cannot be reached.
pub(crate) async fn sign_in(
    http: &Client,
    base: &Url,
    email: &str,
    password: &SecretString,
) -> Result<Login> {
    let body = json!({"email": email, "password": password.expose_secret(), "return_refresh_token": true});
    match call(http, base, "auth/login", &body).await? {
        Ok(answer) => read(email, &answer),
        Err(problem) => {
            Err(Error::SignedOut(format!("cannot sign in as {email}: {}", problem.detail)).into())
        }
    }
}

/// A new login for the token of an old one; nothing if the token does not hold any more.
async fn refresh(http: &Client, base: &Url, email: &str, token: &str) -> Result<Option<Login>> {
    match call(http, base, "auth/refresh", &json!({"refresh_token": token})).await? {
        Ok(answer) => read(email, &answer).map(Some),
        Err(problem) if problem.status < 500 => Ok(None),
        Err(problem) => Err(Error::Refused(Box::new(problem)).into()),
    }
}

async fn call(http: &Client, base: &Url, path: &str, body: &Value) -> Result<Result<Value, Problem>> {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path.split('/'));
    }
    let sent = http.post(url).json(body).send().await;
    let response = sent.map_err(|error| unreachable(base.as_str(), &error))?;
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    if !status.is_success() {
        return Ok(Err(Problem::read(status.as_u16(), &text)));
    }
    let answer = serde_json::from_str(&text);
    let answer = answer.with_context(|| format!("{base} gave no JSON; is it HALCYON's gateway?"))?;
    Ok(Ok(answer))
}

fn read(email: &str, answer: &Value) -> Result<Login> {
    let text = |key: &str| answer[key].as_str().map(str::to_owned);
    let access_token = text("access_token").context("the login gave no token")?;
    let expires_at = serde_json::from_value(answer["expires_at"].clone());
    Ok(Login {
        email: email.to_owned(),
        access_token,
        expires_at: expires_at.context("the login does not say how long it is good")?,
        refresh_token: text("refresh_token"),
    })
}
