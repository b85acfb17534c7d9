//! What can go wrong on the bus.

use std::time::Duration;

use halcyon_domain::error::InputError;
use serde::{Deserialize, Serialize};

/// An error of the bus. It can be cloned because one failed publish answers many senders.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection, or the connection broke while the answer was outstanding.
    #[error("the bus cannot be reached: {0}")]
    Unavailable(String),
    /// No answer came in time; what was asked for may have happened.
    #[error("no answer from the bus within {0:?}")]
    Timeout(Duration),
    /// A stream or a quota is full and refuses what is new.
    #[error("the stream is full: {0}")]
    Full(String),
    /// Nobody serves the request's subject.
    #[error("nobody answers {0}")]
    NoResponders(String),
    /// The key or subject was changed by somebody else since it was read.
    #[error("it was changed by somebody else")]
    Conflict,
    /// A message does not fit the server's `max_payload`.
    #[error("a message of {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A message is not what its subject promises.
    #[error("a message cannot be read: {0}")]
    Malformed(String),
    /// The other side answered with an error.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A setting or key that cannot be used.
    #[error("the bus is set up wrongly: {0}")]
    Setup(String),
    /// The server refused the operation.
    #[error("the bus refused: {0}")]
    Refused(String),
}

impl Error {
    /// Whether trying again later may help: the answer to a client is 503 with `Retry-After`.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Timeout(_) | Self::Full(_) | Self::NoResponders(_)
        ) || matches!(self, Self::Remote(RemoteError { retry: true, .. }))
    }

    pub(crate) fn unavailable(error: impl std::fmt::Display) -> Self {
        Self::Unavailable(error.to_string())
    }

    pub(crate) fn refused(error: impl std::fmt::Display) -> Self {
        Self::Refused(error.to_string())
    }

    pub(crate) fn malformed(error: impl std::fmt::Display) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// An error that travels in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct RemoteError {
    /// A stable word for programs, such as `not_found`.
    pub code: String,
    /// A sentence for people; it never holds a secret.
    pub message: String,
    /// Whether trying again later may help.
    #[serde(default)]
    pub retry: bool,
    /// The field that does not fit, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<InputError>>,
}

impl RemoteError {
    /// An error that will not go away by itself.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retry: false,
            input: None,
        }
    }

    /// A field that does not fit; its code is `invalid`.
    #[must_use]
    pub fn invalid(input: InputError) -> Self {
        Self {
            input: Some(Box::new(input.clone())),
            ..Self::new("invalid", input.to_string())
        }
    }

    /// An error that may be gone at the next attempt.
    pub fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retry: true,
            input: None,
        }
    }
}
