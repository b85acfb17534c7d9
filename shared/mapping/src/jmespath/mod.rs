//! JMESPath (jmespath.org). The `jmespath` crate reads expressions; evaluation is our own: it works on borrowed
//! payloads, counts its steps, and cannot be made to overflow or to grow without bound.

mod compile;
mod eval;
mod functions;
#[cfg(test)]
mod tests;

use crate::{expr::SlotId, json::Node};

pub(crate) use compile::compile;
pub(crate) use eval::{evaluate, slice_places};
use functions::Function;
#[cfg(test)]
pub(crate) use tests::evaluate as evaluate_for_tests;

/// A step of a path.
#[derive(Debug)]
pub(crate) enum Step {
    Key(String),
    Index(i64),
}

/// A comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) enum Expr {
    /// The current value.
    Current,
    /// A path from the record.
    Slot(SlotId),
    /// A path from the current value.
    Path(Vec<Step>),
    Literal(Node<'static>),
    /// Each applied to what the one before gave.
    Chain(Vec<Expr>),
    Slice {
        start: Option<i64>,
        stop: Option<i64>,
        step: i64,
    },
    Or(Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Compare(Comparator, Box<Expr>, Box<Expr>),
    /// An object's values as a list.
    Values(Box<Expr>),
    Flatten(Box<Expr>),
    /// The right side applied to each item of the left side; nulls are left out.
    Project(Box<Expr>, Box<Expr>),
    /// The right side if the left one is true, else null.
    Condition(Box<Expr>, Box<Expr>),
    /// A list of these. `relative` ones are null where the current value is null.
    List {
        elements: Vec<Expr>,
        relative: bool,
    },
    Map {
        members: Vec<(String, Expr)>,
        relative: bool,
    },
    Call(Function, Vec<Expr>),
    /// `&expr`.
    Quote(Box<Expr>),
}
