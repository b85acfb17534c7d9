//! Answers of brokers in which other brokers are named: the names are replaced by addresses of the relay. Versions
//! of the protocol that name brokers in more places than these are kept from being agreed on.

use std::collections::HashMap;

use super::super::wire::{Malformed, Reader, Writer, api};
use crate::endpoint::Endpoint;

/// The newest versions that the relay can read, and one of `Fetch` that names no broker (KIP-951 begins at 16).
const NEWEST: [(i16, i16); 3] = [(api::FETCH, 15), (api::METADATA, 12), (api::FIND_COORDINATOR, 2)];
const UNSUPPORTED_VERSION: i16 = 35;

/// Whether answers to these requests are rewritten.
pub(super) const fn concerns(key: i16) -> bool {
    matches!(key, api::API_VERSIONS | api::METADATA | api::FIND_COORDINATOR)
}

/// The brokers that an answer names.
pub(in crate::kafka) fn named(key: i16, version: i16, answer: &[u8]) -> Result<Vec<Endpoint>, Malformed> {
    let mut found = Vec::new();
    walk(key, version, answer, &mut |endpoint| {
        found.push(endpoint.clone());
        endpoint
    })?;
    Ok(found)
}

/// The answer with other brokers: `places` has one for each that [`named`] gave.
pub(in crate::kafka) fn renamed(
    key: i16,
    version: i16,
    answer: &[u8],
    places: &HashMap<Endpoint, Endpoint>,
) -> Result<Vec<u8>, Malformed> {
    walk(key, version, answer, &mut |endpoint| {
        places.get(&endpoint).cloned().unwrap_or(endpoint)
    })
}

/// Goes through an answer (without its correlation id) and writes it anew.
fn walk(
    key: i16,
    version: i16,
    answer: &[u8],
    place: &mut dyn FnMut(Endpoint) -> Endpoint,
) -> Result<Vec<u8>, Malformed> {
    let mut from = Reader(answer);
    let mut to = Writer::default();
    match key {
        api::API_VERSIONS => return versions(version, answer),
        api::METADATA => metadata(version, &mut from, &mut to, place)?,
        api::FIND_COORDINATOR if version <= 2 => coordinator(version, &mut from, &mut to, place)?,
        _ => return Err(Malformed),
    }
    to.bytes(from.0);
    Ok(to.0)
}

fn metadata(
    version: i16,
    from: &mut Reader<'_>,
    to: &mut Writer,
    place: &mut dyn FnMut(Endpoint) -> Endpoint,
) -> Result<(), Malformed> {
    if !(0..=12).contains(&version) {
        return Err(Malformed);
    }
    let flexible = version >= 9;
    if flexible {
        to.bytes(from.tags()?);
    }
    if version >= 3 {
        to.i32(from.i32()?);
    }
    let count = from.count(flexible)?;
    to.count(count, flexible);
    for _ in 0..count {
        to.i32(from.i32()?);
        broker(flexible, from, to, place)?;
        if version >= 1 {
            let rack = from.string(flexible)?;
            to.string(rack, flexible);
        }
        if flexible {
            to.bytes(from.tags()?);
        }
    }
    Ok(())
}

fn coordinator(
    version: i16,
    from: &mut Reader<'_>,
    to: &mut Writer,
    place: &mut dyn FnMut(Endpoint) -> Endpoint,
) -> Result<(), Malformed> {
    if version >= 1 {
        to.i32(from.i32()?);
    }
    to.i16(from.i16()?);
    if version >= 1 {
        let message = from.string(false)?;
        to.string(message, false);
    }
    to.i32(from.i32()?);
    broker(false, from, to, place)
}

fn broker(
    compact: bool,
    from: &mut Reader<'_>,
    to: &mut Writer,
    place: &mut dyn FnMut(Endpoint) -> Endpoint,
) -> Result<(), Malformed> {
    let host = from.string(compact)?.unwrap_or_default();
    let port = from.i32()?;
    // None is known: no host, port -1.
    let Some(port) = u16::try_from(port).ok().filter(|_| !host.is_empty()) else {
        to.string(Some(""), compact);
        to.i32(-1);
        return Ok(());
    };
    let placed = place(Endpoint {
        host: host.to_owned(),
        port,
    });
    to.string(Some(&placed.host), compact);
    to.i32(i32::from(placed.port));
    Ok(())
}

