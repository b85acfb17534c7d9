//! `http_webhook` against vendors' published vectors, at the edges of time, and against forgers.

mod bodies;
mod configs;
mod forgery;
mod handshakes;
mod vectors;

use chrono::DateTime;
use halcyon_domain::clock::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{CompiledWebhook, Rejection, Request};
use crate::{SecretValue, Secrets};

fn compile(connection: Value) -> CompiledWebhook {
    CompiledWebhook::compile(&connection).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (
            name.parse::<HeaderName>().unwrap(),
            HeaderValue::from_str(value).unwrap(),
        )
    };
    pairs.iter().map(pair).collect()
}

fn secret(value: &str) -> Secrets {
    let mut secrets = Secrets::none();
    secrets.insert("signing", SecretValue::new(value));
    secrets
}

fn post<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Request<'a> {
    Request {
        method: &Method::POST,
        headers,
        query: None,
        body,
        remote_ip: None,
    }
}

fn verify(
    webhook: &CompiledWebhook,
    pairs: &[(&str, &str)],
    body: &[u8],
    secrets: &Secrets,
    now: i64,
) -> Result<(), Rejection> {
    webhook.verify(&post(&headers(pairs), body), secrets, at(now))
}
