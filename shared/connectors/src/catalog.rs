//! The catalog: one line for each connector.

use crate::{
    Connector, ConnectorSpec, amqp::Amqp, generator::Generator, http_poller::HttpPoller,
    http_webhook::HttpWebhook, redis_stream::RedisStream,
};

/// Every connector. Adding one is a folder of this crate and a line here.
static CATALOG: &[&'static dyn Connector] = &[
    &HttpWebhook, //
    &HttpPoller,
    &RedisStream,
    &crate::nats::Nats,
    &Amqp,
    &crate::syslog::Syslog,
    #[cfg(feature = "sql")]
    &crate::sql_poller::SqlPoller,
    #[cfg(feature = "kafka")]
    &crate::kafka::Kafka,
    &crate::mqtt::Mqtt,
    #[cfg(feature = "object-store")]
    &crate::s3::S3,
    #[cfg(feature = "sftp")]
    &crate::sftp::Sftp,
    &Generator,
];

/// Every connector, in the order in which people should see them.
#[must_use]
pub fn catalog() -> &'static [&'static dyn Connector] {
    CATALOG
}

/// The connector of `type_name` (such as `http_webhook`).
#[must_use]
pub fn find(type_name: &str) -> Option<&'static dyn Connector> {
    CATALOG
        .iter()
        .copied()
        .find(|connector| connector.spec().type_name == type_name)
}

/// What each connector says of itself, in the catalog's order.
pub fn specs() -> impl Iterator<Item = &'static ConnectorSpec> {
    CATALOG.iter().map(|connector| connector.spec())
}
