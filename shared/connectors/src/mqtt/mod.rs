//! `mqtt`: messages of an MQTT broker, versions 3.1.1 and 5. The reader has a session that the broker keeps; a message
//! is acknowledged once what it became is durable, and until then the broker delivers it again.

mod config;
mod connector;
mod packet;
mod properties;
mod record;
mod session;
mod source;
#[cfg(test)]
mod tests;

pub use connector::Mqtt;
