//! The reasons to turn a request away, as problems.

use std::time::Duration;

use halcyon_bus::Error;
use halcyon_connectors::http_webhook::{BodyError, Rejection};
use salvo::http::StatusCode;

use crate::problem::Problem;

/// When a sender should try again after a 503.
const RETRY: Duration = Duration::from_secs(2);
/// When to try again while a backlog is full: it is worked off, or its feed is stopped.
const BACKLOG_RETRY: Duration = Duration::from_secs(30);

pub(super) fn unknown() -> Problem {
    Problem::not_found("feed")
}

pub(super) fn not_accepting(published: bool) -> Problem {
    if published {
        Problem::conflict("disabled", "the feed is disabled")
    } else {
        Problem::conflict("not_published", "the feed was never published")
    }
}

/// Too many of the feed's events wait to be processed.
pub(super) fn backlog_full() -> Problem {
    Problem::too_many("too many events of the feed wait to be processed", BACKLOG_RETRY).limited_by("backlog")
}

/// The gateway does not hold what it needs to judge the request.
pub(super) fn not_ready() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not_ready",
        "the feed cannot be judged yet; try again",
    )
    .with_retry_after(RETRY)
}

pub(super) fn rejected(rejection: &Rejection) -> Problem {
    let status = StatusCode::from_u16(rejection.status()).unwrap_or(StatusCode::UNAUTHORIZED);
    let problem = Problem::new(status, rejection.code(), rejection.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        problem.with_retry_after(RETRY)
    } else {
        problem
    }
}

pub(super) fn bad_body(error: &BodyError) -> Problem {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    Problem::new(status, error.code(), error.to_string())
}

/// The settings no longer have the pool that the feed asked for when it was published.
pub(super) fn no_pool(pool: Option<&str>) -> Problem {
    tracing::error!(
        pool,
        "a feed asks for a pool that has no partitions (`bus.pools`)"
    );
    Problem::unavailable("the feed's pool of workers is not there; try again").with_retry_after(RETRY)
}

pub(super) fn not_stored(error: &Error) -> Problem {
    match error {
        Error::TooLarge { limit, .. } => Problem::too_large(*limit),
        error if error.is_unavailable() => {
            tracing::warn!(error = %error, "an event could not be stored");
            Problem::unavailable("the event cannot be stored now; try again").with_retry_after(RETRY)
        }
        error => Problem::internal(error),
    }
}
