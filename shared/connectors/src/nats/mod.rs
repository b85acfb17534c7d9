//! `nats`: messages of a JetStream consumer, acknowledged after delivery, or of a plain subject, at most once.

mod config;
mod connector;
mod feed;
mod link;
mod message;
mod source;

#[cfg(test)]
mod tests;

pub use connector::Nats;
