//! The compliance suite: what every connector of the catalog must keep to. Whatever needs no other side is tested as
//! soon as a connector is in the catalog. A connector that reads from another system starts that system in a test of
//! its own and calls [`comply`].

mod config;
#[cfg(feature = "files")]
mod failing;
mod listening;
mod peer;
mod source;
mod spec;

use std::{io, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use halcyon_egress::{Guard, Policy, Resolver};

#[cfg(feature = "files")]
pub(crate) use failing::{failures, read_over_a_death, two_files};
pub(crate) use peer::{Peer, comply, context};

/// Connectors that read without another side.
const ALONE: &[&str] = &["generator"];

/// Connectors that wait for the other side, and so reach for nobody.
const LISTENING: &[&str] = &["syslog"];

/// A way out that knows no name and allows no address.
pub(crate) fn nowhere() -> Guard {
    struct NoNames;
    #[async_trait]
    impl Resolver for NoNames {
        async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            Err(io::ErrorKind::NotFound.into())
        }
    }
    Guard::over(Policy::default(), Arc::new(NoNames))
}

/// A way out that allows this machine, where the tests' own servers are.
pub(crate) fn loopback() -> Guard {
    Guard::new(Policy::default().with_loopback())
}
