//! `syslog`: messages that systems and appliances send, by RFC 5424 or RFC 3164, over TCP, TLS or UDP. A worker listens
//! for them. What is written in CEF or LEEF is read as such.

mod config;
mod connector;
mod event;
mod framing;
mod listener;
mod message;
mod record;
mod source;
mod tls;

#[cfg(test)]
mod tests;

pub use connector::Syslog;
#[cfg(test)]
pub(crate) use connector::payload_of;
