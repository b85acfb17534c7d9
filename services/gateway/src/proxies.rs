//! Which address a request really came from, when there are proxies in front.
//!
//! Anybody can write a header. What it says counts only as far as it was written by proxies that the settings trust:
//! each adds the address that it was asked from at the right end.

use std::net::{IpAddr, SocketAddr};

use halcyon_domain::network::Network;
use salvo::http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The header in which proxies write whom they were asked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies whose word counts. Only one header is read, the one that they write: a proxy that knows the one hands
/// the other on as the sender wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    trusted: Vec<Network>,
    header: ForwardedHeader,
}

impl Proxies {
    /// The proxies in these networks, which write this header.
    pub(crate) const fn new(trusted: Vec<Network>, header: ForwardedHeader) -> Self {
        Self { trusted, header }
    }

    /// The address that a request of `peer` came from: the last one that no trusted proxy has.
    pub(crate) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = peer?;
        if !self.trusts(client) {
            return Some(client);
        }
        let name = match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        let values: Vec<&str> = headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap_or_default())
            .collect();
        let hops = values.iter().flat_map(|value| split(value, ','));
        for hop in hops.collect::<Vec<_>>().into_iter().rev() {
            let address = match self.header {
                ForwardedHeader::XForwardedFor => address(hop),
                ForwardedHeader::Forwarded => forwarded_for(hop).and_then(address),
            };
            // What cannot be read was asked by the last one that can.
            let Some(address) = address else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        Some(client.to_canonical())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// An address, with or without a port; one of IPv6 may be in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse()
        .ok()
        .or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

/// The `for` of one element of `Forwarded`, without its quotes.
fn forwarded_for(element: &str) -> Option<&str> {
    split(element, ';').into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        name.trim().eq_ignore_ascii_case("for").then(|| {
            value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .unwrap_or(value)
        })
    })
}

/// The parts of `text` between separators that are not in quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(header: ForwardedHeader, peer: &str, values: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap());
        let proxies = Proxies::new(trusted.to_vec(), header);
        let mut headers = HeaderMap::new();
        for value in values {
            for name in ["x-forwarded-for", "forwarded"] {
                headers.append(name, value.parse().unwrap());
            }
        }
        let found = proxies.client(Some(peer.parse().unwrap()), &headers);
        found.unwrap().to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_from_the_right() {
        let of = |peer: &str, values: &[&str]| client(ForwardedHeader::XForwardedFor, peer, values);
        assert_eq!(
            of("192.0.2.1", &["1.2.3.4"]),
            "192.0.2.1",
            "anybody can write a header"
        );
        assert_eq!(of("10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(of("::ffff:10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(
            of("10.0.0.1", &["6.6.6.6, 1.2.3.4"]),
            "1.2.3.4",
            "the sender wrote the left one"
        );
        assert_eq!(of("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.9.9.9"]), "1.2.3.4");
        assert_eq!(
            of("10.0.0.1", &["6.6.6.6", "1.2.3.4", "10.9.9.9"]),
            "1.2.3.4",
            "several lines"
        );
        assert_eq!(
            of("10.0.0.1", &["10.1.1.1, 10.2.2.2"]),
            "10.1.1.1",
            "all are ours"
        );
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(of("10.0.0.1", &["1.2.3.4, nonsense, 10.2.2.2"]), "10.2.2.2");
        assert_eq!(of("10.0.0.1", &["1.2.3.4:4711"]), "1.2.3.4");
        assert_eq!(of("fd00::1", &["[2001:db8::7]:80"]), "2001:db8::7");
        assert_eq!(of("fd00::1", &["2001:db8::7"]), "2001:db8::7");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_says() {
        let of = |values: &[&str]| client(ForwardedHeader::Forwarded, "10.0.0.1", values);
        assert_eq!(of(&["for=6.6.6.6, for=1.2.3.4;proto=https"]), "1.2.3.4");
        assert_eq!(
            of(&["proto=http; For=\"[2001:db8:cafe::17]:4711\""]),
            "2001:db8:cafe::17"
        );
        assert_eq!(of(&["for=\"1.2.3.4\";by=\"a,b\", for=10.3.3.3"]), "1.2.3.4");
        for hidden in ["for=unknown", "for=_gazonk", "proto=https", "for=\"x"] {
            assert_eq!(of(&[hidden]), "10.0.0.1", "{hidden}");
        }
    }

    #[test]
    fn without_settings_the_peer_counts() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "1.2.3.4".parse().unwrap());
        let peer = Some("127.0.0.1".parse().unwrap());
        assert_eq!(Proxies::default().client(peer, &headers), peer);
        assert_eq!(Proxies::default().client(None, &headers), None);
    }
}
