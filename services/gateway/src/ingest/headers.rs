//! Which headers of a request are kept with its events, for the mapping's `context`.

use std::collections::BTreeMap;

use halcyon_connectors::http_webhook::CompiledWebhook;
use salvo::http::HeaderMap;

/// Headers of the connection, or that are kept elsewhere.
const OF_THE_CONNECTION: [&str; 18] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "traceparent",
    "tracestate",
    "upgrade",
];
/// Parts of the names of headers that carry credentials or proofs.
const OF_CREDENTIALS: [&str; 10] = [
    "auth",
    "cookie",
    "credential",
    "hmac",
    "key",
    "passw",
    "secret",
    "signature",
    "session",
    "token",
];
/// What is kept of one request at most, in bytes.
const MAX_BYTES: usize = 4_096;

/// The headers to keep: never credentials, and not too much.
pub(super) fn kept(webhook: &CompiledWebhook, headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    let mut room = MAX_BYTES;
    for (name, value) in headers {
        let text = name.as_str();
        let secret = OF_CREDENTIALS.iter().any(|part| text.contains(part)) && text != "idempotency-key";
        if secret || OF_THE_CONNECTION.contains(&text) || webhook.carries_credentials(name) {
            continue;
        }
        let Ok(value) = value.to_str() else { continue };
        let size = text.len() + value.len();
        if size <= room && !kept.contains_key(text) {
            room -= size;
            kept.insert(text.to_owned(), value.to_owned());
        }
    }
    kept
}
