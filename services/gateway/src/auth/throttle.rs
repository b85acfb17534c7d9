//! The brake on guessing passwords: a bucket of attempts for each e-mail and for each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use halcyon_domain::{
    clock::{Clock, Timestamp},
    duration::HumanDuration,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How fast passwords may be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ThrottleSettings {
    /// Failed attempts in a row for one e-mail.
    pub per_email: u32,
    /// Failed attempts in a row from one address.
    pub per_address: u32,
    /// The time after which one more attempt is allowed.
    pub refill: HumanDuration,
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        Self {
            per_email: 10,
            per_address: 50,
            refill: HumanDuration::from_secs(10),
        }
    }
}

/// Keys that are remembered at most; beyond it those that are full again are forgotten.
const MAX_KEYS: usize = 20_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Email(String),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    attempts: f64,
    at: Timestamp,
}

/// Counts failed logins.
pub struct LoginThrottle {
    settings: ThrottleSettings,
    clock: Arc<dyn Clock>,
    buckets: Mutex<HashMap<Key, Bucket>>,
}

impl LoginThrottle {
    /// A brake with nothing on it.
    #[must_use]
    pub fn new(settings: ThrottleSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            clock,
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Takes one attempt from the e-mail's and the address's bucket.
    ///
    /// # Errors
    /// One of them is empty: how long to wait.
    pub fn take(&self, email: &str, address: Option<IpAddr>) -> Result<(), Duration> {
        let now = self.clock.now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_KEYS {
            buckets.retain(|key, bucket| self.level(key, Some(*bucket), now) < self.capacity(key));
        }
        let keys = keys(email, address);
        let refill = self.settings.refill.get();
        for key in &keys {
            let level = self.level(key, buckets.get(key).copied(), now);
            if level < 1.0 {
                return Err(refill.mul_f64(1.0 - level));
            }
        }
        for key in keys {
            let attempts = self.level(&key, buckets.get(&key).copied(), now) - 1.0;
            buckets.insert(key, Bucket { attempts, at: now });
        }
        Ok(())
    }

    /// Gives the attempt back: it was a right one.
    pub fn give_back(&self, email: &str, address: Option<IpAddr>) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(email, address) {
            let capacity = self.capacity(&key);
            if let Some(bucket) = buckets.get_mut(&key) {
                bucket.attempts = (bucket.attempts + 1.0).min(capacity);
            }
        }
    }

    fn capacity(&self, key: &Key) -> f64 {
        f64::from(match key {
            Key::Email(_) => self.settings.per_email,
            Key::Address(_) => self.settings.per_address,
        })
    }

    fn level(&self, key: &Key, bucket: Option<Bucket>, now: Timestamp) -> f64 {
        let capacity = self.capacity(key);
        let Some(bucket) = bucket else {
            return capacity;
        };
        let passed = (now - bucket.at).to_std().unwrap_or_default();
        let refill = self.settings.refill.get().max(Duration::from_millis(1));
        (bucket.attempts + passed.as_secs_f64() / refill.as_secs_f64()).min(capacity)
    }
}

fn keys(email: &str, address: Option<IpAddr>) -> Vec<Key> {
    let email = Key::Email(email.trim().to_lowercase());
    let address = address.map(|address| Key::Address(network_of(address)));
    std::iter::once(email).chain(address).collect()
}

/// What one caller can choose its addresses from: an IPv4 address, or the /64 of an IPv6 address.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use halcyon_domain::clock::ManualClock;

    use super::*;

    fn throttle() -> (LoginThrottle, ManualClock) {
        let clock = ManualClock::at(Timestamp::default());
        let settings = ThrottleSettings {
            per_email: 2,
            per_address: 3,
            refill: HumanDuration::from_secs(10),
        };
        (LoginThrottle::new(settings, Arc::new(clock.clone())), clock)
    }

    #[test]
    fn an_e_mail_runs_dry_and_recovers() {
        let (throttle, clock) = throttle();
        assert!(throttle.take("A@x", None).is_ok());
        assert!(throttle.take("a@x ", None).is_ok());
        assert_eq!(throttle.take("a@X", None), Err(Duration::from_secs(10)));
        assert!(throttle.take("b@x", None).is_ok(), "others are not held up");
        clock.advance(TimeDelta::seconds(10));
        assert!(throttle.take("a@x", None).is_ok());
    }

    #[test]
    fn an_address_runs_dry_over_many_e_mails() {
        let (throttle, _clock) = throttle();
        let address = Some(IpAddr::from([127, 0, 0, 1]));
        for email in ["a", "b", "c"] {
            assert!(throttle.take(email, address).is_ok());
        }
        assert!(throttle.take("d", address).is_err());
    }

    #[test]
    fn the_addresses_of_one_network_count_as_one() {
        let (throttle, _clock) = throttle();
        for address in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"] {
            assert!(throttle.take(address, address.parse().ok()).is_ok());
        }
        assert!(throttle.take("d", "2001:db8::9".parse().ok()).is_err());
        assert!(throttle.take("e", "2001:db8:0:1::1".parse().ok()).is_ok());
        assert!(throttle.take("f", "::ffff:192.0.2.1".parse().ok()).is_ok());
        assert!(throttle.take("g", "::ffff:192.0.2.2".parse().ok()).is_ok());
    }

    #[test]
    fn a_right_password_costs_nothing() {
        let (throttle, _clock) = throttle();
        for _ in 0..10 {
            assert!(throttle.take("a", None).is_ok());
            throttle.give_back("a", None);
        }
    }
}
