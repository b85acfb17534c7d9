//! The worker against a real nats-server; the test plays gateway, registry and ontology service.

mod drift;
mod frames;
mod parking;
mod replays;
mod runs;
mod sources;
mod states;
pub(crate) mod support;

pub(crate) use support::{Rig, event, push, soon, version};
