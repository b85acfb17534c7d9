//! What surrounds every request, before and after the handler that answers it.
//!
//! | module | what it is for |
//! |---|---|
//! | [`identity`] | who sent the request, found out once |
//! | [`idempotency`], `kept`, `fingerprint` | a request with an `Idempotency-Key` takes effect once |
//! | [`rate`] | how many requests one caller may send |
//! | [`deadline`] | how long one may take |
//! | [`cors`], [`headers`] | what browsers are told |
//! | [`tls`] | the gateway's own TLS |
//! | [`describe`] | what all that adds to the API's description |
//! | [`settings`] | what can be set about it |

pub(crate) mod cors;
pub(crate) mod deadline;
pub(crate) mod describe;
pub(crate) mod headers;
pub(crate) mod idempotency;
pub(crate) mod identity;
pub(crate) mod rate;
pub(crate) mod settings;
pub(crate) mod tls;

mod fingerprint;
mod kept;

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use halcyon_domain::clock::Clock;
use halcyon_infra::{Metrics, Mode};

use self::{cors::Cors, deadline::Deadline, headers::Protected, rate::RateLimit};
use crate::{Settings, proxies::Proxies};

/// What surrounds the requests of a gateway.
pub(crate) struct Edge {
    pub(crate) cors: Cors,
    pub(crate) deadline: Deadline,
    pub(crate) protected: Protected,
    pub(crate) proxies: Proxies,
    pub(crate) rate: RateLimit,
    pub(crate) metrics: Metrics,
    /// Whether only who asks from this host is told how the gateway is.
    pub(crate) local_probes: bool,
}

impl Edge {
    /// Puts it together.
    ///
    /// # Errors
    /// A setting does not fit.
    pub(crate) fn new(
        settings: &Settings,
        mode: Mode,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        // An answer to a test that took its time has yet to be written.
        let longest = settings.test_timeout.get() + Duration::from_secs(5);
        ensure!(
            settings.request_timeout.get() >= longest,
            "`gateway.request_timeout` is to be at least 5 s longer than `gateway.test_timeout`"
        );
        Ok(Self {
            cors: Cors::new(&settings.cors)?,
            deadline: Deadline(settings.request_timeout.get()),
            protected: Protected {
                tls: settings.by_tls(),
                ..Protected::default()
            },
            proxies: Proxies::new(settings.trusted_proxies.clone(), settings.forwarded_header),
            rate: RateLimit::new(&settings.limits, clock, metrics.clone()),
            metrics,
            local_probes: settings.probes.is_local(mode),
        })
    }
}

/// Refuses to let passwords and tokens cross a network in the clear.
///
/// # Errors
/// In production the gateway would listen to others without TLS, its own or a proxy's.
pub fn check_exposure(settings: &Settings, mode: Mode) -> anyhow::Result<()> {
    let seen_by_others = !settings.listen.ip().is_loopback();
    ensure!(
        !mode.is_production() || !seen_by_others || settings.by_tls(),
        "`gateway.listen` is {}, which others can reach, and there is no TLS: set `gateway.tls.certificate` and \
         `gateway.tls.key`, or `gateway.tls_terminated_in_front = true` if a proxy in front does it, or \
         `mode = \"development\"`",
        settings.listen
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_without_tls_is_for_loopback_only() {
        let settings = |listen: &str, front| Settings {
            listen: listen.parse().unwrap(),
            tls_terminated_in_front: front,
            ..Settings::default()
        };
        let outside = settings("0.0.0.0:80", false);
        let error = check_exposure(&outside, Mode::Production)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("gateway.tls.certificate") && error.contains("tls_terminated_in_front"),
            "{error}"
        );
        assert!(check_exposure(&outside, Mode::Development).is_ok());
        for fine in [
            settings("0.0.0.0:80", true),
            settings("127.0.0.1:80", false),
            settings("[::1]:80", false),
        ] {
            assert!(check_exposure(&fine, Mode::Production).is_ok());
        }
    }
}
