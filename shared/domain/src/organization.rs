//! What organisations and their projects decide for all that belongs to them.

use crate::lifecycle::states;

states! {
    /// Whether what is to be published needs somebody else's approval.
    ApprovalPolicy {
        /// Whoever may publish does so.
        Off = "off",
        /// Somebody else approves first.
        Required = "required",
    }
}
