//! What goes wrong in a connector, by whose it is to put right.

use std::time::Duration;

use halcyon_domain::error::InputError;
use halcyon_egress::Error as EgressError;

/// A connector's failure. The variant is its class: who has to act, and whether trying again can help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong: stop and ask the user.
    #[error("the configuration is not valid")]
    Config(Vec<InputError>),
    /// A secret that the configuration names has not been given, or has no use in the form it has.
    #[error("secret `{name}` is not available")]
    Secret {
        /// The secret's name (never its value).
        name: String,
    },
    /// The other side turns us away and would again: credentials, a missing permission, a thing that does not exist
    /// there. Stop and ask the user.
    #[error("{message}")]
    Refused {
        /// What it refuses, and what to do about it. Never what it answered word for word: that may hold secrets.
        message: String,
    },
    /// The checkpoint was written by something else, or is damaged.
    #[error("the checkpoint cannot be read: {detail}")]
    Checkpoint {
        /// What does not fit.
        detail: String,
    },
    /// The other side failed in a way that passes: try again with backoff.
    #[error("{message}")]
    Transient {
        /// What happened.
        message: String,
        /// When the other side asked to be tried again.
        retry_after: Option<Duration>,
    },
    /// The connector cannot do what was asked of it, such as a push connector asked for a source.
    #[error("connector `{connector}` does not support {operation}")]
    Unsupported {
        /// The connector's type.
        connector: &'static str,
        /// What was asked.
        operation: &'static str,
    },
    /// A failure of ours.
    #[error("{0}")]
    System(String),
}

impl Error {
    /// A failure that passes.
    #[must_use]
    pub fn transient(message: impl Into<String>) -> Self {
        Self::Transient {
            message: message.into(),
            retry_after: None,
        }
    }

    /// Whether trying again, with nothing changed, can help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}

impl From<EgressError> for Error {
    /// An address that is not allowed stays so; a name or a host that is away may come back.
    fn from(error: EgressError) -> Self {
        let message = error.to_string();
        match error {
            EgressError::Refused { .. } => Self::Refused { message },
            EgressError::Unresolved { .. } | EgressError::Unreached { .. } => Self::transient(message),
        }
    }
}
