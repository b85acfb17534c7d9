//! W3C trace context in message headers. Only text goes in and out: linking it to spans is the telemetry's part.

use async_nats::HeaderMap;

/// The header's name (<https://www.w3.org/TR/trace-context/>).
pub const TRACEPARENT: &str = "traceparent";

/// Whether a text is a `traceparent` of version 00.
#[must_use]
pub fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let fits = |part: Option<&str>, length: usize| {
        part.is_some_and(|part| {
            part.len() == length
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        })
    };
    parts.next() == Some("00")
        && fits(parts.next(), 32)
        && fits(parts.next(), 16)
        && fits(parts.next(), 2)
        && parts.next().is_none()
}

/// Puts a trace context into headers; what is no trace context is left out.
pub(crate) fn inject(headers: &mut HeaderMap, traceparent: Option<&str>) {
    if let Some(text) = traceparent.filter(|text| is_traceparent(text)) {
        headers.insert(TRACEPARENT, text);
    }
}

/// The trace context in headers.
pub(crate) fn extract(headers: Option<&HeaderMap>) -> Option<String> {
    let text = headers?.get(TRACEPARENT)?.as_str();
    is_traceparent(text).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_context_goes_in_and_out() {
        let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        inject(&mut headers, Some(context));
        assert_eq!(extract(Some(&headers)).as_deref(), Some(context));
    }

    #[test]
    fn anything_else_is_left_out() {
        for text in [
            "",
            "00-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "hello",
        ] {
            let mut headers = HeaderMap::new();
            inject(&mut headers, Some(text));
            assert_eq!(extract(Some(&headers)), None);
        }
        assert_eq!(extract(None), None);
    }
}
