//! Payload to ontology: compiles a version's mapping once and applies it to each event.
//!
//! [`CompiledMapping::compile`] checks everything that can be checked without a payload and names each error by a
//! JSON pointer into the mapping. [`CompiledMapping::map`] gives every record of an event one outcome; it never
//! panics, never blocks, and its cost is bounded by the numbers in [`limits`].
//!
//! # What a mapping means
//! - `records` is applied to the payload: a list gives one record for each item, null gives none, anything else
//!   is the one record. Without it the payload itself is taken the same way.
//! - `filter` and an output's `when` are applied to the record; JMESPath's truth counts (false, null and what is
//!   empty are not true). `for_each` is applied to the record, too: a list gives one object for each item, null
//!   none, anything else one. An expression of these that fails (such as `contains(tags, 'x')` without tags)
//!   dead-letters the record: nothing is dropped because a mapping is wrong.
//! - A field's value goes through `expr` or `value`, then `lookup`, then `as` and the target's own type;
//!   `default` steps in where there is nothing, where a lookup does not list the value, and where the value does not fit.
//!   Without a default a field that is needed dead-letters the record; another one stays absent.
//! - For a field that is needed, empty text is no value.
//! - JSONPath: no match is null, a query for a single place gives its value, any other query the list of its
//!   matches; a list of one match is its match where a single value is wanted.
//! - Integers beyond 64 bits arrive exact: as digits.
//! - A NUL character in what would reach an object dead-letters the record (`nul_character`): PostgreSQL's text
//!   cannot hold it.
//! - All or nothing: one object that cannot be made dead-letters its whole record.
//!
//! A mapping by a script is a [`ScriptMapping`]: this crate prepares what the script is asked and judges what it
//! answers; it runs in the crate `sandbox`.

mod context;
mod cutter;
mod event;
mod expr;
mod jmespath;
mod json;
mod jsonpath;
pub mod limits;
mod mapping;
mod output;
mod report;
mod script;
#[cfg(test)]
mod tests;
mod value;

pub use context::MappingContext;
pub use cutter::RecordCutter;
pub use event::{EventResult, Outcome, RecordResult};
pub use mapping::CompiledMapping;
pub use script::{ScriptAnswer, ScriptEvent, ScriptMapping, script_error};
