//! The allow-list of sender addresses.

use std::net::IpAddr;

/// A network in CIDR notation; a single address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: u128,
    bits: u8,
    is_v4: bool,
}

impl Network {
    /// Reads `10.0.0.0/8`, `2001:db8::/32` or a single address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let (address, width) = widen(address.parse().ok()?);
        let bits = match bits {
            // `+8` and `08` are refused: what is not canonical was not meant.
            Some(bits) if bits.len() > 1 && !bits.starts_with(|c: char| ('1'..='9').contains(&c)) => {
                return None;
            }
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width)?,
            None => width,
        };
        Some(Self {
            address,
            bits,
            is_v4: width == 32,
        })
    }

    /// Whether the network holds `address`; an IPv4 address mapped into IPv6 counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (address, width) = widen(address);
        if (width == 32) != self.is_v4 {
            return false;
        }
        let shift = u32::from(width - self.bits);
        let cut = |value: u128| value.checked_shr(shift).unwrap_or(0);
        cut(address) == cut(self.address)
    }
}

fn widen(address: IpAddr) -> (u128, u8) {
    match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_only() {
        let holds = |network: &str, address: &str| {
            Network::parse(network)
                .unwrap()
                .contains(address.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("0.0.0.0/0", "255.1.2.3"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1"));
        assert!(holds("::/0", "2001:db8:1::1"));
        assert!(!holds("192.0.2.7", "192.0.2.8"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/",
            "::/129",
            "host",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
        assert!(Network::parse("0.0.0.0/0").is_some());
    }
}
