//! Which partition of the data path an event travels on.

use sha2::{Digest, Sha256};

use crate::{event::EventId, id::DatasourceId};

/// The number of partitions when nothing else is configured.
pub const DEFAULT_PARTITIONS: u16 = 16;

/// The slot of an event within its datasource: `hash(event id) mod parallelism`.
#[must_use]
pub fn slot(event: &EventId, parallelism: u16) -> u16 {
    if parallelism <= 1 {
        0
    } else {
        (hash(&[event.as_str().as_bytes()]) % u64::from(parallelism)) as u16
    }
}

/// The partition of a datasource's slot: `hash(datasource, slot) mod partitions`.
#[must_use]
pub fn partition_of(datasource: DatasourceId, slot: u16, partitions: u16) -> u16 {
    (hash(&[datasource.0.as_bytes(), &slot.to_be_bytes()]) % u64::from(partitions.max(1))) as u16
}

/// The first eight bytes of SHA-256: the same on every machine and in every release.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    let digest = hasher.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datasources_spread_over_all_partitions() {
        let mut seen = [0_u32; 16];
        for _ in 0..1_600 {
            seen[usize::from(partition_of(DatasourceId::generate(), 0, 16))] += 1;
        }
        assert!(seen.iter().all(|count| (50..200).contains(count)), "{seen:?}");
    }

    #[test]
    fn the_hash_is_the_same_in_every_release() {
        let datasource = DatasourceId(uuid::Uuid::from_u128(1));
        assert_eq!(partition_of(datasource, 0, 16), partition_of(datasource, 0, 16));
        assert_eq!(hash(&[b"abc"]), 0xba78_16bf_8f01_cfea);
    }
}
