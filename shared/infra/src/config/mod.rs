//! Configuration: defaults < files < environment < flags.
//!
//! The type that is loaded says its defaults itself (`#[serde(default)]`); this module lays files, variables and
//! flags over them, and says of each wrong value which key it is and who set it.

mod load;
mod mask;
mod source;

pub use load::{Loaded, load, schema};
pub use mask::{MASK, masked};
pub use source::{Flag, Flags, environment};
