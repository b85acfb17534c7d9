//! Against librdkafka's mock cluster: the real protocol, several brokers and members.

mod front;
mod group;
mod peer;
mod reading;
mod values;
