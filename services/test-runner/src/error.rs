//! Why a job has no report.

use std::time::Duration;

use halcyon_bus::RemoteError;

/// A job that was not done. What is wrong with the configuration is no such error but part of the report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// All places of the sandbox are taken.
    #[error("too many test runs are under way")]
    Busy,
    /// It took too long.
    #[error("the test run did not end within {0:?}")]
    Timeout(Duration),
    /// Something in it broke.
    #[error("the test run failed inside")]
    Crashed,
}

impl From<Error> for RemoteError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Busy => Self::transient("busy", message),
            Error::Timeout(_) => Self::new("timeout", message),
            Error::Crashed => Self::new("internal", message),
        }
    }
}
