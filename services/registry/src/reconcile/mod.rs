//! From what is wanted to what stands on the bus.

pub mod desired;
pub mod plan;

pub(crate) mod execute;
pub(crate) mod load;

mod partitions;
#[cfg(test)]
mod plan_tests;

pub use desired::{DesiredDatasource, SecretFault};
pub use plan::{Action, CurrentAssignments, Plan, plan};
