//! How a datasource's records differ from what its version expects: each difference once, with how often it was seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use halcyon_domain::{
    assignment::DriftCount,
    config::{DriftPolicy, VersionConfig},
    error::InputError,
    event::IngestEvent,
    shape::{Drift, Expected},
};
use halcyon_mapping::RecordCutter;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Differences that are remembered of one version beside those that somebody has accepted; a feed that differs in more
/// ways is not what is expected at all.
const MAX_DRIFTS: usize = 50;
/// Events that are looked at in a second where a difference only warns.
const LOOKS: usize = 100;
/// Differences that are told of one event.
const MAX_FOUND: usize = 200;
/// Records that are looked at of one event.
const MAX_RECORDS: usize = 1_000;

/// What a version expects, ready to be compared with.
#[derive(Debug)]
pub(crate) struct Watch {
    policy: DriftPolicy,
    expected: Expected,
    cutter: RecordCutter,
}

impl Watch {
    /// What a version expects; nothing if it does not matter.
    ///
    /// # Errors
    /// It cannot be compared with, by a pointer into the configuration.
    pub(crate) fn compile(config: &VersionConfig) -> Result<Option<Self>, InputError> {
        let Some(schema) = &config.schema else {
            return Ok(None);
        };
        let Some(expected) = schema.compile().map_err(|error| error.under("/schema"))? else {
            return Ok(None);
        };
        let cutter = RecordCutter::compile(&config.mapping).map_err(|errors| {
            let unknown = || InputError::new("/records", "invalid", "the records cannot be told");
            errors
                .into_iter()
                .next()
                .unwrap_or_else(unknown)
                .under("/mapping")
        })?;
        Ok(Some(Self {
            policy: schema.drift,
            expected,
            cutter,
        }))
    }

    pub(crate) const fn stops(&self) -> bool {
        matches!(self.policy, DriftPolicy::Stop)
    }

    /// How the records of an event differ. It takes as long as the version's expression for the records does.
    pub(crate) fn look(&self, event: &IngestEvent) -> Looked {
        // What is looked with is not changed by it, so nothing half done can be seen after a panic.
        catch_unwind(AssertUnwindSafe(|| self.compare(event))).unwrap_or_else(|_| {
            tracing::error!(datasource.id = %event.datasource, event.id = %event.id, "an event could not be looked at");
            Looked::default()
        })
    }

    fn compare(&self, event: &IngestEvent) -> Looked {
        let mut looked = Looked::default();
        if event.replay.is_some() {
            // It was looked at when it came.
            return looked;
        }
        // What cannot be read is dead-lettered, and no drift.
        let Ok(records) = self.cutter.cut(&event.payload, MAX_RECORDS) else {
            return looked;
        };
        for record in &records {
            let mut found = BTreeSet::new();
            self.expected.compare(record, &mut |drift| {
                if found.len() < MAX_FOUND || found.contains(&drift) {
                    found.insert(drift);
                } else {
                    looked.more = true;
                }
            });
            for drift in found {
                looked.count(drift);
            }
            looked.records += 1;
        }
        looked
    }
}

/// How the records of an event differ from what is expected.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Looked {
    records: u64,
    /// Each difference once, in the order in which they were found.
    found: Vec<Found>,
    /// Whether there are more.
    more: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Found {
    drift: Drift,
    /// In how many of the records.
    count: u64,
    /// How many records came before the first.
    before: u64,
}

impl Looked {
    fn count(&mut self, drift: Drift) {
        if let Some(found) = self.found.iter_mut().find(|found| found.drift == drift) {
            found.count += 1;
        } else if self.found.len() < MAX_FOUND {
            let before = self.records;
            self.found.push(Found {
                drift,
                count: 1,
                before,
            });
        } else {
            self.more = true;
        }
    }
}

/// The differences that were seen.
#[derive(Debug, Default)]
pub(crate) struct Drifts(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Of which version.
    version: u32,
    records: u64,
    counts: BTreeMap<Drift, Count>,
    /// Whether there were more differences than are remembered.
    more: bool,
    /// Whether somebody has accepted these as well, and so whatever comes.
    everything: bool,
    /// How many events were looked at in this second.
    second: Option<(Instant, usize)>,
}

