//! The questions by which vendors see that an address is ours, and our answers.

use base64::Engine;
use halcyon_domain::clock::Timestamp;
use http::{HeaderName, Method};
use serde::Deserialize;
use serde_json::json;

use super::{
    auth::Auth,
    body::percent_decode,
    compiled::CompiledWebhook,
    config::{Algorithm, Handshake},
    hmac::{BASE64, is_token, mac},
    request::{Rejection, Request},
};
use crate::Secrets;

/// No question of a vendor is longer than this, in bytes.
const MAX_QUESTION: usize = 4096;

/// What to answer a handshake with; status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeAnswer {
    /// The answer's media type. Send it with `X-Content-Type-Options: nosniff`: the body repeats what was sent.
    pub content_type: &'static str,
    /// The answer.
    pub body: String,
}

impl HandshakeAnswer {
    fn json(value: &serde_json::Value) -> Self {
        Self {
            content_type: "application/json",
            body: value.to_string(),
        }
    }
}

#[derive(Deserialize)]
struct SlackQuestion {
    r#type: String,
    challenge: String,
}

#[derive(Deserialize)]
struct ZoomQuestion {
    event: String,
    payload: ZoomPayload,
}

#[derive(Deserialize)]
struct ZoomPayload {
    #[serde(rename = "plainToken")]
    plain_token: String,
}

/// The answer, if the request is a question of the vendor. All but CRC are answered only if authentic.
pub(crate) fn answer(
    webhook: &CompiledWebhook,
    request: &Request<'_>,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Option<HandshakeAnswer>, Rejection> {
    match webhook.handshake_kind() {
        Some(Handshake::Slack) => slack(webhook, request, secrets, now),
        Some(Handshake::Okta) => okta(webhook, request, secrets, now),
        Some(Handshake::Zoom) => zoom(webhook, request, secrets, now),
        Some(Handshake::Crc) => crc(webhook, request, secrets),
        None => Ok(None),
    }
}

/// The body as a question, if it is one: short, posted and of the right shape.
fn question<T: for<'de> Deserialize<'de>>(request: &Request<'_>) -> Option<T> {
    let fits = request.method == Method::POST && request.body.len() <= MAX_QUESTION;
    fits.then(|| serde_json::from_slice(request.body).ok()).flatten()
}

fn slack(
    webhook: &CompiledWebhook,
    request: &Request<'_>,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Option<HandshakeAnswer>, Rejection> {
    match question::<SlackQuestion>(request) {
        Some(question) if question.r#type == "url_verification" => {
            webhook.verify(request, secrets, now)?;
            Ok(Some(HandshakeAnswer {
                content_type: "text/plain; charset=utf-8",
                body: question.challenge,
            }))
        }
        _ => Ok(None),
    }
}

fn okta(
    webhook: &CompiledWebhook,
    request: &Request<'_>,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Option<HandshakeAnswer>, Rejection> {
    static CHALLENGE: HeaderName = HeaderName::from_static("x-okta-verification-challenge");
    match request.header(&CHALLENGE) {
        Some(challenge) if request.method == Method::GET => {
            webhook.verify(request, secrets, now)?;
            Ok(Some(HandshakeAnswer::json(&json!({"verification": challenge}))))
        }
        _ => Ok(None),
    }
}

fn zoom(
    webhook: &CompiledWebhook,
    request: &Request<'_>,
    secrets: &Secrets,
    now: Timestamp,
) -> Result<Option<HandshakeAnswer>, Rejection> {
    let Some(question) = question::<ZoomQuestion>(request) else {
        return Ok(None);
    };
    let Auth::Hmac(scheme) = webhook.auth() else {
        return Ok(None);
    };
    if question.event != "endpoint.url_validation" {
        return Ok(None);
    }
    webhook.check_address(request)?;
    let key = scheme.authenticate(request, secrets, now)?;
    let token = question.payload.plain_token;
    let tag = mac(Algorithm::Sha256, key.bytes(), std::iter::once(token.as_bytes()));
    let encrypted = tag
        .map(|tag| hex::encode(tag.as_bytes()))
        .ok_or(Rejection::NotAuthentic)?;
    Ok(Some(HandshakeAnswer::json(
        &json!({"plainToken": token, "encryptedToken": encrypted}),
    )))
}

/// Anyone may ask: so only short plain tokens are signed, and no event that looks like one is ever accepted.
fn crc(
    webhook: &CompiledWebhook,
    request: &Request<'_>,
    secrets: &Secrets,
) -> Result<Option<HandshakeAnswer>, Rejection> {
    let Auth::Hmac(scheme) = webhook.auth() else {
        return Ok(None);
    };
    if request.method != Method::GET {
        return Ok(None);
    }
    let pairs = request.query.unwrap_or_default().split('&');
    let Some(token) = pairs.filter_map(|pair| pair.strip_prefix("crc_token=")).next() else {
        return Ok(None);
    };
    webhook.check_address(request)?;
    let token = percent_decode(token.as_bytes()).map_err(|_| Rejection::NotAuthentic)?;
    if token.is_empty() || !is_token(token.as_bytes().iter()) {
        return Err(Rejection::NotAuthentic);
    }
    let key = scheme.first_key(secrets)?;
    let tag = mac(Algorithm::Sha256, key.bytes(), std::iter::once(token.as_bytes()));
    let tag = tag
        .map(|tag| BASE64.encode(tag.as_bytes()))
        .ok_or(Rejection::NotAuthentic)?;
    Ok(Some(HandshakeAnswer::json(
        &json!({"response_token": format!("sha256={tag}")}),
    )))
}
