//! From values to ontology objects: the fields of an output, their types, and the objects they make.

mod cast;
mod compile;
mod fault;
mod field;
mod observables;
mod plan;
mod time;
mod words;

pub(crate) use compile::compile_output;
pub(crate) use fault::{Fault, Notes};
pub(crate) use field::Cx;
pub(crate) use plan::{Failure, Output};
