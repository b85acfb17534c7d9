//! Reading a payload: a JSON reader (RFC 8259) that borrows from the payload, keeps numbers as they were written
//! (30 digits stay 30 digits), bounds the nesting, and builds only the parts that a mapping asks for.

mod node;
mod parse;
mod projection;
mod scan;
#[cfg(test)]
mod tests;

pub(crate) use node::Node;
pub(crate) use parse::{Parsed, parse_document, parse_records, too_many_records};
pub(crate) use projection::Projection;
