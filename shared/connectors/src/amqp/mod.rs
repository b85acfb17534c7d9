//! `amqp`: messages of an AMQP 0-9-1 queue, as RabbitMQ speaks it. A message is acknowledged once what it became is
//! durable; what a reader that died had taken, the broker hands out again.

mod config;
mod connector;
mod record;
mod session;
mod source;
mod stream;
#[cfg(test)]
mod tests;

pub use connector::Amqp;
