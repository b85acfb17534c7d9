//! What any program needs: configuration, telemetry, metrics, health, an orderly end. Nothing here knows what HALCYON is.
//!
//! | module | what it is for |
//! |---|---|
//! | [`config`] | defaults < files < environment < flags, with errors that name the key and its source |
//! | [`telemetry`], [`trace_context`] | logs and traces, W3C trace context in and out of spans |
//! | [`metrics`] | every metric's name, and the registry behind `/metrics` |
//! | [`health`], [`probes`], [`listener`] | readiness checks, the answers to probes, a listener for services without an API |
//! | [`shutdown`] | the request to stop, and what waits for work in flight |

pub mod config;
pub mod health;
pub mod listener;
pub mod metrics;
pub mod probes;
pub mod shutdown;
pub mod telemetry;
pub mod trace_context;

mod error;

pub use error::Error;
pub use health::{Check, Health};
pub use metrics::{Counter, Gauge, Histogram, Metrics};
pub use probes::Probes;
pub use shutdown::Shutdown;
pub use trace_context::{current_trace_id, current_traceparent, set_parent};
