//! What any program of this kind needs, and nothing of what this one is about: settings, telemetry, metrics,
//! health, shutdown.

pub mod health;
pub mod listener;
pub mod metrics;
pub mod mode;
pub mod probes;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

pub use health::{Check, Health};
pub use metrics::{Metric, Metrics};
pub use mode::Mode;
pub use shutdown::Shutdown;
pub use telemetry::{current_traceparent, set_parent};
