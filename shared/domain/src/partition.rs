//! Which partition of the data path an event travels on.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{assignment::DEFAULT_POOL, event::EventId, id::DatasourceId};

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

/// The partitions of a pool of workers: a range of numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolPartitions {
    /// The first of its numbers; above those of the default pool, and of no other pool.
    pub first: u16,
    /// How many they are.
    pub count: u16,
}

/// All partitions, by pool: those of the default pool begin at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions {
    default: u16,
    pools: BTreeMap<String, PoolPartitions>,
}

impl Partitions {
    /// The partitions of the default pool (at least one) and of the others.
    #[must_use]
    pub fn new(default: u16, pools: BTreeMap<String, PoolPartitions>) -> Self {
        Self {
            default: default.max(1),
            pools,
        }
    }

    /// What is wrong with them, if anything: ranges that overlap, are empty or go too far.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let mut taken: Vec<(u16, u16, &str)> = vec![(0, self.default, DEFAULT_POOL)];
        for (name, PoolPartitions { first, count }) in &self.pools {
            if name == DEFAULT_POOL || !crate::config::is_label(name) {
                return Some(format!("`{name}` cannot be the name of a further pool"));
            }
            let Some(end) = first.checked_add(*count).filter(|_| *count > 0) else {
                return Some(format!("pool `{name}` has no partitions, or too many"));
            };
            let clash = taken.iter().find(|(from, to, _)| first < to && *from < end);
            if let Some((_, _, other)) = clash {
                return Some(format!("the partitions of pools `{name}` and `{other}` overlap"));
            }
            taken.push((*first, end, name));
        }
        None
    }

    /// The partition of a datasource's slot in a pool; nothing if there is no such pool. No pool is the default one.
    #[must_use]
    pub fn of(&self, pool: Option<&str>, datasource: DatasourceId, slot: u16) -> Option<u16> {
        match pool.filter(|pool| *pool != DEFAULT_POOL) {
            None => Some(partition_of(datasource, slot, self.default)),
            Some(pool) => {
                let PoolPartitions { first, count } = self.pools.get(pool)?;
                first.checked_add(partition_of(datasource, slot, *count))
            }
        }
    }

    /// Whether a pool has partitions.
    #[must_use]
    pub fn has_pool(&self, pool: &str) -> bool {
        pool == DEFAULT_POOL || self.pools.contains_key(pool)
    }

    /// Each partition with its pool.
    pub fn all(&self) -> impl Iterator<Item = (u16, &str)> {
        let default = (0..self.default).map(|number| (number, DEFAULT_POOL));
        let further = self.pools.iter().flat_map(|(name, pool)| {
            (0..pool.count).filter_map(|number| Some((pool.first.checked_add(number)?, name.as_str())))
        });
        default.chain(further)
    }

    /// Whether there is a partition of that number.
    #[must_use]
    pub fn contains(&self, number: u16) -> bool {
        number < self.default
            || self
                .pools
                .values()
                .any(|pool| number >= pool.first && number - pool.first < pool.count)
    }

    /// One more than the highest number.
    #[must_use]
    pub fn end(&self) -> u16 {
        let ends = self
            .pools
            .values()
            .map(|pool| pool.first.saturating_add(pool.count));
        ends.max().unwrap_or_default().max(self.default)
    }
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
    fn pools_have_partitions_of_their_own() {
        let pool = |first, count| BTreeMap::from([("edge".to_owned(), PoolPartitions { first, count })]);
        let partitions = Partitions::new(4, pool(10, 2));
        assert_eq!(partitions.fault(), None);
        for _ in 0..50 {
            let id = DatasourceId::generate();
            assert!(partitions.of(None, id, 0).unwrap() < 4);
            assert!((10..12).contains(&partitions.of(Some("edge"), id, 0).unwrap()));
            assert_eq!(partitions.of(Some("other"), id, 0), None);
        }
        let numbers: Vec<u16> = partitions.all().map(|(number, _)| number).collect();
        assert_eq!((numbers, partitions.end()), (vec![0, 1, 2, 3, 10, 11], 12));
        assert!(partitions.contains(11) && !partitions.contains(5) && !partitions.contains(12));
        for (first, count) in [(3, 2), (0, 1), (10, 0), (u16::MAX, 2)] {
            assert!(Partitions::new(4, pool(first, count)).fault().is_some());
        }
    }

    #[test]
    fn the_hash_is_the_same_in_every_release() {
        let datasource = DatasourceId(uuid::Uuid::from_u128(1));
        assert_eq!(partition_of(datasource, 0, 16), partition_of(datasource, 0, 16));
        assert_eq!(hash(&[b"abc"]), 0xba78_16bf_8f01_cfea);
    }
}