/// How often a difference was seen.
#[derive(Debug)]
struct Count {
    /// In how many records.
    count: u64,
    /// How many had been looked at before the first.
    before: u64,
    /// Whether somebody has accepted it.
    accepted: bool,
}

impl Seen {
    fn of(&mut self, version: u32) -> &mut Self {
        if self.version != version {
            *self = Self {
                version,
                ..Self::default()
            };
        }
        self
    }

    /// For how many more events there is time in this second, of those that are wanted.
    fn time_for(&mut self, wanted: usize) -> usize {
        let now = Instant::now();
        let (began, looks) = self
            .second
            .filter(|(began, _)| now - *began < Duration::from_secs(1))
            .unwrap_or((now, 0));
        let granted = wanted.min(LOOKS - looks);
        self.second = Some((began, looks + granted));
        granted
    }

    /// Counts how the records of an event differ; returns a difference that nobody has accepted.
    fn add(&mut self, looked: Looked) -> Option<Drift> {
        let mut first = None;
        let mut open = self.counts.values().filter(|seen| !seen.accepted).count();
        for Found { drift, count, before } in looked.found {
            if let Some(seen) = self.counts.get_mut(&drift) {
                seen.count += count;
                if !seen.accepted {
                    first.get_or_insert(drift);
                }
                continue;
            }
            first.get_or_insert_with(|| drift.clone());
            if open < MAX_DRIFTS {
                open += 1;
                let seen = Count {
                    count,
                    before: self.records + before,
                    accepted: false,
                };
                self.counts.insert(drift, seen);
            } else {
                self.more = true;
            }
        }
        self.more |= looked.more;
        self.records += looked.records;
        first.filter(|_| !self.everything)
    }

    /// What was seen and told is expected from now on; whatever comes, if there was more than is told.
    fn accept(&mut self) {
        self.counts.values_mut().for_each(|seen| seen.accepted = true);
        self.everything |= self.more;
    }
}

impl Drifts {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of `wanted` events of a version are to be looked at.
    pub(crate) fn time_for(&self, version: u32, watch: &Watch, wanted: usize) -> usize {
        let mut seen = self.lock();
        let seen = seen.of(version);
        match watch.stops() {
            false => seen.time_for(wanted),
            true if seen.everything => 0,
            true => wanted,
        }
    }

    /// Counts how the records of an event differ; returns a difference that nobody has accepted.
    pub(crate) fn add(&self, version: u32, looked: Looked) -> Option<Drift> {
        self.lock().of(version).add(looked)
    }

    /// Whether somebody has accepted a difference meanwhile.
    pub(crate) fn is_accepted(&self, version: u32, drift: &Drift) -> bool {
        let mut seen = self.lock();
        let seen = seen.of(version);
        seen.everything || seen.counts.get(drift).is_some_and(|seen| seen.accepted)
    }

    /// Takes what was seen of a version as expected from now on.
    pub(crate) fn accept(&self, version: u32) {
        self.lock().of(version).accept();
    }

    /// What was seen of a version, what nobody has accepted first.
    pub(crate) fn counts(&self, version: Option<u32>) -> Vec<DriftCount> {
        let seen = self.lock();
        if version != Some(seen.version) {
            return Vec::new();
        }
        let with = |accepted| {
            seen.counts
                .iter()
                .filter(move |(_, seen)| seen.accepted == accepted)
        };
        let counts =
            with(false)
                .chain(with(true))
                .take(MAX_DRIFTS)
                .map(|(drift, Count { count, before, .. })| DriftCount {
                    drift: drift.clone(),
                    count: *count,
                    of: seen.records.saturating_sub(*before),
                });
        counts.collect()
    }
}

#[cfg(test)]
mod tests {
    use halcyon_domain::id::DatasourceId;
    use serde_json::json;

    use super::*;
    use crate::tests::event;

    fn watch(policy: &str) -> Watch {
        let config = json!({
            "mapping": {"records": "items[]"},
            "schema": {"drift": policy, "expected": {"required": ["id"], "properties": {"id": {"type": "integer"}}}},
        });
        Watch::compile(&VersionConfig::parse(&config).unwrap())
            .unwrap()
            .unwrap()
    }