/// Lowers the newest versions on offer.
fn versions(version: i16, answer: &[u8]) -> Result<Vec<u8>, Malformed> {
    let flexible = version >= 3;
    let mut from = Reader(answer);
    let mut to = Writer::default();
    let code = from.i16()?;
    if code == UNSUPPORTED_VERSION {
        // The question is asked again in an older version; nothing is agreed on by this answer.
        return Ok(answer.to_vec());
    }
    to.i16(code);
    let count = from.count(flexible)?;
    to.count(count, flexible);
    for _ in 0..count {
        let (key, oldest, newest) = (from.i16()?, from.i16()?, from.i16()?);
        let cap = NEWEST.iter().find(|(capped, _)| *capped == key);
        to.i16(key);
        to.i16(oldest);
        to.i16(cap.map_or(newest, |(_, cap)| newest.min(*cap)));
        if flexible {
            to.bytes(from.tags()?);
        }
    }
    to.bytes(from.0);
    Ok(to.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata_answer(version: i16, host: &str) -> Vec<u8> {
        let flexible = version >= 9;
        let mut to = Writer::default();
        if flexible {
            to.uvarint(0);
        }
        if version >= 3 {
            to.i32(7);
        }
        to.count(2, flexible);
        for node in 1..=2 {
            to.i32(node);
            to.string(Some(host), flexible);
            to.i32(9000 + node);
            if version >= 1 {
                to.string((node == 1).then_some("rack"), flexible);
            }
            if flexible {
                to.uvarint(0);
            }
        }
        to.bytes(b"the rest is as it was");
        to.0
    }

    #[test]
    fn every_version_of_metadata_is_read_and_written() {
        for version in 0..=12 {
            let answer = metadata_answer(version, "broker.example");
            let found = named(api::METADATA, version, &answer).unwrap();
            let at = |host: &str, port| Endpoint {
                host: host.to_owned(),
                port,
            };
            assert_eq!(found, [at("broker.example", 9001), at("broker.example", 9002)]);
            let places = found
                .into_iter()
                .map(|broker| (broker.clone(), at("127.0.0.1", broker.port)));
            let written = renamed(api::METADATA, version, &answer, &places.collect()).unwrap();
            assert_eq!(
                written,
                metadata_answer(version, "127.0.0.1"),
                "version {version}"
            );
            for cut in 0..answer.len() - 22 {
                let _ = named(api::METADATA, version, &answer[..cut]);
            }
        }
        assert!(named(api::METADATA, 13, &metadata_answer(12, "x")).is_err());
        assert!(named(api::FIND_COORDINATOR, 3, &[0; 40]).is_err());
    }

    #[test]
    fn a_coordinator_that_is_not_known_stays_so() {
        for version in 0..=2 {
            let mut to = Writer::default();
            if version >= 1 {
                to.i32(0);
            }
            to.i16(15);
            if version >= 1 {
                to.string(None, false);
            }
            to.i32(-1);
            to.string(Some(""), false);
            to.i32(-1);
            assert_eq!(named(api::FIND_COORDINATOR, version, &to.0).unwrap(), []);
            let written = renamed(api::FIND_COORDINATOR, version, &to.0, &HashMap::new()).unwrap();
            assert_eq!(written, to.0);
        }
    }

    #[test]
    fn versions_that_name_more_brokers_are_not_on_offer() {
        for (version, flexible) in [(0, false), (2, false), (3, true), (4, true)] {
            let make = |newest: i16| {
                let mut to = Writer::default();
                to.i16(0);
                to.count(2, flexible);
                for (key, newest) in [(api::FETCH, newest), (99, 40)] {
                    to.i16(key);
                    to.i16(4);
                    to.i16(newest);
                    if flexible {
                        to.uvarint(0);
                    }
                }
                to.bytes(&[0; 5]);
                to.0
            };
            let written = renamed(api::API_VERSIONS, version, &make(17), &HashMap::new()).unwrap();
            assert_eq!(written, make(15));
        }
        let other = [0, 35, 1, 0, 18, 0, 0, 0, 2];
        let written = renamed(api::API_VERSIONS, 3, &other, &HashMap::new()).unwrap();
        assert_eq!(written, other);
    }
}
