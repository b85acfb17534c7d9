//! `redis_stream`: entries of a Redis stream, read as a member of a consumer group and acknowledged once they are
//! durable (<https://redis.io/docs/latest/develop/data-types/streams/>). Redis keeps the place: the checkpoint only
//! shows it.

mod client;
mod config;
mod connector;
mod entry;
mod reader;
mod source;
#[cfg(test)]
mod tests;

pub use connector::RedisStream;
