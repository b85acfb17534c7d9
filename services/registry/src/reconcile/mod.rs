//! From what is wanted to what stands on the bus.

pub mod desired;
pub mod observed;
pub mod placement;
pub mod plan;

pub(crate) mod execute;
pub(crate) mod load;

mod labels;
#[cfg(test)]
mod placement_tests;
#[cfg(test)]
mod plan_properties;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests_support;

pub use desired::{DesiredDatasource, SecretFault};
pub use observed::Observed;
pub use placement::Work;
pub use plan::{Action, CurrentAssignments, Plan, SETTLE, Workers, plan};
