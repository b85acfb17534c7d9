//! What goes wrong with a database, by whose it is to put right.

use super::{config::Settings, session::LONGEST};
use crate::Error;

/// At what step a connection failed, for the names of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Tls,
    Authenticate,
}

/// A connection that did not come about.
#[derive(Debug)]
pub(super) struct Unopened {
    pub(super) step: Step,
    pub(super) error: Error,
}

impl Unopened {
    pub(super) const fn new(step: Step, error: Error) -> Self {
        Self { step, error }
    }
}

pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::Refused {
        message: message.into(),
    }
}

/// The credentials are wrong.
pub(super) fn bad_credentials(settings: &Settings) -> Error {
    refused(format!(
        "the database refuses user `{}` or the password",
        settings.username
    ))
}

/// The query is, as the database says. Such an answer is about names and grammar; what rows hold is not in it.
pub(super) fn bad_query(answer: &str) -> Error {
    let short: String = answer.chars().take(300).collect();
    refused(format!("the database does not accept the query: {short}"))
}

/// The column is not what the configuration says.
pub(super) fn wrong_kind(settings: &Settings, found: &str) -> Error {
    let kind = settings.kind;
    refused(format!(
        "column `{}` is of type {found}, which is not of the cursor's kind ({kind:?})",
        settings.cursor
    ))
}

/// A row is longer than [`LONGEST`].
pub(super) fn too_long() -> Error {
    refused(format!(
        "a row is longer than {} MiB: leave long columns out, by `columns` or a query",
        LONGEST >> 20
    ))
}

/// The result has no such column.
pub(super) fn no_column(name: &str) -> Error {
    refused(format!("there is no column `{name}`"))
}

/// A row cannot be told apart from others.
pub(super) fn no_key(settings: &Settings) -> Error {
    refused(format!(
        "a row has no value in the key `{}`: choose a column that always has one",
        settings.key
    ))
}
