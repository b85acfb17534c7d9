//! Every metric's name in one place ([`names`]), and the registry behind `/metrics` ([`Metrics`]).

mod names;
mod registry;

pub use names::{Counter, Gauge, Histogram};
pub use registry::Metrics;
