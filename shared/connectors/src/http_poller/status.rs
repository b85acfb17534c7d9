//! What an answer's status, or none at all, means for the feed.

use std::{error::Error as StdError, time::Duration};

use chrono::DateTime;
use halcyon_domain::clock::Timestamp;
use halcyon_egress::HttpError;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use crate::{Error, tls::of_tls};

/// At which step something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Connect,
    Tls,
    Authenticate,
    Permission,
    /// The other side does not know the page, or does not take the request.
    Page,
    Sample,
}

/// A failure, and where.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) error: Error,
}

/// The longest wait that the other side may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// What a status that is none of success means.
pub(crate) fn failure(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Failure {
    let wait = retry_after(headers, now);
    let exhausted = number(headers, "x-ratelimit-remaining") == Some(0) || headers.contains_key(RETRY_AFTER);
    let number = status.as_u16();
    let passing = |message: String| Failure {
        step: Step::Sample,
        error: Error::Transient {
            message,
            retry_after: wait,
        },
    };
    let refused = |step: Step, message: String| Failure {
        step,
        error: Error::Refused { message },
    };
    match number {
        429 => passing("the other side asks for fewer requests (status 429)".to_owned()),
        403 if exhausted => passing("the other side asks for fewer requests (status 403)".to_owned()),
        401 => refused(
            Step::Authenticate,
            "the other side does not take the credentials (status 401)".to_owned(),
        ),
        403 => refused(
            Step::Permission,
            "the credentials may not read this (status 403); give them the permission".to_owned(),
        ),
        408 | 425 | 500.. => passing(format!("the other side answered with status {number}")),
        300..=399 => refused(
            Step::Page,
            format!("the other side redirects (status {number}) to no place that can be followed"),
        ),
        _ => refused(
            Step::Page,
            format!(
                "the other side does not take the request (status {number}); see the URL, the query and the body"
            ),
        ),
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), or the end of a rate limit's window.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let told = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let wait = match told.map(str::trim) {
        Some(text) => match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            Err(_) => DateTime::parse_from_rfc2822(text)
                .ok()
                .map(|at| (at.to_utc() - now).to_std().unwrap_or_default()),
        },
        None => ["x-ratelimit-reset", "x-rate-limit-reset"]
            .iter()
            .find_map(|name| number(headers, name))
            .and_then(|at| {
                // Some tell the instant, others the seconds until it.
                let seconds = if at > 1_000_000_000 {
                    at - now.timestamp()
                } else {
                    at
                };
                u64::try_from(seconds.max(0)).ok()
            })
            .map(Duration::from_secs),
    };
    wait.map(|wait| wait.min(LONGEST_WAIT))
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Why a request had no answer.
pub(crate) fn sending(error: HttpError) -> Error {
    match error {
        HttpError::Host(error) => error.into(),
        HttpError::Failed(error) => broken(&error),
        other => Error::Refused {
            message: other.to_string(),
        },
    }
}

/// Why an answer has no end.
pub(crate) fn broken(error: &reqwest::Error) -> Error {
    if let Some(tls) = tls_error(error) {
        return of_tls(tls, format!("TLS could not be agreed on: {tls}"));
    }
    Error::transient(if error.is_timeout() {
        "the other side did not answer in time"
    } else if error.is_connect() {
        "the other side cannot be reached"
    } else {
        "the connection broke before the answer was whole"
    })
}

/// What TLS says of it, if it was about that.
fn tls_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(found) = cause {
        if let Some(tls) = found.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // What an I/O error holds is not its source, and may be an I/O error again.
        let held = found
            .downcast_ref::<std::io::Error>()
            .and_then(|error| error.get_ref());
        cause = match held {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => found.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_sides_wait_is_read() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let wait = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("retry-after", "17"), Some(17));
        assert_eq!(wait("retry-after", "Tue, 14 Nov 2023 22:13:50 GMT"), Some(30));
        assert_eq!(wait("retry-after", "Tue, 14 Nov 2023 22:13:10 GMT"), Some(0));
        assert_eq!(wait("retry-after", "99999999"), Some(3_600));
        assert_eq!(wait("retry-after", "-1"), None);
        assert_eq!(wait("retry-after", "soon"), None);
        assert_eq!(wait("x-ratelimit-reset", "1700000042"), Some(42));
        assert_eq!(wait("x-rate-limit-reset", "42"), Some(42));
        assert_eq!(wait("other", "42"), None);
    }
}
