//! What is wrong with a file, with its place, as compilers say it.

use std::{fmt, sync::Arc};

use crate::yaml::{Fault, Node, Place};

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) file: Arc<str>,
    pub(crate) place: Place,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(file: &Arc<str>, fault: Fault) -> Self {
        Self {
            file: Arc::clone(file),
            place: fault.place,
            message: fault.message,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.place, self.message)
    }
}

/// Where a document came from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The file.
    pub(crate) file: Arc<str>,
    /// What stands there.
    pub(crate) node: Node,
    /// Where the API's fields are in the file, where that is elsewhere: pairs of pointers, the longest first.
    pub(crate) moved: Vec<(&'static str, &'static str)>,
}

impl Origin {
    /// Where the document begins.
    pub(crate) const fn place(&self) -> Place {
        self.node.place
    }

    /// A finding about what the API calls `pointer`.
    pub(crate) fn finding(&self, pointer: &str, message: impl Into<String>) -> Finding {
        let place = self.node.place_of(&self.in_file(pointer));
        Finding::new(&self.file, Fault::new(place, message))
    }

    /// The pointer into the file of what the API calls `pointer`.
    fn in_file(&self, pointer: &str) -> String {
        let moved = self.moved.iter().find_map(|(theirs, ours)| {
            let rest = pointer.strip_prefix(theirs)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{ours}{rest}"))
        });
        moved.unwrap_or_else(|| pointer.to_owned())
    }

    /// `file:line`, for tables.
    pub(crate) fn line(&self) -> String {
        format!("{}:{}", self.file, self.place().line)
    }
}
