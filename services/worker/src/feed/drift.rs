//! How a datasource's records differ from what its version expects: each difference once, with how often it was seen.

use std::{
    collections::{BTreeMap, BTreeSet},
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
use tokio::time::Instant;

/// Differences that are remembered of one version; a feed that differs in more ways is not what is expected at all.
const MAX_DRIFTS: usize = 50;
/// Events that are looked at in a second where a difference only warns.
const LOOKS: u32 = 100;
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
}

/// The differences that were seen.
#[derive(Debug, Default)]
pub(crate) struct Drifts(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Of which version.
    version: u32,
    records: u64,
    /// Each difference: in how many records, and how many had been looked at before it.
    counts: BTreeMap<Drift, (u64, u64)>,
    /// Those that somebody has accepted.
    accepted: BTreeSet<Drift>,
    /// How many events were looked at in this second.
    second: Option<(Instant, u32)>,
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

    /// Whether there is time to look at one more event.
    fn may_look(&mut self) -> bool {
        let now = Instant::now();
        match &mut self.second {
            Some((began, looks)) if now - *began < Duration::from_secs(1) => {
                *looks += 1;
                *looks <= LOOKS
            }
            second => {
                *second = Some((now, 1));
                true
            }
        }
    }

    /// Counts how the records of an event differ; returns a difference that nobody has accepted.
    fn look(&mut self, watch: &Watch, event: &IngestEvent) -> Option<Drift> {
        // What cannot be read is dead-lettered, and no drift.
        let records = watch.cutter.cut(&event.payload, MAX_RECORDS).ok()?;
        let mut first = None;
        for record in &records {
            let mut found = BTreeSet::new();
            watch.expected.compare(record, &mut |drift| {
                if found.len() < MAX_DRIFTS {
                    found.insert(drift);
                }
            });
            for drift in found {
                if first.is_none() && !self.accepted.contains(&drift) {
                    first = Some(drift.clone());
                }
                if self.counts.len() < MAX_DRIFTS || self.counts.contains_key(&drift) {
                    let before = self.records;
                    self.counts.entry(drift).or_insert((0, before)).0 += 1;
                }
            }
            self.records += 1;
        }
        first
    }
}

impl Drifts {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at some of the events, as there is time.
    pub(crate) fn look<'e>(
        &self,
        version: u32,
        watch: &Watch,
        events: impl Iterator<Item = &'e IngestEvent>,
    ) {
        let mut seen = self.lock();
        let seen = seen.of(version);
        for event in events {
            if !seen.may_look() {
                return;
            }
            seen.look(watch, event);
        }
    }

    /// Looks at all of the events: how many may go on before the first that differs in a way that nobody has accepted,
    /// and how that differs.
    pub(crate) fn first<'e>(
        &self,
        version: u32,
        watch: &Watch,
        events: impl Iterator<Item = &'e IngestEvent>,
    ) -> Option<(usize, Drift)> {
        let mut seen = self.lock();
        let seen = seen.of(version);
        // All are looked at, so that whoever accepts what was seen need not do so again for the next event.
        events.enumerate().fold(None, |first, (place, event)| {
            let found = seen.look(watch, event);
            first.or_else(|| Some((place, found?)))
        })
    }

    /// Takes what was seen as expected from now on.
    pub(crate) fn accept(&self) {
        let mut seen = self.lock();
        let known: Vec<Drift> = seen.counts.keys().cloned().collect();
        seen.accepted.extend(known);
    }

    /// What was seen of a version.
    pub(crate) fn counts(&self, version: Option<u32>) -> Vec<DriftCount> {
        let seen = self.lock();
        if version != Some(seen.version) {
            return Vec::new();
        }
        let counts = seen.counts.iter().map(|(drift, (count, before))| DriftCount {
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

    #[test]
    fn a_difference_is_counted_once_for_each_record_and_stops_until_it_is_accepted() {
        let (watch, drifts) = (watch("stop"), Drifts::default());
        assert!(watch.stops());
        let events = came(&[
            r#"{"items": [{"id": 1}, {"id": 2}]}"#,
            "no json",
            r#"{"items": [{"id": 3, "more": [1]}, {"id": 4, "more": []}]}"#,
        ]);
        let (place, drift) = drifts.first(1, &watch, events.iter()).unwrap();
        assert_eq!(
            (place, drift.to_string().as_str()),
            (2, "field `/more` (array) is new")
        );
        let [count] = &drifts.counts(Some(1))[..] else {
            panic!()
        };
        assert_eq!((count.count, count.of), (2, 2), "since it was first seen");
        assert!(drifts.counts(Some(2)).is_empty());
        drifts.accept();
        let more = came(&[r#"{"items": [{"id": "5"}]}"#]);
        let (place, drift) = drifts.first(1, &watch, events.iter().chain(&more)).unwrap();
        assert_eq!((place, drift.path.as_str()), (3, "/id"));
        drifts.accept();
        assert!(drifts.first(1, &watch, events.iter()).is_none());
        let (place, _) = drifts.first(2, &watch, events.iter()).unwrap();
        assert_eq!(place, 2, "another version begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_looks_at_so_many_in_a_second() {
        let (watch, drifts) = (watch("warn"), Drifts::default());
        assert!(!watch.stops());
        let one = came(&[r#"{"items": [{"x": 1}]}"#]);
        for _ in 0..3 {
            drifts.look(1, &watch, std::iter::repeat_n(&one[0], 1_000));
        }
        let counts = drifts.counts(Some(1));
        assert_eq!(counts.len(), 2, "{counts:?}");
        assert!(
            counts.iter().all(|count| count.count == u64::from(LOOKS)),
            "{counts:?}"
        );
        tokio::time::advance(Duration::from_secs(1)).await;
        drifts.look(1, &watch, one.iter());
        assert_eq!(drifts.counts(Some(1))[0].count, u64::from(LOOKS) + 1);
    }
}
