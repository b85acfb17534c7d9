//! What can go wrong between a command and the system, and the exit code that it ends with.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// How a command ends that did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It failed, or the system refused it.
    Failed = 1,
    /// The command line or a file does not say what to do.
    Usage = 2,
    /// What it is about is not there.
    NotFound = 3,
    /// It makes no sense in the present state, or something was changed meanwhile.
    Conflict = 4,
    /// The system cannot be reached, or does not know who is calling.
    Unreachable = 5,
    /// There are changes to be made (`halcyon plan --detailed-exit-code`).
    Changes = 6,
}

impl Exit {
    /// The exit code of several failures: what they have in common, else [`Exit::Failed`].
    pub(crate) fn of_all(exits: impl IntoIterator<Item = Self>) -> Option<Self> {
        exits
            .into_iter()
            .reduce(|first, next| if first == next { first } else { Self::Failed })
    }
}

/// What is wrong with one field of what was sent.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FieldError {
    /// Where: a JSON pointer into the body.
    pub(crate) pointer: String,
    /// What, for people.
    pub(crate) detail: String,
}

/// What the system answered instead of what was asked for (RFC 9457).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Problem {
    #[serde(default)]
    pub(crate) status: u16,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    pub(crate) detail: String,
    #[serde(default)]
    trace_id: String,
    #[serde(default)]
    pub(crate) errors: Vec<FieldError>,
}

impl Problem {
    /// Reads an answer. One that is no problem document (of a proxy, say) becomes one.
    pub(crate) fn read(status: u16, body: &str) -> Self {
        let document = serde_json::from_str::<Value>(body).ok();
        let read = document.and_then(|value| serde_json::from_value::<Self>(value).ok());
        let mut problem = read.unwrap_or_else(|| Self::told(status, String::new()));
        problem.status = status;
        if problem.detail.is_empty() {
            problem.detail = format!("the answer was status {status}");
        }
        problem
    }

    /// What is known of an answer that is no problem document.
    pub(crate) const fn told(status: u16, detail: String) -> Self {
        Self {
            status,
            kind: String::new(),
            detail,
            trace_id: String::new(),
            errors: Vec::new(),
        }
    }

    /// The word for programs.
    pub(crate) fn code(&self) -> &str {
        self.kind.rsplit(':').next().unwrap_or_default()
    }

    const fn exit(&self) -> Exit {
        match self.status {
            404 => Exit::NotFound,
            409 | 412 => Exit::Conflict,
            401 | 502..=504 => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        for error in &self.errors {
            let line = format!("{}: {}", error.pointer, error.detail);
            // A single error is the detail already.
            if !self.detail.contains(&error.detail) {
                write!(f, "\n  {line}")?;
            }
        }
        if self.status >= 500 && !self.trace_id.is_empty() {
            write!(f, " (trace {})", self.trace_id)?;
        }
        Ok(())
    }
}

/// Why a command cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The system refused.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// There is no answer.
    #[error("{url} cannot be reached: {detail}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// Why, from the network.
        detail: String,
    },
    /// Nobody is signed in.
    #[error("{0}")]
    SignedOut(String),
    /// The command line or a file does not say what to do.
    #[error("{0}")]
    Usage(String),
    /// What it is about is not there.
    #[error("{0}")]
    NotFound(String),
    /// It makes no sense in the present state.
    #[error("{0}")]
    Conflict(String),
    /// All was said already; only the exit code is left.
    #[error("not everything was done")]
    Told(Exit),
}

impl Error {
    /// Whether it may be otherwise in a moment: there is no answer, or the system says that it cannot now.
    pub(crate) fn is_passing(error: &anyhow::Error) -> bool {
        match error.downcast_ref() {
            Some(Self::Unreachable { .. }) => true,
            Some(Self::Refused(problem)) => matches!(problem.status, 502..=504),
            _ => false,
        }
    }

    /// The exit code.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Refused(problem) => problem.exit(),
            Self::Unreachable { .. } | Self::SignedOut(_) => Exit::Unreachable,
            Self::Usage(_) => Exit::Usage,
            Self::NotFound(_) => Exit::NotFound,
            Self::Conflict(_) => Exit::Conflict,
            Self::Told(exit) => *exit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(status: u16) -> u8 {
        Error::Refused(Box::new(Problem::read(status, "{}"))).exit() as u8
    }

    #[test]
    fn every_refusal_has_its_exit_code() {
        let codes = [400, 401, 403, 404, 409, 412, 422, 429, 500, 503].map(exit);
        assert_eq!(codes, [1, 5, 1, 3, 4, 4, 1, 1, 1, 5]);
    }

    #[test]
    fn several_failures_end_with_what_they_have_in_common() {
        use Exit::{Conflict, Failed, NotFound};
        assert_eq!(Exit::of_all([]), None);
        assert_eq!(Exit::of_all([Conflict, Conflict]), Some(Conflict));
        assert_eq!(Exit::of_all([Conflict, NotFound]), Some(Failed));
    }

    #[test]
    fn a_problem_is_told_with_each_field() {
        let body = r#"{"type": "urn:halcyon:problem:invalid", "detail": "2 fields do not fit",
            "errors": [{"pointer": "/name", "code": "invalid", "detail": "too long"},
                       {"pointer": "/tags/0", "code": "invalid", "detail": "a space"}]}"#;
        let problem = Problem::read(422, body);
        assert_eq!(
            problem.to_string(),
            "2 fields do not fit\n  /name: too long\n  /tags/0: a space"
        );
        assert_eq!(
            Problem::read(502, "<html>").to_string(),
            "the answer was status 502"
        );
    }
}
