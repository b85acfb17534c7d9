//! An answer on its way into the store of repeated requests, and out of it.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use halcyon_store::KeptAnswer;
use salvo::{
    Response,
    http::{
        HeaderName, HeaderValue, ResBody, StatusCode,
        header::{CONTENT_TYPE, ETAG, LOCATION},
    },
};

/// The headers that are kept of an answer.
const HEADERS: [HeaderName; 3] = [CONTENT_TYPE, ETAG, LOCATION];

/// Tells a repeated answer from the first one.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The answer as it is kept; nothing if it is one that goes on, which cannot be kept.
pub(super) fn keep(res: &Response, holds_secret: bool) -> Option<KeptAnswer> {
    let body = whole(&res.body)?;
    let headers: BTreeMap<&str, &str> = HEADERS
        .iter()
        .filter_map(|name| Some((name.as_str(), res.headers().get(name)?.to_str().ok()?)))
        .collect();
    Some(KeptAnswer {
        status: res.status_code.unwrap_or(StatusCode::OK).as_u16(),
        // Texts always have a JSON form.
        headers: serde_json::to_string(&headers).unwrap_or_default(),
        body: (!holds_secret).then(|| body.to_vec()),
    })
}

fn whole(body: &ResBody) -> Option<Bytes> {
    match body {
        ResBody::None => Some(Bytes::new()),
        ResBody::Once(bytes) => Some(bytes.clone()),
        ResBody::Chunks(chunks) => {
            let mut all = BytesMut::new();
            chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
            Some(all.freeze())
        }
        _ => None,
    }
}

/// Gives an answer again.
pub(super) fn replay(status: u16, headers: &str, body: Vec<u8>, res: &mut Response) {
    res.status_code(StatusCode::from_u16(status).unwrap_or_default());
    let kept: BTreeMap<String, String> = serde_json::from_str(headers).unwrap_or_default();
    for name in HEADERS {
        let value = kept
            .get(name.as_str())
            .and_then(|text| HeaderValue::from_str(text).ok());
        if let Some(value) = value {
            res.headers_mut().insert(name, value);
        }
    }
    res.headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    if !body.is_empty() {
        res.replace_body(body.into());
    }
}
