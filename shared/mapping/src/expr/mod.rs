//! Expressions: from text to something that can be evaluated often, in either language.

mod compile;
mod limit;
mod scope;
mod slots;

pub(crate) use compile::{Compiler, Expression, Home};
pub(crate) use scope::{EvalError, Ledger, Scope};
pub(crate) use slots::{Record, SlotId, SlotTable, Slots};
