//! What a use case can fail with. REST turns it into a problem, in one place.

use std::time::Duration;

use halcyon_domain::{error::InputError, lifecycle::InvalidTransition};
use halcyon_store::Unique;

use crate::problem::Problem;

/// Why a use case did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No credentials, or none that hold.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// Known, and not allowed.
    #[error("`{permission}` is needed for this")]
    Forbidden {
        /// What is needed.
        permission: &'static str,
    },
    /// Known, and not allowed for another reason than the caller's role.
    #[error("{detail}")]
    NotAllowed {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence for people.
        detail: String,
    },
    /// Does not exist, or is not for the caller to know.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Fields of the input do not fit.
    #[error("the input does not fit")]
    Invalid(Vec<InputError>),
    /// The query does not fit.
    #[error("the query does not fit: {0}")]
    Query(InputError),
    /// Makes no sense in the present state.
    #[error("{detail}")]
    Conflict {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence for people.
        detail: String,
    },
    /// `If-Match` names another revision.
    #[error("the object is at revision {current}")]
    Stale {
        /// The revision that the object has now.
        current: i64,
    },
    /// Too many attempts.
    #[error("too many attempts")]
    TooMany {
        /// When to try again.
        retry_after: Duration,
    },
    /// What is sent is larger than the bus takes.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A part of the system that is needed cannot be reached now.
    #[error("{detail}")]
    Unavailable {
        /// What, for people.
        detail: &'static str,
    },
    /// Something went wrong inside.
    #[error("internal: {0}")]
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

/// What a use case gives back.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An internal failure.
    pub(crate) fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    /// One field that does not fit.
    pub(crate) fn field(pointer: &str, code: &str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![InputError::new(pointer, code, detail)])
    }
}

impl From<InvalidTransition> for Error {
    fn from(error: InvalidTransition) -> Self {
        Self::Conflict {
            code: "invalid_transition",
            detail: error.to_string(),
        }
    }
}

impl From<InputError> for Error {
    fn from(error: InputError) -> Self {
        Self::Invalid(vec![error])
    }
}

impl From<halcyon_store::Error> for Error {
    fn from(error: halcyon_store::Error) -> Self {
        use halcyon_store::Error as Store;
        match error {
            Store::NotFound(what) => Self::NotFound(what),
            Store::Conflict(Unique::DatasourceName) => {
                let detail = "the organisation has a datasource of this name in this environment".to_owned();
                Self::Conflict {
                    code: "name_taken",
                    detail,
                }
            }
            Store::Conflict(Unique::SampleName) => Self::Conflict {
                code: "name_taken",
                detail: "the datasource has a sample of this name".to_owned(),
            },
            Store::Conflict(unique) => Self::Conflict {
                code: "conflict",
                detail: format!("the {unique} is taken"),
            },
            Store::StaleRevision { current } => Self::Stale { current },
            Store::InvalidPage { parameter, detail } => {
                Self::Query(InputError::new(format!("/{parameter}"), "invalid", detail))
            }
            Store::Contention(_) | Store::Unavailable(_) => {
                tracing::warn!(error = %error, "the database cannot be used now");
                Self::Unavailable {
                    detail: "the database cannot be reached now",
                }
            }
            Store::Internal(cause) => Self::Internal(cause),
        }
    }
}

impl From<halcyon_bus::Error> for Error {
    fn from(error: halcyon_bus::Error) -> Self {
        if let halcyon_bus::Error::TooLarge { limit, .. } = error {
            return Self::TooLarge { limit };
        }
        if error.is_unavailable() {
            tracing::warn!(error = %error, "the bus or a service behind it cannot be reached");
            return Self::Unavailable {
                detail: "a service that is needed cannot be reached now",
            };
        }
        Self::internal(error)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unauthenticated(detail) => Self::unauthenticated(detail),
            Error::Forbidden { .. } => Self::forbidden(error.to_string()),
            Error::NotAllowed { code, detail } => {
                let mut problem = Self::forbidden(detail);
                problem.code = code;
                problem
            }
            Error::NotFound(what) => Self::not_found(what),
            Error::Invalid(errors) => Self::invalid(errors),
            Error::Query(error) => Self::bad_request(error.to_string()).with_errors(vec![error]),
            Error::Conflict { code, detail } => Self::conflict(code, detail),
            Error::Stale { current } => Self::stale(current),
            Error::TooMany { retry_after } => {
                Self::too_many("too many attempts", retry_after).limited_by("login")
            }
            Error::TooLarge { limit } => Self::too_large(limit),
            Error::Unavailable { detail } => Self::unavailable(detail),
            Error::Internal(cause) => Self::internal(&cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_status() {
        let internal = || Error::internal("secret detail of the database");
        let cases = [
            (Error::Unauthenticated("x"), 401),
            (
                Error::Forbidden {
                    permission: "audit.read",
                },
                403,
            ),
            (
                Error::NotAllowed {
                    code: "own_work",
                    detail: "x".into(),
                },
                403,
            ),
            (Error::NotFound("datasource"), 404),
            (Error::field("/name", "required", "x"), 422),
            (Error::Query(InputError::new("/sort", "invalid", "x")), 400),
            (
                Error::Conflict {
                    code: "name_taken",
                    detail: "x".into(),
                },
                409,
            ),
            (Error::Stale { current: 3 }, 412),
            (
                Error::TooMany {
                    retry_after: Duration::from_secs(1),
                },
                429,
            ),
            (Error::TooLarge { limit: 1 }, 413),
            (Error::Unavailable { detail: "x" }, 503),
            (internal(), 500),
        ];
        for (error, status) in cases {
            assert_eq!(Problem::from(error).status.as_u16(), status);
        }
        assert!(!Problem::from(internal()).detail.contains("database"));
    }

    #[test]
    fn a_bus_that_does_not_answer_is_503_and_a_broken_one_500() {
        let timeout = halcyon_bus::Error::Timeout(Duration::from_secs(1));
        assert_eq!(Problem::from(Error::from(timeout)).status.as_u16(), 503);
        let broken = halcyon_bus::Error::Malformed("x".into());
        assert_eq!(Problem::from(Error::from(broken)).status.as_u16(), 500);
    }
}
