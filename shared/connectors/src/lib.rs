//! Connectors: the kinds of feed that a datasource can be. Each is a folder here and one line of [`catalog`];
//! its form, validation, documentation and compliance test follow from its [`ConnectorSpec`].

pub mod amqp;
pub mod check;
pub mod generator;
pub mod http_poller;
pub mod http_webhook;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod mqtt;
pub mod nats;
pub mod redis_stream;
#[cfg(feature = "object-store")]
pub mod s3;
#[cfg(feature = "sftp")]
pub mod sftp;
#[cfg(feature = "sql")]
pub mod sql_poller;
pub mod syslog;

mod catalog;
#[cfg(test)]
mod compliance;
mod connector;
mod endpoint;
mod error;
#[cfg(feature = "files")]
mod files;
mod json;
mod presets;
#[cfg(test)]
mod presets_tests;
#[cfg(test)]
mod reference;
mod schema;
mod secret;
mod source;
mod spec;
mod tls;
mod validate;

pub use catalog::{catalog, find, specs};
pub use connector::{CheckContext, Connector, Verifier};
pub use error::Error;
pub use presets::{VendorPreset, vendor_presets};
pub use secret::{SecretName, SecretValue, Secrets, secret_names};
pub use source::{
    BatchLimits, Checkpoint, Lag, Share, Source, SourceBatch, SourceContext, SourceRecord, TimeRange,
};
pub use spec::{Capabilities, ConnectorSpec, Ordering, SamplePayload, SignaturePreset};
pub use validate::{validate_connection, validate_feed};
