//! Which addresses the system connects to when a user names the host: public ones, and those that the
//! installation allows.
//!
//! A connector takes every connection through a [`Guard`]. The guard resolves the name itself, judges each address
//! that comes back and connects to one of those it judged, so a name that resolves differently a moment later
//! gains nothing (DNS rebinding). HTTP goes through [`Http`], which also judges addresses that are written in the
//! URL and stays on the origin it was sent to.

mod guard;
mod http;
mod policy;
mod special;

#[cfg(test)]
mod tests;

pub use guard::{Error, Guard, Resolver, SystemResolver};
pub use http::{Http, HttpError};
pub use policy::{Allowed, BadAllowed, Policy};
pub use special::{Kind, kind_of};
