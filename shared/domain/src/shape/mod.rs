//! The shape of records: what fields they have, of which types and formats, learned from examples and told as JSON
//! Schema; and how records differ from a shape that is expected of them.

mod drift;
mod format;
mod learn;

pub use drift::{Drift, DriftKind, Expected};
pub use format::Format;
pub use learn::Shape;

/// Values that are nested deeper are not looked into.
const MAX_DEPTH: usize = 32;
