//! What an address is for, by the IANA special-purpose address registries (RFC 6890 and its updates) and what clouds say.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anyone's on the internet.
    Public,
    /// This machine.
    Loopback,
    /// An organisation's own network.
    Private,
    /// The local link, where clouds keep their metadata services.
    LinkLocal,
    /// Many receivers.
    Multicast,
    /// Set aside for protocols, tests or the future.
    Reserved,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Loopback => "a loopback address",
            Self::Private => "an address of a private network",
            Self::LinkLocal => "a link-local address",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
        })
    }
}

/// A network of the registries: address, prefix length, what it is for.
type Row<A> = (A, u8, Kind);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

const fn v6(first: u16, second: u16, third: u16) -> Ipv6Addr {
    Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0)
}

/// IANA IPv4 special-purpose address registry, multicast (RFC 5771), and the one public address behind which a cloud
/// keeps services of its own for each machine: Azure's WireServer
/// (<https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16>).
const V4: &[Row<Ipv4Addr>] = &[
    (v4(0, 0, 0, 0), 8, Kind::Reserved),
    (v4(10, 0, 0, 0), 8, Kind::Private),
    (v4(100, 64, 0, 0), 10, Kind::Private),
    (v4(127, 0, 0, 0), 8, Kind::Loopback),
    (v4(168, 63, 129, 16), 32, Kind::Reserved),
    (v4(169, 254, 0, 0), 16, Kind::LinkLocal),
    (v4(172, 16, 0, 0), 12, Kind::Private),
    (v4(192, 0, 0, 0), 24, Kind::Reserved),
    (v4(192, 0, 2, 0), 24, Kind::Reserved),
    (v4(192, 88, 99, 0), 24, Kind::Reserved),
    (v4(192, 168, 0, 0), 16, Kind::Private),
    (v4(198, 18, 0, 0), 15, Kind::Reserved),
    (v4(198, 51, 100, 0), 24, Kind::Reserved),
    (v4(203, 0, 113, 0), 24, Kind::Reserved),
    (v4(224, 0, 0, 0), 4, Kind::Multicast),
    (v4(240, 0, 0, 0), 4, Kind::Reserved),
];

/// IANA IPv6 special-purpose address registry, deprecated site-local addresses (RFC 3879), multicast (RFC 4291).
const V6: &[Row<Ipv6Addr>] = &[
    (v6(0x0064, 0xff9b, 0x0001), 48, Kind::Private),
    (v6(0x0100, 0, 0), 64, Kind::Reserved),
    (v6(0x2001, 0, 0), 23, Kind::Reserved),
    (v6(0x2001, 0x0db8, 0), 32, Kind::Reserved),
    (v6(0x3fff, 0, 0), 20, Kind::Reserved),
    (v6(0x5f00, 0, 0), 16, Kind::Reserved),
    (v6(0xfc00, 0, 0), 7, Kind::Private),
    (v6(0xfe80, 0, 0), 10, Kind::LinkLocal),
    (v6(0xfec0, 0, 0), 10, Kind::Private),
    (v6(0xff00, 0, 0), 8, Kind::Multicast),
];

/// What `address` is for. An IPv6 address that carries an IPv4 one is judged by that.
#[must_use]
pub fn kind_of(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => v4_kind(address),
        IpAddr::V6(address) => v6_kind(address),
    }
}

fn v4_kind(address: Ipv4Addr) -> Kind {
    let bits = address.to_bits();
    let inside =
        |(network, length, _): &&Row<Ipv4Addr>| (bits ^ network.to_bits()) >> (32 - u32::from(*length)) == 0;
    V4.iter().find(inside).map_or(Kind::Public, |(.., kind)| *kind)
}

fn v6_kind(address: Ipv6Addr) -> Kind {
    if address.is_loopback() {
        return Kind::Loopback;
    }
    if let Some(carried) = carried(address) {
        return v4_kind(carried);
    }
    let bits = address.to_bits();
    let inside =
        |(network, length, _): &&Row<Ipv6Addr>| (bits ^ network.to_bits()) >> (128 - u32::from(*length)) == 0;
    V6.iter().find(inside).map_or(Kind::Public, |(.., kind)| *kind)
}

/// The IPv4 address that a packet to `address` ends at: mapped and compatible addresses (RFC 4291), NAT64
/// (RFC 6052) and 6to4 (RFC 3056).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => Some(low(a, b)),
        [0x2002, a, b, ..] => Some(low(a, b)),
        _ => None,
    }
}
