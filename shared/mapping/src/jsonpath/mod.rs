//! JSONPath (RFC 9535). The `jsonpath-rust` crate reads queries; evaluation is our own, on borrowed payloads and
//! with counted steps.

mod compile;
mod eval;
mod filter;
#[cfg(test)]
mod tests;

use regex::Regex;

use crate::{expr::SlotId, jmespath::Comparator, json::Node};

pub(crate) use compile::compile;
pub(crate) use eval::evaluate;

/// A compiled query.
#[derive(Debug)]
pub(crate) struct Query {
    /// Where it starts: a path from the record, else the value it is applied to.
    start: Option<SlotId>,
    segments: Vec<Segment>,
    /// What `$` inside filters stands for: the whole record, else the value it is applied to.
    root: Option<SlotId>,
    /// Whether it leads to at most one place.
    singular: bool,
}

impl Query {
    /// The path into the record that it is, if it is nothing else.
    pub(crate) fn plain_path(&self) -> Option<SlotId> {
        self.start.filter(|_| self.segments.is_empty())
    }

    pub(crate) const fn is_singular(&self) -> bool {
        self.singular
    }
}

#[derive(Debug)]
struct Segment {
    /// `..`: also applied to all that is below.
    descend: bool,
    selectors: Vec<Selector>,
}

#[derive(Debug)]
enum Selector {
    Name(String),
    Index(i64),
    Wildcard,
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    },
    Filter(Filter),
}

#[derive(Debug)]
enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    /// Whether the query finds anything.
    Exists(Relative),
    Compare(Comparator, Operand, Operand),
    /// `match()` (anchored when compiled) or `search()`.
    Matches(Operand, Box<Regex>),
}

/// A query inside a filter.
#[derive(Debug)]
struct Relative {
    /// `$` rather than `@`.
    absolute: bool,
    segments: Vec<Segment>,
}

#[derive(Debug)]
enum Operand {
    Literal(Node<'static>),
    Singular(Relative),
    Length(Box<Operand>),
    Count(Relative),
    Value(Relative),
}
