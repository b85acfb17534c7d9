//! What can go wrong in the registry, and what of it the asking service is told.

use halcyon_bus::RemoteError;
use halcyon_domain::error::InputError;

/// An error of the registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] halcyon_store::Error),
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] halcyon_bus::Error),
    /// A key or ciphertext is of no use.
    #[error(transparent)]
    Secrets(#[from] halcyon_secrets::Error),
    /// This registry has led and does no more.
    #[error("another registry leads")]
    Deposed,
    /// What was sent cannot be used.
    #[error(transparent)]
    Invalid(#[from] InputError),
    /// It is not there, or belongs to another tenant.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A secret's newest version has expired.
    #[error("secret `{0}` has expired")]
    Expired(String),
    /// Others changed the same thing again and again.
    #[error("it was changed by others meanwhile; try again")]
    Busy,
    /// The asking process may not have it.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// It makes no sense in the present state.
    #[error("{0}")]
    Conflict(&'static str),
    /// A value was sealed for another process, most likely another registry.
    #[error("the value is sealed for another key: seal it anew for this registry's")]
    UnknownKey,
}

impl Error {
    /// Whether the same thing may work later without any change.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Bus(_) | Self::UnknownKey | Self::Busy | Self::Deposed => true,
            Self::Secrets(error) => error.is_transient(),
            Self::Invalid(_)
            | Self::NotFound(_)
            | Self::Refused(_)
            | Self::Expired(_)
            | Self::Conflict(_) => false,
        }
    }
}

impl From<Error> for RemoteError {
    /// What fails inside is logged here and not told outside.
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Invalid(input) => Self::invalid(input),
            Error::Expired(_) => Self::new("secret_expired", message),
            Error::Busy => Self::transient("unavailable", message),
            Error::NotFound(_) => Self::new("not_found", message),
            Error::Refused(_) => Self::new("refused", message),
            Error::Conflict(_) => Self::new("conflict", message),
            Error::UnknownKey => Self::transient("unknown_key", message),
            Error::Deposed => Self::transient("unavailable", message),
            Error::Store(halcyon_store::Error::NotFound(what)) => {
                Self::new("not_found", format!("no such {what}"))
            }
            Error::Store(error) => {
                tracing::warn!(error = %error, "a request about secrets failed in the database");
                Self::transient("unavailable", "the database is unavailable")
            }
            Error::Bus(error) => {
                tracing::warn!(error = %error, "a request about secrets failed on the bus");
                Self::transient("unavailable", "the bus is unavailable")
            }
            Error::Secrets(error) if error.is_transient() => {
                tracing::warn!(error = %error, "secrets cannot be had now");
                Self::transient("secrets_unavailable", "the store of secrets cannot be reached")
            }
            Error::Secrets(error) => {
                tracing::error!(error = %error, "a secret or key cannot be used");
                Self::new("unusable", "a stored secret or key cannot be opened")
            }
        }
    }
}
