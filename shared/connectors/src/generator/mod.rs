//! `generator`: synthetic security alerts at a rate, for demonstrations and load. The same configuration always
//! makes the same alerts, so a restart goes on without a gap or a repeat.

mod connector;
mod payload;
mod source;

pub use connector::Generator;
