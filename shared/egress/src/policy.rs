//! What an installation allows beyond public addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::special::{Kind, kind_of};

/// Something that may be reached although its address is not public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Each address of a network, such as `10.20.0.0/16` or `::1`.
    Network(IpNet),
    /// A host by its name, such as `siem.corp.example`, whatever it resolves to.
    Host(String),
    /// Each host below a name, written `*.corp.example`.
    Below(String),
}

/// A text that names neither a network nor a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network such as 10.20.0.0/16, an address, a host name, or *. and a host name")]
pub struct BadAllowed(String);

impl FromStr for Allowed {
    type Err = BadAllowed;

    fn from_str(text: &str) -> Result<Self, BadAllowed> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        // What is all digits and dots would be taken for an address by some resolvers.
        let numeric = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if name.len() > 253 || numeric || !name.split('.').all(label) {
            return Err(BadAllowed(text.to_owned()));
        }
        let name = name.to_ascii_lowercase();
        Ok(if below {
            Self::Below(name)
        } else {
            Self::Host(name)
        })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Host(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

impl Serialize for Allowed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// What may be reached. By default, public addresses only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What may be reached besides.
    pub allow: Vec<Allowed>,
}

impl Policy {
    /// Also this machine, for an installation whose users own the machine it runs on.
    #[must_use]
    pub fn with_loopback(mut self) -> Self {
        for network in ["127.0.0.0/8", "::1/128"] {
            self.allow.extend(network.parse());
        }
        self
    }

    /// Whether `address`, which `host` stands for, may be connected to.
    ///
    /// # Errors
    /// What kind of address it is.
    pub fn judge(&self, host: &str, address: IpAddr) -> Result<(), Kind> {
        let kind = kind_of(address);
        // Resolvers take the name with and without the root's dot; a name is not a network.
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let allows = |allowed: &Allowed| match allowed {
            Allowed::Network(network) => {
                network.contains(&address.to_canonical()) || network.contains(&address)
            }
            Allowed::Host(allowed) => *allowed == name,
            Allowed::Below(above) => name
                .strip_suffix(above.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        };
        if kind == Kind::Public || self.allow.iter().any(allows) {
            return Ok(());
        }
        Err(kind)
    }
}
