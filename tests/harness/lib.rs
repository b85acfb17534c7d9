//! What tests and measurements start and drive: servers, the system as processes, a client and a load.
//!
//! Everything listens on loopback, on free ports, in temporary folders, and ends with the process that started
//! it. A harness that cannot do its work panics: the test has failed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![expect(
    clippy::missing_panics_doc,
    reason = "everything here panics when the test has failed"
)]

pub mod authority;
pub mod between;
pub mod client;
pub mod cluster;
pub mod load;
pub mod mariadb;
pub mod mosquitto;
pub mod namespace;
pub mod nats;
pub mod openbao;
pub mod ports;
pub mod postgres;
mod programs;
pub mod proxy;
pub mod rabbitmq;
pub mod redis;
pub mod reference;
pub mod sshd;
pub mod up;
pub mod wait;
pub mod weed;