    fn came(payloads: &[&str]) -> Vec<IngestEvent> {
        let datasource = DatasourceId::generate();
        payloads
            .iter()
            .map(|payload| event(datasource, "e", payload))
            .collect()
    }

    /// The first event that differs in a way that nobody has accepted, and how.
    fn first(drifts: &Drifts, version: u32, watch: &Watch, events: &[IngestEvent]) -> Option<(usize, Drift)> {
        events.iter().enumerate().fold(None, |first, (place, event)| {
            let found = drifts.add(version, watch.look(event));
            first.or_else(|| Some((place, found?)))
        })
    }

    #[test]
    fn a_difference_is_counted_once_for_each_record_and_stops_until_it_is_accepted() {
        let (watch, drifts) = (watch("stop"), Drifts::default());
        assert!(watch.stops());
        let events = came(&[
            r#"{"items": [{"id": 1}, {"id": 2}]}"#,
            "no json",
            r#"{"items": [{"id": 3, "more": [1]}, {"id": 4, "more": []}]}"#,
        ]);
        let (place, drift) = first(&drifts, 1, &watch, &events).unwrap();
        assert_eq!(
            (place, drift.to_string().as_str()),
            (2, "field `/more` (array) is new")
        );
        let [count] = &drifts.counts(Some(1))[..] else {
            panic!()
        };
        assert_eq!((count.count, count.of), (2, 2), "since it was first seen");
        assert!(drifts.counts(Some(2)).is_empty());
        drifts.accept(1);
        let more = came(&[r#"{"items": [{"id": "5"}]}"#]);
        let more = [&events[..], &more[..]].concat();
        let (place, drift) = first(&drifts, 1, &watch, &more).unwrap();
        assert_eq!((place, drift.path.as_str()), (3, "/id"));
        drifts.accept(1);
        assert!(first(&drifts, 1, &watch, &events).is_none());
        let (place, _) = first(&drifts, 2, &watch, &events).unwrap();
        assert_eq!(place, 2, "another version begins anew");
    }

    #[test]
    fn what_is_accepted_leaves_room_and_what_was_not_told_is_accepted_with_the_rest() {
        let (watch, drifts) = (watch("stop"), Drifts::default());
        let with = |names: std::ops::Range<usize>| {
            let fields: String = names.map(|name| format!(", \"n{name}\": 1")).collect();
            came(&[&format!("{{\"items\": [{{\"id\": 1{fields}}}]}}")])
        };
        for names in [0..40, 40..80] {
            assert!(first(&drifts, 1, &watch, &with(names.clone())).is_some());
            drifts.accept(1);
            assert!(first(&drifts, 1, &watch, &with(names)).is_none());
        }
        assert_eq!(drifts.counts(Some(1)).len(), MAX_DRIFTS);
        assert!(
            first(&drifts, 1, &watch, &with(0..81)).is_some(),
            "one that is new"
        );
        assert_eq!(
            drifts.counts(Some(1))[0].drift.path,
            "/n80",
            "what is open comes first"
        );
        // More than are remembered, and more than are found in one event.
        for names in [100..151, 1_000..2_000] {
            let drifts = Drifts::default();
            let events = with(names);
            assert!(first(&drifts, 1, &watch, &events).is_some());
            assert_eq!(drifts.time_for(1, &watch, 7), 7);
            drifts.accept(1);
            assert!(first(&drifts, 1, &watch, &events).is_none());
            assert_eq!(drifts.time_for(1, &watch, 7), 0, "whatever comes is expected");
            assert!(first(&drifts, 2, &watch, &events).is_some(), "of this version");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_looks_at_so_many_in_a_second() {
        let (watch, drifts) = (watch("warn"), Drifts::default());
        assert!(!watch.stops());
        let granted: usize = (0..3).map(|_| drifts.time_for(1, &watch, 70)).sum();
        assert_eq!(granted, LOOKS);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(drifts.time_for(1, &watch, 1), 1);
    }
}
