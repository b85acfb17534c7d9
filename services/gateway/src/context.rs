//! What is known of a request before anybody looks at it: its identifier, its trace and where it came from.

use std::net::IpAddr;

use halcyon_infra::telemetry;
use salvo::{
    Depot, FlowCtrl, Handler, Request, Response, async_trait,
    http::{HeaderValue, header::USER_AGENT},
};
use tracing::Instrument;

use crate::proxies::Proxies;

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// Its identifier: the caller's `x-request-id`, or a new one. Sent back, logged and kept in the audit trail.
    pub request_id: String,
    /// Its trace (W3C trace context, 32 hexadecimal digits): the caller's, or a new one.
    pub trace_id: String,
    /// The address it came from.
    pub remote_ip: Option<IpAddr>,
    /// The program it came from, as that program says.
    pub user_agent: Option<String>,
}

impl RequestInfo {
    /// What was found out when the request came in; found out now if the request did not pass [`Context`].
    #[must_use]
    pub fn of(req: &Request, depot: &Depot) -> Self {
        depot
            .get_typed::<Self>()
            .map_or_else(|_| Self::read(req, &Proxies::default()), Clone::clone)
    }

    /// The parent of the request's span: the caller's span, or one of the new trace that stands for it.
    fn parent(&self, req: &Request) -> String {
        let sent = req
            .headers()
            .get("traceparent")
            .and_then(|value| value.to_str().ok());
        match sent.filter(|text| trace_id_of(text).is_some()) {
            Some(sent) => sent.to_owned(),
            None => format!(
                "00-{}-{:016x}-01",
                self.trace_id,
                uuid::Uuid::new_v4().as_u64_pair().0 | 1
            ),
        }
    }

    fn read(req: &Request, proxies: &Proxies) -> Self {
        let trace_id = req
            .headers()
            .get("traceparent")
            .and_then(|value| trace_id_of(value.to_str().ok()?))
            .unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
        Self {
            request_id: request_id_of(req).unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
            trace_id,
            remote_ip: proxies.client(req.remote_addr().ip(), req.headers()),
            user_agent: user_agent(req),
        }
    }
}

/// The longest identifier that is taken over.
const MAX_REQUEST_ID: usize = 128;

/// The caller's own identifier, if it is one that can be logged and stored as it is.
fn request_id_of(req: &Request) -> Option<String> {
    let id = req.headers().get("x-request-id")?.to_str().ok()?;
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=')
    };
    let fits = !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(plain);
    fits.then(|| id.to_owned())
}

/// The longest part of a `User-Agent` that is kept, in characters.
const MAX_USER_AGENT: usize = 200;

fn user_agent(req: &Request) -> Option<String> {
    let value = req.headers().get(USER_AGENT)?.to_str().ok()?;
    Some(value.chars().take(MAX_USER_AGENT).collect())
}

/// The trace identifier of a `traceparent` header (W3C Trace Context, section 3.2).
fn trace_id_of(traceparent: &str) -> Option<String> {
    let mut parts = traceparent.split('-');
    let (version, trace_id) = (parts.next()?, parts.next()?);
    let hex = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let valid = version.len() == 2
        && version != "ff"
        && hex(version)
        && trace_id.len() == 32
        && hex(trace_id)
        && trace_id.bytes().any(|byte| byte != b'0');
    valid.then(|| trace_id.to_owned())
}

/// Finds out what there is to know of each request, and gives its log lines a span.
#[derive(Clone, Debug)]
pub(crate) struct Context(pub(crate) Proxies);

#[async_trait]
impl Handler for Context {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let info = RequestInfo::read(req, &self.0);
        if let Ok(value) = HeaderValue::from_str(&info.request_id) {
            res.headers_mut().insert("x-request-id", value);
        }
        let span = tracing::info_span!(
            "request",
            http.method = %req.method(),
            http.path = req.uri().path(),
            request.id = %info.request_id,
            trace.id = %info.trace_id,
        );
        telemetry::set_parent(&span, &info.parent(req));
        depot.insert_typed(info);
        ctrl.call_next(req, depot, res).instrument(span).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_trace_is_taken_over() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(
            trace_id_of(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(),
            Some(id)
        );
        assert_eq!(
            trace_id_of("00-00000000000000000000000000000000-00f067aa0ba902b7-01"),
            None
        );
        assert_eq!(
            trace_id_of("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            None
        );
        assert_eq!(trace_id_of("nonsense"), None);
    }
}
